//! How are the rows of a thread read as they are stored, page by page?
//!
//! The order of a thread's members is that of the classes, so a page is one range of it, and its cursor the last member. A
//! damaged row is an error in its place.

use std::collections::BTreeSet;

use stepmark_core::capability::{Row, RowClass, RowsPage, RowsQuery};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{CheckpointId, Lane};
use stepmark_core::value::{ValueAddress, ValueRow};

use crate::bag::{Ask, Bag, Range, Rows};
use crate::keys::{self, Bytes, Parts};
use crate::link::Link;
use crate::records::{self, Space};
use crate::view::View;

/// A graph's name and signature.
type GraphKey = (String, [u8; 16]);

impl Link {
    /// One page of rows.
    pub(crate) async fn page_of_rows(&self, query: &RowsQuery) -> Result<RowsPage> {
        if query.class == RowClass::Graph {
            return self.page_of_graphs(query).await;
        }
        let (range, rows) = range_of(query)?;
        let asks = vec![Ask::Row(keys::THREAD.to_vec()), Ask::Range(range, rows)];
        self.read(query.thread, asks, |bag| page(bag, query)).await
    }

    /// The graphs that runs name belong to no thread: they are read after the runs.
    async fn page_of_graphs(&self, query: &RowsQuery) -> Result<RowsPage> {
        let (range, rows) = runs();
        let asks = vec![Ask::Row(keys::THREAD.to_vec()), Ask::Range(range, rows)];
        let mut named = self.read(query.thread, asks, graphs).await?;
        if let Some(after) = &query.after {
            named.retain(|key| graph_cursor(key) > *after);
        }
        let limit = query.limit.max(1) as usize;
        let (mut found, mut next) = (Vec::new(), None);
        for key in named {
            if found.len() == limit {
                return Ok(RowsPage { rows: found, next });
            }
            next = Some(graph_cursor(&key));
            match self.graph(&key.0, key.1).await {
                Ok(None) => {}
                Ok(Some(graph)) => found.push(Ok(Row::Graph(graph))),
                Err(error) => found.push(Err(error)),
            }
        }
        Ok(RowsPage { rows: found, next: None })
    }
}

fn runs() -> (Range, Rows) {
    (Range::of(keys::RUNS), Rows::Behind(keys::RUNS.to_vec(), keys::RUNS.len() + 8))
}

/// What the runs of a thread name, damaged ones too.
fn graphs(bag: &Bag) -> Result<BTreeSet<GraphKey>> {
    if !bag.is_there()? {
        return Err(bag.missing_thread());
    }
    let (range, rows) = runs();
    let mut found = BTreeSet::new();
    for member in bag.range(&range, &rows)? {
        let field = [keys::RUNS, member.get(9..).unwrap_or_default()].concat();
        found.extend(bag.row(&field)?.and_then(records::graph_of_run));
    }
    Ok(found)
}

fn graph_cursor((name, signature): &GraphKey) -> Bytes {
    // A name has no control characters, so a shorter one comes first.
    [name.as_bytes(), b"\0", signature].concat()
}

/// The part of the order that a page is, one member longer, and where the rows of its members are.
fn range_of(query: &RowsQuery) -> Result<(Range, Rows)> {
    let (letter, rows) = match query.class {
        RowClass::Thread => (b'T', Rows::None),
        RowClass::Branch => (b'b', Rows::None),
        RowClass::Checkpoint => (b'C', Rows::None),
        RowClass::Run | RowClass::Graph => (b'R', runs().1),
        RowClass::Ref => (b'N', Rows::Same),
        RowClass::Tag => (b'G', Rows::Same),
        RowClass::Effect => (b'E', Rows::Same),
        RowClass::Pending => (b'F', Rows::Same),
        RowClass::Child => (b'K', Rows::Same),
        RowClass::Value => (b'V', Rows::Same),
    };
    let all = Range::of(&[letter]);
    let range = match &query.after {
        None => all,
        Some(after) if after.first() == Some(&letter) => all.after(after),
        Some(_) => {
            let reason = "rows are walked with the cursors of the same store and class";
            return Err(Error::invalid(Subject::Thread, query.thread, reason));
        }
    };
    Ok((range.first(query.limit.max(1) as usize + 1), rows))
}

fn page(bag: &Bag, query: &RowsQuery) -> Result<RowsPage> {
    if !bag.is_there()? {
        return Err(bag.missing_thread());
    }
    if query.class == RowClass::Thread {
        let row = View::new(bag, "").known_thread().map(Row::Thread);
        return Ok(RowsPage { rows: if query.after.is_none() { vec![row] } else { Vec::new() }, next: None });
    }
    let (range, rows) = range_of(query)?;
    let limit = query.limit.max(1) as usize;
    let members = bag.range(&range, &rows)?;
    let next = members.get(limit).and_then(|_| members.get(limit - 1)).cloned();
    let read = |member: &Bytes| row(bag, query.class, member);
    Ok(RowsPage { rows: members.iter().take(limit).map(read).collect(), next })
}

