//! Does an application stop in good order when it is asked to?

use std::sync::{Arc, OnceLock};

use stepmark::{App, Dep, Durability, Ending, Graph, MemoryStore, Snap, Update};

use crate::calls::{Calls, Work, logged};

type Own = Arc<OnceLock<App<Work>>>;

async fn one() -> Update<Work> {
    logged("one")
}

/// Asks its own application to drain, the first time that it runs.
async fn two(own: Dep<Own>, calls: Dep<Calls>) -> Update<Work> {
    if calls.count() == 1
        && let Some(app) = own.get()
    {
        app.drain();
    }
    logged("two")
}

async fn three(work: Snap<Work>) -> Update<Work> {
    logged(format!("three after {}", work.log.len()))
}

fn chain(store: &MemoryStore, calls: &Calls) -> App<Work> {
    let mut graph = Graph::<Work>::new("chain");
    let (one, two, three) = (graph.node("one", one), graph.node("two", two), graph.node("three", three));
    graph.start(one);
    graph.edge(one, two);
    graph.edge(two, three);
    let own = Own::default();
    let app = graph.build().expect("a sound graph").with(store.clone()).provide(own.clone()).provide(calls.clone());
    own.set(app.clone()).expect("an application of its own");
    app
}

#[tokio::test(start_paused = true)]
async fn a_drained_run_ends_at_its_step_boundary_and_goes_on_elsewhere() {
    for durability in [Durability::Sync, Durability::ASYNC, Durability::Exit] {
        let (store, calls) = (MemoryStore::new(), Calls::default());
        let app = chain(&store, &calls).durability(durability);
        let outcome = app.thread("t").input(|_| ()).run().await.expect("it is drained, which is no error");
        assert_eq!((outcome.ending(), outcome.state().log.len()), (Ending::Drained, 2));
        app.drain().ended().await;
        // Here nothing goes on any more.
        let again = app.thread("t").resume().await.expect("a resume");
        assert_eq!((again.ending(), again.stats().executed), (Ending::Drained, 0));
        let elsewhere = chain(&store, &calls).durability(durability);
        let outcome = elsewhere.thread("t").resume().await.expect("another process goes on");
        assert_eq!((outcome.ending(), outcome.stats().executed), (Ending::Done, 1));
        assert_eq!(outcome.state().log, ["one", "two", "three after 2"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_input_that_comes_during_a_drain_is_stored_and_waits() {
    let (store, calls) = (MemoryStore::new(), Calls::default());
    let app = chain(&store, &calls);
    let drain = app.drain();
    assert!(app.is_draining());
    let outcome = app.thread("late").input(|work| work.log.push("input".into())).run().await.expect("it is accepted");
    assert_eq!((outcome.ending(), outcome.stats().executed), (Ending::Drained, 0));
    assert_eq!(drain.running(), 0);
    // The first call of `two` would drain the application that goes on.
    calls.count();
    let outcome = chain(&store, &calls).thread("late").resume().await.expect("another process goes on");
    assert_eq!(outcome.state().log, ["input", "one", "two", "three after 3"]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_drain_waits_for_every_run() {
    let (store, calls) = (MemoryStore::new(), Calls::default());
    let app = chain(&store, &calls);
    let threads: Vec<_> = (0..8).map(|number| app.thread(format!("t{number}"))).collect();
    let runs = threads.iter().map(|thread| async { thread.input(|_| ()).run().await.map(|outcome| outcome.ending()) });
    let drained = async {
        while !app.is_draining() {
            tokio::task::yield_now().await;
        }
        let drain = app.drain();
        drain.ended().await;
        drain.running()
    };
    let (endings, running) = tokio::join!(futures_util::future::join_all(runs), drained);
    assert_eq!(running, 0);
    assert!(endings.into_iter().all(|ending| ending.is_ok_and(|ending| ending == Ending::Drained)));
}

#[tokio::test(start_paused = true)]
async fn a_drain_before_a_stop_does_not_skip_it() {
    for durability in [Durability::Sync, Durability::Exit] {
        let (store, calls) = (MemoryStore::new(), Calls::default());
        let app = chain(&store, &calls).durability(durability);
        let outcome = app.thread("t").input(|_| ()).interrupt_before(["three"]).run().await.expect("it is drained");
        assert_eq!(outcome.ending(), Ending::Drained);
        let elsewhere = chain(&store, &calls).durability(durability).thread("t");
        let outcome = elsewhere.resume().interrupt_before(["three"]).run().await.expect("it stops");
        assert_eq!((outcome.ending(), outcome.stats().executed), (Ending::Interrupted, 0));
        let outcome = elsewhere.resume().interrupt_before(["three"]).run().await.expect("it goes on from the stop");
        assert_eq!((outcome.ending(), outcome.stats().executed), (Ending::Done, 1));
    }
}
