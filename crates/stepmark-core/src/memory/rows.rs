//! How does the memory store read and write rows as they are?

use async_trait::async_trait;

use super::thread::{Space, Thread, pending_key};
use super::write::write_run;
use super::{Inner, MemoryStore};
use crate::capability::{Key, Restore, Row, RowClass, Rows, RowsPage, RowsQuery, check_restore};
use crate::checkpoint::Timestamp;
use crate::error::{Error, Result, Subject};
use crate::store::{Outcome, RunWrite};
use crate::value::ValueRow;

#[async_trait]
impl Rows for MemoryStore {
    async fn page(&self, query: RowsQuery) -> Result<RowsPage> {
        self.lock().page_of_rows(&query)
    }

    async fn restore(&self, restore: Restore) -> Result<Outcome> {
        self.lock_now().restore(restore)
    }
}

/// A row that is made when it is wanted, under its cursor.
type Candidate<'a> = (Vec<u8>, Box<dyn Fn() -> Row + 'a>);

fn candidate<'a>(cursor: Vec<u8>, row: impl Fn() -> Row + 'a) -> Candidate<'a> {
    (cursor, Box::new(row))
}

/// One under its key.
fn by_key<'a>(row: impl Fn() -> Row + 'a) -> Candidate<'a> {
    candidate(row().key(), row)
}

/// The cursor of a row in an order of its own.
fn place(namespace: &str, number: u64) -> Vec<u8> {
    let mut cursor = Key::default();
    cursor.text(namespace).bits(number);
    cursor.0
}

impl Inner {
    pub(super) fn page_of_rows(&self, query: &RowsQuery) -> Result<RowsPage> {
        let thread = self.threads.get(&query.thread).ok_or_else(|| self.missing_thread(query.thread))?;
        let mut found = self.candidates(thread, query.class);
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let limit = query.limit.max(1) as usize;
        let mut after = found.into_iter().filter(|(cursor, _)| query.after.as_ref().is_none_or(|after| cursor > after));
        let page: Vec<Candidate<'_>> = after.by_ref().take(limit).collect();
        let next = after.next().and_then(|_| page.last().map(|(cursor, _)| cursor.clone()));
        Ok(RowsPage { rows: page.into_iter().map(|(_, row)| Ok(row())).collect(), next })
    }

    fn candidates<'a>(&'a self, thread: &'a Thread, class: RowClass) -> Vec<Candidate<'a>> {
        match class {
            RowClass::Graph => self.graphs_of(thread),
            _ => thread.candidates(class),
        }
    }

    fn graphs_of<'a>(&'a self, thread: &'a Thread) -> Vec<Candidate<'a>> {
        thread
            .graph_keys()
            .iter()
            .filter_map(|key| self.graphs.get(key))
            .map(|graph| by_key(|| Row::Graph(graph.clone())))
            .collect()
    }

    fn restore(&mut self, restore: Restore) -> Result<Outcome> {
        if self.deleted.contains(&restore.thread.uid) {
            return Err(Error::deleted(Subject::Thread, restore.thread.uid, ""));
        }
        check_restore(&restore)?;
        match self.decide_restore(&restore)? {
            None => Ok(Outcome::Repeated),
            Some(is_new) => Ok(self.write_restored(restore, &is_new)),
        }
    }

    /// Whether each row of the call is new; `None` where the thread is published and has all of them.
    pub(super) fn decide_restore(&self, restore: &Restore) -> Result<Option<Vec<bool>>> {
        let is_new = self.check_restored(restore)?;
        let Some(published) = self.threads.get(&restore.thread.uid) else { return Ok(Some(is_new)) };
        if is_new.contains(&true) {
            let reason = "it was published without a row of this call, and takes no more";
            return Err(Error::exists(Subject::Thread, &published.row.name, reason));
        }
        Ok(None)
    }

