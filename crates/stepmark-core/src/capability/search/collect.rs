//! How does a store answer a query from what it reads?
//!
//! A store reads candidates by name, a batch at a time, from where its index says; everything else is decided here, alike
//! for all stores. What is held is one page and one batch, however many threads there are.

use std::ops::{Bound, RangeBounds};

use super::attribute::{Declaration, StoredAttribute, signed};
use super::query::{Condition, Cursor, Order, SearchQuery, Test};
use super::{AttributeValue, FoundPage, FoundThread};
use crate::checkpoint::Timestamp;
use crate::error::Result;
use crate::rows::RunStatus;

/// A thread that may be one of those that are asked for. `H` is what its store knows it by.
#[derive(Clone, Debug)]
pub struct Candidate<H> {
    /// The store's own handle.
    pub handle: H,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the tip of its head was made, if it has one.
    pub tip_at: Option<Timestamp>,
    /// The status and the graph of the run that last began.
    pub run: Option<(RunStatus, String)>,
    /// Whether a question lies on a tip; read only where [`Collector::asks_waiting`] says so.
    pub is_waiting: bool,
    /// Whether its ledger has an open entry; read only where [`Collector::asks_effects`] says so.
    pub has_open_effects: bool,
    /// Its attributes.
    pub attributes: Vec<StoredAttribute>,
}

impl<H> Candidate<H> {
    fn updated_at(&self) -> Timestamp {
        self.tip_at.unwrap_or(self.created_at)
    }

    fn value(&self, name: &str) -> Option<&[u8]> {
        self.attributes.iter().find(|attribute| attribute.name == name).map(|attribute| &*attribute.value)
    }

    /// The thread as it is answered.
    ///
    /// # Errors
    /// `Corrupt` (attribute): a value is not of the declared kind.
    pub fn found(self, entry: crate::store::ThreadEntry, declared: &[Declaration]) -> Result<FoundThread> {
        let updated_at = self.updated_at();
        let attributes =
            self.attributes.into_iter().map(|attribute| attribute.read(declared)).collect::<Result<_>>()?;
        Ok(FoundThread { entry, graph: self.run.map(|(_, graph)| graph), updated_at, attributes })
    }
}

/// Candidates are only those with this attribute, whose stored value lies in this range, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// The attribute.
    pub name: String,
    /// The least value.
    pub from: Vec<u8>,
    /// The greatest.
    pub to: Vec<u8>,
}

/// No stored value is greater: texts are UTF-8, and everything else is shorter.
const GREATEST: [u8; 9] = [0xff; 9];

impl Driver {
    fn of(condition: &Condition) -> Option<(u8, Self)> {
        let Condition::Attribute { name, test } = condition else { return None };
        let end = |bound: &Bound<AttributeValue>, open: &[u8]| match bound {
            Bound::Included(value) | Bound::Excluded(value) => value.encode(),
            Bound::Unbounded => open.to_vec(),
        };
        let (rank, from, to) = match test {
            Test::Is(value) => (0, value.encode(), value.encode()),
            Test::Between(from, to) => (1, end(from, &[]), end(to, &GREATEST)),
            Test::Contains(_) => (2, Vec::new(), GREATEST.to_vec()),
        };
        Some((rank, Self { name: name.clone(), from, to }))
    }
}

/// One page in the making.
#[derive(Debug)]
pub struct Collector<'q, H> {
    query: &'q SearchQuery,
    declared: Vec<Declaration>,
    /// By place, at most one more than the page has.
    found: Vec<(Cursor, Candidate<H>)>,
    /// The name after which the next batch begins; absent at the end.
    next: Option<String>,
}

impl<'q, H> Collector<'q, H> {
    /// Begins a page.
    ///
    /// # Errors
    /// Those of [`Search::find`](super::Search::find).
    pub fn new(query: &'q SearchQuery, declared: Vec<Declaration>) -> Result<Self> {
        query.check(&declared)?;
        // By name the page begins where the one before ended.
        let by_name = query.order == Order::Name && !query.descending;
        let next = query.after.as_ref().filter(|_| by_name).map_or_else(String::new, |after| after.name.clone());
        Ok(Self { query, declared, found: Vec::new(), next: Some(next) })
    }

    /// Which attribute the candidates must have, if any: that of the condition that is likely to hold for the fewest.
    pub fn driver(&self) -> Option<Driver> {
        let drivers = self.query.conditions.iter().filter_map(Driver::of);
        let of_order = match &self.query.order {
            Order::Attribute(name) => Some((3, Driver { name: name.clone(), from: vec![], to: GREATEST.to_vec() })),
            Order::Name | Order::Created | Order::Updated => None,
        };
        drivers.chain(of_order).min_by_key(|(rank, _)| *rank).map(|(_, driver)| driver)
    }

    /// Whether candidates must say whether they wait.
    pub fn asks_waiting(&self) -> bool {
        self.query.conditions.contains(&Condition::Waiting)
    }

    /// Whether candidates must say whether their ledgers have open entries.
    pub fn asks_effects(&self) -> bool {
        self.query.conditions.contains(&Condition::OpenEffects)
    }

