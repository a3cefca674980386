//! What of a thread was read, at one moment?
//!
//! What a call needs is rarely known before some of it was read. So reading has two halves: a script fetches what is asked
//! for and guesses the rest, all at one moment, and plain code looks things up in what came. What it misses it notes, and
//! the script is asked for that too, again all at one moment, until nothing is missed.

use std::cell::RefCell;
use std::collections::HashMap;

use redis::Value;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::value::ValueRef;

use crate::keys;
pub(crate) use crate::keys::Bytes;

/// Something to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A row.
    Row(Bytes),
    /// Members of the order, with the rows that they lead to.
    Range(Range, Rows),
    /// The checkpoint with this stored id, in this stored namespace; with its packed values or without.
    Id(Bytes, Bytes, bool),
    /// A value in this stored namespace, and all that it follows from.
    Chain(Bytes, ValueRef),
    /// The run that began last.
    LastRun,
    /// What a load of a place will need.
    Place(Box<PlaceAsk>),
}

/// What a load asks for first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlaceAsk {
    pub(crate) space: Bytes,
    pub(crate) kind: &'static str,
    /// What the kind is about: a branch, a name, an id.
    pub(crate) first: Bytes,
    pub(crate) second: Bytes,
    /// `*`, or names of channels with their lengths.
    pub(crate) channels: Bytes,
    pub(crate) pending: bool,
}

/// A part of the order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Range {
    from: Bytes,
    to: Bytes,
    limit: i64,
    reversed: bool,
}

/// Which rows the members of a range lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    None,
    /// Those of the same name.
    Same,
    /// Those of this beginning and what the member has behind so many bytes.
    Behind(Bytes, usize),
}

impl Range {
    /// All that begins with `prefix`.
    pub(crate) fn of(prefix: &[u8]) -> Self {
        let end = prefix.iter().rposition(|byte| *byte != u8::MAX).map_or(0, |last| last + 1);
        let mut to = [b"(", &prefix[..end]].concat();
        if let Some(last) = to.last_mut() {
            *last += 1;
        }
        Self { from: [b"[", prefix].concat(), to, limit: -1, reversed: false }
    }

    /// The same up to `last`, which is in it.
    pub(crate) fn up_to(self, last: &[u8]) -> Self {
        Self { to: [b"[", last].concat(), ..self }
    }

    /// The same before `end`, which is not in it.
    pub(crate) fn before(self, end: &[u8]) -> Self {
        Self { to: [b"(", end].concat(), ..self }
    }

    /// The same behind `start`, which is not in it.
    pub(crate) fn after(self, start: &[u8]) -> Self {
        Self { from: [b"(", start].concat(), ..self }
    }

    pub(crate) fn first(self, limit: usize) -> Self {
        Self { limit: i64::try_from(limit).unwrap_or(i64::MAX), ..self }
    }

    /// The last ones, falling.
    pub(crate) fn last(self, limit: usize) -> Self {
        Self { reversed: true, ..self.first(limit) }
    }

    /// Its ends, as the server names them.
    pub(crate) fn ends(&self) -> [Bytes; 2] {
        [self.from.clone(), self.to.clone()]
    }
}

impl Ask {
    /// The words by which the script is asked.
    pub(crate) fn words(&self, words: &mut Vec<Bytes>) {
        let flag = |flag: bool| if flag { b"1".to_vec() } else { b"0".to_vec() };
        match self {
            Self::Row(field) => words.extend([b"row".to_vec(), field.clone()]),
            Self::Range(range, rows) => {
                let limit = range.limit.to_string().into_bytes();
                words.extend([b"range".to_vec(), range.from.clone(), range.to.clone(), limit, flag(range.reversed)]);
                words.extend(match rows {
                    Rows::None => [Bytes::new(), b"-1".to_vec()],
                    Rows::Same => [Bytes::new(), b"0".to_vec()],
                    Rows::Behind(prefix, skip) => [prefix.clone(), skip.to_string().into_bytes()],
                });
            }
            Self::Id(space, id, packed) => {
                words.extend([b"id".to_vec(), space.clone(), id.clone(), flag(*packed)]);
            }
            Self::Chain(space, ValueRef { address, packed }) => {
                let place = u64::from(address.ordinal) << 1 | u64::from(*packed);
                let branch = keys::bits(address.branch.get()).to_vec();
                words.extend([b"chain".to_vec(), space.clone(), branch]);
                words.extend([address.height, place].map(|number| number.to_string().into_bytes()));
            }
            Self::LastRun => words.push(b"last".to_vec()),
            Self::Place(ask) => {
                let PlaceAsk { space, kind, first, second, channels, pending } = &**ask;
                words.extend([b"place".to_vec(), space.clone(), kind.as_bytes().to_vec(), first.clone()]);
                words.extend([second.clone(), channels.clone(), flag(*pending)]);
            }
        }
    }
}

/// What was read of a thread.
#[derive(Debug)]
pub(crate) struct Bag {
    pub(crate) uid: ThreadUid,
    /// Whether the uid is a tombstone.
    pub(crate) deleted: bool,
    /// Up to which turn nobody may make the thread any more.
    pub(crate) void: Option<u64>,
    rows: HashMap<Bytes, Option<Bytes>>,
    ranges: HashMap<Range, Vec<Bytes>>,
    missed: RefCell<Vec<Ask>>,
}

