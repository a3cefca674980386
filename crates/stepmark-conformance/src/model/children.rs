//! What does the seam promise of sub-graphs, in the same plain words?

use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::child::{ChildOf, ChildPlace, ChildRow};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::{BranchId, CheckpointId, ThreadUid};
use stepmark_core::pending::PendingKind;
use stepmark_core::rows::{BranchRow, Tip};
use stepmark_core::store::{Commit, Expect, HistoryQuery, Line as Walk, Load, Outcome, Place, ThreadAddress};

use super::state::{Model, Thread, Verdict, fence};
use super::world::World;
use super::{Call, chosen};
use crate::make::Line;

/// Namespaces of sub-graphs; one begins like the other.
const NAMESPACES: [&str; 2] = ["call", "call/in"];

/// At how many moments below a branch's tip its sub-graphs are compared.
const MOMENTS: usize = 3;

/// A branch of a sub-graph.
#[derive(Debug)]
pub(super) struct Sub {
    namespace: String,
    row: BranchRow,
    /// Its own, oldest first.
    checkpoints: Vec<CheckpointRow>,
}

impl Thread {
    fn sub(&self, namespace: &str, branch: BranchId) -> Option<&Sub> {
        self.subs.iter().find(|sub| sub.namespace == namespace && sub.row.id == branch)
    }

    fn standing(&self, child: &ChildRow) -> Option<&CheckpointRow> {
        let sub = self.sub(&child.namespace, child.branch)?;
        sub.checkpoints.iter().find(|row| row.height == child.height)
    }

    /// Where sub-graphs stand at a checkpoint of a branch, by namespace: where the newest row over its tip says; else
    /// where the first checkpoint downwards says that moved them.
    pub(super) fn places(&self, branch: BranchId, base: &CheckpointId) -> Vec<ChildRow> {
        let row = &self.branch(branch).expect("it is there").row;
        let mut said: Vec<ChildRow> = Vec::new();
        if row.tip.as_ref().is_some_and(|tip| tip.id == *base) {
            let mut named = self.pending_of(base, branch);
            named.retain(|row| row.kind == PendingKind::Child);
            said.extend(named.iter().map(|row| ChildPlace::decode(&row.body).expect("a place was stored").into()));
            said.sort_by_key(|child: &ChildRow| std::cmp::Reverse(child.height));
        }
        for row in self.lineage(branch).into_iter().skip_while(|row| row.id != *base) {
            said.extend(self.said.iter().filter(|(id, _)| *id == row.id).flat_map(|(_, children)| children.clone()));
        }
        let mut found: Vec<ChildRow> = Vec::new();
        for child in said {
            if !found.iter().any(|newer| newer.namespace == child.namespace) {
                found.push(child);
            }
        }
        found.sort_by(|a, b| a.namespace.cmp(&b.namespace));
        found
    }

    /// Whether a commit says that sub-graphs stand where nothing is.
    pub(super) fn names_nothing(&self, commit: &Commit) -> bool {
        commit.children.iter().any(|child| self.standing(child).is_none())
    }

    fn refuse_child(&self, commit: &Commit, parent: &ChildOf) -> Vec<(ErrorKind, Subject)> {
        let mut reasons = match self.branch(parent.root) {
            None => vec![(ErrorKind::Missing, Subject::Branch)],
            Some(root) => fence(&root.row, Some(&parent.tip), parent.epoch).into_iter().collect(),
        };
        match (&commit.expect, self.sub(&commit.namespace, commit.branch.id)) {
            (Expect::New, Some(_)) => reasons.push((ErrorKind::Exists, Subject::Branch)),
            (Expect::New, None) => {
                let namespace = commit.namespace.clone();
                let point = |fork: stepmark_core::rows::ForkPoint| ChildRow {
                    namespace,
                    branch: fork.branch,
                    height: fork.height,
                };
                let lost = commit.branch.fork.map(point).is_some_and(|point| self.standing(&point).is_none());
                reasons.extend(lost.then_some((ErrorKind::Missing, Subject::Checkpoint)));
            }
            (Expect::At { .. }, None) => reasons.push((ErrorKind::Missing, Subject::Branch)),
            (Expect::At { tip, .. }, Some(own)) => {
                let astray = own.row.root != Some(parent.root) || own.row.tip != *tip;
                reasons.extend(astray.then_some((ErrorKind::Conflict, Subject::Branch)));
            }
        }
        self.refuse_rows(std::slice::from_ref(&parent.row), &[], &mut reasons);
        reasons
    }

    fn write_child(&mut self, commit: &Commit, parent: &ChildOf) {
        let row = commit.checkpoint.clone().expect("a sub-graph's commit has a checkpoint");
        let ours = |sub: &&mut Sub| sub.namespace == commit.namespace && sub.row.id == commit.branch.id;
        match self.subs.iter_mut().find(ours) {
            Some(sub) => {
                sub.checkpoints.push(row);
                sub.row = commit.branch.clone();
            }
            None => self.subs.push(Sub {
                namespace: commit.namespace.clone(),
                row: commit.branch.clone(),
                checkpoints: vec![row],
            }),
        }
        self.write_rows(std::slice::from_ref(&parent.row), &[]);
    }
}

