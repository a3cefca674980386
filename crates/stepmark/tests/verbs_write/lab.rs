//! What do these tests run? One desk, where texts are planned, written, reviewed and published, on every store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stepmark::run::CheckpointId;
use stepmark::store::{CheckpointStore, ThreadQuery};
use stepmark::{
    Add, App, Append, Cx, Dep, END, Graph, MemoryStore, NodeError, NodeResult, Route, Snap, Sqlite, State, Thread,
    Update, to,
};
use stepmark_conformance::call::{Call, Intercept, Intercepted, Reply};
use stepmark_core::error::Result;
use stepmark_core::rows::RunStatus;
use tempfile::TempDir;
use tokio::sync::Notify;

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Desk {
    pub(crate) text: String,
    #[reduce(Append)]
    pub(crate) log: Vec<String>,
    #[reduce(Add)]
    pub(crate) words: u32,
    pub(crate) approved: bool,
}

/// What the nodes do beside their work, and what they did.
#[derive(Default)]
pub(crate) struct Orders {
    /// Every call: node and task.
    calls: Mutex<Vec<(String, String)>>,
    /// How many calls of a node fail before one succeeds.
    failures: Mutex<HashMap<String, u32>>,
    /// A node that stops in its call until it is told to go on.
    held: Mutex<Option<String>>,
    pub(crate) entered: Notify,
    pub(crate) go_on: Notify,
}

impl Orders {
    pub(crate) fn fail(&self, node: &str, times: u32) {
        self.failures.lock().expect("nobody panics with it").insert(node.to_owned(), times);
    }

    pub(crate) fn hold(&self, node: &str) {
        *self.held.lock().expect("nobody panics with it") = Some(node.to_owned());
    }

    /// The nodes that were called since this was asked last.
    pub(crate) fn called(&self) -> Vec<String> {
        self.tasks().into_iter().map(|(node, _)| node).collect()
    }

    /// The same with their tasks.
    pub(crate) fn tasks(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.calls.lock().expect("nobody panics with it"))
    }
}

/// A store with an application over it.
pub(crate) struct Lab {
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) orders: Arc<Orders>,
    _directory: Option<TempDir>,
}

impl Lab {
    pub(crate) fn in_memory() -> Self {
        Self { store: Arc::new(MemoryStore::new()), orders: Arc::default(), _directory: None }
    }

    pub(crate) fn sealed() -> Self {
        Self { store: Arc::new(crate::sealed::sealed_memory()), orders: Arc::default(), _directory: None }
    }

    pub(crate) fn on_sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Sqlite::open(directory.path().join("desk.db")).expect("opens");
        Self { store: Arc::new(store), orders: Arc::default(), _directory: Some(directory) }
    }

    /// A process of its own: it shares the store and nothing else.
    pub(crate) fn desk(&self) -> App<Desk> {
        self.over(Arc::clone(&self.store))
    }

    /// The same over a wrapped store.
    pub(crate) fn over(&self, store: Arc<dyn CheckpointStore>) -> App<Desk> {
        desk().build().expect("a graph").with(Intercepted::around(store, Through)).provide(Arc::clone(&self.orders))
    }

    /// `left` and `right` beside each other, `both` after both.
    pub(crate) fn pair(&self) -> App<Desk> {
        let mut graph = Graph::<Desk>::new("pair");
        let (left, right) = (graph.node("left", work), graph.node("right", work));
        let both = graph.node("both", work);
        graph.start(left);
        graph.start(right);
        graph.join(to![left, right], both);
        let app = graph.build().expect("a graph").with(Intercepted::around(Arc::clone(&self.store), Through));
        app.provide(Arc::clone(&self.orders)).linger(std::time::Duration::ZERO)
    }

    /// The status of the run that last began on the thread.
    pub(crate) async fn status(&self, thread: &str) -> Option<RunStatus> {
        let query = ThreadQuery { scope: String::new(), after: None, limit: 10_000, waiting: false };
        let listed = self.store.threads(query).await.expect("listed").threads;
        listed.into_iter().find(|entry| entry.thread.name == thread).and_then(|entry| entry.status)
    }
}

/// plan → write → review → publish, if it is approved.
fn desk() -> Graph<Desk> {
    let mut graph = Graph::<Desk>::new("desk");
    let [plan, write, review, publish] = ["plan", "write", "review", "publish"].map(|name| graph.node(name, work));
    graph.start(plan);
    graph.edge(plan, write);
    graph.edge(write, review);
    graph.branch(review, to![publish, END], move |desk| match desk.text.as_str() {
        "!" => panic!("no text"),
        "?" => plan.into(),
        _ if desk.approved => publish.into(),
        _ => Route::END,
    });
    graph
}

async fn work(desk: Snap<Desk>, cx: Cx<Desk>, orders: Dep<Arc<Orders>>) -> NodeResult<Update<Desk>> {
    let node = cx.node();
    orders.calls.lock().expect("nobody panics with it").push((node.to_owned(), cx.task_id().to_string()));
    if orders.held.lock().expect("nobody panics with it").as_deref() == Some(node) {
        orders.entered.notify_one();
        orders.go_on.notified().await;
    }
    if let Some(left) = orders.failures.lock().expect("nobody panics with it").get_mut(node)
        && *left > 0
    {
        *left -= 1;
        return Err(NodeError::new("the line is busy"));
    }
    let mut update = desk.update();
    update.log.push(node.to_owned());
    update.words.add(1);
    Ok(update)
}

/// The ids of a branch's checkpoints, oldest first.
pub(crate) async fn line(thread: &Thread<Desk>) -> Vec<CheckpointId> {
    let mut ids: Vec<_> =
        thread.history().await.expect("readable").iter().map(|checkpoint| checkpoint.id.clone()).collect();
    ids.reverse();
    ids
}

/// The id of a branch's tip.
pub(crate) async fn tip(thread: &Thread<Desk>) -> CheckpointId {
    line(thread).await.pop().expect("it has a checkpoint")
}

/// How many checkpoints and branches a thread has.
pub(crate) async fn size(thread: &Thread<Desk>) -> (usize, usize) {
    let checkpoints = thread.history().all_branches().await.expect("readable").len();
    (checkpoints, thread.branches().await.expect("readable").len())
}

#[derive(Debug)]
struct Through;

#[async_trait]
impl Intercept for Through {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        call.run(store).await
    }
}

/// Runs each promise on each store.
macro_rules! on_every_store {
    ($($promise:ident,)*) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(&crate::lab::Lab::in_memory()).await;
            })*
        }

        mod on_sqlite {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(&crate::lab::Lab::on_sqlite()).await;
            })*
        }

        mod sealed {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(&crate::lab::Lab::sealed()).await;
            })*
        }
    };
}
pub(crate) use on_every_store;
