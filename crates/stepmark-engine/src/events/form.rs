//! What does an event look like to a program that has none of these types?
//!
//! A browser behind a server, for instance: every event has the same head, and under `data` what its `kind` says. Ids are
//! text, times microseconds.

use std::collections::BTreeMap;

use serde::ser::{Serialize, Serializer};
use stepmark_core::checkpoint::Source;
use stepmark_core::interrupt::Asker;

use super::{DebugEvent, Event, EventData, FinishedTask, RunningTask, TaskUpdate, Written};
use crate::dynamic::Value;
use crate::history::{CheckpointInfo, TaskReport, WriteReport};
use crate::interrupt::OpenQuestion;

/// An event as its serialisation shows it.
#[derive(serde::Serialize)]
struct Form<'a, V> {
    position: String,
    kind: &'static str,
    step: u64,
    namespace: &'a str,
    thread: &'a str,
    branch: String,
    run: Option<String>,
    data: DataForm<'a, V>,
}

#[derive(serde::Serialize)]
#[serde(untagged)]
enum DataForm<'a, V> {
    Checkpoint(Box<CheckpointForm<'a>>),
    Task {
        id: String,
        #[serde(flatten)]
        report: TaskForm<'a>,
    },
    Update {
        id: String,
        node: &'a str,
        writes: BTreeMap<&'a str, WrittenForm<'a>>,
    },
    Interrupt(Box<QuestionForm<'a>>),
    State(&'a V),
    Value(&'a Value),
    Custom {
        #[serde(flatten)]
        task: RunningForm<'a>,
        name: &'a str,
        value: Option<&'a Value>,
        error: Option<String>,
    },
    Message {
        #[serde(flatten)]
        task: RunningForm<'a>,
        message: &'a str,
        chunk: &'a str,
        metadata: &'a Value,
    },
    Debug(DebugForm<'a>),
    RolledBack {
        steps: u64,
        checkpoint: Option<String>,
    },
    Nothing,
}

#[derive(serde::Serialize)]
struct CheckpointForm<'a> {
    id: String,
    parent: Option<String>,
    source: &'static str,
    created_at: i64,
    steps_covered: u32,
    tasks: Vec<TaskForm<'a>>,
    next: &'a [String],
    deferred: &'a [String],
    state_version: u32,
    author: Option<&'a str>,
    metadata: Option<&'a Value>,
}

#[derive(serde::Serialize)]
struct TaskForm<'a> {
    node: &'a str,
    trigger: u32,
    attempts: u32,
    started_at: i64,
    duration_us: u64,
    is_cached: bool,
    is_handled: bool,
    writes: Vec<&'a str>,
}

/// An attempt that tells something.
#[derive(serde::Serialize)]
struct RunningForm<'a> {
    task: String,
    node: &'a str,
    attempt: u32,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum WrittenForm<'a> {
    Value(&'a Value),
    Items { first: u64, values: &'a [Value] },
    Write(&'a Value),
    Unshown,
}

#[derive(serde::Serialize)]
struct QuestionForm<'a> {
    id: String,
    asker: &'static str,
    node: &'a str,
    name: &'a str,
    asked_at: i64,
    question: &'a Value,
    answer_schema: Option<&'a str>,
    is_answered: bool,
}

#[derive(serde::Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
enum DebugForm<'a> {
    Started(RunningForm<'a>),
    Ended {
        #[serde(flatten)]
        task: RunningForm<'a>,
        error: Option<&'a str>,
    },
    Flushed {
        results: usize,
    },
    Committed {
        checkpoint: String,
    },
}

/// As a map: `position`, `kind`, `step`, `namespace`, `thread`, `branch`, `run` and `data`. In JSON, what a server sends.
impl<S: Serialize> Serialize for Event<S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let form = Form {
            position: self.position.to_string(),
            kind: kind(&self.data),
            step: self.step,
            namespace: &self.namespace,
            thread: &self.thread,
            branch: self.branch.to_string(),
            run: self.run.as_ref().map(ToString::to_string),
            data: data(&self.data),
        };
        form.serialize(serializer)
    }
}

fn kind<V>(data: &EventData<V>) -> &'static str {
    match data {
        EventData::Checkpoint(_) => "checkpoint",
        EventData::Task(_) => "task",
        EventData::Update(_) => "update",
        EventData::Interrupt(_) => "interrupt",
        EventData::Values(_) | EventData::NestedValues(_) => "values",
        EventData::Custom(_) => "custom",
        EventData::Message(_) => "message",
        EventData::Debug(_) => "debug",
        EventData::RolledBack { .. } => "rolled_back",
        EventData::Gap => "gap",
    }
}

