//! What do these tests run? Graphs of nodes that note their names, over any store, killed at any of its calls.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stepmark::store::{CheckpointStore, Load, ThreadAddress};
use stepmark::{App, Append, Cx, Error, Graph, MemoryStore, NodeRef, Snap, Sqlite, State, Thread, Update};
use stepmark_conformance::call::{Call, Intercept, Intercepted, Reply};
use stepmark_conformance::{Fault, FaultPlan, FaultStore};
use stepmark_core::checkpoint::Payload;
use stepmark_core::error::Result as StoreResult;
use tempfile::TempDir;

/// More calls than any run of these tests makes.
const CALLS_MAX: u64 = 400;

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Log {
    pub(crate) words: Vec<String>,
    #[reduce(Append)]
    pub(crate) ran: Vec<String>,
}

/// Notes the node's name.
pub(crate) async fn note(log: Snap<Log>, cx: Cx<Log>) -> Update<Log> {
    let mut update = log.update();
    update.ran.push(cx.node().to_owned());
    update
}

/// A graph whose nodes note their names.
pub(crate) fn notes<const N: usize>(names: [&str; N]) -> (Graph<Log>, [NodeRef<Log>; N]) {
    let mut graph = Graph::new("notes");
    let nodes = names.map(|name| graph.node(name, note));
    (graph, nodes)
}

/// A store for one test.
pub(crate) struct Lab {
    store: Arc<dyn CheckpointStore>,
    _directory: Option<TempDir>,
}

impl Lab {
    pub(crate) fn in_memory() -> Self {
        Self { store: Arc::new(MemoryStore::new()), _directory: None }
    }

    pub(crate) fn sealed() -> Self {
        Self { store: Arc::new(crate::sealed::sealed_memory()), _directory: None }
    }

    pub(crate) fn on_sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Sqlite::open(directory.path().join("commands.db")).expect("opens");
        Self { store: Arc::new(store), _directory: Some(directory) }
    }

    /// A process of its own: it shares the store and nothing else.
    pub(crate) fn app<S: State>(&self, graph: Graph<S>) -> App<S> {
        graph.build().expect("a graph").with(Intercepted::around(Arc::clone(&self.store), Through))
    }

    /// At which heights the payloads of a thread's planned and deferred tasks are stored as values.
    pub(crate) async fn payload_heights(&self, thread: &str) -> Vec<u64> {
        let address = ThreadAddress::Name { scope: String::new(), name: thread.to_owned() };
        let loaded = self.store.load(Load::head(address)).await.expect("loads");
        let manifest = loaded.checkpoint.expect("has one").read_manifest().expect("readable");
        let payloads = manifest.next.iter().chain(&manifest.deferred).map(|task| &task.payload);
        let heights = payloads.filter_map(|payload| match payload {
            Payload::Value(value) => Some(value.address.height),
            Payload::None | Payload::Inline(_) => None,
        });
        heights.collect()
    }

    /// The same, killed at its `number`-th call.
    fn dying<S: State>(&self, graph: Graph<S>, (number, fault): (u64, Fault)) -> (App<S>, Arc<FaultStore>) {
        let store = Arc::new(FaultStore::new(Arc::clone(&self.store), FaultPlan::nth(number, fault)));
        (graph.build().expect("a graph").with(Intercepted::around(store.clone(), Through)), store)
    }
}

/// A process that is killed at every store call in turn, before it and after it; what another makes of it.
pub(crate) async fn killed_anywhere<S: State>(
    lab: &Lab,
    graph: impl Fn() -> Graph<S>,
    (begin, go_on): (impl AsyncFn(&Thread<S>) -> Result<(), Error>, impl AsyncFn(&Thread<S>)),
) -> u64 {
    let mut killed = 0;
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        for number in 0..CALLS_MAX {
            let name = format!("{fault:?} {number}");
            let (app, store) = lab.dying(graph(), (number, fault));
            let ended = Box::pin(begin(&app.thread(&name))).await;
            if store.struck() == 0 {
                ended.expect("nobody killed it");
                break;
            }
            killed += 1;
            Box::pin(go_on(&lab.app(graph()).thread(&name))).await;
        }
    }
    killed
}

/// Every checkpoint of a branch, oldest first: the tasks that it applied, what is next and what waits.
pub(crate) async fn told<S: State>(thread: &Thread<S>) -> Vec<String> {
    let history = thread.history().await.expect("readable");
    let shown = history.iter().rev().map(|checkpoint| {
        let tasks = checkpoint.tasks.iter().map(|task| format!("{}.{}", task.node, task.trigger));
        let (next, deferred) = (checkpoint.next.join(" "), checkpoint.deferred.join(" "));
        format!("{} > {next} | {deferred}", tasks.collect::<Vec<_>>().join(" "))
    });
    shown.collect()
}

#[derive(Debug)]
struct Through;

#[async_trait]
impl Intercept for Through {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> StoreResult<Reply> {
        call.run(store).await
    }
}

/// Runs each promise on each store.
macro_rules! on_every_store {
    ($($promise:ident,)*) => {
        mod in_memory {
            $(#[tokio::test(start_paused = true)]
            async fn $promise() {
                super::$promise(&crate::lab::Lab::in_memory()).await;
            })*
        }

        mod on_sqlite {
            $(#[tokio::test(start_paused = true)]
            async fn $promise() {
                super::$promise(&crate::lab::Lab::on_sqlite()).await;
            })*
        }

        mod sealed {
            $(#[tokio::test(start_paused = true)]
            async fn $promise() {
                super::$promise(&crate::lab::Lab::sealed()).await;
            })*
        }
    };
}
pub(crate) use on_every_store;