/// The row that a member of the order leads to.
pub(crate) fn row(bag: &Bag, class: RowClass, member: &[u8]) -> Result<Row> {
    let mut parts = Parts(&member[1..]);
    let malformed = || Error::corrupt(Subject::Thread, bag.uid, "a key in its order is malformed");
    match class {
        RowClass::Branch => {
            let mut key = || Some((parts.text()?, parts.bits()?, parts.branch()?));
            let (namespace, number, id) = key().ok_or_else(malformed)?;
            let gone = || Error::corrupt(Subject::Branch, id, "it was made but it is gone");
            let row = View::new(bag, &namespace).branch(id)?.ok_or_else(gone)?;
            Ok(Row::Branch { namespace, number, row })
        }
        RowClass::Ref => {
            let name = text(&member[1..]).ok_or_else(malformed)?;
            let gone = || Error::corrupt(Subject::Branch, &name, "it was given but it is gone");
            let branch = View::new(bag, "").named(&name)?.ok_or_else(gone)?;
            Ok(Row::Ref { name, branch })
        }
        RowClass::Run => {
            let id = stepmark_core::id::RunId::from_stored(member.get(9..).unwrap_or_default());
            let id = id.map_err(|_| malformed())?;
            let gone = || Error::corrupt(Subject::Run, &id, "it began but it is gone");
            View::new(bag, "").run(&id)?.map(Row::Run).ok_or_else(gone)
        }
        RowClass::Tag => {
            let name = text(&member[1..]).ok_or_else(malformed)?;
            let gone = || Error::corrupt(Subject::Tag, &name, "it was set but it is gone");
            let (namespace, row) = View::new(bag, "").tag(&name)?.ok_or_else(gone)?;
            Ok(Row::Tag { namespace, row })
        }
        RowClass::Effect => crate::ledger::entry(bag, member).map(Row::Effect),
        RowClass::Pending => pending(bag, member),
        RowClass::Child => {
            let root = parts.branch().ok_or_else(malformed)?;
            let height = member.last_chunk().map(|height| keys::from_bits(*height)).ok_or_else(malformed)?;
            let gone = || Error::corrupt(Subject::Checkpoint, root, "the row of a sub-graph is gone");
            let row = records::child(bag.row(member)?.ok_or_else(gone)?, parts.0, bag.uid, root)?;
            Ok(Row::Child { root, height, row })
        }
        RowClass::Checkpoint => checkpoint(bag, member),
        RowClass::Value => value(bag, member),
        RowClass::Thread | RowClass::Graph => Err(malformed()),
    }
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

fn pending(bag: &Bag, member: &[u8]) -> Result<Row> {
    let malformed = || Error::corrupt(Subject::Pending, bag.uid, "its key is malformed");
    let mut parts = Parts(&member[1..]);
    let mut key = || Some((parts.text()?, CheckpointId::from_stored(&parts.bytes()?).ok()?, parts.bits()?));
    let (namespace, base, lane) = key().ok_or_else(malformed)?;
    let gone = || Error::corrupt(Subject::Pending, &base, "its key is there but it is gone");
    let space = Space { uid: bag.uid, namespace: &namespace };
    let row = records::pending(bag.row(member)?.ok_or_else(gone)?, parts.0, space, (&base, Lane(lane)))?;
    Ok(Row::Pending { namespace, row })
}

/// A checkpoint, also one that was pruned.
fn checkpoint(bag: &Bag, member: &[u8]) -> Result<Row> {
    let malformed = || Error::corrupt(Subject::Checkpoint, bag.uid, "an arrival leads nowhere");
    let mut parts = Parts(&member[1..]);
    let mut key = || Some((parts.text()?, parts.bits()?, parts.branch()?, parts.bits()?));
    let (namespace, _, branch, height) = key().ok_or_else(malformed)?;
    let view = View::new(bag, &namespace);
    bag.expect([keys::checkpoint, keys::packed].map(|field| field(&namespace, branch, height)));
    let row = if let Some((_, row)) = view.checkpoint_at(branch, height)? {
        row
    } else {
        let stored = bag.row(&keys::pruned(&namespace, branch, height))?.ok_or_else(malformed)?;
        records::checkpoint(stored, view.space(), (branch, height))?.1
    };
    let row = view.with_packed(row)?;
    Ok(Row::Checkpoint { namespace, row })
}

fn value(bag: &Bag, member: &[u8]) -> Result<Row> {
    let malformed = || Error::corrupt(Subject::Value, bag.uid, "its key is malformed");
    let mut parts = Parts(&member[1..]);
    let mut key = || {
        let (namespace, branch, height) = (parts.text()?, parts.branch()?, parts.bits()?);
        Some((namespace, ValueAddress { branch, height, ordinal: u32::try_from(parts.bits()?).ok()? }))
    };
    let (namespace, address) = key().ok_or_else(malformed)?;
    let gone = || Error::corrupt(Subject::Value, address, "its key is there but it is gone");
    let space = Space { uid: bag.uid, namespace: &namespace };
    let node = records::value(bag.row(member)?.ok_or_else(gone)?, space, address)?;
    Ok(Row::Value { namespace, row: ValueRow { address, node } })
}
