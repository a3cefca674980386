//! What do killed processes and several processes leave in a directory?

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use stepmark_conformance::make::{Line, bytes16};
use stepmark_core::store::{CheckpointStore, Load, ThreadAddress, ThreadQuery};
use stepmark_store_object::Objects;

/// Set in a child process of these tests: which directory it shares.
const CHILD_DIRECTORY: &str = "STEPMARK_TEST_OBJECT_DIRECTORY";
/// Which of the children it is.
const CHILD_NUMBER: &str = "STEPMARK_TEST_OBJECT_NUMBER";

/// More ids than any process of these tests takes.
const IDS_EACH: u64 = 100_000;

fn child(test: &str, directory: &Path, number: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", test, "--nocapture"]).stdout(Stdio::piped());
    command.env(CHILD_DIRECTORY, directory).env(CHILD_NUMBER, number.to_string());
    command.spawn().expect("a child")
}

async fn opened(directory: &Path) -> Arc<dyn CheckpointStore> {
    Arc::new(Objects::in_directory(directory).await.expect("it opens"))
}

/// The directory and the number, in a child.
fn in_child() -> Option<(PathBuf, u64)> {
    let directory = std::env::var_os(CHILD_DIRECTORY)?.into();
    let number = std::env::var(CHILD_NUMBER).expect("a number").parse().expect("a number");
    // The kit counts its ids within a process; the parent is the one with number 0.
    for _ in 0..number * IDS_EACH {
        bytes16();
    }
    Some((directory, number))
}

/// The line of a thread's head, as it is stored, whole down to its beginning.
async fn stored(store: &Arc<dyn CheckpointStore>, name: &str) -> Line {
    let by_name = ThreadAddress::Name { scope: String::new(), name: name.into() };
    let loaded = store.load(Load::head(by_name)).await.expect("it loads");
    let segment = loaded.checkpoint.as_ref().expect("a tip").branch;
    let (thread, branch) = (loaded.thread, loaded.branch.row);
    let line = Line { store: Arc::clone(store), thread, namespace: String::new(), branch, segment };
    line.assert_stored().await;
    let page = store.history(line.lineage(None, u32::MAX)).await.expect("a lineage");
    assert_eq!(page.entries.len() as u64, height(&line) + 1);
    line
}

fn height(line: &Line) -> u64 {
    line.branch.tip.as_ref().expect("a tip").height
}

#[tokio::test]
async fn killed_process_leaves_every_acknowledged_commit() {
    if let Some((directory, _)) = in_child() {
        let mut line = stored(&opened(&directory).await, "t").await;
        line.apply(line.claim()).await;
        loop {
            line.step().await;
            println!("acknowledged {}", height(&line));
            std::io::stdout().flush().expect("a pipe");
        }
    }
    let home = tempfile::tempdir().expect("a directory");
    let directory = home.path();
    Line::born(&opened(directory).await, "t").await;
    for (number, steps) in (1..).zip([1, 2, 30, 7, 45, 3, 70, 11]) {
        let mut child = child("killed_process_leaves_every_acknowledged_commit", directory, number);
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let heights = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok());
        let last: u64 = heights.take(steps).last().expect("an acknowledged commit");
        child.kill().expect("it is killed");
        child.wait().expect("an exit");
        let tip = height(&stored(&opened(directory).await, "t").await);
        assert!(tip >= last, "{last} was acknowledged, {tip} is there");
    }
}

/// Each grows a branch of the one thread, and makes a thread that all others make too.
#[tokio::test]
async fn processes_share_a_directory_and_its_threads() {
    const STEPS: u64 = 20;
    if let Some((directory, number)) = in_child() {
        let store = opened(&directory).await;
        let mut line = stored(&store, "t").await.forked(Some(&format!("of {number}"))).await;
        line.steps(STEPS).await;
        line.assert_stored().await;
        let mut contested = Line::unborn(&store, "", "contested");
        println!("made {}", contested.send(contested.birth().build()).await.is_ok());
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let store = opened(home.path()).await;
    Line::born(&store, "t").await;
    let children: Vec<_> =
        (1..5).map(|number| child("processes_share_a_directory_and_its_threads", home.path(), number)).collect();
    let mut made = 0;
    for child in children {
        let output = child.wait_with_output().expect("an exit");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
        made += u64::from(said.contains("made true"));
    }
    assert_eq!(made, 1);
    let loaded = stored(&store, "t").await.read().await;
    let heights: Vec<_> =
        loaded.branches.iter().filter_map(|branch| branch.row.tip.as_ref().map(|tip| tip.height)).collect();
    assert_eq!(heights, [0, STEPS, STEPS, STEPS, STEPS]);
    let query = ThreadQuery { scope: String::new(), after: None, limit: 9, waiting: false };
    assert_eq!(store.threads(query).await.expect("a page").threads.len(), 2);
}
