//! Which graphs are dropped?

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join;
use stepmark::effects::{EffectError, Unknown};
use stepmark::graph::SubGraph;
use stepmark::robust::Cache;
use stepmark::{App, Cx, Dep, Graph, In, NodeError, NodeResult, Retry, Snap, Update, to};

use super::{Alive, Watch};
use crate::calls::{Work, logged};

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

pub(super) fn chain(graph: &mut Graph<Work>) {
    let [one, two, three] = ["one", "two", "three"].map(|name| graph.node(name, plain));
    graph.start(one);
    graph.edge(one, two);
    graph.edge(two, three);
}

pub(super) fn fan_out(graph: &mut Graph<Work>) {
    let (plan, send, last) = (graph.node("plan", plain), graph.node("send", send), graph.node("last", plain));
    graph.start(plan);
    graph.branch(plan, to![send], move |_| (0..4).map(|number| send.send(number)).collect::<Vec<_>>());
    graph.edge(send, last);
}

pub(super) fn pauses(graph: &mut Graph<Work>) {
    let ms = Duration::from_millis;
    draw_retries(graph, Retry::times(9).backoff(ms(1), 2.0, ms(1_000)));
}

pub(super) fn retries(graph: &mut Graph<Work>) {
    draw_retries(graph, Retry::times(9));
}

fn draw_retries(graph: &mut Graph<Work>, retry: Retry) {
    let (flaky, beside, last) = (graph.node("flaky", flaky), graph.node("beside", plain), graph.node("last", plain));
    graph.policy(flaky).timeout(Duration::from_mins(1)).retry(retry);
    graph.start(flaky);
    graph.start(beside);
    graph.join([flaky.into(), beside.into()], last);
}

/// A step while another runs, the winner of a race, and an effect.
async fn remembers(cx: Cx<Work>, watch: Dep<Arc<Watch>>) -> NodeResult<Update<Work>> {
    let alive = Alive::new(&watch);
    let (one, two) = try_join(
        cx.step("one", async || {
            alive.work().await;
            Ok::<_, NodeError>(1)
        }),
        cx.step("two", async || Ok::<_, NodeError>(2)),
    )
    .await?;
    let won = cx
        .race("race")
        .arm("never", async || pending::<NodeResult<u32>>().await)
        .arm("soon", async || {
            alive.work().await;
            Ok::<_, NodeError>(3)
        })
        .await?;
    let four = cx.effect("four", Unknown::Retry, won.value, async |_| {
        alive.work().await;
        Ok::<_, EffectError>(4)
    });
    Ok(logged(format!("{one} {two} {} {}", won.value, four.await?)))
}

/// Tasks that remember, at once, the last of them from the cache; an error that is made good.
pub(super) fn memories(graph: &mut Graph<Work>) {
    let [one, two] = ["one", "two"].map(|name| graph.node(name, remembers));
    let (again, fails) = (graph.node("again", plain), graph.node("fails", flaky));
    let last = graph.node("last", plain);
    graph.policy(again).cache(Cache::ttl(Duration::from_hours(1)).key(|_: &Work, (): &()| ()));
    graph.policy(two).concurrency_max(1);
    graph.policy(fails).on_error(plain);
    graph.start(one);
    graph.edge(one, two);
    graph.edge(one, again);
    graph.edge(one, fails);
    graph.join([two.into(), again.into(), fails.into()], last);
}

/// A race, and what follows from who won it. Of another winner the ledger would say that the arguments are others.
async fn travels(cx: Cx<Work>, watch: Dep<Arc<Watch>>) -> NodeResult<Update<Work>> {
    let alive = Alive::new(&watch);
    let won = cx
        .race("way")
        .arm("train", || alive.travel(0))
        .arm("bus", || alive.travel(1))
        .arm("ferry", || alive.travel(2))
        .await?;
    alive.note_winner(won.value);
    assert_eq!(&*won.arm, ["train", "bus", "ferry"][won.value as usize]);
    let booked = cx.effect("book", Unknown::Retry, &*won.arm, async |_| {
        alive.work().await;
        Ok::<_, EffectError>(won.value)
    });
    assert_eq!(booked.await?, won.value);
    alive.work().await;
    Ok(logged(cx.node()))
}

/// A race alone in its step, then two at once.
pub(super) fn races(graph: &mut Graph<Work>) {
    let [one, two, three] = ["one", "two", "three"].map(|name| graph.node(name, travels));
    graph.start(one);
    graph.edge(one, two);
    graph.edge(one, three);
}

/// flaky → plain.
fn desk() -> App<Work> {
    let mut graph = Graph::<Work>::new("desk");
    let (draft, polish) = (graph.node("draft", flaky), graph.node("polish", plain));
    graph.policy(draft).retry(Retry::times(9));
    graph.start(draft);
    graph.edge(draft, polish);
    graph.build().expect("a sound graph")
}

/// A private sub-graph beside a node that calls a persistent one twice.
pub(super) fn nested(graph: &mut Graph<Work>) {
    let drawn = SubGraph::new(&desk()).mapped(
        |outer: &Work, inner: &mut Update<Work>| inner.log.push(format!("after {}", outer.log.len())),
        |inner: &Work, outer: &mut Update<Work>| outer.log.push(inner.log.join(", ")),
    );
    let kept = SubGraph::new(&desk()).persistent();
    let calls = move |cx: Cx<Work>, watch: Dep<Arc<Watch>>| {
        let kept = kept.clone();
        async move {
            let _alive = Alive::new(&watch);
            let _: Snap<Work> = cx.call("kept", &kept, |work| work.log.push("first".into())).await?;
            let work = cx.call("kept", &kept, |work| work.log.push("second".into())).await?;
            Ok::<_, NodeError>(logged(work.log.join(", ")))
        }
    };
    let (drawn, calls) = (graph.node("drawn", drawn), graph.node("calls", calls));
    let last = graph.node("last", plain);
    graph.start(drawn);
    graph.start(calls);
    graph.join([drawn.into(), calls.into()], last);
}

/// Graphs in graphs, each beside another.
pub(super) fn deep(graph: &mut Graph<Work>) {
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
