//! How is a thread written row by row, as it was stored elsewhere?
//!
//! Its own row lies under another field until it is published: nobody finds the thread by it. Its name is reserved like that
//! of any new thread, and given to nobody else as long as it is there. What is there is read first; the unit that writes
//! what is absent expects that it still is.

use std::collections::{HashMap, HashSet};

use stepmark_core::capability::{Restore, Row, RowClass, check_restore};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BlobHash, BranchId};
use stepmark_core::rows::{BranchRow, GraphRow, ThreadRow};
use stepmark_core::store::Outcome;

use crate::bag::{Ask, Bag, Range, Rows};
use crate::error::overtaken;
use crate::keys::{self, Bytes, Parts};
use crate::link::Link;
use crate::names::{Held, TURNS_MAX};
use crate::records::{self, Space};
use crate::unit::{Birth, Unit};

/// What lies outside of the thread.
#[derive(Debug, Default)]
struct Outside {
    /// Whether the name is another thread's.
    name_taken: bool,
    /// Blobs that values use and nobody has put.
    missing: HashSet<BlobHash>,
    /// Graph records that are there.
    graphs: HashMap<(String, [u8; 16]), GraphRow>,
}

/// What to do with a restore.
enum Verdict {
    Write(Unit),
    Repeated,
}

impl Link {
    /// Writes rows as they are given.
    pub(crate) async fn restore(&self, restore: &Restore, life_ms: Option<u64>) -> Result<Outcome> {
        let own = [keys::THREAD, keys::RESTORED].map(|field| Ask::Row(field.to_vec()));
        let refuse = |bag: &Bag| if bag.deleted { Err(bag.missing_thread()) } else { Ok(()) };
        self.read(restore.thread.uid, own.to_vec(), refuse).await?;
        check_restore(restore)?;
        let mut outside = self.outside_of(restore).await?;
        let mut lost: Option<Held> = None;
        for _ in 0..TURNS_MAX {
            let held = self.reserve(&restore.thread, lost.take()).await?;
            outside.name_taken = held.uid != restore.thread.uid;
            let birth = Birth { turn: held.turn, life_ms };
            let look = |bag: &Bag| Ok((verdict(bag, restore, &outside, birth)?, bag.void));
            let (verdict, void) = self.read(restore.thread.uid, asks(restore), look).await?;
            let Verdict::Write(unit) = verdict else { return Ok(Outcome::Repeated) };
            self.put_graphs(restore).await?;
            if self.write(restore.thread.uid, unit).await? {
                return Ok(Outcome::Applied);
            }
            lost = Some(held).filter(|held| void.is_some_and(|void| void >= held.turn));
        }
        Err(overtaken(&self.place))
    }

    async fn outside_of(&self, restore: &Restore) -> Result<Outside> {
        let mut outside = Outside::default();
        for row in &restore.rows {
            if let Some(hash) = self.touch(restore.thread.uid, &restore.thread.scope, &row.blobs()?).await? {
                outside.missing.insert(hash);
            }
            if let Row::Graph(graph) = row
                && let Some(stored) = self.graph(&graph.name, graph.signature).await?
            {
                outside.graphs.insert((graph.name.clone(), graph.signature), stored);
            }
        }
        Ok(outside)
    }

    async fn put_graphs(&self, restore: &Restore) -> Result<()> {
        for row in &restore.rows {
            if let Row::Graph(graph) = row {
                self.put_graph(graph).await?;
            }
        }
        Ok(())
    }
}

/// The rows that a restored row lies in.
struct Stored {
    /// Field and row; a checkpoint's row has its arrival behind it.
    rows: Vec<(Bytes, Bytes)>,
    /// A field that must not be there beside them.
    instead: Option<Bytes>,
    /// In the order: what nothing else may be in.
    alone: Option<(Range, usize)>,
}

