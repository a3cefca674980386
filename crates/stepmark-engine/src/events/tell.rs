//! What do nodes and the loop tell while they run?
//!
//! Each of these is nothing but a look at an `Option` where nobody watches.

use std::future::poll_fn;
use std::mem::replace;
use std::task::Poll;

use serde::Serialize;

use super::stored::{LiveValues, Values};
use super::{DebugEvent, Emitted, EventData, Kind, MessageChunk, RunningTask};
use crate::compile::Program;
use crate::dynamic::Value;
use crate::error::{Error, snapshot};
use crate::node::{Cx, TaskInfo};
use crate::node_error::NodeError;
use crate::run::Run;
use crate::schema::AnyState;
use crate::state::State;

impl TaskInfo {
    pub(crate) fn running(&self) -> RunningTask {
        RunningTask { id: self.task_id(), node: self.spec().name.clone(), attempt: self.attempt() }
    }

    /// Tells that the attempt begins.
    pub(crate) async fn tell_started(&self) {
        if let Some(events) = self.run.events.as_ref().filter(|events| events.wants(Kind::Debug)) {
            events.tell(EventData::Debug(DebugEvent::Started(self.running()))).await;
        }
    }

    /// Tells that the attempt ended.
    pub(crate) async fn tell_ended(&self, error: Option<&NodeError>) {
        if let Some(events) = self.run.events.as_ref().filter(|events| events.wants(Kind::Debug)) {
            let error = error.map(ToString::to_string);
            events.tell(EventData::Debug(DebugEvent::Ended { task: self.running(), error })).await;
        }
    }
}

impl<S: State> Cx<S> {
    /// Tells whoever watches the run (`Kind::Custom`) something under a name. Where nobody does, nothing happens; where the
    /// watcher is too far behind, this waits. It is a [`heartbeat`](Self::heartbeat). What is emitted is not stored, and is
    /// emitted again when the task runs again.
    pub async fn emit(&self, name: &str, value: &(impl Serialize + ?Sized)) {
        self.heartbeat();
        let info = self.info();
        if let Some(events) = info.run.events.as_ref().filter(|events| events.wants(Kind::Custom)) {
            let emitted = Emitted { task: info.running(), name: name.to_owned(), value: Value::encoded(value) };
            events.tell(EventData::Custom(emitted)).await;
        }
    }

    /// Tells whoever watches the run (`Kind::Messages`) the next part of message `id`, as a model makes it. As
    /// [`emit`](Self::emit) otherwise.
    pub async fn message(&self, id: &str, chunk: &str) {
        self.message_with(id, chunk, &()).await;
    }

    /// The same with metadata: what has no form without its type is left out.
    pub async fn message_with(&self, id: &str, chunk: &str, metadata: &(impl Serialize + ?Sized)) {
        self.heartbeat();
        let info = self.info();
        if let Some(events) = info.run.events.as_ref().filter(|events| events.wants(Kind::Messages)) {
            let metadata = Value::encoded(metadata).unwrap_or(Value::Null);
            let (id, chunk) = (id.to_owned(), chunk.to_owned());
            events.tell(EventData::Message(MessageChunk { task: info.running(), id, chunk, metadata })).await;
        }
    }
}

/// Tells the state after a step.
pub(crate) async fn tell_values(run: &mut Run) {
    let events = run.host.events.as_ref().filter(|events| events.wants(Kind::Values));
    if let Some(events) = events.cloned() {
        let state = &run.position.state;
        let is_root = events.namespace().is_empty();
        let data = if is_root { EventData::Values(snapshot(state)) } else { nested_values(&run.host.program, state) };
        events.tell(data).await;
        // The watcher first: a state that he has let go by then is changed in place.
        let mut has_waited = false;
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if replace(&mut has_waited, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// A state without its type.
fn nested_values(program: &Program, state: &AnyState) -> EventData<AnyState> {
    let mut values = LiveValues { program, state };
    let value = |name: &'static str| Some((Value::from(name), values.whole(name).ok().flatten()?));
    let channels = program.schema.channels().iter().map(|spec| spec.name);
    EventData::NestedValues(Value::Map(channels.filter_map(value).collect()))
}

/// Tells that finished steps are not stored, if the run's error says so.
pub(crate) async fn tell_rolled_back(run: &mut Run, error: &Error) {
    if let (Some(events), Some(steps)) = (run.host.events.clone(), error.rolled_back()) {
        events.begin_step(run.line.as_ref());
        let checkpoint = run.place().and_then(|place| place.checkpoint);
        events.tell(EventData::RolledBack { steps, checkpoint }).await;
    }
}