    /// Whether each row of the call is new; refuses one that is not as it is stored.
    fn check_restored(&self, restore: &Restore) -> Result<Vec<bool>> {
        let row = &restore.thread;
        let stored = self.threads.get(&row.uid).or_else(|| self.restoring.get(&row.uid));
        let owner = self.names.get(&(row.scope.clone(), row.name.clone()));
        if stored.is_some_and(|stored| stored.row != *row) || owner.is_some_and(|owner| *owner != row.uid) {
            return Err(Error::exists(
                Subject::Thread,
                &row.name,
                "it is another thread's name, or its row is another",
            ));
        }
        let mut is_new = Vec::with_capacity(restore.rows.len());
        for row in &restore.rows {
            for used in row.blobs()? {
                if !self.blobs.contains_key(&(restore.thread.scope.clone(), used.hash)) {
                    return Err(Error::missing(Subject::Blob, used.hash, "put it, then repeat the call"));
                }
            }
            let there = match row {
                Row::Graph(graph) => {
                    self.graphs.get(&(graph.name.clone(), graph.signature)).map(|there| there == graph)
                }
                _ => stored.and_then(|stored| stored.has(row)),
            };
            if there == Some(false) {
                return Err(row.taken());
            }
            is_new.push(there.is_none());
        }
        let brings = |row: &Row| matches!(row, Row::Branch { namespace, row, .. } if namespace.is_empty() && row.id == restore.thread.head);
        let has = |stored: &Thread| stored.spaces.get("").is_some_and(|space| space.branch(stored.row.head).is_some());
        if restore.publish && !restore.rows.iter().any(brings) && !stored.is_some_and(has) {
            return Err(Error::missing(Subject::Branch, restore.thread.head, "a thread is published with its head"));
        }
        Ok(is_new)
    }

    fn write_restored(&mut self, restore: Restore, is_new: &[bool]) -> Outcome {
        let Restore { thread: row, rows, publish } = restore;
        let (uid, now) = (row.uid, self.now);
        let begins = !self.restoring.contains_key(&uid);
        self.names.insert((row.scope.clone(), row.name.clone()), uid);
        let thread = self.restoring.entry(uid).or_insert_with(|| Thread::new(row));
        for (row, _) in rows.into_iter().zip(is_new).filter(|(_, is_new)| **is_new) {
            match row {
                Row::Graph(graph) => {
                    self.graphs.insert((graph.name.clone(), graph.signature), graph);
                }
                row => thread.put(row, now),
            }
        }
        if publish && let Some(mut thread) = self.restoring.remove(&uid) {
            thread.mark = u64::from(thread.has_gaps());
            self.threads.insert(uid, thread);
        }
        if begins || publish || is_new.contains(&true) { Outcome::Applied } else { Outcome::Repeated }
    }
}

impl Thread {
    /// The graphs that its runs name, by name and signature.
    pub(super) fn graph_keys(&self) -> Vec<(String, [u8; 16])> {
        let key = |id| self.runs.get(id).and_then(|run| Some((run.graph.clone(), run.graph_signature?)));
        let mut keys: Vec<_> = self.begun.values().filter_map(key).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    fn candidates(&self, class: RowClass) -> Vec<Candidate<'_>> {
        match class {
            RowClass::Thread => vec![by_key(|| Row::Thread(self.row.clone()))],
            RowClass::Ref => {
                let row = |(name, branch): (&String, &_)| Row::Ref { name: name.clone(), branch: *branch };
                self.refs.iter().map(|entry| by_key(move || row(entry))).collect()
            }
            RowClass::Run => {
                let runs = self.begun.iter().filter_map(|(number, id)| Some((*number, self.runs.get(id)?)));
                runs.map(|(number, run)| candidate(place("", number), || Row::Run(run.clone()))).collect()
            }
            RowClass::Tag => {
                let row =
                    |(namespace, row): &(String, _)| Row::Tag { namespace: namespace.clone(), row: Clone::clone(row) };
                self.tags.values().map(|entry| by_key(move || row(entry))).collect()
            }
            RowClass::Effect => self.ledger.values().map(|entry| by_key(|| Row::Effect(entry.clone()))).collect(),
            RowClass::Child => {
                let rows = self.children.iter().flat_map(|(place, rows)| rows.iter().map(move |row| (*place, row)));
                rows.map(|((root, height), row)| by_key(move || Row::Child { root, height, row: row.clone() }))
                    .collect()
            }
            RowClass::Branch | RowClass::Pending | RowClass::Checkpoint | RowClass::Value => {
                self.spaces.iter().flat_map(|(namespace, space)| space.candidates(namespace, class)).collect()
            }
            RowClass::Graph => Vec::new(),
        }
    }

