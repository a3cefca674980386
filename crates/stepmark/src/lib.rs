//! Durable state graphs for AI agents: git for agent state, with crash recovery.
//!
//! An agent is a [`Graph`] of nodes over a typed [`State`]. Every super-step is committed as a checkpoint; a crash
//! resumes at the exact unfinished task; any past moment can be read, forked and run on.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use stepmark::{Append, Graph, MemoryStore, NodeResult, Snap, State, Update};
//!
//! #[derive(State, Clone, Default, Serialize, Deserialize)]
//! struct Report {
//!     topic: String,
//!     #[reduce(Append)]
//!     notes: Vec<String>,
//! }
//!
//! async fn research(report: Snap<Report>) -> NodeResult<Update<Report>> {
//!     let mut update = report.update();
//!     update.notes.push(format!("read about {}", report.topic));
//!     Ok(update)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> stepmark::Result<()> {
//! let mut graph = Graph::<Report>::new("report");
//! let research = graph.node("research", research);
//! graph.start(research);
//! let app = graph.build()?.with(MemoryStore::new());
//!
//! let thread = app.thread("t1");
//! let outcome = thread.input(|report| report.topic.set("rust".into())).run().await?;
//! assert_eq!(outcome.state().notes, ["read about rust"]);
//! assert_eq!(thread.history().await?.len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `sqlite` (default) | [`Sqlite`]: threads in one file |
//! | `postgres` | `PostgresStore`: threads in a database that several machines share |
//! | `redis` | `RedisStore`: threads in a Redis server, which may expire |
//! | `object` | `Objects`: threads as objects in a directory, or wherever the `object_store` crate reaches |
//! | `s3` | `Objects::in_bucket`: the same in a bucket that speaks S3 |
//! | `tls` | encrypted connections of such stores |
//! | `compression` | `store::codec`: large values are kept compressed |
//! | `encryption` | `store::codec`: what a thread holds is sealed with keys of its own |
//! | `open` | `open`: one URL opens any of these stores |
//! | `metrics` | `store::meter`: what goes through a store is told to `metrics` and `tracing` |
//! | `schemars` | JSON schemas of answers and states: `#[question(schema)]`, `#[state(schema)]` |
//! | `signals` | `App::drain_on_signals`: a process that is told to end ends its runs first |
//! | `upkeep` | `upkeep`: threads are exported, imported, copied, verified and pruned |
//! | `testing` | `testing`: does a graph of yours recover from a crash at every write? Stores that fail on purpose |

#[doc(hidden)]
pub use stepmark_engine::__private;

// Drawing a graph.
pub use stepmark_engine::{
    Command, Ctx, Cx, Dep, END, ExecInfo, Goto, Graph, In, NodeError, NodeRef, NodeResult, RemainingSteps, Retry,
    Route, Snap, Update, to,
};
pub use stepmark_engine::{Question, State};
pub use stepmark_macros::{Question, State, node};

// Running it.
pub use stepmark_core::memory::MemoryStore;
pub use stepmark_engine::{
    App, Durability, Ending, Error, ErrorKind, OnPending, Outcome, Result, Snapshot, Thread, Watch,
};
#[cfg(feature = "open")]
pub use stepmark_open::open;
#[cfg(feature = "object")]
pub use stepmark_store_object::Objects;
#[cfg(feature = "postgres")]
pub use stepmark_store_postgres::PostgresStore;
#[cfg(feature = "redis")]
pub use stepmark_store_redis::RedisStore;
#[cfg(feature = "sqlite")]
pub use stepmark_store_sqlite::Sqlite;

pub use evolution::{RawState, SchemaError, check_schema};
/// ```
/// use serde::{Deserialize, Serialize};
/// use stepmark::{Checkpoints, MemoryStore};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Progress {
///     index: usize,
///     words: usize,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> stepmark::Result<()> {
/// let documents = ["one two", "three", "four five six"];
/// let checkpoints = Checkpoints::new(MemoryStore::new());
/// let mut progress: Progress = checkpoints.load("count").await?.unwrap_or_default();
/// for document in &documents[progress.index..] {
///     progress.words += document.split_whitespace().count();
///     progress.index += 1;
///     checkpoints.save("count", &progress).await?;
/// }
/// assert_eq!(progress.words, 6);
///
/// let saves = checkpoints.list("count").await?;
/// assert_eq!(saves.iter().map(|save| save.number).collect::<Vec<_>>(), [2, 1, 0]);
/// assert_eq!(checkpoints.load_at("count", &saves[1].id).await?.words, 3);
///
/// checkpoints.delete("count").await?;
/// assert!(checkpoints.load("count").await?.is_none());
/// # Ok(())
/// # }
/// ```
pub use stepmark_engine::Checkpoints;