    /// The name after which the next batch of candidates begins; absent when the page is done.
    pub fn next(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// How many candidates a batch has, unless it is the last.
    pub fn batch(&self) -> u32 {
        const BATCH: u32 = 512;
        let page = self.query.limit.max(1).saturating_add(1);
        let takes_all = self.query.conditions.is_empty() && self.is_by_name();
        if takes_all { page.min(BATCH) } else { BATCH }
    }

    fn is_by_name(&self) -> bool {
        self.query.order == Order::Name && !self.query.descending
    }

    /// The declared attributes.
    pub fn declared(&self) -> &[Declaration] {
        &self.declared
    }

    /// Takes a batch of candidates, by name; `is_last` where no other follows.
    pub fn take(&mut self, batch: Vec<Candidate<H>>, is_last: bool) {
        let next = batch.last().filter(|_| !is_last).map(|last| last.name.clone());
        self.take_until(batch, next);
    }

    /// The same, where the next batch begins after `next`; nothing follows where there is none.
    pub fn take_until(&mut self, batch: Vec<Candidate<H>>, next: Option<String>) {
        self.next = next;
        for candidate in batch {
            if self.query.conditions.iter().all(|condition| accepts(condition, &candidate))
                && let Some(place) = self.place(&candidate)
                && self.query.after.as_ref().is_none_or(|after| self.precedes(after, &place))
            {
                self.keep(place, candidate);
            }
        }
        if self.is_by_name() && self.found.len() > self.limit() {
            self.next = None;
        }
    }

    fn keep(&mut self, place: Cursor, candidate: Candidate<H>) {
        let index = self.found.partition_point(|(other, _)| self.precedes(other, &place));
        if index <= self.limit() {
            self.found.insert(index, (place, candidate));
            self.found.truncate(self.limit() + 1);
        }
    }

    fn limit(&self) -> usize {
        self.query.limit.max(1) as usize
    }

    fn precedes(&self, one: &Cursor, other: &Cursor) -> bool {
        if self.query.descending { one > other } else { one < other }
    }

    fn place(&self, candidate: &Candidate<H>) -> Option<Cursor> {
        let key = match &self.query.order {
            Order::Name => Vec::new(),
            Order::Created => signed(candidate.created_at).to_vec(),
            Order::Updated => signed(candidate.updated_at()).to_vec(),
            Order::Attribute(name) => candidate.value(name)?.to_vec(),
        };
        Some(Cursor { key, name: candidate.name.clone() })
    }

    /// The page's candidates in order, what is declared, and where the next page begins.
    pub fn finish(mut self) -> (Vec<Candidate<H>>, Vec<Declaration>, Option<Cursor>) {
        let more = self.found.len() > self.limit();
        self.found.truncate(self.limit());
        let next = self.found.last().filter(|_| more).map(|(place, _)| place.clone());
        (self.found.into_iter().map(|(_, candidate)| candidate).collect(), self.declared, next)
    }

    /// The page, where each candidate's handle is its entry.
    ///
    /// # Errors
    /// `Corrupt` (attribute): a value is not of the declared kind.
    pub fn page(self, entry: impl Fn(&H) -> Result<crate::store::ThreadEntry>) -> Result<FoundPage> {
        let (found, declared, next) = self.finish();
        let answered = |candidate: Candidate<H>| {
            let entry = entry(&candidate.handle)?;
            candidate.found(entry, &declared)
        };
        Ok(FoundPage { threads: found.into_iter().map(answered).collect::<Result<_>>()?, next })
    }
}

fn accepts<H>(condition: &Condition, candidate: &Candidate<H>) -> bool {
    let (status, graph) = match &candidate.run {
        Some((status, graph)) => (Some(*status), Some(graph)),
        None => (None, None),
    };
    match condition {
        Condition::Attribute { name, test } => candidate.value(name).is_some_and(|value| passes(test, value)),
        Condition::Status(wanted) => status == Some(*wanted),
        Condition::Graph(wanted) => graph == Some(wanted),
        Condition::Created(from, to) => (*from, *to).contains(&candidate.created_at),
        Condition::Updated(from, to) => (*from, *to).contains(&candidate.updated_at()),
        Condition::Waiting => candidate.is_waiting,
        Condition::OpenEffects => candidate.has_open_effects,
    }
}

fn passes(test: &Test, value: &[u8]) -> bool {
    match test {
        Test::Is(wanted) => wanted.encode() == value,
        Test::Between(from, to) => {
            let stored = |bound: &Bound<AttributeValue>| bound.as_ref().map(AttributeValue::encode);
            (stored(from), stored(to)).contains(&value.to_vec())
        }
        Test::Contains(part) => has_part(value, part.as_bytes()),
    }
}

/// Whether some bytes have others in them. Both are UTF-8, so that no part begins within a character.
fn has_part(whole: &[u8], part: &[u8]) -> bool {
    part.is_empty() || whole.windows(part.len()).any(|window| window == part)
}
