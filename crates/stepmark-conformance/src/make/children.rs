//! How does a case run a sub-graph in one word?

use stepmark_core::child::{ChildOf, ChildPlace, ChildRow};
use stepmark_core::error::Result;
use stepmark_core::id::{BranchId, TaskHash};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::{ForkPoint, Tip};
use stepmark_core::store::{Commit, Expect, Load, Loaded, Place};

use super::{Draft, Line, new_branch};

/// The task of the root that calls a sub-graph.
fn caller(namespace: &str) -> TaskHash {
    TaskHash::of("", namespace, 1, 0)
}

impl Line {
    /// The first line of a sub-graph of this one, which the store does not have yet.
    #[must_use]
    pub fn sub_graph(&self, namespace: &str) -> Self {
        self.sub_line(namespace, None)
    }

    /// A new line of a sub-graph at the tip of `child`, for this root; the store does not have it yet.
    #[must_use]
    pub fn sub_graph_at(&self, child: &Self) -> Self {
        let tip = child.branch.tip.clone().expect("only a line with a tip is forked");
        self.sub_line(&child.namespace, Some((child.segment, tip)))
    }

    fn sub_line(&self, namespace: &str, at: Option<(BranchId, Tip)>) -> Self {
        let fork = at.as_ref().map(|(branch, tip)| ForkPoint { branch: *branch, height: tip.height });
        let mut branch = new_branch(fork, at.map(|(_, tip)| tip));
        branch.root = Some(self.branch.id);
        Self { namespace: namespace.to_owned(), segment: branch.id, branch, ..self.clone() }
    }

    /// The first checkpoint of a line that the store does not have yet.
    pub fn first(&self) -> Draft {
        Draft::on(self, Expect::New)
    }

    /// Begins the line of a sub-graph of `root` with a checkpoint that is named under `ordinal`.
    pub async fn begin_under(&mut self, root: &Self, ordinal: u64) {
        self.apply(self.first().under(root, ordinal)).await;
    }

    /// Commits the next checkpoint of a sub-graph of `root`.
    pub async fn step_under(&mut self, root: &Self, ordinal: u64) {
        self.apply(self.next().under(root, ordinal)).await;
    }

    /// A stored sub-graph of this root with one checkpoint.
    pub async fn called(&self, namespace: &str) -> Self {
        let mut child = self.sub_graph(namespace);
        child.begin_under(self, 0).await;
        child
    }

    /// Where this sub-graph stands.
    pub fn child_row(&self) -> ChildRow {
        let height = self.branch.tip.as_ref().expect("it has a checkpoint").height;
        ChildRow { namespace: self.namespace.clone(), branch: self.segment, height }
    }

    /// Commits the next checkpoint of a root whose applied tasks moved these sub-graphs.
    pub async fn step_with(&mut self, children: &[&Self]) {
        let mut commit = self.next().build();
        commit.children = children.iter().map(|child| child.child_row()).collect();
        self.apply(commit).await;
    }

    /// Everything about a sub-graph over `base` on this root's branch.
    pub fn child_at(&self, namespace: &str, base: &Tip) -> Load {
        let place = Place::Child { root: self.branch.id, base: base.id.clone() };
        Load { namespace: namespace.to_owned(), ..self.at(place) }
    }

    /// Reads a sub-graph over the tip of this root's branch.
    pub async fn child(&self, namespace: &str) -> Result<Loaded> {
        let base = self.branch.tip.as_ref().expect("a root has a tip");
        self.store.load(self.child_at(namespace, base)).await
    }

    /// Where sub-graphs stood at a place of this root.
    pub async fn children_at(&self, place: Place) -> Vec<ChildRow> {
        let load = Load { children: true, ..self.at(place) };
        self.store.load(load).await.expect("the root loads").children
    }
}

impl Draft {
    /// The sealed commit of a sub-graph of `root`, with the row that names it.
    pub fn under(self, root: &Line, ordinal: u64) -> Commit {
        let tip = root.branch.tip.clone().expect("a root has a tip");
        let mut commit = self.build();
        let checkpoint = commit.checkpoint.as_ref().expect("a draft has a checkpoint");
        let (branch, height, id) = (checkpoint.branch, checkpoint.height, checkpoint.id.clone());
        let task = caller(&commit.namespace);
        let namespace = commit.namespace.clone();
        let place = ChildPlace { namespace, branch, height, id, caller: task, occurrence: 0 };
        let row = PendingRow {
            base: tip.id.clone(),
            lane: root.branch.id.lane(),
            kind: PendingKind::Child,
            task,
            ordinal,
            values: Vec::new(),
            body: place.encode(),
        };
        let epoch = root.branch.epoch;
        commit.parent = Some(Box::new(ChildOf { root: root.branch.id, tip, epoch, task, row }));
        commit
    }
}
