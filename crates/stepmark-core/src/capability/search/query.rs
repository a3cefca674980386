//! Which threads are asked for, and in which order?

use std::ops::Bound;

use super::attribute::{AttributeKind, AttributeValue, Declaration, check_value, kind_of};
use crate::checkpoint::Timestamp;
use crate::error::{Error, Result, Subject};
use crate::rows::RunStatus;

/// Which threads.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchQuery {
    /// The scope; empty by default.
    pub scope: String,
    /// What must hold, all of it.
    pub conditions: Vec<Condition>,
    /// The order.
    pub order: Order,
    /// Whether the order is turned around.
    pub descending: bool,
    /// Only threads after this one in the order.
    pub after: Option<Cursor>,
    /// How many at most; 0 means 1, so that a walk always moves.
    pub limit: u32,
}

impl SearchQuery {
    /// All threads of a scope by name, `limit` at a time.
    pub fn new(scope: impl Into<String>, limit: u32) -> Self {
        let (scope, conditions) = (scope.into(), Vec::new());
        Self { scope, conditions, order: Order::Name, descending: false, after: None, limit }
    }

    /// Refuses what cannot be asked.
    ///
    /// # Errors
    /// `Missing` (attribute) names one that is not declared, `Invalid` (attribute) one of another kind.
    pub(super) fn check(&self, declared: &[Declaration]) -> Result<()> {
        for condition in &self.conditions {
            let Condition::Attribute { name, test } = condition else { continue };
            let kind = kind_of(declared, name)?;
            match test {
                Test::Is(value) => check_value(declared, name, value)?,
                Test::Between(from, to) => {
                    for value in [from, to].into_iter().filter_map(bound_value) {
                        check_value(declared, name, value)?;
                    }
                }
                Test::Contains(_) if kind != AttributeKind::Text => {
                    let reason = format!("it is declared as {kind}, only a text contains another");
                    return Err(Error::invalid(Subject::Attribute, name, reason));
                }
                Test::Contains(_) => {}
            }
        }
        match &self.order {
            Order::Attribute(name) => kind_of(declared, name).map(drop),
            Order::Name | Order::Created | Order::Updated => Ok(()),
        }
    }
}

fn bound_value<T>(bound: &Bound<T>) -> Option<&T> {
    match bound {
        Bound::Included(value) | Bound::Excluded(value) => Some(value),
        Bound::Unbounded => None,
    }
}

/// What must hold of a thread.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// It has the attribute, and its value passes.
    Attribute {
        /// The attribute.
        name: String,
        /// What its value must be.
        test: Test,
    },
    /// The run that last began on it has this status.
    Status(RunStatus),
    /// The run that last began on it is of this graph.
    Graph(String),
    /// It was made in this range of time, by the engine's clock.
    Created(Bound<Timestamp>, Bound<Timestamp>),
    /// The tip of its head was made in this range of time, or the thread, where that has no checkpoint.
    Updated(Bound<Timestamp>, Bound<Timestamp>),
    /// A question lies on the tip of one of its branches, in the branch's lane.
    Waiting,
    /// Its ledger has an entry that is neither done nor known not to be done.
    OpenEffects,
}

/// What an attribute's value must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// This one.
    Is(AttributeValue),
    /// One of this range.
    Between(Bound<AttributeValue>, Bound<AttributeValue>),
    /// A text that has this one in it.
    Contains(String),
}

/// In which order threads are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// By name.
    Name,
    /// By the time when they were made.
    Created,
    /// By the time when the tip of their head was made.
    Updated,
    /// By the value of an attribute; threads that lack it are left out.
    Attribute(String),
}

/// A place in an order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// What the order compares, as bytes.
    pub key: Vec<u8>,
    /// The thread's name.
    pub name: String,
}
