//! Does a step that finished stay finished while its task runs again?

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use stepmark::reducer::Append;
use stepmark::robust::Retry;
use stepmark::testing::assert_recovers;
use stepmark::{App, Cx, Dep, ErrorKind, Graph, MemoryStore, NodeResult, Question, Snap, State, Update};

#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
struct Notes {
    topic: String,
    #[reduce(Append)]
    lines: Vec<String>,
}

#[derive(Question, Serialize, Deserialize)]
#[question(answer = bool)]
struct Approve;

/// What really ran, outside of any store.
#[derive(Clone, Default)]
struct Ran(Arc<Mutex<Vec<String>>>);

impl Ran {
    #[expect(clippy::unnecessary_wraps, reason = "a step returns a result")]
    fn call(&self, name: &str) -> NodeResult<String> {
        self.0.lock().expect("no panic holds it").push(name.to_owned());
        Ok(format!("{name} done"))
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().expect("no panic holds it").clone()
    }
}

/// How often a node was entered.
#[derive(Clone, Default)]
struct Entered(Arc<AtomicU32>);

impl Entered {
    fn first(&self) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst) == 0
    }
}

fn app<M>(node: impl stepmark::graph::Node<Notes, M>) -> (App<Notes>, Ran) {
    let ran = Ran::default();
    let mut graph = Graph::<Notes>::new("notes");
    let node = graph.node("write", node);
    graph.start(node);
    let app = graph.build().expect("it can run").with(MemoryStore::new());
    (app.provide(ran.clone()).provide(Entered::default()), ran)
}

async fn fails_after_two(
    cx: Cx<Notes>,
    s: Snap<Notes>,
    ran: Dep<Ran>,
    entered: Dep<Entered>,
) -> NodeResult<Update<Notes>> {
    let mut update = s.update();
    update.lines.push(cx.step("ask", async || ran.call("ask")).await?);
    update.lines.push(cx.step("ask", async || ran.call("ask again")).await?);
    if entered.first() {
        return Err(stepmark::NodeError::new("it broke"));
    }
    update.lines.push(cx.step("tell", async || ran.call("tell")).await?);
    Ok(update)
}

#[tokio::test]
async fn a_finished_step_is_not_run_again_after_a_failure() {
    let (app, ran) = app(fails_after_two);
    let thread = app.thread("t");
    let error = thread.input(|notes| notes.topic.set("x".into())).run().await.expect_err("it broke");
    assert_eq!(error.kind(), ErrorKind::NodeFailed);
    let outcome = thread.resume().await.expect("it goes on");
    assert_eq!(outcome.state().lines, ["ask done", "ask again done", "tell done"]);
    assert_eq!(ran.names(), ["ask", "ask again", "tell"]);
    assert_eq!(outcome.stats().memos_returned, 2);
}

#[tokio::test]
async fn a_replay_runs_steps_again_and_a_fork_at_the_tip_does_not() {
    let (app, ran) = app(fails_after_two);
    let thread = app.thread("t");
    let error = thread.input(|_| ()).run().await.expect_err("it broke");
    let tip = error.place().and_then(|place| place.checkpoint.clone()).expect("it has an input").to_string();
    let fork = thread.at(&tip).fork("other").await.expect("it is free");
    fork.resume().await.expect("it goes on");
    assert_eq!(ran.names(), ["ask", "ask again", "tell"]);
    thread.at(&tip).replay().await.expect("it runs");
    assert_eq!(ran.names(), ["ask", "ask again", "tell", "ask", "ask again", "tell"]);
}

async fn asks_between(cx: Cx<Notes>, s: Snap<Notes>, ran: Dep<Ran>) -> NodeResult<Update<Notes>> {
    let mut update = s.update();
    update.lines.push(cx.step("draft", async || ran.call("draft")).await?);
    if cx.interrupt(Approve).await? {
        update.lines.push(cx.step("send", async || ran.call("send")).await?);
    }
    Ok(update)
}

#[tokio::test]
async fn a_step_before_a_question_is_stored_with_it() {
    let (app, ran) = app(asks_between);
    let outcome = app.thread("t").input(|_| ()).run().await.expect("it asks");
    assert!(outcome.is_interrupted());
    let question = outcome.question::<Approve>().expect("it is open");
    let outcome = app.thread("t").answer(&question, true).run().await.expect("it goes on");
    assert_eq!(outcome.state().lines, ["draft done", "send done"]);
    assert_eq!(ran.names(), ["draft", "send"]);
}

async fn at_once(cx: Cx<Notes>, s: Snap<Notes>, ran: Dep<Ran>, entered: Dep<Entered>) -> NodeResult<Update<Notes>> {
    let steps = ["a", "b", "c"].map(|name| {
        let ran = ran.clone();
        cx.step("fetch", move || std::future::ready(ran.call(name)))
    });
    let lines = futures_util::future::try_join_all(steps).await?;
    if entered.first() {
        return Err(stepmark::NodeError::new("it broke"));
    }
    let mut update = s.update();
    update.lines.extend(lines);
    Ok(update)
}

