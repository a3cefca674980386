//! Who wins where many handles write to one place at once?

mod common;

use std::sync::Arc;

use common::{Directories, Memories};
use stepmark_conformance::StoreEnv;
use stepmark_conformance::make::Line;
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::store::{CheckpointStore, Outcome};
use tokio::task::JoinSet;

const HANDLES: usize = 8;

async fn handles(env: &dyn StoreEnv) -> Vec<Arc<dyn CheckpointStore>> {
    let mut handles = vec![env.fresh().await];
    while handles.len() < HANDLES {
        handles.push(env.reopen().await);
    }
    handles
}

/// Every handle grows a branch of its own; all branches share the thread's one sequence of numbers.
async fn no_unit_is_lost(env: &dyn StoreEnv, steps: u64) {
    let handles = handles(env).await;
    let root = Line::grown(&handles[0], "t", 1).await;
    let mut writers = JoinSet::new();
    for store in handles {
        let mut line = Line { store, ..root.forked(None).await };
        writers.spawn(async move {
            line.steps(steps).await;
            line
        });
    }
    let store = env.reopen().await;
    for line in writers.join_all().await {
        let line = Line { store: Arc::clone(&store), ..line };
        line.assert_stored().await;
        let page = store.history(line.lineage(None, u32::MAX)).await.expect("a lineage");
        assert_eq!(page.entries.len() as u64, 2 + steps);
    }
}

/// Of many that create a thread under one name one succeeds, and the others hear so.
async fn one_creator_wins(env: &dyn StoreEnv) {
    let handles = handles(env).await;
    for round in 0..8 {
        let mut creators = JoinSet::new();
        for store in &handles {
            let mut line = Line::unborn(store, "", &format!("round {round}"));
            creators.spawn(async move { line.send(line.birth().build()).await });
        }
        let answers = creators.join_all().await;
        let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!(made.len(), 1);
        let is_taken = |answer: &stepmark_core::error::Result<Outcome>| {
            answer.as_ref().is_err_and(|error| error.is(ErrorKind::Exists, Subject::Thread))
        };
        assert!(refused.iter().all(is_taken), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_unit_is_lost_in_memory() {
    no_unit_is_lost(&Memories::default(), 30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_unit_is_lost_in_a_directory() {
    no_unit_is_lost(&Directories::new(), 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_creator_wins_in_memory() {
    one_creator_wins(&Memories::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_creator_wins_in_a_directory() {
    one_creator_wins(&Directories::new()).await;
}
