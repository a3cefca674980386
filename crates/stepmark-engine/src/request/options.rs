//! What may a caller say of a verb that executes?

use std::time::Duration;

use serde::Serialize;

use super::{OnPending, Request};
use crate::deps::Deps;
use crate::durability::Durability;
use crate::metadata::Metadata;
use crate::state::State;

impl<S: State> Request<'_, S> {
    /// Names the run: repeating the same input under the same id returns that run's outcome instead of running twice.
    #[must_use]
    pub fn run_id(mut self, id: impl Into<String>) -> Self {
        self.run_id = Some(id.into());
        self
    }

    /// Attaches metadata to the input's checkpoint: a map, or a struct with named fields, of at most 64 KiB. History shows
    /// it and finds the checkpoint by it ([`Filter::metadata`](crate::Filter::metadata)); the steps that follow do not
    /// repeat it, but share the checkpoint's run id ([`Filter::run`](crate::Filter::run)). It is no part of the input: a
    /// repeated run id keeps the metadata of its first call.
    #[must_use]
    pub fn metadata(mut self, metadata: &(impl Serialize + ?Sized)) -> Self {
        self.metadata = Metadata::new(metadata);
        self
    }

    /// What to do with unfinished tasks of the branch; an error by default.
    #[must_use]
    pub fn on_pending(mut self, on_pending: OnPending) -> Self {
        self.on_pending = on_pending;
        self
    }

    /// Stops this call before steps in which these nodes are planned, besides where the graph says so.
    #[must_use]
    pub fn interrupt_before<N: Into<String>>(mut self, nodes: impl IntoIterator<Item = N>) -> Self {
        self.stops_before.extend(nodes.into_iter().map(Into::into));
        self
    }

    /// Stops this call after steps in which these nodes ran, besides where the graph says so.
    #[must_use]
    pub fn interrupt_after<N: Into<String>>(mut self, nodes: impl IntoIterator<Item = N>) -> Self {
        self.stops_after.extend(nodes.into_iter().map(Into::into));
        self
    }

    /// How many super-steps this run may take.
    #[must_use]
    pub fn steps_max(mut self, steps: u64) -> Self {
        self.steps_max = steps;
        self
    }

    /// How long each super-step of this run may take: see [`App::step_timeout`](crate::App::step_timeout).
    #[must_use]
    pub fn step_timeout(mut self, limit: Duration) -> Self {
        self.step_timeout = Some(limit);
        self
    }

    /// When the super-steps of this run become durable.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Gives the nodes of this run a value: [`Ctx<T>`](crate::Ctx). One of each type; nothing of it is stored, and it is no
    /// part of the input: who goes on with the run gives it anew.
    #[must_use]
    pub fn context<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        Deps::insert_shared(&mut self.context, value);
        self
    }
}