fn stored(row: &Row, restore: &Restore) -> Stored {
    let uid = restore.thread.uid;
    let in_space = |namespace| Space { uid, namespace };
    let mut stored = Stored { rows: Vec::new(), instead: None, alone: None };
    let mut add = |field: Bytes, row: Bytes| stored.rows.push((field, row));
    match row {
        Row::Branch { namespace, row, .. } => {
            add(keys::branch(namespace, row.id), records::encode_branch(row, in_space(namespace)));
        }
        Row::Ref { name, branch } => add(keys::name(name), records::encode_name(uid, name, *branch)),
        Row::Run(run) => add(keys::run(&run.id), records::encode_run(run, uid)),
        Row::Tag { namespace, row } => add(keys::tag(&row.name), records::encode_tag(row, in_space(namespace))),
        Row::Effect(entry) => {
            let (key, generation) = (&entry.row.key, entry.row.generation);
            add(keys::effect(key, generation), records::encode_effect(&entry.row, uid));
            for (number, attempt) in (0..).zip(&entry.attempts) {
                add(keys::attempt(key, generation, number), records::encode_attempt(attempt, uid));
            }
            stored.alone = Some((Range::of(&keys::attempts(key, generation)), entry.attempts.len()));
        }
        Row::Pending { namespace, row } => {
            add(keys::pending(namespace, row), records::encode_pending(row, in_space(namespace)));
        }
        Row::Child { root, height, row } => {
            add(keys::child(*root, &row.namespace, *height), records::encode_child(row, uid, *root, *height));
        }
        Row::Checkpoint { namespace, row } => {
            let mut fields =
                [keys::checkpoint, keys::pruned].map(|field| field(namespace, row.branch, row.height)).to_vec();
            if row.manifest.is_empty() {
                fields.reverse();
            } else {
                add(keys::place_of(namespace, &row.id), keys::place(row.branch, row.height).to_vec());
            }
            stored.instead = fields.pop();
            stored.rows.extend(fields.pop().map(|field| (field, records::encode_checkpoint(row))));
            let packed = keys::packed(namespace, row.branch, row.height);
            stored.rows.push((packed, records::encode_packed(row)));
        }
        Row::Value { namespace, row } => {
            add(keys::value(namespace, row.address), records::encode_value(row, in_space(namespace)));
        }
        Row::Thread(_) | Row::Graph(_) => {}
    }
    stored
}

fn asks(restore: &Restore) -> Vec<Ask> {
    let mut fields = vec![keys::THREAD.to_vec(), keys::RESTORED.to_vec(), keys::branch("", restore.thread.head)];
    let mut ranges = Vec::new();
    for row in &restore.rows {
        let Stored { rows, instead, alone } = stored(row, restore);
        fields.extend(rows.into_iter().map(|(field, _)| field).chain(instead));
        ranges.extend(alone.map(|(range, _)| Ask::Range(range, Rows::None)));
    }
    fields.into_iter().map(Ask::Row).chain(ranges).collect()
}

/// Whether a row's key is there, and with this row.
fn has(bag: &Bag, row: &Row, restore: &Restore, outside: &Outside) -> Result<Option<bool>> {
    if let Row::Graph(graph) = row {
        let stored = outside.graphs.get(&(graph.name.clone(), graph.signature));
        return Ok(stored.map(|stored| stored == graph));
    }
    let Stored { rows, instead, alone } = stored(row, restore);
    let mut there = Vec::with_capacity(rows.len());
    for (field, row) in &rows {
        let arrival = if matches!(field.first(), Some(b'C' | b'c')) { 8 } else { 0 };
        let is_it = |stored: &[u8]| stored.len() == row.len() + arrival && stored.starts_with(row);
        there.push(bag.row(field)?.map(is_it));
    }
    if let Some(field) = instead {
        there.extend(bag.has(&field)?.then_some(Some(false)));
    }
    if let Some((range, count)) = alone {
        let found = bag.range(&range, &Rows::None)?.len();
        there.extend((found > 0).then_some(Some(found == count)));
    }
    if there.iter().all(Option::is_none) { Ok(None) } else { Ok(Some(there.iter().all(|it| *it == Some(true)))) }
}

fn verdict(bag: &Bag, restore: &Restore, outside: &Outside, birth: Birth) -> Result<Verdict> {
    let row = &restore.thread;
    let (published, begun) = (bag.row(keys::THREAD)?, bag.row(keys::RESTORED)?);
    let encoded = records::encode_thread(row);
    if outside.name_taken || published.or(begun).is_some_and(|stored| stored != encoded) {
        let reason = "it is another thread's name, or its row is another";
        return Err(Error::exists(Subject::Thread, &row.name, reason));
    }
    let mut new = Vec::new();
    for row in &restore.rows {
        if let Some(used) = row.blobs()?.iter().find(|used| outside.missing.contains(&used.hash)) {
            return Err(Error::missing(Subject::Blob, used.hash, "put it, then repeat the call"));
        }
        match has(bag, row, restore, outside)? {
            Some(true) => {}
            Some(false) => return Err(row.taken()),
            None => new.push(row),
        }
    }
    if published.is_some() {
        let reason = "it was published without a row of this call, and takes no more";
        let whole = new.is_empty();
        return if whole { Ok(Verdict::Repeated) } else { Err(Error::exists(Subject::Thread, &row.name, reason)) };
    }
    if restore.publish && !brings_head(bag, restore)? {
        return Err(Error::missing(Subject::Branch, row.head, "a thread is published with its head"));
    }
    if begun.is_some() && !restore.publish && new.is_empty() {
        return Ok(Verdict::Repeated);
    }
    let mut unit = unit(restore, &new, begun.is_none().then_some(birth))?;
    if restore.publish && has_gaps(bag, restore)? {
        unit.pruned();
    }
    Ok(Verdict::Write(unit))
}

