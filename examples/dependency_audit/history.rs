//! What `--history` prints: the checkpoint tree of a thread as text, oldest first.
//!
//! ```text
//! main (head)
//! ├─ 0  input                15930d2c  2026-07-31T09:14:02Z
//! ├─ 1  step   discover      8f03c7aa  2026-07-31T09:14:03Z
//! │  what-if
//! │  └─ 2  step   inspect ×3    51b6e0d9  2026-07-31T09:20:40Z
//! └─ 2  next   inspect ×3
//! ```

use std::collections::HashMap;
use std::fmt::Write;

use jiff::Timestamp;
use stepmark::run::{BranchInfo, Checkpoint, CheckpointInfo};
use stepmark::{State, Thread};

/// Digits of a checkpoint's id that are shown: its last ones, which are random.
const ID_DIGITS: usize = 8;

/// Returns the tree of all branches of `thread`; each branch stands below the checkpoint that it leaves.
pub async fn tree<S: State>(thread: &Thread<S>) -> stepmark::Result<String> {
    let branches = thread.branches().await?;
    let checkpoints = thread.history().all_branches().await?;
    let mut checkpoints: Vec<&CheckpointInfo> = checkpoints.iter().map(Checkpoint::info).collect();
    checkpoints.sort_by_key(|checkpoint| checkpoint.step);
    let mut tree = Tree { branches: &branches, checkpoints, rows: Vec::new() };
    for root in branches.iter().filter(|branch| branch.fork.is_none()) {
        tree.add_branch(root, "");
    }
    Ok(render(&tree.rows))
}

struct Tree<'a> {
    branches: &'a [BranchInfo],
    /// Of all branches, by step.
    checkpoints: Vec<&'a CheckpointInfo>,
    rows: Vec<Row>,
}

/// One line of the tree; the columns after `stem` are empty for the title of a branch.
#[derive(Default)]
struct Row {
    stem: String,
    source: &'static str,
    nodes: String,
    id: String,
    time: String,
}

impl Tree<'_> {
    fn add_branch(&mut self, branch: &BranchInfo, indent: &str) {
        let head = if branch.is_head { " (head)" } else { "" };
        self.rows.push(Row { stem: format!("{indent}{}{head}", branch.label()), ..Row::default() });
        let own: Vec<&CheckpointInfo> =
            self.checkpoints.iter().copied().filter(|checkpoint| checkpoint.branch == branch.id).collect();
        let next = self.next_of(branch);
        for (place, checkpoint) in own.iter().enumerate() {
            let is_last = place + 1 == own.len() && next.is_none();
            let (fork, below) = if is_last { ("└─", "   ") } else { ("├─", "│  ") };
            self.rows.push(Row::of(checkpoint, format!("{indent}{fork} {}", checkpoint.step)));
            for child in self.branches.iter().filter(|child| child.fork == Some((branch.id, checkpoint.step))) {
                self.add_branch(child, &format!("{indent}{below}"));
            }
        }
        if let Some((step, nodes)) = next {
            self.rows.push(Row { stem: format!("{indent}└─ {step}"), source: "next", nodes, ..Row::default() });
        }
    }

    /// The step that the branch takes next, if it is not at its end.
    fn next_of(&self, branch: &BranchInfo) -> Option<(u64, String)> {
        let (step, id) = branch.tip.as_ref()?;
        let tip = self.checkpoints.iter().find(|checkpoint| checkpoint.id == *id)?;
        (!tip.next.is_empty()).then(|| (step + 1, counted(tip.next.iter().map(String::as_str))))
    }
}

impl Row {
    fn of(checkpoint: &CheckpointInfo, stem: String) -> Self {
        let id = checkpoint.id.to_string();
        Self {
            stem,
            source: checkpoint.source.as_str(),
            nodes: counted(checkpoint.tasks.iter().map(|task| task.node.as_str())),
            id: id[id.len().saturating_sub(ID_DIGITS)..].to_owned(),
            time: time(checkpoint.created_at),
        }
    }
}