fn data<S>(data: &EventData<crate::node::Snap<S>>) -> DataForm<'_, S> {
    match data {
        EventData::Checkpoint(info) => DataForm::Checkpoint(Box::new(checkpoint(info))),
        EventData::Task(FinishedTask { id, report }) => DataForm::Task { id: id.to_string(), report: task(report) },
        EventData::Update(TaskUpdate { id, node, writes }) => {
            let writes = writes.iter().map(|write| (write.channel.as_str(), written(&write.written)));
            DataForm::Update { id: id.to_string(), node, writes: writes.collect() }
        }
        EventData::Interrupt(asked) => DataForm::Interrupt(Box::new(question(asked))),
        EventData::Values(state) => DataForm::State(state),
        EventData::NestedValues(state) => DataForm::Value(state),
        EventData::Custom(emitted) => {
            let error = emitted.value.as_ref().err().map(ToString::to_string);
            let (name, value) = (&emitted.name, emitted.value.as_ref().ok());
            DataForm::Custom { task: running(&emitted.task), name, value, error }
        }
        EventData::Message(part) => {
            let (message, chunk, metadata) = (&part.id, &part.chunk, &part.metadata);
            DataForm::Message { task: running(&part.task), message, chunk, metadata }
        }
        EventData::Debug(event) => DataForm::Debug(debug(event)),
        EventData::RolledBack { steps, checkpoint } => {
            DataForm::RolledBack { steps: *steps, checkpoint: checkpoint.as_ref().map(ToString::to_string) }
        }
        EventData::Gap => DataForm::Nothing,
    }
}

fn checkpoint(info: &CheckpointInfo) -> CheckpointForm<'_> {
    let source = match info.source {
        Source::Input => "input",
        Source::Step => "step",
        Source::Update => "update",
        Source::Fork => "fork",
    };
    CheckpointForm {
        id: info.id.to_string(),
        parent: info.parent.as_ref().map(ToString::to_string),
        source,
        created_at: info.created_at,
        steps_covered: info.steps_covered,
        tasks: info.tasks.iter().map(task).collect(),
        next: &info.next,
        deferred: &info.deferred,
        state_version: info.state_version,
        author: info.author.as_deref(),
        metadata: info.metadata.as_ref(),
    }
}

fn task(report: &TaskReport) -> TaskForm<'_> {
    let TaskReport { node, trigger, attempts, started_at, duration, is_cached, is_handled, writes } = report;
    TaskForm {
        node,
        trigger: *trigger,
        attempts: *attempts,
        started_at: *started_at,
        duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
        is_cached: *is_cached,
        is_handled: *is_handled,
        writes: writes.iter().map(|WriteReport { channel, .. }| channel.as_str()).collect(),
    }
}

fn running(RunningTask { id, node, attempt }: &RunningTask) -> RunningForm<'_> {
    RunningForm { task: id.to_string(), node, attempt: *attempt }
}

fn written(written: &Written) -> WrittenForm<'_> {
    match written {
        Written::Value(value) => WrittenForm::Value(value),
        Written::Items { first, values } => WrittenForm::Items { first: *first, values },
        Written::Write(write) => WrittenForm::Write(write),
        Written::Unshown => WrittenForm::Unshown,
    }
}

fn question(asked: &OpenQuestion) -> QuestionForm<'_> {
    let by = match asked.asker {
        Asker::Task => "task",
        Asker::Before => "before",
        Asker::After => "after",
    };
    QuestionForm {
        id: asked.id.to_string(),
        asker: by,
        node: &asked.node,
        name: &asked.name,
        asked_at: asked.asked_at,
        question: &asked.question,
        answer_schema: asked.answer_schema.as_deref(),
        is_answered: asked.is_answered,
    }
}

fn debug(event: &DebugEvent) -> DebugForm<'_> {
    match event {
        DebugEvent::Started(task) => DebugForm::Started(running(task)),
        DebugEvent::Ended { task, error } => DebugForm::Ended { task: running(task), error: error.as_deref() },
        DebugEvent::Flushed { results } => DebugForm::Flushed { results: *results },
        DebugEvent::Committed { checkpoint } => DebugForm::Committed { checkpoint: checkpoint.to_string() },
    }
}
