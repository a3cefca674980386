//! What do rows name that has to be there?

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use stepmark_core::capability::Row;
use stepmark_core::error::Subject;
use stepmark_core::id::{BlobHash, BranchId, CheckpointId, RunId};
use stepmark_core::value::{ValueAddress, ValueRef, decode_packed};

use super::{Finding, Problem};

/// Something that a row names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Target {
    /// A branch of a namespace.
    Branch(Arc<str>, BranchId),
    /// The checkpoint at a place, which may have to be a certain one.
    Place(Arc<str>, BranchId, u64, Option<CheckpointId>),
    /// The checkpoint with an id.
    Id(Arc<str>, CheckpointId),
    /// A value row, or a packed value.
    Value(Arc<str>, ValueAddress, bool),
    /// A run.
    Run(RunId),
    /// A graph, by name and signature.
    Graph(String, [u8; 16]),
    /// Where the sub-graph of a namespace stood at a checkpoint of the root.
    Child(BranchId, u64, String),
}

/// A place of a checkpoint, and its id where that is known.
pub(super) type Place = (BranchId, u64, Option<CheckpointId>);

/// Targets that were not found yet, with who named each first.
#[derive(Debug, Default)]
pub(super) struct Named {
    spaces: HashSet<Arc<str>>,
    targets: HashMap<Target, (Problem, String)>,
    blobs: BTreeMap<BlobHash, (u64, String)>,
}

impl Named {
    /// A namespace, kept once.
    pub(super) fn space(&mut self, namespace: &str) -> Arc<str> {
        if let Some(known) = self.spaces.get(namespace) {
            return Arc::clone(known);
        }
        let space: Arc<str> = namespace.into();
        self.spaces.insert(Arc::clone(&space));
        space
    }

    /// Of several rows that name one target the gravest counts.
    fn add(&mut self, target: Target, problem: Problem, by: impl FnOnce() -> String) {
        let known = self.targets.get(&target);
        if known.is_none_or(|(known, _)| *known == Problem::Gap && problem != Problem::Gap) {
            self.targets.insert(target, (problem, by()));
        }
    }

    pub(super) fn branch(&mut self, namespace: &str, branch: BranchId, by: impl FnOnce() -> String) {
        let space = self.space(namespace);
        self.add(Target::Branch(space, branch), Problem::Lost, by);
    }

    /// A branch that may have been dropped since.
    pub(super) fn left_branch(&mut self, namespace: &str, branch: BranchId, by: impl FnOnce() -> String) {
        let space = self.space(namespace);
        self.add(Target::Branch(space, branch), Problem::Gap, by);
    }

    pub(super) fn checkpoint(
        &mut self,
        namespace: &str,
        (branch, height, id): Place,
        problem: Problem,
        by: impl FnOnce() -> String,
    ) {
        let space = self.space(namespace);
        self.add(Target::Place(space, branch, height, id), problem, by);
    }

    /// A checkpoint that may have been pruned since.
    pub(super) fn id(&mut self, namespace: &str, id: &CheckpointId, by: impl FnOnce() -> String) {
        let space = self.space(namespace);
        self.add(Target::Id(space, id.clone()), Problem::Gap, by);
    }

    pub(super) fn value(&mut self, namespace: &str, value: ValueRef, by: impl FnOnce() -> String) {
        let space = self.space(namespace);
        self.add(Target::Value(space, value.address, value.packed), Problem::Lost, by);
    }

    pub(super) fn run(&mut self, run: &RunId, by: impl FnOnce() -> String) {
        self.add(Target::Run(run.clone()), Problem::Lost, by);
    }

    pub(super) fn graph(&mut self, name: &str, signature: [u8; 16], by: impl FnOnce() -> String) {
        self.add(Target::Graph(name.to_owned(), signature), Problem::Lost, by);
    }

    /// Where a sub-graph stood at a checkpoint of the root.
    pub(super) fn child(&mut self, (branch, height): (BranchId, u64), namespace: &str, by: impl FnOnce() -> String) {
        self.add(Target::Child(branch, height, namespace.to_owned()), Problem::Lost, by);
    }

    pub(super) fn blob(&mut self, hash: BlobHash, length: u64, by: impl FnOnce() -> String) {
        self.blobs.entry(hash).or_insert_with(|| (length, by()));
    }

    /// The blobs that were named.
    pub(super) fn take_blobs(&mut self) -> Vec<(BlobHash, u64, String)> {
        std::mem::take(&mut self.blobs).into_iter().map(|(hash, (length, by))| (hash, length, by)).collect()
    }

    /// Strikes off what a row is.
    pub(super) fn found(&mut self, row: &Row) {
        match row {
            Row::Run(run) => {
                self.targets.remove(&Target::Run(run.id.clone()));
            }
            Row::Graph(graph) => {
                self.targets.remove(&Target::Graph(graph.name.clone(), graph.signature));
            }
            Row::Child { root, height, row } => {
                self.targets.remove(&Target::Child(*root, *height, row.namespace.clone()));
            }
            Row::Branch { namespace, row, .. } => {
                let space = self.space(namespace);
                self.targets.remove(&Target::Branch(space, row.id));
            }
            Row::Value { namespace, row } => {
                let space = self.space(namespace);
                self.targets.remove(&Target::Value(space, row.address, false));
            }
            Row::Checkpoint { namespace, row } => {
                let space = self.space(namespace);
                for value in decode_packed(&row.packed).unwrap_or_default() {
                    let address = ValueAddress { branch: row.branch, height: row.height, ordinal: value.ordinal };
                    self.targets.remove(&Target::Value(Arc::clone(&space), address, true));
                }
                if row.is_linked() {
                    let place = |id| Target::Place(Arc::clone(&space), row.branch, row.height, id);
                    self.targets.remove(&place(None));
                    self.targets.remove(&place(Some(row.id.clone())));
                    self.targets.remove(&Target::Id(space, row.id.clone()));
                }
            }
            _ => {}
        }
    }

    /// What was never found. Where nothing was pruned nothing was taken away.
    pub(super) fn left(self, is_pruned: bool) -> impl Iterator<Item = Finding> {
        let mut left: Vec<_> = self.targets.into_iter().collect();
        left.sort_by(|a, b| a.0.cmp(&b.0));
        left.into_iter().map(move |(target, (problem, by))| {
            let problem = if is_pruned { problem } else { Problem::Lost };
            let (subject, id) = match target {
                Target::Branch(_, id) => (Subject::Branch, id.to_string()),
                Target::Place(_, branch, height, None) => (Subject::Checkpoint, format!("{branch} at height {height}")),
                Target::Place(.., Some(id)) | Target::Id(_, id) => (Subject::Checkpoint, id.to_string()),
                Target::Value(_, address, _) => (Subject::Value, address.to_string()),
                Target::Run(id) => (Subject::Run, id.to_string()),
                Target::Graph(name, _) => (Subject::Graph, name),
                Target::Child(branch, height, namespace) => {
                    (Subject::Checkpoint, format!("of sub-graph {namespace} at height {height} of {branch}"))
                }
            };
            Finding { problem, subject, id, reason: format!("{by} names it, but it is gone or cannot be read") }
        })
    }
}
