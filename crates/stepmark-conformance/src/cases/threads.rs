//! Does a listing show every thread of a scope, once, by name?

use stepmark_core::rows::RunStatus;
use stepmark_core::store::{CheckpointStore, RunWrite, ThreadEntry, ThreadQuery};

use crate::StoreEnv;
use crate::make::Line;

/// Pages of a walk that does not end.
const PAGES_MAX: usize = 100;

async fn walk(store: &dyn CheckpointStore, scope: &str, limit: u32) -> Vec<ThreadEntry> {
    let mut found = Vec::new();
    let mut after = None;
    for _ in 0..PAGES_MAX {
        let page = store
            .threads(ThreadQuery { scope: scope.into(), after, limit, waiting: false })
            .await
            .expect("the store answers");
        assert!(page.threads.len() <= limit.max(1) as usize);
        found.extend(page.threads);
        match page.next {
            Some(name) => after = Some(name),
            None => return found,
        }
    }
    panic!("the walk does not end");
}

fn names(entries: &[ThreadEntry]) -> Vec<String> {
    entries.iter().map(|entry| entry.thread.name.clone()).collect()
}

/// Pages of any size (0 means 1) show every thread once, by the bytes of its name, beside creations and deletions.
pub async fn threads_are_listed_once(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    assert!(walk(&*store, "", 5).await.is_empty());
    for name in ["b", "a10", "a", "B", "ä", "a2", "z"] {
        Line::born(&store, name).await;
    }
    let expected = ["B", "a", "a10", "a2", "b", "z", "ä"];
    for limit in [0, 1, 2, 3, 7, 8] {
        assert_eq!(names(&walk(&*store, "", limit).await), expected, "pages of {limit}");
    }
    let page = store
        .threads(ThreadQuery { scope: String::new(), after: None, limit: 3, waiting: false })
        .await
        .expect("a page");
    assert_eq!(names(&page.threads), expected[..3]);
    store.delete_thread(page.threads[2].thread.uid).await.expect("the thread is known");
    Line::born(&store, "a0").await;
    Line::born(&store, "c").await;
    let rest = ThreadQuery { scope: String::new(), after: page.next, limit: 9, waiting: false };
    let rest = store.threads(rest).await.expect("the rest");
    assert_eq!(names(&rest.threads), ["a2", "b", "c", "z", "ä"]);
}

/// An entry has the tip of the thread's head and the status of the run that began last.
pub async fn thread_entry_has_tip_and_status(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let first = walk(&*store, "", 5).await.remove(0);
    assert_eq!((first.thread, first.tip, first.status), (line.thread.clone(), line.branch.tip.clone(), None));
    let begin = |id: &str, line: &Line| line.next().with_run(RunWrite::Begin(line.run(id, RunStatus::Open))).build();
    line.apply(begin("z", &line)).await;
    line.apply(begin("a", &line)).await;
    line.apply(line.next().with_run(RunWrite::Update(line.run("z", RunStatus::Done))).build()).await;
    let mut side = line.forked(None).await;
    side.step().await;
    let entry = walk(&*store, "", 5).await.remove(0);
    assert_eq!((entry.tip, entry.status), (line.branch.tip.clone(), Some(RunStatus::Open)));
    line.apply(line.next().with_run(RunWrite::Update(line.run("a", RunStatus::Failed))).build()).await;
    assert_eq!(walk(&*store, "", 5).await.remove(0).status, Some(RunStatus::Failed));
}
