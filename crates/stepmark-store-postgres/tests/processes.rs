//! What do processes leave that write to the same threads at once?

mod common;

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::Home;
use stepmark_conformance::make::Line;
use stepmark_core::error::ErrorKind;
use stepmark_core::id::{CheckpointId, ClaimToken};
use stepmark_core::store::{CheckpointStore, Load, Outcome, Place, ThreadAddress};
use stepmark_testbed::POSTGRES_URL;
use tokio::task::JoinSet;

const PROCESSES: u64 = 8;
const THREADS: u64 = 6;
const STEPS: u64 = 40;

/// Set in a child process of this test: which schema it shares.
const CHILD_SCHEMA: &str = "STEPMARK_TEST_POSTGRES_SCHEMA";

/// Bytes that no other process has.
fn bytes16() -> [u8; 16] {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let made = MADE.fetch_add(1, Ordering::Relaxed);
    let hash = blake3::hash(format!("{} {made}", std::process::id()).as_bytes());
    std::array::from_fn(|index| hash.as_bytes()[index])
}

/// The head of a thread as it is now.
async fn at_head(store: &Arc<dyn CheckpointStore>, name: &str) -> Line {
    let address = ThreadAddress::Name { scope: String::new(), name: name.to_owned() };
    let loaded = store.load(Load { place: Place::Head, ..Load::head(address) }).await.expect("it loads");
    let segment = loaded.checkpoint.as_ref().expect("a checkpoint").branch;
    let (store, namespace) = (Arc::clone(store), String::new());
    Line { store, thread: loaded.thread, namespace, branch: loaded.branch.row, segment }
}

/// Claims and steps on a thread that others claim too; says which checkpoints were acknowledged.
async fn contend(store: Arc<dyn CheckpointStore>, name: String) -> Vec<(String, CheckpointId)> {
    let mut acknowledged = Vec::new();
    while (acknowledged.len() as u64) < STEPS {
        let mut line = at_head(&store, &name).await;
        // What follows a claim of one's own holds until somebody else claims.
        for step in 0..3 {
            let mut draft = if step == 0 { line.next().claiming() } else { line.next() };
            draft.id = CheckpointId::from_uuid(bytes16());
            if step == 0 {
                draft.commit.branch.claim = ClaimToken(bytes16());
            }
            let id = draft.id.clone();
            match line.send(draft.build()).await {
                Ok(outcome) => assert_eq!(outcome, Outcome::Applied),
                Err(error) if matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Conflict) => break,
                Err(error) => panic!("{error}"),
            }
            acknowledged.push((name.clone(), id));
        }
    }
    acknowledged
}

async fn in_child(schema: String) {
    let home = Home::in_schema(schema);
    let store: Arc<dyn CheckpointStore> = Arc::new(home.open().await);
    let mut calls = JoinSet::new();
    for thread in 0..THREADS {
        calls.spawn(contend(Arc::clone(&store), format!("t{thread}")));
    }
    let mut out = std::io::stdout().lock();
    for (name, id) in calls.join_all().await.into_iter().flatten() {
        writeln!(out, "acknowledged {name} {id}").expect("the parent reads");
    }
}

fn child(home: &Home) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", "processes_share_threads_and_lose_nothing", "--nocapture"]);
    command.env(CHILD_SCHEMA, home.schema()).env(POSTGRES_URL, home.url());
    command.stdout(Stdio::piped()).spawn().expect("a child")
}

#[tokio::test]
async fn processes_share_threads_and_lose_nothing() {
    if let Ok(schema) = std::env::var(CHILD_SCHEMA) {
        in_child(schema).await;
        return;
    }
    let home = Home::new();
    let store: Arc<dyn CheckpointStore> = Arc::new(home.open().await);
    let mut lines = Vec::new();
    for thread in 0..THREADS {
        lines.push(Line::born(&store, &format!("t{thread}")).await);
    }
    let children: Vec<Child> = (0..PROCESSES).map(|_| child(&home)).collect();
    let mut acknowledged = Vec::new();
    for child in children {
        let output = child.wait_with_output().expect("an exit");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}");
        acknowledged.extend(text.lines().filter_map(|line| {
            let (name, id) = line.strip_prefix("acknowledged ")?.split_once(' ')?;
            Some((name.to_owned(), id.to_owned()))
        }));
    }
    assert!(acknowledged.len() as u64 >= PROCESSES * THREADS * STEPS);
    for line in &lines {
        let line = at_head(&store, &line.thread.name).await;
        let page = store.history(line.lineage(None, u32::MAX)).await.expect("a page");
        let stored: Vec<String> = page.entries.iter().map(|entry| entry.checkpoint.id.to_string()).collect();
        let mine: Vec<&String> =
            acknowledged.iter().filter(|(name, _)| *name == line.thread.name).map(|(_, id)| id).collect();
        // Each is there once, and nothing is there that nobody was told of but the input.
        assert_eq!(stored.len(), mine.len() + 1);
        assert!(mine.iter().all(|id| stored.contains(id)));
    }
}
