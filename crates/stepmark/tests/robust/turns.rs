//! Do at most as many tasks of a node run at once as its policy says?

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use stepmark::{Dep, Graph, In, Update, to};

use crate::calls::{Work, built, logged};

#[derive(Default)]
struct Gate {
    running: AtomicUsize,
    most: AtomicUsize,
}

async fn plan() {}

async fn held(gate: Dep<Arc<Gate>>, In(number): In<u32>) -> Update<Work> {
    let running = gate.running.fetch_add(1, Ordering::SeqCst) + 1;
    gate.most.fetch_max(running, Ordering::SeqCst);
    // Everybody else who may run does so before this one goes on.
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
    gate.running.fetch_sub(1, Ordering::SeqCst);
    logged(number.to_string())
}

async fn free(In(number): In<u32>) -> Update<Work> {
    logged(format!("free {number}"))
}

#[tokio::test(start_paused = true)]
async fn at_most_as_many_tasks_of_a_node_run_at_once_over_all_runs() {
    for tasks in [1, 3] {
        let mut graph = Graph::<Work>::new("turns");
        let (plan, held, free) = (graph.node("plan", plan), graph.node("held", held), graph.node("free", free));
        graph.start(plan);
        graph.branch(plan, to![held, free], move |_| {
            (0..5).flat_map(|number| [held.send(number), free.send(number)]).collect::<Vec<_>>()
        });
        graph.policy(held).concurrency_max(tasks);
        let gate = Arc::new(Gate::default());
        let app = built(graph).provide(Arc::clone(&gate));
        let threads: Vec<_> = (0..4).map(|number| app.thread(format!("t{number}"))).collect();
        let runs = threads.iter().map(|thread| async { thread.input(|_| ()).run().await.expect("a run") });
        for outcome in join_all(runs).await {
            assert_eq!(outcome.state().log.len(), 10);
        }
        assert_eq!(gate.most.load(Ordering::SeqCst), tasks);
    }
}
