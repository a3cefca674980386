//! How are rows written as they are given?
//!
//! Into the thread's own log, which begins by saying that the thread is being restored: it is found when an entry says that
//! it is whole. So a call is one entry, all of it or nothing, and nothing is written twice. The name is taken as for any
//! thread, by creating its object.

use std::sync::Arc;

use stepmark_core::capability::{Restore, Row, check_restore};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::memory::Change;
use stepmark_core::rows::ThreadRow;
use stepmark_core::store::Outcome;

use crate::entry::Head;
use crate::log::{Known, Proposal, Shared, ThreadLog};
use crate::names::{self, Holder};
use crate::read::encode_graph;
use crate::record::{light_checkpoint, light_pending, light_value};
use crate::threads::Threads;
use crate::{delete, entry, rows};

/// How often a name may be lost to others before the call gives up.
const LOST_MAX: usize = 64;

/// Writes the rows of a call. Answers also with the group of entries that it made whole.
pub(crate) async fn restore(
    threads: &Threads,
    log: &Arc<ThreadLog>,
    restore: &Restore,
    now: Timestamp,
) -> Result<(Outcome, Option<Vec<Head>>)> {
    log.catch_up().await?;
    refuse_deleted(log)?;
    check_restore(restore)?;
    look_around(log, restore).await?;
    let light = light(restore);
    // Before anything is written: what is refused leaves nothing, not even a name.
    log.known().fold.check_restore(&light)?;
    let begins = reserve(threads, log, &restore.thread).await?;
    keep_graphs(&log.shared, restore).await?;
    let propose = |known: &Known| {
        if known.fold.is_deleted() {
            return Err(Error::deleted(Subject::Thread, log.uid, ""));
        }
        let Some(is_new) = known.fold.check_restore(&light)? else { return Ok(Proposal::Answer(Outcome::Repeated)) };
        if known.fold.restoring().is_none() {
            let reason = "it was given up while it was restored; repeat the call";
            return Err(Error::unavailable(Subject::Thread, &light.thread.name, reason));
        }
        let new = restore.rows.iter().zip(is_new).filter(|(_, is_new)| *is_new);
        let mut rows: Vec<Change> = new.flat_map(|(row, _)| changes(row.clone())).collect();
        let checkpoint = rows.iter().position(|row| matches!(row, Change::Checkpoint(..)));
        if let Some(first) = checkpoint.filter(|_| known.fold.arrival_is_due(now)) {
            rows.insert(first, Change::Arrived(now));
        }
        rows.extend(restore.publish.then_some(Change::Published));
        if rows.is_empty() {
            let outcome = if begins { Outcome::Applied } else { Outcome::Repeated };
            return Ok(Proposal::Answer(outcome));
        }
        Ok(Proposal::Write(rows, Outcome::Applied))
    };
    log.write(propose).await
}

fn refuse_deleted(log: &ThreadLog) -> Result<()> {
    let is_deleted = log.known().fold.is_deleted();
    if is_deleted { Err(Error::deleted(Subject::Thread, log.uid, "")) } else { Ok(()) }
}

/// Tells the fold which blobs and graphs of a call are there.
async fn look_around(log: &ThreadLog, restore: &Restore) -> Result<()> {
    let Shared { bucket, paths, .. } = &*log.shared;
    let scope = &restore.thread.scope;
    for row in &restore.rows {
        for used in row.blobs()? {
            if !bucket.has(&paths.blob(scope, used.hash)).await? {
                return Err(Error::missing(Subject::Blob, used.hash, "put it, then repeat the call"));
            }
            log.known().fold.mark_blob(scope, used.hash, true);
        }
        if let Row::Graph(graph) = row
            && let Some(there) = rows::graph(&log.shared, &(graph.name.clone(), graph.signature)).await?
        {
            log.known().fold.mark_graph(there);
        }
    }
    Ok(())
}

async fn keep_graphs(shared: &Shared, restore: &Restore) -> Result<()> {
    for row in &restore.rows {
        if let Row::Graph(graph) = row {
            let path = shared.paths.graph(&graph.name, graph.signature);
            shared.bucket.create(&path, encode_graph(graph)).await?;
        }
    }
    Ok(())
}

/// A call as the fold is asked about it: without large bodies, which are known by their hashes.
fn light(restore: &Restore) -> Restore {
    let (mut light, uid) = (restore.clone(), restore.thread.uid);
    for row in &mut light.rows {
        match row {
            Row::Checkpoint { row, .. } => light_checkpoint(row),
            Row::Value { namespace, row } => *row = light_value(row.clone(), uid, namespace),
            Row::Pending { namespace, row } => *row = light_pending(row.clone(), uid, namespace),
            _ => {}
        }
    }
    light
}

/// Takes the thread's name and begins its log, unless that was done. Answers whether it did.
async fn reserve(threads: &Threads, log: &Arc<ThreadLog>, row: &ThreadRow) -> Result<bool> {
    let Shared { bucket, paths, ids, .. } = &*threads.shared;
    let mut dead = None;
    for _ in 0..LOST_MAX {
        log.catch_up().await?;
        refuse_deleted(log)?;
        if !log.is_vacant() {
            return Ok(false);
        }
        match names::find(bucket, paths, (&row.scope, &row.name), dead).await? {
            Holder::Thread(born) => {
                let other = threads.born(&born).await?;
                if other.holds(&row.scope, &row.name) && born.uid != row.uid {
                    return Err(Error::exists(Subject::Thread, &row.name, "it is another thread's name"));
                }
                delete::finish(&other).await?;
                dead = Some(born.holder);
            }
            Holder::Free(holder) => {
                let mut nonce = [0; 16];
                ids.fill(&mut nonce);
                let number = log.next();
                let first = entry::encode(row.uid, number, nonce, &[Change::Restoring(row.clone())]);
                let path = paths.name(&row.scope, &row.name, holder);
                if bucket.create(&path, names::encode(row.uid, number, &first)).await? {
                    log.begin(number, &first.into()).await?;
                    return Ok(true);
                }
            }
        }
    }
    Err(Error::unavailable(Subject::Thread, &row.name, "others create and delete it faster than this process"))
}

/// A row as a log has it.
fn changes(row: Row) -> Vec<Change> {
    match row {
        Row::Branch { namespace, number, row } => vec![Change::Restored(namespace, number, row)],
        Row::Ref { name, branch } => vec![Change::Name(name, branch)],
        Row::Run(row) => vec![Change::Run(row, true)],
        Row::Tag { namespace, row } => vec![Change::Tag(namespace, row)],
        Row::Effect(entry) => {
            let attempts = entry.attempts.into_iter().map(Change::Attempt);
            std::iter::once(Change::Effect(entry.row)).chain(attempts).collect()
        }
        Row::Pending { namespace, row } => vec![Change::Pending(namespace, row)],
        Row::Child { root, height, row } => vec![Change::Child(root, height, row)],
        Row::Checkpoint { namespace, row } => vec![Change::Checkpoint(namespace, row)],
        Row::Value { namespace, row } => vec![Change::Value(namespace, row)],
        // The one is beside its rows, the others belong to no thread.
        Row::Thread(_) | Row::Graph(_) => Vec::new(),
    }
}