    /// Whether a row of this key is there, and is this one.
    fn has(&self, row: &Row) -> Option<bool> {
        match row {
            Row::Thread(row) => Some(self.row == *row),
            Row::Ref { name, branch } => self.refs.get(name).map(|stored| stored == branch),
            Row::Run(run) => self.runs.get(&run.id).map(|stored| stored == run),
            Row::Tag { namespace, row } => {
                self.tags.get(&row.name).map(|(stored_in, stored)| stored_in == namespace && stored == row)
            }
            Row::Effect(entry) => {
                let key = (entry.row.key.encode(), entry.row.generation);
                self.ledger.get(&key).map(|stored| stored == entry)
            }
            Row::Child { root, height, row } => {
                let rows = self.children.get(&(*root, *height))?;
                rows.iter().find(|stored| stored.namespace == row.namespace).map(|stored| stored == row)
            }
            Row::Branch { namespace, .. }
            | Row::Pending { namespace, .. }
            | Row::Checkpoint { namespace, .. }
            | Row::Value { namespace, .. } => self.spaces.get(namespace)?.has(row),
            Row::Graph(_) => None,
        }
    }

    fn put(&mut self, row: Row, now: Timestamp) {
        match row {
            Row::Ref { name, branch } => {
                self.refs.insert(name, branch);
            }
            Row::Run(run) => write_run(self, RunWrite::Begin(run)),
            Row::Tag { namespace, row } => {
                self.tags.insert(row.name.clone(), (namespace, row));
            }
            Row::Effect(entry) => {
                self.ledger.insert((entry.row.key.encode(), entry.row.generation), entry);
            }
            Row::Child { root, height, row } => self.children.entry((root, height)).or_default().push(row),
            Row::Branch { namespace, number, row } => {
                self.spaces.entry(namespace).or_default().branches.insert(number, row);
            }
            Row::Pending { namespace, row } => {
                self.spaces.entry(namespace).or_default().pending.insert(pending_key(&row), row);
            }
            Row::Checkpoint { namespace, row } => {
                self.spaces.entry(namespace).or_default().add_checkpoint(row, now);
            }
            Row::Value { namespace, row } => {
                self.spaces.entry(namespace).or_default().values.insert(row.address, row.node);
            }
            // The one is beside its rows, the others belong to no thread.
            Row::Thread(_) | Row::Graph(_) => {}
        }
    }
}

impl Space {
    fn candidates<'a>(&'a self, namespace: &'a str, class: RowClass) -> Vec<Candidate<'a>> {
        let name = || namespace.to_owned();
        match class {
            RowClass::Branch => {
                let row = move |number, row: &_| Row::Branch { namespace: name(), number, row: Clone::clone(row) };
                let all = self.branches.iter();
                all.map(|(number, branch)| candidate(place(namespace, *number), move || row(*number, branch))).collect()
            }
            RowClass::Checkpoint => {
                let row = move |row: &_| Row::Checkpoint { namespace: name(), row: Clone::clone(row) };
                let all = (1..).zip(&self.checkpoints).filter(|(arrival, row)| self.is_kept(*arrival, row));
                all.map(|(arrival, checkpoint)| candidate(place(namespace, arrival), move || row(checkpoint))).collect()
            }
            RowClass::Pending => {
                let row = move |row: &_| Row::Pending { namespace: name(), row: Clone::clone(row) };
                self.pending.values().map(|pending| by_key(move || row(pending))).collect()
            }
            RowClass::Value => {
                let row = move |address, node: &_| Row::Value {
                    namespace: name(),
                    row: ValueRow { address, node: Clone::clone(node) },
                };
                self.values.iter().map(|(address, node)| by_key(move || row(*address, node))).collect()
            }
            _ => Vec::new(),
        }
    }

    fn has(&self, row: &Row) -> Option<bool> {
        match row {
            Row::Branch { row, .. } => self.branch(row.id).map(|stored| stored == row),
            Row::Pending { row, .. } => self.pending.get(&pending_key(row)).map(|stored| stored == row),
            Row::Value { row, .. } => self.values.get(&row.address).map(|stored| *stored == row.node),
            Row::Checkpoint { row, .. } => {
                let arrivals = [self.places.get(&(row.branch, row.height)), self.ids.get(&row.id)];
                let stored = arrivals.into_iter().flatten().filter_map(|arrival| self.checkpoints.get(*arrival));
                stored.map(|stored| stored == row).reduce(|one, other| one && other)
            }
            _ => None,
        }
    }
}
