//! Is a run whose future is dropped, at whatever poll, as good as one that was killed there?

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use stepmark::graph::SubGraph;
use stepmark::store::{CheckpointStore, Error as StoreError};
use stepmark::{App, Cx, Dep, Durability, ErrorKind, Graph, In, MemoryStore, NodeError, NodeResult, Retry, Update, to};
use stepmark_conformance::call::{Call, Intercept, Intercepted, Reply};
use tokio::task::yield_now;

use crate::calls::{Work, logged};

/// A store that is waited for: before a call is sent, and before its answer is read.
#[derive(Debug)]
struct Slow;

#[async_trait]
impl Intercept for Slow {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply, StoreError> {
        yield_now().await;
        let reply = call.run(store).await;
        yield_now().await;
        reply
    }
}

/// Who runs. A process ends when its run is dropped; its nodes must not run on.
#[derive(Default)]
struct Watch {
    process: AtomicU32,
    alive: AtomicU32,
    zombies: AtomicU32,
}

/// A node's future, counted while it lives.
struct Alive(Arc<Watch>, u32);

impl Alive {
    fn new(watch: &Arc<Watch>) -> Self {
        watch.alive.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(watch), watch.process.load(Ordering::SeqCst))
    }

    /// Works, and notices whether its process has ended.
    async fn work(&self) {
        for _ in 0..3 {
            yield_now().await;
            let is_zombie = self.0.process.load(Ordering::SeqCst) != self.1;
            self.0.zombies.fetch_add(u32::from(is_zombie), Ordering::SeqCst);
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn plain(cx: Cx<Work>, watch: Dep<Arc<Watch>>) -> Update<Work> {
    Alive::new(&watch).work().await;
    logged(cx.node())
}

async fn send(watch: Dep<Arc<Watch>>, In(number): In<u32>) -> Update<Work> {
    Alive::new(&watch).work().await;
    logged(number.to_string())
}

/// Fails twice, and remembers a step.
async fn flaky(cx: Cx<Work>, watch: Dep<Arc<Watch>>) -> NodeResult<Update<Work>> {
    let alive = Alive::new(&watch);
    alive.work().await;
    let text = cx.step("text", || async { Ok::<_, NodeError>("a step".to_owned()) }).await?;
    // The count goes on over processes, so this does not depend on where the last one ended.
    if cx.attempt() < 3 {
        return Err(NodeError::new("not yet"));
    }
    alive.work().await;
    Ok(logged(text))
}

fn chain(graph: &mut Graph<Work>) {
    let [one, two, three] = ["one", "two", "three"].map(|name| graph.node(name, plain));
    graph.start(one);
    graph.edge(one, two);
    graph.edge(two, three);
}

fn fan_out(graph: &mut Graph<Work>) {
    let (plan, send, last) = (graph.node("plan", plain), graph.node("send", send), graph.node("last", plain));
    graph.start(plan);
    graph.branch(plan, to![send], move |_| (0..4).map(|number| send.send(number)).collect::<Vec<_>>());
    graph.edge(send, last);
}

fn pauses(graph: &mut Graph<Work>) {
    let ms = Duration::from_millis;
    draw_retries(graph, Retry::times(9).backoff(ms(1), 2.0, ms(1_000)));
}

fn retries(graph: &mut Graph<Work>) {
    draw_retries(graph, Retry::times(9));
}

fn draw_retries(graph: &mut Graph<Work>, retry: Retry) {
    let (flaky, beside, last) = (graph.node("flaky", flaky), graph.node("beside", plain), graph.node("last", plain));
    graph.policy(flaky).timeout(Duration::from_mins(1)).retry(retry);
    graph.start(flaky);
    graph.start(beside);
    graph.join([flaky.into(), beside.into()], last);
}

/// Graphs in graphs, each beside another.
fn nested(graph: &mut Graph<Work>) {
    fn inner(name: &str, draw: impl Fn(&mut Graph<Work>)) -> SubGraph<Work> {
        let mut graph = Graph::<Work>::new(name);
        draw(&mut graph);
        SubGraph::new(&graph.build().expect("a sound graph"))
    }
    fn beside(graph: &mut Graph<Work>) {
        for name in ["left", "right"] {
            let node = graph.node(name, plain);
            graph.start(node);
        }
    }
    let take = |inner: &Work, outer: &mut Update<Work>| outer.log.extend(inner.log.clone());
    for name in ["one", "two"] {
        let middle = inner("middle", |graph| {
            for name in ["up", "down"] {
                let node = graph.node(name, inner("innermost", beside).stateless().mapped(|_: &Work, _| (), take));
                graph.start(node);
            }
        });
        let node = graph.node(name, middle.stateless().mapped(|_: &Work, _| (), take));
        graph.start(node);
    }
}

/// A way to run a graph.
#[derive(Clone, Copy)]
struct Setup {
    draw: fn(&mut Graph<Work>),
    /// How deep its graphs lie in graphs.
    levels: u32,
    durability: Durability,
    linger: Duration,
    poll: Polls,
}

/// When a run is polled.
#[derive(Clone, Copy, PartialEq)]
enum Polls {
    /// When it is woken; time passes.
    Woken,
    /// At every turn of the runtime, so that its tasks are met at every one of their polls. No time passes.
    EveryTurn,
}

impl Setup {
    fn app(&self, store: &MemoryStore, watch: &Arc<Watch>) -> App<Work> {
        let mut graph = Graph::new("dropped");
        (self.draw)(&mut graph);
        let app = graph.build().expect("a sound graph").with(Intercepted::around(Arc::new(store.clone()), Slow));
        app.provide(Arc::clone(watch)).durability(self.durability).linger(self.linger)
    }

    /// Drops the run, and then its resume, at this poll, and runs to the end; `None` where the run ended before.
    async fn dropped_at(&self, poll: u32) -> Option<Vec<String>> {
        let (store, watch) = (MemoryStore::new(), Arc::new(Watch::default()));
        let thread = self.app(&store, &watch).thread("t");
        let run = thread.input(|work| work.log.push("input".into())).run();
        if self.polled(run, poll).await.is_some() {
            return None;
        }
        watch.process.fetch_add(1, Ordering::SeqCst);
        if poll.is_multiple_of(2) {
            // The tasks of the dropped run are let go by the runtime when it comes to them, each with those that it began.
            for _ in 0..self.levels {
                yield_now().await;
            }
            assert_eq!(watch.alive.load(Ordering::SeqCst), 0, "dropped at poll {poll}, and a node lives on");
        }
        drop(self.polled(self.run_to_the_end(&self.app(&store, &watch)), poll).await);
        watch.process.fetch_add(1, Ordering::SeqCst);
        let log = self.run_to_the_end(&self.app(&store, &watch)).await;
        assert_eq!(watch.zombies.load(Ordering::SeqCst), 0, "dropped at poll {poll}, and a node ran on");
        assert_eq!(watch.alive.load(Ordering::SeqCst), 0);
        Some(log)
    }

    /// What a user does after a crash: resume, and say again what was not taken.
    async fn run_to_the_end(self, app: &App<Work>) -> Vec<String> {
        let thread = app.thread("t");
        let resumed = match thread.resume().await {
            Ok(outcome) => outcome.state().log.clone(),
            Err(error) if error.kind() == ErrorKind::Missing => Vec::new(),
            Err(error) => panic!("it cannot be resumed: {error}"),
        };
        if !resumed.is_empty() {
            return resumed;
        }
        let outcome = thread.input(|work| work.log.push("input".into())).run().await.expect("it was not taken before");
        outcome.state().log.clone()
    }

    async fn check(&self) {
        let (store, watch) = (MemoryStore::new(), Arc::new(Watch::default()));
        let clean = self.run_to_the_end(&self.app(&store, &watch)).await;
        let mut polls = 0;
        while let Some(log) = self.dropped_at(polls).await {
            assert_eq!(log, clean, "dropped at poll {polls}");
            polls += 1;
        }
        assert!(polls > 8, "a run of {polls} polls is no test");
    }

    /// Polls `work` so often; what it came to, if it did.
    async fn polled<T>(&self, work: impl Future<Output = T>, polls: u32) -> Option<T> {
        let mut work = Box::pin(work);
        let mut made = 0;
        poll_fn(|cx| {
            if made == polls {
                return Poll::Ready(None);
            }
            made += 1;
            if self.poll == Polls::EveryTurn {
                cx.waker().wake_by_ref();
            }
            work.as_mut().poll(cx).map(Some)
        })
        .await
    }
}

async fn check_all(draw: fn(&mut Graph<Work>), poll: Polls) {
    check_deep(draw, 1, poll).await;
}

async fn check_deep(draw: fn(&mut Graph<Work>), levels: u32, poll: Polls) {
    for durability in [Durability::Sync, Durability::Async { behind_max: 3 }, Durability::Exit] {
        for linger in [Duration::ZERO, Duration::from_millis(5)] {
            Setup { draw, levels, durability, linger, poll }.check().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_is_dropped_at_any_poll_ends_as_a_clean_run() {
    check_all(chain, Polls::EveryTurn).await;
}

#[tokio::test(start_paused = true)]
async fn a_fan_out_that_is_dropped_at_any_poll_ends_as_a_clean_run() {
    check_all(fan_out, Polls::Woken).await;
    check_all(fan_out, Polls::EveryTurn).await;
}

#[tokio::test(start_paused = true)]
async fn retries_that_are_dropped_at_any_poll_end_as_a_clean_run() {
    check_all(pauses, Polls::Woken).await;
    check_all(retries, Polls::EveryTurn).await;
}

#[tokio::test(start_paused = true)]
async fn graphs_in_graphs_that_are_dropped_at_any_poll_end_as_a_clean_run() {
    check_deep(nested, 3, Polls::EveryTurn).await;
}
