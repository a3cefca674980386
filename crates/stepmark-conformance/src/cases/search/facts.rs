//! Are threads found by what their rows say: status, graph, times, questions, open effects?

use std::ops::Bound;

use stepmark_core::capability::{Condition, Order, SearchQuery};
use stepmark_core::rows::{RunRow, RunStatus};
use stepmark_core::store::RunWrite;

use super::{names, query};
use crate::env::StoreEnv;
use crate::make::{Line, START, intent, outcome};

/// Status and graph are those of the run that last began; the times are the engine's; questions count on tips alone, and
/// effects until somebody says how they ended. A thread that moves is found where it is.
pub async fn threads_are_found_by_what_they_are(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(search) = store.search() else { return };
    let mut lines = Vec::new();
    for (index, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let mut line = Line::unborn(&store, "", name);
        line.thread.created_at = START + 100 - index as i64;
        line.apply(line.birth().build()).await;
        lines.push(line);
    }
    let [a, b, c, d] = &mut lines[..] else { unreachable!("four lines") };
    let run = |line: &Line, id: &str, status, graph: &str| RunRow { graph: graph.into(), ..line.run(id, status) };
    a.apply(a.next().with_run(RunWrite::Begin(run(a, "1", RunStatus::Failed, "old"))).build()).await;
    a.apply(a.next().with_run(RunWrite::Begin(run(a, "0", RunStatus::Open, "new"))).build()).await;
    b.apply(b.next().with_run(RunWrite::Begin(run(b, "1", RunStatus::Failed, "old"))).build()).await;
    b.ask(0, "left behind").await;
    b.step().await;
    c.ask(0, "really?").await;
    let letter = intent("send", "letter");
    let row = d.granted(&letter).await;
    let find = async |condition| names(search, query(vec![condition])).await;
    assert_eq!(find(Condition::Status(RunStatus::Failed)).await, ["b"]);
    assert_eq!(find(Condition::Status(RunStatus::Open)).await, ["a"]);
    assert_eq!(find(Condition::Graph("new".into())).await, ["a"]);
    assert_eq!(find(Condition::Graph("old".into())).await, ["b"]);
    assert_eq!(find(Condition::Waiting).await, ["c"]);
    assert_eq!(find(Condition::OpenEffects).await, ["d"]);
    let from = Bound::Included(START + 98);
    assert_eq!(find(Condition::Created(from, Bound::Excluded(START + 100))).await, ["b", "c"]);
    assert_eq!(find(Condition::Updated(Bound::Excluded(START), Bound::Unbounded)).await, ["a", "b"]);
    assert_eq!(find(Condition::Updated(Bound::Unbounded, Bound::Included(START))).await, ["c", "d"]);
    let ordered = |order, descending| SearchQuery { order, descending, ..query(Vec::new()) };
    assert_eq!(names(search, ordered(Order::Created, false)).await, ["d", "c", "b", "a"]);
    assert_eq!(names(search, ordered(Order::Updated, true)).await, ["b", "a", "d", "c"]);
    assert_eq!(names(search, ordered(Order::Name, true)).await, ["d", "c", "b", "a"]);
    a.apply(a.next().with_run(RunWrite::Update(run(a, "0", RunStatus::Failed, "new"))).build()).await;
    d.settles(&letter, &row, outcome(&letter, 1, crate::make::done("sent")).end).await;
    assert_eq!(find(Condition::Status(RunStatus::Failed)).await, ["a", "b"]);
    assert!(find(Condition::Status(RunStatus::Open)).await.is_empty());
    assert!(find(Condition::OpenEffects).await.is_empty());
    let page = search.find(query(vec![Condition::Graph("new".into())])).await.expect("it is found");
    let found = &page.threads[0];
    assert_eq!((&found.entry.thread, &found.entry.tip), (&a.thread, &a.branch.tip));
    assert_eq!((found.entry.status, found.graph.as_deref()), (Some(RunStatus::Failed), Some("new")));
    assert_eq!(found.updated_at, START + 3);
}
