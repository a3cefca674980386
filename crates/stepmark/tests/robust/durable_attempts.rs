//! Are attempts counted across crashes, where a node says so?

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stepmark::robust::{Attempts, NodeErrorKind, TaskFailure};
use stepmark::store::CheckpointStore;
use stepmark::{
    App, Cx, Dep, Durability, ErrorKind, Graph, MemoryStore, NodeError, NodeResult, Question, Retry, Sqlite, Update,
};
use stepmark_conformance::{Fault, FaultPlan, FaultStore};

use crate::calls::{Calls, Work, logged};

const MODES: [Durability; 3] = [Durability::Sync, Durability::Async { behind_max: 4 }, Durability::Exit];

/// Never comes back: its process will be killed.
async fn poison(cx: Cx<Work>, calls: Dep<Calls>) {
    calls.note(format!("attempt {}", cx.attempt()));
    pending::<()>().await;
}

async fn plain(cx: Cx<Work>) -> Update<Work> {
    logged(cx.node())
}

async fn handle(failure: TaskFailure) -> Update<Work> {
    logged(format!("{} after {}: {}", failure.node, failure.attempts, failure.error))
}

/// What surrounds the node that kills its process.
#[derive(Clone, Copy)]
struct Setup {
    retry: Option<u32>,
    is_beside: bool,
    is_handled: bool,
    durability: Durability,
}

impl Setup {
    fn app(self, store: impl CheckpointStore, calls: &Calls) -> App<Work> {
        let mut graph = Graph::<Work>::new("poison");
        let (first, poison) = (graph.node("first", plain), graph.node("poison", poison));
        graph.start(first);
        graph.edge(first, poison);
        if self.is_beside {
            let beside = graph.node("beside", plain);
            graph.edge(first, beside);
        }
        graph.policy(poison).attempts(Attempts::Durable);
        if let Some(times) = self.retry {
            graph.policy(poison).retry(Retry::times(times));
        }
        if self.is_handled {
            graph.policy(poison).on_error(handle);
        }
        graph.build().expect("a sound graph").with(store).provide(calls.clone()).durability(self.durability)
    }
}

