//! The Stepmark engine: graph to program to super-steps, over the store seam.
//!
//! Internal: use the `stepmark` crate.

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
// Macros generate paths into `stepmark`; in this crate's own tests that is this crate.
#[cfg(test)]
extern crate self as stepmark;

// The typed layer: what users write.
mod state;
mod reducer;
mod slot;
mod change;
mod encode;
mod raw;
mod node;
mod node_error;
mod context;
mod handle;
mod parent;
mod retry;
mod policy;
mod handler;
mod cache;
mod deps;
mod items;

// From a drawing to a program.
mod graph;
mod compile;
mod graph_record;
mod schema;
mod schema_lock;

// What callers hold.
mod app;
mod thread;
mod interrupt;
mod answer;
mod answer_schema;
mod answer_update;
mod questions;
mod search;
mod watch;
mod blocking;
mod bell;
mod input;
mod start;
mod hooks;
mod request;
mod metadata;
mod resume;
mod resume_up_to;
mod drain;
#[cfg(feature = "signals")]
mod signals;
mod update;
mod fork;
mod fork_to;
mod pointer;
mod history;
mod nested;
mod dynamic;
mod outcome;
mod events;
mod stream;
mod follow;
mod error;
mod check_stored;
pub mod diff;

// Programs without a graph.
mod functional;

// Values without a graph.
mod plain;

// The flow of a run, top to bottom.
mod run;
mod run_info;
mod load;
mod evolve;
mod scope;
mod rare;
mod step;
mod durability;
mod pipeline;
mod exit;
mod execute;
mod attempt;
mod tries;
mod time_limit;
mod flush;
mod journal;
mod desk;
mod beside;
mod durable_step;
mod effect;
mod subgraph;
mod subgraph_node;
mod waiting;
mod apply;
mod plan;
mod commit;
mod decide;
mod position;
mod values;

pub use answer::AnswerRequest;
pub use app::{App, CONCURRENCY_MAX_DEFAULT, LINGER_DEFAULT, STEPS_MAX_DEFAULT};
pub use blocking::{Blocking, BlockingApp, BlockingItems, BlockingThread};
pub use cache::Cache;
pub use check_stored::{StoredCheck, StoredProblem};
pub use drain::Drain;
pub use durability::Durability;
pub use durable_step::{DurableStep, Race, Won};
pub use dynamic::Value;
pub use effect::{
    ChangedAnswer, ChangedEffect, EffectBusy, EffectCall, EffectError, EffectInfo, EffectMismatch, EffectNotDone,
    EffectState, EffectUnknown, IdempotencyKey, OnMismatch, Unknown, UnknownAnswer, UnknownEffect,
};
pub use error::{Error, ErrorKind, Failure, Result, RunPlace};
pub use events::{
    ChannelWrite, DebugEvent, Emitted, Event, EventData, FinishedTask, Kind, MessageChunk, Position as EventPosition,
    RunningTask, TaskUpdate, Written,
};
pub use follow::{Events, EventsRequest};
pub use fork::Fork;
pub use functional::{Call, Entry, EntryUpdate, Final, Returned, Stored, entrypoint};
pub use graph::Graph;
pub use graph_record::{ChannelRecord, GraphRecord, JoinRecord, NodeRecord, QuestionRecord};
pub use handler::TaskFailure;
pub use history::{
    BranchInfo, Checkpoint, CheckpointInfo, Filter, History, Page, Progress, Snapshot, TaskReport, UnfinishedTask,
    WriteReport,
};
pub use hooks::{InterruptEvent, ResumeEvent};
pub use input::Input;
pub use interrupt::{Ask, OpenQuestion, Question};
pub use items::{DeleteItem, FindItems, FindNamespaces, FoundItems, FoundNamespaces, Item, Items, PutItem};
pub use nested::{Nested, NestedAt, NestedUpdate, SubGraphInfo};
pub use outcome::{Ending, Outcome, Stats};
pub use plain::{Checkpoints, Saved};
pub use pointer::TagInfo;
pub use questions::{QuestionPage, Questions};
pub use request::{MAIN_BRANCH, OnPending, Request};
pub use search::{ChannelSize, EffectPage, ThreadEffect, ThreadInfo, ThreadPage, ThreadSizes, Threads, UnknownEffects};
pub use stream::{BUFFER_DEFAULT, EventStream, StreamRequest};
pub use subgraph_node::{MappedSubGraph, SubGraph};
pub use thread::{At, Thread};
pub use update::{AsNode, ManualUpdate};
pub use watch::Watch;

pub use change::{Change, Changes};
pub use context::{Ctx, ExecInfo, RemainingSteps};
pub use deps::Deps;
pub use encode::{Body, DecodeError, EncodeError, Entries};
pub use handle::{END, End, IntoRoutes, NodeRef, Route, TargetId};
pub use node::{Command, Cx, Dep, FromCx, Goto, In, IntoNodeOutput, Node, NodeOutput, Snap};
pub use node_error::{NodeError, NodeErrorKind, NodeResult, TimeLimit};
pub use policy::{Attempts, NodePolicy};
pub use raw::{RawError, RawState};
pub use reducer::{
    Add, AddSlot, AddWrite, Append, AppendSlot, AppendWrite, ById, ByIdSlot, ByIdWrite, HasId, Last, Merge, MergeSlot,
    MergeWrite, Number, Reducer, Replace, TextSlot,
};
pub use retry::{Backoff, Retry};
pub use schema_lock::{SchemaError, check_schema};
pub use slot::{PushSlot, SetSlot, Slot};
pub use state::{ChannelSpec, Keep, Migration, Shape, State, StateUpdate, Update};