/// Each node once, in the order of its first task: `inspect ×163, assess`.
fn counted<'a>(nodes: impl Iterator<Item = &'a str>) -> String {
    let mut order = Vec::new();
    let mut counts = HashMap::new();
    for node in nodes {
        let count = counts.entry(node).or_insert(0_u64);
        if *count == 0 {
            order.push(node);
        }
        *count += 1;
    }
    let shown = order.into_iter().map(|node| match counts[node] {
        1 => node.to_owned(),
        count => format!("{node} ×{count}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn time(at_us: i64) -> String {
    Timestamp::from_microsecond(at_us).map_or_else(|_| "?".to_owned(), |at| at.strftime("%FT%TZ").to_string())
}

fn render(rows: &[Row]) -> String {
    let width = |column: fn(&Row) -> &str| rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0);
    let (source, nodes, id) = (width(|row| row.source), width(|row| &row.nodes), width(|row| &row.id));
    // The title of a branch has no columns, so it may reach under them.
    let checkpoints = rows.iter().filter(|row| !row.source.is_empty());
    let stem = checkpoints.map(|row| row.stem.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let line =
            format!("{:stem$}  {:source$}  {:nodes$}  {:id$}  {}", row.stem, row.source, row.nodes, row.id, row.time);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use stepmark::{Add, Graph, In, MemoryStore, NodeError, NodeResult, Snap, to};

    use super::*;

    #[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
    struct Sample {
        #[reduce(Add)]
        inputs: u32,
    }

    async fn split() {}

    async fn look(_: In<u32>) {}

    async fn close(sample: Snap<Sample>) -> NodeResult<()> {
        if sample.inputs == 1 { Err(NodeError::new("it does not close")) } else { Ok(()) }
    }

    fn thread() -> Thread<Sample> {
        let mut graph = Graph::<Sample>::new("sample");
        let split = graph.node("split", split);
        let look = graph.node("look", look);
        let close = graph.node("close", close);
        graph.start(split);
        graph.branch(split, to![look, close], move |_| vec![look.send(1), look.send(2), close.into()]);
        graph.build().expect("a graph").with(MemoryStore::new()).thread("t")
    }

    /// Compares without ids and times, which differ from run to run.
    async fn check(thread: &Thread<Sample>, expected: &[&str]) {
        let tree = tree(thread).await.expect("a tree");
        let steady = |line: &str| {
            let dated = if line.ends_with('Z') { "  15930d2c  2026-07-31T09:14:02Z".len() } else { 0 };
            let kept: String = line.chars().take(line.chars().count() - dated).collect();
            kept.trim_end().to_owned()
        };
        let lines: Vec<String> = tree.lines().map(steady).collect();
        assert_eq!(lines, expected, "{tree}");
    }

    #[tokio::test]
    async fn a_tree_shows_what_ran_and_what_is_next() {
        let thread = thread();
        thread.input(|sample| sample.inputs.add(1)).run().await.expect_err("it does not close");
        let expected = ["main (head)", "├─ 0  input", "├─ 1  step   split", "└─ 2  next   close, look ×2"];
        check(&thread, &expected).await;
    }

    #[tokio::test]
    async fn a_branch_stands_below_the_checkpoint_that_it_leaves() {
        let thread = thread();
        thread.input(|sample| sample.inputs.add(2)).run().await.expect("runs");
        let first = thread.history().await.expect("a history")[1].id.clone();
        let fork = thread.at(first).fork("what-if").await.expect("forks");
        fork.resume().run().await.expect("runs");
        fork.input(|_| ()).run().await.expect("runs");
        let expected = [
            "main (head)",
            "├─ 0     input",
            "├─ 1     step   split",
            "│  what-if",
            "│  ├─ 2  step   close, look ×2",
            "│  ├─ 3  input",
            "│  ├─ 4  step   split",
            "│  └─ 5  step   close, look ×2",
            "└─ 2     step   close, look ×2",
        ];
        check(&thread, &expected).await;
    }
}
