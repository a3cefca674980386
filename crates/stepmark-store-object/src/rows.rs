//! How are rows read as they are stored?
//!
//! Rows are known from the log; bodies that lie outside are fetched, and compared with the hashes of their rows. A body that
//! is damaged is an error in its place.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use stepmark_core::capability::{Row, RowClass, RowsPage, RowsQuery};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::load::{check_checkpoint, check_hash};
use stepmark_core::rows::GraphRow;

use crate::log::{REQUESTS_MAX, Shared, ThreadLog};
use crate::read::{Reader, decode_graph};
use crate::record::{BodyKey, marked};

/// One page of rows of a thread that is there.
pub(crate) async fn page(log: &Arc<ThreadLog>, query: &RowsQuery) -> Result<RowsPage> {
    if query.class == RowClass::Graph {
        return graphs(log, query).await;
    }
    let RowsPage { rows, next } = log.known().fold.page(query)?;
    let whole = rows.into_iter().map(|row| async move { whole(log, row?).await });
    Ok(RowsPage { rows: stream::iter(whole).buffered(REQUESTS_MAX).collect().await, next })
}

/// A row with its bodies.
async fn whole(log: &Arc<ThreadLog>, mut row: Row) -> Result<Row> {
    match &mut row {
        Row::Checkpoint { namespace, row } => {
            let reader = Reader { log, namespace };
            reader.fill_manifest(row).await?;
            let key = BodyKey::Packed(namespace.clone(), row.branch, row.height);
            let packed = log.known().bodies.get(&key).cloned();
            if let Some(span) = packed {
                row.packed = reader.body(&span).await?.into();
            }
            check_checkpoint(row, log.uid, namespace, true)?;
        }
        Row::Value { namespace, row } => {
            if let Some(hash) = marked(&row.node.body) {
                row.node.body = Reader { log, namespace }.value_body(row.address, &row.node, hash).await?;
            }
        }
        Row::Pending { namespace, row: pending } => {
            if let Some(hash) = marked(&pending.body) {
                let reader = Reader { log, namespace };
                let span = log.known().bodies.get(&BodyKey::Pending(hash)).cloned();
                let name = format!("{} lane {:016x} number {}", pending.base, pending.lane.0, pending.ordinal);
                let gone = || Error::corrupt(Subject::Pending, &name, "its body is gone");
                pending.body = reader.body(&span.ok_or_else(gone)?).await?.into();
                check_hash(hash, pending.hash(log.uid, namespace), Subject::Pending, &name)?;
            }
        }
        _ => {}
    }
    Ok(row)
}

/// Graphs lie beside the logs.
async fn graphs(log: &Arc<ThreadLog>, query: &RowsQuery) -> Result<RowsPage> {
    let cursor = |(name, signature): &(String, [u8; 16])| {
        Row::Graph(GraphRow { name: name.clone(), signature: *signature, record: Vec::new() }).key()
    };
    let keys = log.known().fold.graph_keys();
    let is_ahead = |key: &&(String, [u8; 16])| query.after.as_ref().is_none_or(|after| cursor(key) > *after);
    let limit = query.limit.max(1) as usize;
    let mut ahead = keys.iter().filter(is_ahead);
    let (mut rows, mut next) = (Vec::new(), None);
    for key in ahead.by_ref() {
        match graph(&log.shared, key).await {
            Ok(None) => continue,
            Ok(Some(row)) => rows.push(Ok(Row::Graph(row))),
            Err(error) => rows.push(Err(error)),
        }
        if rows.len() == limit {
            next = Some(cursor(key));
            break;
        }
    }
    let next = next.filter(|_| ahead.next().is_some());
    Ok(RowsPage { rows, next })
}

/// A graph record, if it is there.
pub(crate) async fn graph(shared: &Shared, (name, signature): &(String, [u8; 16])) -> Result<Option<GraphRow>> {
    let object = shared.bucket.get(&shared.paths.graph(name, *signature)).await?;
    object.map(|object| decode_graph(name.clone(), *signature, &object)).transpose()
}