/// Kills a run once its node has begun so often.
async fn killed_at<T>(calls: &Calls, begun: usize, run: impl Future<Output = T>) {
    let begins = async {
        while calls.notes().len() < begun {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = run => panic!("it comes back"),
        () = begins => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_attempts_crashes_used_up_fails_without_running() {
    for (durability, is_beside) in MODES.into_iter().flat_map(|mode| [(mode, false), (mode, true)]) {
        let (store, calls) = (MemoryStore::new(), Calls::default());
        let setup = Setup { retry: Some(3), is_beside, is_handled: false, durability };
        killed_at(&calls, 1, setup.app(store.clone(), &calls).thread("t").input(|_| ()).run()).await;
        for begun in 2..=3 {
            killed_at(&calls, begun, setup.app(store.clone(), &calls).thread("t").resume().run()).await;
        }
        let thread = setup.app(store.clone(), &calls).thread("t");
        assert_eq!(thread.unfinished().await.expect("its tasks")[0].attempts, 3);
        let error = thread.resume().await.expect_err("all three are used up");
        let failure = error.failure().expect("a node failed");
        assert_eq!((failure.error.kind(), failure.attempt), (NodeErrorKind::Lost, 3));
        assert_eq!(calls.notes(), ["attempt 1", "attempt 2", "attempt 3"], "{durability:?}");
        // Who resumes a run that failed has all attempts again.
        killed_at(&calls, 4, setup.app(store.clone(), &calls).thread("t").resume().run()).await;
        assert_eq!(calls.notes()[3], "attempt 4");
        killed_at(&calls, 5, setup.app(store, &calls).thread("t").resume().run()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_makes_good_what_killed_its_process() {
    for durability in MODES {
        let (store, calls) = (MemoryStore::new(), Calls::default());
        let setup = Setup { retry: None, is_beside: true, is_handled: true, durability };
        killed_at(&calls, 1, setup.app(store.clone(), &calls).thread("t").input(|_| ()).run()).await;
        let outcome = setup.app(store, &calls).thread("t").resume().await.expect("it is handled");
        let expected = ["first", "poison after 1: one attempt began, and no end of the last is known", "beside"];
        assert_eq!(outcome.state().log, expected, "{durability:?}");
    }
}

#[tokio::test]
async fn attempts_are_counted_in_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = || Sqlite::open(directory.path().join("t.db")).expect("the file opens");
    let (calls, setup) =
        (Calls::default(), Setup { retry: Some(2), is_beside: true, is_handled: true, durability: Durability::Sync });
    killed_at(&calls, 1, setup.app(open(), &calls).thread("t").input(|_| ()).run()).await;
    killed_at(&calls, 2, setup.app(open(), &calls).thread("t").resume().run()).await;
    let outcome = setup.app(open(), &calls).thread("t").resume().await.expect("it is handled");
    assert_eq!(outcome.state().log[1], "poison after 2: 2 attempts began, and no end of the last is known");
    assert_eq!(calls.notes().len(), 2);
}

async fn fails_twice(cx: Cx<Work>, calls: Dep<Calls>) -> NodeResult<Update<Work>> {
    calls.count();
    if cx.attempt() < 3 { Err(NodeError::new("not yet")) } else { Ok(logged("third")) }
}

/// Every process dies at its n-th write, for every n; the node never begins more often than it may.
#[tokio::test(start_paused = true)]
async fn no_crash_at_any_write_gives_an_attempt_more() {
    const TIMES: u32 = 3;
    let build = |store: FaultStore, calls: &Calls| {
        let mut graph = Graph::<Work>::new("counted");
        let node = graph.node("node", fails_twice);
        graph.start(node);
        graph.policy(node).attempts(Attempts::Durable).retry(Retry::times(TIMES));
        graph.build().expect("a sound graph").with(store).provide(calls.clone())
    };
    for write in 0..12 {
        let (memory, calls) = (MemoryStore::new(), Calls::default());
        let store = || FaultStore::new(Arc::new(memory.clone()), FaultPlan::nth_write(write, Fault::CrashBefore));
        let first = build(store(), &calls).thread("t").input(|_| ()).run().await;
        let mut ended = first;
        for _ in 0..8 {
            match &ended {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::NodeFailed => break,
                Err(_) => ended = build(store(), &calls).thread("t").resume().run().await,
            }
        }
        assert!(calls.made() <= TIMES, "crash before write {write}: {} attempts", calls.made());
        if let Ok(outcome) = &ended {
            assert_eq!(outcome.state().log, ["third"]);
        }
    }
}

#[derive(Question, Serialize, Deserialize)]
#[question("go on", answer = bool)]
struct GoOn;

async fn asks(cx: Cx<Work>, calls: Dep<Calls>) -> NodeResult<Update<Work>> {
    calls.count();
    let go_on = cx.interrupt(GoOn).await?;
    Ok(logged(format!("{go_on} at attempt {}", cx.attempt())))
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_asked_is_not_used_up() {
    let (store, calls) = (MemoryStore::new(), Calls::default());
    let app = || {
        let mut graph = Graph::<Work>::new("asks");
        let node = graph.node("node", asks);
        graph.start(node);
        graph.policy(node).attempts(Attempts::Durable).timeout(Duration::from_secs(9));
        graph.build().expect("a sound graph").with(store.clone()).provide(calls.clone())
    };
    let outcome = app().thread("t").input(|_| ()).run().await.expect("it asks");
    let question = outcome.question::<GoOn>().expect("it is open");
    let outcome = app().thread("t").answer(question, true).run().await.expect("its one attempt is there yet");
    assert_eq!(outcome.state().log, ["true at attempt 2"]);
    assert_eq!(calls.made(), 2);
}