impl Model {
    /// A commit of a sub-graph; its thread was not deleted.
    pub(super) fn commit_child(&mut self, commit: &Commit, parent: &ChildOf) -> Verdict {
        let Some(thread) = self.threads.iter_mut().find(|thread| thread.row.uid == commit.thread) else {
            return Verdict::Refused(vec![(ErrorKind::Missing, Subject::Thread)]);
        };
        let own = thread.subs.iter().filter(|sub| sub.namespace == commit.namespace);
        if own.flat_map(|sub| &sub.checkpoints).any(|row| Some(row) == commit.checkpoint.as_ref()) {
            return Verdict::Done(Outcome::Repeated);
        }
        let reasons = thread.refuse_child(commit, parent);
        if !reasons.is_empty() {
            return Verdict::Refused(reasons);
        }
        thread.write_child(commit, parent);
        Verdict::Done(Outcome::Applied)
    }
}

impl World {
    /// Runs a sub-graph one checkpoint further, as its writer believes it to be, or from where it stands.
    pub(super) async fn call(&mut self, call: &Call) -> Option<ThreadUid> {
        let root = self.line_of(call.writer)?;
        let namespace = NAMESPACES[usize::from(call.namespace) % NAMESPACES.len()];
        let ours = |lines: &&mut Vec<Line>| {
            let newest = &lines[lines.len() - 1];
            let own = call.strays || newest.branch.root == Some(root.branch.id);
            own && (newest.thread.uid, newest.namespace.as_str()) == (root.thread.uid, namespace)
        };
        let known = self.callers.iter_mut().rev().find(ours);
        let line =
            known.as_ref().map(|lines| lines[(lines.len() - 1).saturating_sub(usize::from(call.belief))].clone());
        let (mut line, begins) = match line {
            Some(line) => (line, false),
            None => (self.begun(&root, namespace)?, true),
        };
        line.branch.root = Some(root.branch.id);
        let draft = if begins { line.first() } else { line.next() };
        let commit = draft.under(&root, u64::from(call.ordinal));
        if self.send_child(&commit).await {
            (line.segment, line.branch) = (commit.branch.id, commit.branch);
            match self.callers.iter_mut().find(|lines| lines[0].branch.id == line.branch.id) {
                Some(lines) => lines.push(line),
                None => self.callers.push(vec![line]),
            }
        }
        Some(root.thread.uid)
    }

    /// The line on which a sub-graph begins, or goes on from where it stands for this root.
    fn begun(&self, root: &Line, namespace: &str) -> Option<Line> {
        let thread = self.model.thread(root.thread.uid)?;
        let places = thread.places(root.branch.id, &root.branch.tip.as_ref()?.id);
        let Some(child) = places.into_iter().find(|child| child.namespace == namespace) else {
            return Some(root.sub_graph(namespace));
        };
        let row = thread.standing(&child).expect("a row names what is there");
        let tip = Some(Tip { height: row.height, id: row.id.clone() });
        let branch = BranchRow { tip, ..root.branch.clone() };
        Some(root.sub_graph_at(&Line { namespace: namespace.into(), segment: child.branch, branch, ..root.clone() }))
    }

    /// What a commit of the root says of sub-graphs: where they stand, or that one stands where nothing is.
    pub(super) fn named_children(&self, root: &Line, astray: bool) -> Option<Vec<ChildRow>> {
        let thread = self.model.thread(root.thread.uid)?;
        let mut places = thread.places(root.branch.id, &root.branch.tip.as_ref()?.id);
        if astray {
            let first = chosen(&places, 0).cloned();
            let (namespace, branch) = (NAMESPACES[0].to_owned(), root.branch.id);
            let first = first.unwrap_or(ChildRow { namespace, branch, height: 0 });
            places = vec![ChildRow { height: first.height + 9, ..first }];
        }
        Some(places)
    }

    /// Compares where the sub-graphs of every branch stand, at its tip and below, and their own branches.
    pub(super) async fn compare_children(&self, thread: &Thread) {
        let address = ThreadAddress::Uid(thread.row.uid);
        for branch in &thread.branches {
            for row in thread.lineage(branch.row.id).into_iter().take(MOMENTS) {
                let places = thread.places(branch.row.id, &row.id);
                for namespace in NAMESPACES {
                    let place = Place::Child { root: branch.row.id, base: row.id.clone() };
                    let load = Load { namespace: namespace.into(), place, ..Load::head(address.clone()) };
                    let answer = self.store.load(load).await;
                    let Some(child) = places.iter().find(|child| child.namespace == namespace) else {
                        let refusal = answer.expect_err("a sub-graph without state is nowhere");
                        assert!(refusal.is(ErrorKind::Missing, Subject::Checkpoint), "{refusal}");
                        continue;
                    };
                    let loaded = answer.expect("a sub-graph with state stands somewhere");
                    let stored = thread.standing(child).map(|row| row.id.clone());
                    assert_eq!(loaded.checkpoint.map(|row| row.id), stored, "{namespace} over {}", row.id);
                    assert_eq!(Some(&loaded.branch.row), thread.sub(namespace, child.branch).map(|sub| &sub.row));
                }
            }
        }
        for sub in &thread.subs {
            let line = Walk::Lineage { branch: sub.row.id, below: None };
            let query = HistoryQuery { thread: thread.row.uid, namespace: sub.namespace.clone(), line, limit: 50 };
            let page = self.store.history(query).await.expect("a branch that is there has a history");
            let tip = page.entries.first().map(|entry| &entry.checkpoint.id);
            assert_eq!(tip, sub.row.tip.as_ref().map(|tip| &tip.id));
            let heights = page.entries.iter().rev().map(|entry| entry.checkpoint.height);
            assert!(heights.eq(0..page.entries.len() as u64), "the lineage of {} has a gap", sub.row.id);
        }
    }
}