pub use reducer::{Add, Append, ById, HasId, Last, Merge, Replace};

/// How a state changes while old threads live on.
#[doc = include_str!("docs/evolution.md")]
pub mod evolution {
    pub use stepmark_engine::{Migration, RawError, RawState, SchemaError, Value, check_schema};
}

/// How writes combine with values, and what a reducer of your own needs.
pub mod reducer {
    pub use stepmark_engine::{
        Add, AddSlot, AddWrite, Append, AppendSlot, AppendWrite, ById, ByIdSlot, ByIdWrite, Change, EncodeError, HasId,
        Last, Merge, MergeSlot, MergeWrite, Number, PushSlot, Reducer, Replace, SetSlot, Slot, TextSlot,
    };
}

/// What nodes, branches and inputs are made of, for code that is generic over them.
///
/// An input can have a type of its own, which says what callers must give:
///
/// ```
/// use stepmark::graph::Input;
/// use stepmark::{Append, State, Update};
///
/// #[derive(State, Clone, Default, serde::Serialize, serde::Deserialize)]
/// struct Research {
///     query: String,
///     #[reduce(Append)]
///     sources: Vec<String>,
/// }
///
/// struct Ask {
///     query: String,
/// }
///
/// impl Input<Research> for Ask {
///     fn write(self, update: &mut Update<Research>) {
///         update.query.set(self.query);
///     }
/// }
/// // thread.input_of(Ask { query: "rust".into() }).run().await?
/// ```
///
/// A node returns a [`Command`], or a function that it calls does, such as a tool of a model:
///
/// ```
/// use stepmark::{Command, Graph, NodeRef, State, to};
///
/// #[derive(State, Clone, Default, serde::Serialize, serde::Deserialize)]
/// struct Chat {
///     reply: String,
/// }
///
/// fn refer(to: NodeRef<Chat>, why: &str) -> Command<Chat> {
///     Command::<Chat>::new().write(|chat| chat.reply.set(format!("referred: {why}"))).goto(to)
/// }
///
/// let mut graph = Graph::<Chat>::new("desk");
/// let billing = graph.node("billing", async || ());
/// let clerk = graph.node("clerk", move || async move { refer(billing, "an invoice") });
/// graph.start(clerk);
/// graph.goto(clerk, to![billing]);
/// assert!(graph.build().is_ok());
/// ```
pub mod graph {
    pub use stepmark_engine::{
        ChannelRecord, End, FromCx, GraphRecord, Input, IntoNodeOutput, IntoRoutes, JoinRecord, MappedSubGraph, Node,
        NodeOutput, NodeRecord, QuestionRecord, SubGraph, TargetId,
    };
}

#[doc = include_str!("docs/past.md")]
#[doc = include_str!("docs/verbs.md")]
#[doc = include_str!("docs/watch.md")]
pub mod run {
    pub use stepmark_core::checkpoint::{Origin, Source, Timestamp};
    pub use stepmark_core::id::{BranchId, CheckpointId, RunId, TaskHash};
    pub use stepmark_engine::{
        AsNode, At, BranchInfo, Checkpoint, CheckpointInfo, Failure, Filter, Fork, History, MAIN_BRANCH, ManualUpdate,
        Page, Progress, Request, RunPlace, Saved, Stats, StoredCheck, StoredProblem, TagInfo, TaskReport,
        UnfinishedTask, Value, WriteReport,
    };
}

#[doc = include_str!("docs/context.md")]
pub mod context {
    pub use stepmark_engine::{Ctx, ExecInfo, RemainingSteps};
}

pub mod items {
    #![doc = include_str!("docs/items.md")]

    pub use stepmark_core::capability::{Comparison, Filter, ItemCursor, ItemVersion, Namespace};
    pub use stepmark_engine::{
        DeleteItem, FindItems, FindNamespaces, FoundItems, FoundNamespaces, Item, Items, PutItem,
    };
}

#[doc = include_str!("docs/streaming.md")]
pub mod stream {
    pub use stepmark_core::id::TaskHash;
    pub use stepmark_engine::{
        BUFFER_DEFAULT, ChannelWrite, DebugEvent, Emitted, Event, EventData, EventPosition as Position, EventStream,
        Events, EventsRequest, FinishedTask, Kind, MessageChunk, RunningTask, StreamRequest, TaskUpdate, Written,
    };
}

#[doc = include_str!("docs/steps.md")]
pub mod steps {
    pub use stepmark_engine::{DurableStep, Race, Won};
}