/// Whether a segment lacks a checkpoint below its tip: then the thread was pruned. One that lies there without its manifest
/// has moved the mark by itself.
fn has_gaps(bag: &Bag, restore: &Restore) -> Result<bool> {
    let members = bag.range(&Range::of(b"C"), &Rows::None)?;
    let mut branches = self::branches(bag)?;
    let mut there: HashSet<(String, BranchId, u64)> = HashSet::new();
    for member in members {
        let mut parts = Parts(&member[1..]);
        let mut place = || Some((parts.text()?, parts.bits()?, parts.branch()?, parts.bits()?));
        there.extend(place().map(|(namespace, _, branch, height)| (namespace, branch, height)));
    }
    for row in &restore.rows {
        match row {
            Row::Checkpoint { namespace, row } => drop(there.insert((namespace.clone(), row.branch, row.height))),
            Row::Branch { namespace, row, .. } => branches.push((namespace.clone(), row.clone())),
            _ => {}
        }
    }
    Ok(branches.into_iter().any(|(namespace, row)| {
        let (first, end) = row.own_heights();
        (first..end).any(|height| !there.contains(&(namespace.clone(), row.id, height)))
    }))
}

fn brings_head(bag: &Bag, restore: &Restore) -> Result<bool> {
    let ThreadRow { head, .. } = restore.thread;
    let is_head =
        |row: &Row| matches!(row, Row::Branch { namespace, row, .. } if namespace.is_empty() && row.id == head);
    Ok(restore.rows.iter().any(is_head) || bag.has(&keys::branch("", head))?)
}

/// Writes the new rows in the order in which they are given.
fn unit(restore: &Restore, new: &[&Row], birth: Option<Birth>) -> Result<Unit> {
    let mut unit = Unit::of_restored(&restore.thread, birth, restore.publish);
    for row in &restore.rows {
        let Stored { rows, instead, .. } = stored(row, restore);
        if !new.iter().any(|new| std::ptr::eq(*new, row)) {
            for (field, _) in rows {
                unit.needs(field);
            }
            continue;
        }
        if let Row::Run(run) = row {
            unit.begins(&run.id);
        }
        if let Some(field) = instead {
            unit.forbids(field);
        }
        for (field, stored) in rows {
            unit.adds(field, stored);
        }
        order(&mut unit, row);
        for used in row.blobs()? {
            let (Row::Value { namespace, .. } | Row::Checkpoint { namespace, .. }) = row else { continue };
            unit.uses(namespace, &used);
        }
    }
    Ok(unit)
}

/// What beside its own fields makes a row found.
fn order(unit: &mut Unit, row: &Row) {
    match row {
        Row::Branch { namespace, number, row } => unit.numbers(namespace, *number, row.id),
        Row::Ref { name, branch } => unit.names(name, *branch),
        Row::Effect(entry) => unit.counts(keys::effect_turns(&entry.row.key)),
        _ => {}
    }
}

/// The rows of all branches by their fields, in the order of namespaces and ids.
fn branches(bag: &Bag) -> Result<Vec<(String, BranchRow)>> {
    let members = bag.range(&Range::of(b"b"), &Rows::None)?;
    let mut found = Vec::with_capacity(members.len());
    let mut missed = None;
    for member in members {
        match crate::rows::row(bag, RowClass::Branch, member) {
            Ok(Row::Branch { namespace, row, .. }) => found.push((namespace, row)),
            Ok(_) => {}
            // All are looked up before the first that was not read ends it.
            Err(error) => missed = missed.or(Some(error)),
        }
    }
    found.sort_by(|left, right| (&left.0, left.1.id).cmp(&(&right.0, right.1.id)));
    missed.map_or(Ok(found), Err)
}