#[tokio::test]
async fn steps_that_ran_at_once_keep_their_places() {
    let (app, ran) = app(at_once);
    app.thread("t").input(|_| ()).run().await.expect_err("it broke");
    let outcome = app.thread("t").resume().await.expect("it goes on");
    assert_eq!(outcome.state().lines, ["a done", "b done", "c done"]);
    assert_eq!(ran.names().len(), 3);
}

async fn races(cx: Cx<Notes>, s: Snap<Notes>, ran: Dep<Ran>, entered: Dep<Entered>) -> NodeResult<Update<Notes>> {
    let won = cx
        .race("fastest")
        .arm("broken", async || Err::<String, _>(stepmark::NodeError::new("no")))
        .arm("never", async || std::future::pending::<NodeResult<String>>().await)
        .arm("good", async || ran.call("good"))
        .await?;
    if entered.first() {
        return Err(stepmark::NodeError::new("it broke"));
    }
    let mut update = s.update();
    update.lines.push(format!("{}: {}", won.arm, won.value));
    Ok(update)
}

#[tokio::test]
async fn the_winner_of_a_race_stays_the_winner() {
    let (app, ran) = app(races);
    app.thread("t").input(|_| ()).run().await.expect_err("it broke");
    let outcome = app.thread("t").resume().await.expect("it goes on");
    assert_eq!(outcome.state().lines, ["good: good done"]);
    assert_eq!(ran.names(), ["good"]);
}

async fn changes_its_mind(cx: Cx<Notes>, ran: Dep<Ran>, entered: Dep<Entered>) -> NodeResult<()> {
    cx.step("ask", async || ran.call("ask")).await?;
    if entered.first() {
        cx.step("left", async || ran.call("left")).await?;
        return Err(stepmark::NodeError::new("it broke"));
    }
    cx.step("right", async || ran.call("right")).await.map(drop)
}

#[tokio::test]
async fn a_step_out_of_order_is_told_with_what_was_recorded() {
    let (app, ran) = app(changes_its_mind);
    app.thread("t").input(|_| ()).run().await.expect_err("it broke");
    let error = app.thread("t").resume().await.expect_err("it takes another way");
    let message = error.to_string();
    assert!(message.contains("expected step \"left\", step \"right\" came"), "{message}");
    assert!(message.contains("recorded: ask, left\n  called now: ask, right"), "{message}");
    assert_eq!(ran.names(), ["ask", "left"]);
}

async fn falls_back(cx: Cx<Notes>, ran: Dep<Ran>) -> NodeResult<()> {
    cx.step("ask", async || ran.call("ask")).await?;
    let way = if cx.attempt() == 1 { "left" } else { "right" };
    cx.step(way, async || ran.call(way)).await?;
    Err(stepmark::NodeError::new("it broke"))
}

#[tokio::test]
async fn an_attempt_in_the_same_process_calls_the_same_steps_too() {
    let mut graph = Graph::<Notes>::new("notes");
    let node = graph.node("write", falls_back);
    graph.start(node);
    graph.policy(node).retry(Retry::times(3));
    let (ran, app) = (Ran::default(), graph.build().expect("it can run").with(MemoryStore::new()));
    let error = app.provide(ran.clone()).thread("t").input(|_| ()).run().await.expect_err("it takes another way");
    assert!(error.to_string().contains("expected step \"left\", step \"right\" came"), "{error}");
    assert_eq!(ran.names(), ["ask", "left"]);
}

async fn flaky(cx: Cx<Notes>, s: Snap<Notes>, ran: Dep<Ran>) -> NodeResult<Update<Notes>> {
    let mut calls = 0;
    let line = cx.step("call", || {
        calls += 1;
        let ended = if calls < 3 { Err(stepmark::NodeError::new("not yet")) } else { ran.call("call") };
        std::future::ready(ended)
    });
    let line = line.retry(Retry::times(3).when(|error| error.message() == "not yet")).await?;
    let fatal = cx.step("fatal", || {
        let _ = ran.call("fatal");
        std::future::ready(Err::<String, _>(stepmark::NodeError::new("never")))
    });
    let fatal = fatal.retry(Retry::times(3).when(|error| error.message() == "not yet")).await;
    let mut update = s.update();
    update.lines.extend([line, fatal.expect_err("it never works").message().to_owned()]);
    Ok(update)
}

#[tokio::test]
async fn a_step_is_tried_as_often_as_its_policy_says() {
    let (app, ran) = app(flaky);
    let outcome = app.thread("t").input(|_| ()).run().await.expect("it works the third time");
    assert_eq!(outcome.state().lines, ["call done", "never"]);
    assert_eq!(ran.names(), ["call", "fatal"]);
}

