//! Which checkpoints does a history show?
//!
//! Conditions on what a checkpoint is; its values are never asked for.

use std::fmt;
use std::ops::{Bound, RangeBounds};

use serde::Serialize;
use stepmark_core::checkpoint::Source;

use super::CheckpointInfo;
use crate::compile::Program;
use crate::dynamic::Value;
use crate::encode::EncodeError;
use crate::error::{Error, Result};

/// Conditions on checkpoints: all that are given must hold. Given twice, a condition is replaced; for both, give a history
/// two filters.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    source: Option<Source>,
    pub(super) run: Option<String>,
    steps: Steps,
    pub(super) node: Option<String>,
    metadata: Option<(Comparison, Result<Value, EncodeError>)>,
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Contains,
    Equals,
}

impl Filter {
    /// No condition.
    pub fn new() -> Self {
        Self::default()
    }

    /// What made the checkpoint.
    #[must_use]
    pub fn source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// The run that made it: a run's steps and the input that it began with share the run's id.
    #[must_use]
    pub fn run(mut self, run: impl fmt::Display) -> Self {
        self.run = Some(run.to_string());
        self
    }

    /// Its step lies in this range.
    #[must_use]
    pub fn steps(mut self, steps: impl RangeBounds<u64>) -> Self {
        self.steps = Steps::of(&steps);
        self
    }

    /// It holds results of this node, under its present name or one of its aliases.
    #[must_use]
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node = Some(node.into());
        self
    }

    /// Its metadata contains this map: every entry is there, with a value that contains the wanted one; of a list, every
    /// wanted element is contained in some element; everything else is equal.
    #[must_use]
    pub fn metadata(mut self, part: &(impl Serialize + ?Sized)) -> Self {
        self.metadata = Some((Comparison::Contains, Value::encoded(part)));
        self
    }

    /// Its metadata equals this map.
    #[must_use]
    pub fn exact_metadata(mut self, whole: &(impl Serialize + ?Sized)) -> Self {
        self.metadata = Some((Comparison::Equals, Value::encoded(whole)));
        self
    }

    /// Refuses conditions that make no sense.
    pub(super) fn check(&self) -> Result<()> {
        if self.steps.below.is_some_and(|below| below < self.steps.from) {
            let Steps { from, below } = self.steps;
            let message = format!("a range of steps ends before it begins: from {from}, below {}", below.unwrap_or(0));
            return Err(Error::invalid(message));
        }
        match &self.metadata {
            None | Some((_, Ok(Value::Map(_)))) => Ok(()),
            Some((_, Ok(value))) => Err(Error::invalid(format!("metadata is a map; it was compared with {value}"))),
            Some((_, Err(error))) => Err(Error::invalid(format!("metadata to compare with: {error}"))),
        }
    }

    pub(super) fn range(&self) -> Steps {
        self.steps
    }

    pub(super) fn accepts(&self, program: &Program, info: &CheckpointInfo) -> bool {
        self.source.is_none_or(|source| info.source == source)
            && self.run.as_ref().is_none_or(|run| info.run.to_string() == *run)
            && self.steps.contains(info.step)
            && self
                .node
                .as_ref()
                .is_none_or(|wanted| info.tasks.iter().any(|task| is_same_node(program, &task.node, wanted)))
            && self.accepts_metadata(info)
    }

    fn accepts_metadata(&self, info: &CheckpointInfo) -> bool {
        match (&self.metadata, &info.metadata) {
            (None, _) => true,
            (Some((Comparison::Contains, Ok(wanted))), Some(metadata)) => metadata.contains(wanted),
            (Some((Comparison::Equals, Ok(wanted))), Some(metadata)) => metadata == wanted,
            (Some(_), _) => false,
        }
    }
}

/// Whether a stored name is a node's: under its own name, or where the program knows both as one.
fn is_same_node(program: &Program, stored: &str, wanted: &str) -> bool {
    stored == wanted || program.node(stored).is_some_and(|node| program.node(wanted) == Some(node))
}

/// Steps from one on and below another.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Steps {
    pub(super) from: u64,
    /// Absent = no end.
    pub(super) below: Option<u64>,
}

impl Steps {
    fn of(steps: &impl RangeBounds<u64>) -> Self {
        let from = match steps.start_bound() {
            Bound::Included(step) => *step,
            Bound::Excluded(step) => step.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let below = match steps.end_bound() {
            Bound::Included(step) => step.checked_add(1),
            Bound::Excluded(step) => Some(*step),
            Bound::Unbounded => None,
        };
        Self { from, below }
    }

    pub(super) fn contains(self, step: u64) -> bool {
        step >= self.from && self.below.is_none_or(|below| step < below)
    }

    /// What lies in both.
    pub(super) fn and(self, other: Self) -> Self {
        let below = [self.below, other.below].into_iter().flatten().min();
        Self { from: self.from.max(other.from), below }
    }
}