#[doc = include_str!("docs/effects.md")]
pub mod effects {
    pub use stepmark_core::rows::EffectsMode;
    pub use stepmark_engine::{
        ChangedAnswer, ChangedEffect, EffectBusy, EffectCall, EffectError, EffectInfo, EffectMismatch, EffectNotDone,
        EffectState, EffectUnknown, IdempotencyKey, OnMismatch, Unknown, UnknownAnswer, UnknownEffect,
    };
}

#[doc = include_str!("docs/subgraphs.md")]
pub mod subgraphs {
    pub use stepmark_engine::{MappedSubGraph, Nested, NestedAt, NestedUpdate, SubGraph, SubGraphInfo};
}

pub mod robust {
    // Inside, where its links find what they name.
    #![doc = include_str!("docs/robust.md")]

    pub use stepmark_engine::{
        Attempts, Backoff, Cache, Drain, NodeErrorKind, NodePolicy, Retry, TaskFailure, TimeLimit,
    };
}

#[doc = include_str!("docs/interrupts.md")]
pub mod interrupt {
    pub use stepmark_core::id::InterruptId;
    pub use stepmark_core::interrupt::Asker;
    pub use stepmark_engine::{AnswerRequest, Ask, InterruptEvent, OpenQuestion, QuestionPage, Questions, ResumeEvent};
}

#[doc = include_str!("docs/search.md")]
pub mod search {
    pub use stepmark_core::capability::{ATTRIBUTE_BYTES_MAX, AttributeKind, AttributeValue, Cursor, Order};
    pub use stepmark_core::rows::RunStatus;
    pub use stepmark_engine::{
        ChannelSize, EffectPage, ThreadEffect, ThreadInfo, ThreadPage, ThreadSizes, Threads, UnknownEffects,
    };
}

#[doc = include_str!("docs/diff.md")]
pub mod diff {
    pub use stepmark_engine::diff::{
        ALIGNED_MAX, COMPARED_BYTES_MAX, COMPARED_ITEMS_MAX, Change, ChannelDiff, Diff, EntryDiff, ItemDiff, ListDiff,
        TextDiff, TextPart, TextUnit,
    };
}

#[doc = include_str!("docs/functional.md")]
pub mod functional {
    pub use stepmark_engine::{Call, Entry, EntryUpdate, Final, Returned, Stored, entrypoint};
}

#[doc = include_str!("docs/blocking.md")]
pub mod blocking {
    pub use stepmark_engine::{Blocking, BlockingApp, BlockingItems, BlockingThread};
}

/// Time and randomness, for tests that bring their own.
pub mod clock {
    pub use stepmark_core::clock::{Clock, IdGen, Sleep, SystemClock, SystemIds};
}

/// The store seam, for those who choose, wrap or write a store.
pub mod store {
    #[cfg(any(feature = "compression", feature = "encryption"))]
    pub use stepmark_codec as codec;
    pub use stepmark_core::capability::{
        Aged, AgedPage, AgedQuery, CheckpointPlace, Collect, Collected, DropBranch, Only, PendingKey, Removal, Repack,
        Retention, RowKey, ThreadState, Unlink, Unlinked,
    };
    pub use stepmark_core::capability::{
        Attribute, AttributeChange, CacheKey, Condition, Declaration, FoundPage, FoundThread, Restore, ResultCache,
        Row, RowClass, Rows, RowsPage, RowsQuery, Search, SearchQuery, Test,
    };
    pub use stepmark_core::capability::{
        ExpectItem, Item, ItemKey, ItemOrder, ItemPage, ItemSearch, ItemStamp, ItemWrite, Items, NamespacePage,
        NamespaceQuery,
    };
    pub use stepmark_core::error::{Error, ErrorKind, Subject};
    #[cfg(feature = "metrics")]
    pub use stepmark_core::meter;
    pub use stepmark_core::store::*;
    #[cfg(feature = "open")]
    pub use stepmark_open as open;
    #[cfg(feature = "object")]
    pub use stepmark_store_object as object;
    #[cfg(feature = "postgres")]
    pub use stepmark_store_postgres as postgres;
    #[cfg(feature = "redis")]
    pub use stepmark_store_redis as redis;
    #[cfg(feature = "sqlite")]
    pub use stepmark_store_sqlite as sqlite;
}

/// Threads that move between stores and files, are copied, are looked through for damage, and let go of what nobody needs.
///
/// A file is whole, or says where it is not; an import may be repeated after any crash. Nothing here needs the types of a
/// state, and a thread that is sealed moves as it is.
#[cfg(feature = "upkeep")]
pub mod upkeep {
    pub use stepmark_core::store::ThreadAddress;
    pub use stepmark_upkeep::*;
}

#[cfg(feature = "testing")]
pub mod testing;

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

#[cfg(all(doctest, feature = "open", feature = "upkeep"))]
#[doc = include_str!("../../../docs/operations.md")]
struct Operations;