async fn step_in_a_step(
    cx: Cx<Notes>,
    s: Snap<Notes>,
    ran: Dep<Ran>,
    entered: Dep<Entered>,
) -> NodeResult<Update<Notes>> {
    let mut tries = 0;
    let outer = cx.step("outer", || {
        tries += 1;
        let (tries, cx, ran) = (tries, &cx, &ran);
        async move {
            let inner = cx.step("call", async || ran.call("inner")).await?;
            if tries == 1 { Err(stepmark::NodeError::new("not yet")) } else { Ok(inner) }
        }
    });
    let outer = outer.retry(Retry::times(2)).await?;
    let beside = cx.step("call", async || ran.call("beside")).await?;
    if entered.first() {
        return Err(stepmark::NodeError::new("it broke"));
    }
    let mut update = s.update();
    update.lines.extend([outer, beside]);
    Ok(update)
}

#[tokio::test]
async fn a_step_inside_of_a_step_is_not_taken_for_one_beside_it() {
    let (app, ran) = app(step_in_a_step);
    app.thread("t").input(|_| ()).run().await.expect_err("it broke");
    let outcome = app.thread("t").resume().await.expect("it goes on");
    assert_eq!(outcome.state().lines, ["inner done", "beside done"]);
    assert_eq!(ran.names(), ["inner", "beside"]);
}

async fn asks_in_steps(cx: Cx<Notes>, s: Snap<Notes>) -> NodeResult<Update<Notes>> {
    let mut update = s.update();
    for name in ["left", "right"] {
        let answer = cx.step(name, async || cx.interrupt(Approve).await).await?;
        update.lines.push(format!("{name}: {answer}"));
    }
    Ok(update)
}

#[tokio::test]
async fn a_question_inside_of_a_step_has_an_answer_of_its_own() {
    let (app, _) = app(asks_in_steps);
    let thread = app.thread("t");
    let left = thread.input(|_| ()).run().await.expect("it asks");
    let left = left.question::<Approve>().expect("it is open");
    let right = thread.answer(left, true).run().await.expect("it asks again");
    let right = right.question::<Approve>().expect("it is another one");
    let outcome = thread.answer(right, false).run().await.expect("it goes on");
    assert_eq!(outcome.state().lines, ["left: true", "right: false"]);
}

/// Steps one after the other, at once, in a race and in a loop.
async fn many_steps(cx: Cx<Notes>, s: Snap<Notes>) -> NodeResult<Update<Notes>> {
    // What waits lets its run store what came before.
    let said = async |name: &'static str| {
        tokio::task::yield_now().await;
        NodeResult::Ok(format!("{name} done"))
    };
    let mut update = s.update();
    update.lines.push(cx.step("first", || said("first")).await?);
    for _ in 0..3 {
        update.lines.push(cx.step("turn", || said("turn")).await?);
    }
    let (left, right) =
        futures_util::future::try_join(cx.step("left", || said("left")), cx.step("right", || said("right"))).await?;
    let won = cx.race("race").arm("only", || said("only")).await?;
    update.lines.extend([left, right, won.value, s.topic.clone()]);
    Ok(update)
}

#[tokio::test]
async fn a_node_killed_between_any_two_of_its_steps_ends_as_if_it_had_not_been() {
    let build = || {
        let mut graph = Graph::<Notes>::new("notes");
        let node = graph.node("write", many_steps);
        let other = graph.node("beside", many_steps);
        graph.start(node);
        graph.start(other);
        graph.build().expect("it can run").linger(std::time::Duration::ZERO)
    };
    let recovery = assert_recovers(build, |notes| notes.topic.set("x".into())).await;
    assert!(recovery.writes > 7, "the steps are stored as they end: {recovery:?}");
}

const MANY: u32 = 10_000;

async fn goes_far(cx: Cx<Notes>, ran: Dep<Ran>) -> NodeResult<()> {
    for half in 1..=2 {
        for _ in 0..MANY {
            cx.step("one of many", || std::future::ready(NodeResult::Ok(()))).await?;
        }
        if half > ran.names().len() {
            ran.call("half")?;
            return Err(stepmark::NodeError::new("it broke"));
        }
    }
    Ok(())
}

/// Every new step was compared with every recorded one.
#[expect(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
#[tokio::test]
async fn many_recorded_steps_do_not_slow_down_those_that_follow() {
    let (app, _) = app(goes_far);
    let began = std::time::Instant::now();
    app.thread("t").input(|_| ()).run().await.expect_err("it broke");
    let (first, began) = (began.elapsed(), std::time::Instant::now());
    app.thread("t").resume().await.expect_err("it broke again");
    assert_eq!(app.thread("t").resume().await.expect("it ends").stats().memos_returned, u64::from(2 * MANY));
    // A few times as long as half of the steps took that first; a hundred times where it grows with the square.
    assert!(began.elapsed() < 20 * first, "{first:?}, then {:?}", began.elapsed());
}
