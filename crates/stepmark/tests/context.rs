//! What does a node know of its run, and of whoever called it?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use stepmark::graph::SubGraph;
use stepmark::{
    App, Append, Ctx, Cx, Durability, Ending, ErrorKind, ExecInfo, Graph, MemoryStore, NodeError, NodeResult, Question,
    RemainingSteps, Snap, State, Update,
};

#[derive(State, Clone, Debug, Default)]
struct Log {
    rounds: u32,
    #[reduce(Append)]
    lines: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Tenant(&'static str);

#[derive(Debug)]
struct Budget(u32);

#[derive(Question, Serialize, Deserialize)]
#[question(answer = bool)]
struct Approve;

fn line(text: impl Into<String>) -> Update<Log> {
    let mut update = Update::<Log>::default();
    update.lines.push(text.into());
    update
}

async fn who(tenant: Ctx<Tenant>, budget: Option<Ctx<Budget>>) -> Update<Log> {
    line(format!("{} {:?}", tenant.0, budget.map(|budget| budget.0)))
}

/// A graph of one node on a new store.
fn one<M>(node: impl stepmark::graph::Node<Log, M>) -> App<Log> {
    let mut graph = Graph::<Log>::new("one");
    let node = graph.node("only", node);
    graph.start(node);
    graph.build().expect("valid").with(MemoryStore::new())
}

#[tokio::test]
async fn a_run_has_the_context_that_its_call_gave() {
    let app = one(who);
    let thread = app.thread("t");
    let first = thread.input(|_| ()).context(Tenant("ada")).context(Budget(3)).run().await.expect("runs");
    assert_eq!(first.state().lines, ["ada Some(3)"]);
    let second = thread.input(|_| ()).context(Tenant("bob")).run().await.expect("runs");
    assert_eq!(second.state().lines, ["ada Some(3)", "bob None"]);
}

#[tokio::test]
async fn a_run_without_it_fails_by_node_and_type_and_goes_on_with_it() {
    let app = one(who);
    let thread = app.thread("t");
    let error = thread.input(|_| ()).context(Budget(1)).run().await.expect_err("nobody said for whom");
    assert_eq!(error.kind(), ErrorKind::NodeFailed);
    let text = error.to_string();
    assert!(text.contains("\"only\"") && text.contains("Tenant") && text.contains(".context("), "{text}");
    let outcome = thread.resume().context(Tenant("ada")).run().await.expect("runs");
    assert_eq!(outcome.state().lines, ["ada None"], "nothing of the first call's context was kept");
}

#[tokio::test]
async fn an_applications_context_is_the_default() {
    let app = one(who).context(Tenant("nobody")).context(Budget(1));
    let outcome = app.run_in_memory(|_| ()).await.expect("runs");
    assert_eq!(outcome.state().lines, ["nobody Some(1)"]);
    let outcome = app.thread("t").input(|_| ()).context(Tenant("ada")).run().await.expect("runs");
    assert_eq!(outcome.state().lines, ["ada Some(1)"]);
}

#[tokio::test]
async fn answers_and_replays_bring_their_own_context() {
    async fn ask(cx: Cx<Log>, tenant: Ctx<Tenant>) -> NodeResult<Update<Log>> {
        let yes = cx.interrupt(Approve).await?;
        Ok(line(format!("{} says {yes}", tenant.0)))
    }
    let app = one(ask);
    let thread = app.thread("t");
    let asked = thread.input(|_| ()).context(Tenant("ada")).run().await.expect("asks");
    let question = asked.question::<Approve>().expect("it is open");
    let answered = thread.answer(question, true).context(Tenant("bob")).run().await.expect("goes on");
    assert_eq!(answered.state().lines, ["bob says true"]);

    let input = thread.at_step(0).await.expect("it is there");
    let replayed = input.replay().context(Tenant("eve")).run().await.expect("asks again");
    assert!(replayed.is_interrupted());
    let other = thread.branch(replayed.branch().expect("it has one"));
    let question = replayed.question::<Approve>().expect("it is open");
    let answered = other.answer(question, false).context(Tenant("eve")).run().await.expect("goes on");
    assert_eq!(answered.state().lines, ["eve says false"]);
}

#[tokio::test]
async fn helpers_extract_what_arguments_could_be() {
    async fn node(cx: Cx<Log>) -> NodeResult<Update<Log>> {
        let tenant: Ctx<Tenant> = cx.extract()?;
        let RemainingSteps(left) = cx.extract()?;
        Ok(line(format!("{} {left}", tenant.0)))
    }
    let outcome = one(node).thread("t").input(|_| ()).context(Tenant("ada")).steps_max(7).run().await.expect("runs");
    assert_eq!(outcome.state().lines, ["ada 7"]);
}

/// Counts down to the last step that it needs.
async fn count(log: Snap<Log>, left: RemainingSteps) -> Update<Log> {
    let mut update = line(format!("{} left{}", left.0, if left.is_last_step() { ", the last" } else { "" }));
    update.rounds.set(log.rounds - 1);
    update
}

fn counting() -> App<Log> {
    let mut graph = Graph::<Log>::new("counting");
    let count = graph.node("count", count);
    graph.start(count);
    graph.branch(count, stepmark::to![count, stepmark::END], move |log: &Log| {
        if log.rounds == 0 { stepmark::Route::END } else { count.into() }
    });
    graph.build().expect("valid").with(MemoryStore::new())
}

#[tokio::test]
async fn remaining_steps_are_exact() {
    let app = counting();
    for durability in [Durability::Sync, Durability::ASYNC, Durability::Exit] {
        let thread = app.thread(format!("{durability:?}"));
        let request = thread.input(|log| log.rounds.set(3)).steps_max(3).durability(durability);
        let outcome = request.run().await.expect("three steps are enough");
        assert_eq!(outcome.ending(), Ending::Done);
        assert_eq!(outcome.state().lines, ["3 left", "2 left", "1 left, the last"], "{durability:?}");
    }
    let outcome = app.steps_max(4).run_in_memory(|log| log.rounds.set(2)).await.expect("runs");
    assert_eq!(outcome.state().lines, ["4 left", "3 left"]);
}

#[tokio::test]
async fn a_resume_counts_its_steps_anew() {
    let app = counting();
    let thread = app.thread("t");
    let outcome = thread.input(|log| log.rounds.set(3)).steps_max(1).run().await.expect("one step");
    assert_eq!(outcome.ending(), Ending::OutOfSteps);
    let outcome = thread.resume().steps_max(2).run().await.expect("the other two");
    assert_eq!(outcome.state().lines, ["1 left, the last", "2 left", "1 left, the last"]);
}

#[tokio::test]
async fn a_task_knows_where_it_stands() {
    let seen: Arc<std::sync::Mutex<Vec<ExecInfo>>> = Arc::default();
    let fails = Arc::new(AtomicBool::new(true));
    let (saw, failing) = (Arc::clone(&seen), Arc::clone(&fails));
    let node = move |info: ExecInfo, cx: Cx<Log>| {
        let (saw, failing) = (Arc::clone(&saw), Arc::clone(&failing));
        async move {
            assert_eq!((&*info.node, info.task, info.attempt), (cx.node(), cx.task_id(), cx.attempt()));
            saw.lock().expect("nobody panicked").push(info);
            if failing.swap(false, Ordering::SeqCst) { Err(NodeError::new("not yet")) } else { Ok(line("done")) }
        }
    };
    let app = one(node);
    let thread = app.thread("t");
    thread.input(|_| ()).run_id("first").run().await.expect_err("fails once");
    let outcome = thread.resume().await.expect("goes on");
    let history = thread.history().await.expect("readable");

    let seen = seen.lock().expect("nobody panicked");
    let [first, second] = &seen[..] else { panic!("two attempts, not {seen:?}") };
    assert_eq!((first.attempt, first.is_resumed), (1, false));
    assert_eq!((second.attempt, second.is_resumed), (2, true));
    for info in [first, second] {
        assert_eq!(info.thread.as_deref(), Some("t"));
        assert_eq!(info.branch, Some(history[0].branch));
        assert_eq!(info.run.as_ref().map(ToString::to_string).as_deref(), Some("first"));
        assert_eq!(info.checkpoint.as_ref(), Some(&history[1].id), "it runs from the input");
        assert_eq!(info.step, history[0].step, "it runs for the step after it");
        assert_eq!(&*info.namespace, "");
    }
    assert_eq!(first.task, second.task);
    assert_eq!(outcome.run_id(), first.run.as_ref());
}

/// What the node of a sub-graph sees: in its node, by a call, with and without a store.
#[tokio::test]
async fn a_sub_graph_has_the_context_of_its_run_and_stands_in_it() {
    async fn inner(tenant: Ctx<Tenant>, info: ExecInfo, left: RemainingSteps) -> Update<Log> {
        let (run, step) = (info.run.map_or_else(String::new, |run| run.to_string()), info.step);
        line(format!("{} {:?} {run} {step} {} {}", tenant.0, info.thread, info.namespace.is_empty(), left.0))
    }
    for graph in [SubGraph::new(&one(inner)), SubGraph::new(&one(inner)).stateless()] {
        let outer = move |cx: Cx<Log>| {
            let graph = graph.clone();
            async move { Ok::<_, NodeError>(line(cx.call("inner", &graph, |_| ()).await?.lines.join(""))) }
        };
        let app = one(outer).context(Tenant("nobody"));
        let stored = app.thread("t").input(|_| ()).context(Tenant("ada")).run_id("first").run().await.expect("runs");
        assert_eq!(stored.state().lines, ["ada Some(\"t\") first 1 false 10000"]);
        let in_memory = app.run_in_memory(|_| ()).await.expect("runs");
        assert_eq!(in_memory.state().lines, ["nobody None  1 false 10000"]);
    }
}

#[tokio::test]
async fn steps_after_a_resumed_one_are_new() {
    async fn node(log: Snap<Log>, info: ExecInfo) -> Update<Log> {
        let mut update = line(format!("step {} resumed {}", info.step, info.is_resumed));
        update.rounds.set(log.rounds - 1);
        update
    }
    let mut graph = Graph::<Log>::new("loop");
    let node = graph.node("node", node);
    graph.start(node);
    graph.branch(node, stepmark::to![node, stepmark::END], move |log: &Log| {
        if log.rounds == 0 { stepmark::Route::END } else { node.into() }
    });
    let app = graph.build().expect("valid").with(MemoryStore::new());
    let thread = app.thread("t");
    thread.input(|log| log.rounds.set(3)).steps_max(1).run().await.expect("one step");
    let outcome = thread.resume().await.expect("the others");
    assert_eq!(outcome.state().lines, ["step 1 resumed false", "step 2 resumed true", "step 3 resumed false"]);
    let outcome = app.run_in_memory(|log| log.rounds.set(2)).await.expect("runs");
    assert_eq!(outcome.state().lines, ["step 1 resumed false", "step 2 resumed false"]);
}

#[tokio::test]
async fn an_outcome_says_in_words_what_was_done() {
    let outcome = counting().run_in_memory(|log| log.rounds.set(2)).await.expect("runs");
    let said = outcome.stats().to_string();
    assert_eq!(said, "2 steps: 2 tasks executed, 0 reused; 0 step results and 0 effects returned");
}

#[tokio::test]
async fn a_node_remembers_what_other_threads_left() {
    use stepmark::items::Items;

    async fn count(items: Items, cx: Cx<Log>) -> NodeResult<Update<Log>> {
        let visits = items.update("visits", "all", |visits: Option<u32>| visits.unwrap_or(0) + 1).await?;
        let same = cx.items()?.get::<u32>("visits", "all").await?.map(|item| item.value);
        Ok(line(format!("{visits} {same:?}")))
    }
    let app = one(count);
    for (thread, said) in [("a", "1 Some(1)"), ("b", "2 Some(2)")] {
        let outcome = app.thread(thread).input(|_| ()).run().await.expect("runs");
        assert_eq!(outcome.state().lines, [said]);
    }
    let items = app.items().expect("the store keeps them");
    let visits = items.get::<u32>("visits", "all").await.expect("read").expect("it is there");
    assert_eq!(visits.value, 2);
    let stale = items.put("visits", "all", &7).if_version(visits.version);
    items.put("visits", "all", &3).await.expect("written");
    let refused = stale.await.expect_err("it was written since");
    assert_eq!(refused.kind(), ErrorKind::Contended);

    let mut graph = Graph::<Log>::new("alone");
    let node = graph.node("only", count);
    graph.start(node);
    let failed = graph.build().expect("valid").run_in_memory(|_| ()).await.expect_err("there is no store");
    assert!(failed.to_string().contains("`only` needs items"), "{failed}");
}