impl Bag {
    /// What the reading script answered.
    pub(crate) fn new(uid: ThreadUid, answer: Value) -> Option<Self> {
        let Value::Array(parts) = answer else { return None };
        let [gone, fields, values, ranges] = <[Value; 4]>::try_from(parts).ok()?;
        let gone = optional(gone).ok()?;
        let void = gone.as_deref().and_then(|gone| std::str::from_utf8(gone).ok()?.parse().ok());
        let values = list(values)?.into_iter().map(|value| optional(value).ok());
        let rows = list(fields)?.into_iter().zip(values).map(|(field, value)| Some((bytes(field)?, value?)));
        let ranges = list(ranges)?.into_iter().map(range);
        Some(Self {
            uid,
            deleted: gone.as_deref() == Some(b"deleted"),
            void,
            rows: rows.collect::<Option<_>>()?,
            ranges: ranges.collect::<Option<_>>()?,
            missed: RefCell::default(),
        })
    }

    /// A row, if there is one.
    pub(crate) fn row(&self, field: &[u8]) -> Result<Option<&[u8]>> {
        self.looked_up(field, || Ask::Row(field.to_vec()))
    }

    /// The same; if it was not read, `ask` will be.
    pub(crate) fn looked_up(&self, field: &[u8], ask: impl FnOnce() -> Ask) -> Result<Option<&[u8]>> {
        match self.rows.get(field) {
            Some(row) => Ok(row.as_deref()),
            None => Err(self.missed(ask())),
        }
    }

    /// Whether there is such a row.
    pub(crate) fn has(&self, field: &[u8]) -> Result<bool> {
        Ok(self.row(field)?.is_some())
    }

    /// The members of a range.
    pub(crate) fn range(&self, range: &Range, rows: &Rows) -> Result<&[Bytes]> {
        match self.ranges.get(range) {
            Some(members) => Ok(members),
            None => Err(self.missed(Ask::Range(range.clone(), rows.clone()))),
        }
    }

    /// Notes that these rows will be looked up, so that what is missed is asked for at once.
    pub(crate) fn expect(&self, fields: impl IntoIterator<Item = Bytes>) {
        let unknown = fields.into_iter().filter(|field| !self.rows.contains_key(field));
        self.missed.borrow_mut().extend(unknown.map(Ask::Row));
    }

    /// The same of ranges.
    pub(crate) fn expect_all(&self, ranges: impl IntoIterator<Item = (Range, Rows)>) {
        let unknown = ranges.into_iter().filter(|(range, _)| !self.ranges.contains_key(range));
        self.missed.borrow_mut().extend(unknown.map(|(range, rows)| Ask::Range(range, rows)));
    }

    fn missed(&self, ask: Ask) -> Error {
        self.missed.borrow_mut().push(ask);
        Error::unavailable(Subject::Store, self.uid, "a row was not read yet")
    }

    /// What was looked up in vain so far; then no answer counts.
    pub(crate) fn take_missed(&self) -> Vec<Ask> {
        self.missed.take()
    }

    /// Why the thread is not there.
    pub(crate) fn missing_thread(&self) -> Error {
        if self.deleted {
            Error::deleted(Subject::Thread, self.uid, "")
        } else {
            Error::missing(Subject::Thread, self.uid, "")
        }
    }

    /// Whether there is a thread.
    pub(crate) fn is_there(&self) -> Result<bool> {
        self.has(keys::THREAD)
    }
}

fn range(value: Value) -> Option<(Range, Vec<Bytes>)> {
    let [from, to, limit, reversed, members] = <[Value; 5]>::try_from(list(value)?).ok()?;
    let limit = match limit {
        Value::Int(limit) => limit,
        limit => std::str::from_utf8(&bytes(limit)?).ok()?.parse().ok()?,
    };
    let range = Range { from: bytes(from)?, to: bytes(to)?, limit, reversed: bytes(reversed)? == b"1" };
    Some((range, list(members)?.into_iter().map(bytes).collect::<Option<_>>()?))
}

pub(crate) fn list(value: Value) -> Option<Vec<Value>> {
    if let Value::Array(values) = value { Some(values) } else { None }
}

pub(crate) fn bytes(value: Value) -> Option<Bytes> {
    if let Value::BulkString(bytes) = value { Some(bytes) } else { None }
}

/// An answer that no script of this program gives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Odd;

/// Bytes, or nothing.
pub(crate) fn optional(value: Value) -> Result<Option<Bytes>, Odd> {
    match value {
        Value::Nil => Ok(None),
        value => bytes(value).map(Some).ok_or(Odd),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_ends_behind_all_that_begins_alike() {
        assert_eq!(Range::of(b"ab").ends(), [b"[ab".to_vec(), b"(ac".to_vec()]);
        assert_eq!(Range::of(b"a\xff\xff").ends(), [b"[a\xff\xff".to_vec(), b"(b".to_vec()]);
    }
}
