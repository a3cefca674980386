//! Is a thread as it was written?
//!
//! Two walks over its rows. The first compares every hash and collects what rows name; the second looks for what was
//! named, and reads it later than what names it, so that nothing of a thread that grows meanwhile is taken for lost.

mod named;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use named::Named;
use stepmark_core::capability::{Row, RowClass, Rows};
use stepmark_core::checkpoint::{CheckpointRow, Manifest};
use stepmark_core::child::ChildPlace;
use stepmark_core::effect::{EffectEntry, EffectStatus};
use stepmark_core::error::{Error as StoreError, ErrorKind, Subject};
use stepmark_core::id::{BlobHash, BranchId, ThreadUid};
use stepmark_core::load::damaged;
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::{BranchRow, ForkPoint};
use stepmark_core::store::{BlobCall, BlobReply, CheckpointStore, Load, ThreadAddress};
use stepmark_core::value::{ValueAddress, ValueHead, decode_packed};

use crate::error::{Error, Result};
use crate::send::{Walk, rows_of, thread_row};

/// How many findings a report holds; the others are counted.
const FINDINGS_MAX: usize = 1000;

/// What is wrong with a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many rows were read.
    pub rows: u64,
    /// What was found, in the order of reading; at most a thousand.
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub more: u64,
}

impl Report {
    /// Whether nothing is damaged, lost or contradicted. Gaps alone do not speak against a thread: pruning leaves them.
    pub fn is_sound(&self) -> bool {
        self.more == 0 && self.findings.iter().all(|finding| finding.problem == Problem::Gap)
    }

    fn add(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it comes to.
    pub problem: Problem,
    /// Which kind of record it is about.
    pub subject: Subject,
    /// Which one.
    pub id: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What a finding comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Problem {
    /// The record is not what its hash says, or cannot be read.
    Damaged,
    /// Another record names it, and it is not there, or not readable.
    Lost,
    /// It contradicts another record.
    Wrong,
    /// A checkpoint is not there that others followed: it was pruned, or lost. Nothing tells which.
    Gap,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, id, reason, .. } = self;
        write!(f, "{subject} {id:?}: {reason}")
    }
}

/// Compares every hash of a thread, and looks for everything that its rows name: bases of values, blobs, parents,
/// branches, fork points, tips, tags, names, checkpoints of runs and of sub-graphs. Needs no key and none of the types of
/// its states, changes nothing, and may run beside runs.
///
/// # Errors
/// [`Error::Store`]: the thread is unknown, or the store cannot be read at all. Damage is no error: it is what the report
/// is for.
pub async fn verify(store: &dyn CheckpointStore, thread: &ThreadAddress) -> Result<Report> {
    let uid = match thread {
        ThreadAddress::Uid(uid) => *uid,
        ThreadAddress::Name { .. } => store.load(Load::head(thread.clone())).await?.thread.uid,
    };
    let mut check =
        Check { rows: rows_of(store)?, uid, report: Report::default(), named: Named::default(), tips: HashMap::new() };
    check.collect().await?;
    check.look_for().await?;
    check.look_for_blobs(store).await?;
    let Check { mut report, named, .. } = check;
    named.left().for_each(|finding| report.add(finding));
    Ok(report)
}

struct Check<'a> {
    rows: &'a dyn Rows,
    uid: ThreadUid,
    report: Report,
    named: Named,
    /// Branches of each namespace.
    tips: HashMap<(Arc<str>, BranchId), BranchRow>,
}

impl Check<'_> {
    /// The first walk.
    async fn collect(&mut self) -> Result<()> {
        for class in RowClass::ALL {
            let mut walk = Walk::new(self.uid, class);
            while let Some(page) = walk.next_as_stored(self.rows).await? {
                for row in page {
                    self.report.rows += 1;
                    match row {
                        Ok(row) => self.row(&row),
                        Err(error) => self.damaged(&error)?,
                    }
                }
            }
        }
        self.lineages();
        Ok(())
    }

    /// Damage is reported; what is not about a row ends the walk.
    fn damaged(&mut self, error: &StoreError) -> Result<()> {
        match error.kind() {
            ErrorKind::Corrupt | ErrorKind::Unsupported => {
                let (subject, id) = (error.subject(), error.id().to_owned());
                self.report.add(Finding { problem: Problem::Damaged, subject, id, reason: error.to_string() });
                Ok(())
            }
            _ => Err(Error::Store(StoreError::new(error.kind(), error.subject(), error.id(), error.to_string()))),
        }
    }

    fn wrong(&mut self, row: &Row, reason: &str) {
        let (subject, id) = (row.subject(), row.to_string());
        self.report.add(Finding { problem: Problem::Wrong, subject, id, reason: reason.to_owned() });
    }

    fn row(&mut self, row: &Row) {
        let by = || format!("{} {row}", row.subject());
        match row {
            Row::Thread(thread) => self.named.branch("", thread.head, by),
            Row::Branch { namespace, row: branch, .. } => self.branch(row, namespace, branch),
            Row::Ref { branch, .. } => self.named.branch("", *branch, by),
            Row::Run(run) => {
                self.named.left_branch("", run.branch, by);
                if let Some(last) = &run.last {
                    self.named.id("", &last.id, by);
                }
            }
            Row::Graph(_) => {}
            Row::Tag { namespace, row: tag } => {
                self.named.checkpoint(namespace, (tag.branch, tag.height, None), Problem::Lost, by);
            }
            Row::Effect(entry) => self.effect(row, entry),
            Row::Pending { namespace, row: pending } => self.pending(row, namespace, pending),
            Row::Child { root, height, row: child } => {
                self.named.checkpoint("", (*root, *height, None), Problem::Gap, by);
                self.named.checkpoint(&child.namespace, (child.branch, child.height, None), Problem::Lost, by);
            }
            Row::Checkpoint { namespace, row: checkpoint } => self.checkpoint(row, namespace, checkpoint),
            Row::Value { namespace, row: value } => self.value(row, namespace, (value.address, &value.node.head)),
        }
    }

    fn branch(&mut self, row: &Row, namespace: &str, branch: &BranchRow) {
        let by = || format!("branch {}", branch.id);
        self.tips.insert((self.named.space(namespace), branch.id), branch.clone());
        let above = |tip: u64| branch.fork.is_none_or(|fork| tip > fork.height);
        if let Some(tip) = &branch.tip {
            let segment = if above(tip.height) { Some(branch.id) } else { branch.fork.map(|fork| fork.branch) };
            let place = (segment.unwrap_or(branch.id), tip.height, Some(tip.id.clone()));
            self.named.checkpoint(namespace, place, Problem::Lost, by);
        }
        if let Some(fork) = branch.fork {
            self.named.branch(namespace, fork.branch, by);
            self.named.checkpoint(namespace, (fork.branch, fork.height, None), Problem::Gap, by);
            if branch.tip.as_ref().is_none_or(|tip| tip.height < fork.height) {
                self.wrong(row, "its tip lies below its fork point");
            }
        }
        match branch.root {
            Some(root) => self.named.left_branch("", root, by),
            None if !namespace.is_empty() => self.wrong(row, "it belongs to no branch of the root"),
            None => {}
        }
    }

    /// Fork points fall along every line.
    fn lineages(&mut self) {
        let fork_of = |namespace: &Arc<str>, fork: ForkPoint| {
            self.tips.get(&(Arc::clone(namespace), fork.branch)).and_then(|parent| parent.fork)
        };
        let is_wrong = |((namespace, _), branch): &(&(Arc<str>, BranchId), &BranchRow)| {
            branch.fork.is_some_and(|fork| fork_of(namespace, fork).is_some_and(|older| older.height >= fork.height))
        };
        let wrong: Vec<BranchId> = self.tips.iter().filter(is_wrong).map(|((_, id), _)| *id).collect();
        for id in wrong {
            let reason = "it leaves its parent below the parent's beginning".to_owned();
            self.report.add(Finding { problem: Problem::Wrong, subject: Subject::Branch, id: id.to_string(), reason });
        }
    }

    fn effect(&mut self, row: &Row, entry: &EffectEntry) {
        if (entry.row.status == EffectStatus::Done) != entry.row.result.is_some() {
            self.wrong(row, "an effect has a result exactly if it is done");
        }
    }

    fn pending(&mut self, row: &Row, namespace: &str, pending: &PendingRow) {
        let by = || format!("pending row {row}");
        self.named.id(namespace, &pending.base, by);
        if let Some(lane) = BranchId::new(pending.lane.0) {
            self.named.left_branch(namespace, lane, by);
        }
        for value in &pending.values {
            self.named.value(namespace, *value, by);
        }
        if pending.kind == PendingKind::Child {
            match ChildPlace::decode(&pending.body) {
                Ok(place) => {
                    let at = (place.branch, place.height, Some(place.id));
                    self.named.checkpoint(&place.namespace, at, Problem::Lost, by);
                }
                Err(error) => self.unreadable(&damaged(Subject::Pending, row, error)),
            }
        }
    }

    fn unreadable(&mut self, error: &StoreError) {
        let (subject, id) = (error.subject(), error.id().to_owned());
        self.report.add(Finding { problem: Problem::Damaged, subject, id, reason: error.to_string() });
    }

    fn checkpoint(&mut self, row: &Row, namespace: &str, checkpoint: &CheckpointRow) {
        let by = || format!("checkpoint {}", checkpoint.id);
        if checkpoint.is_linked() {
            self.named.branch(namespace, checkpoint.branch, by);
        }
        match decode_packed(&checkpoint.packed) {
            Ok(values) => {
                let address = |ordinal| ValueAddress { branch: checkpoint.branch, height: checkpoint.height, ordinal };
                for value in values {
                    self.value(row, namespace, (address(value.ordinal), &value.node.head));
                }
            }
            Err(error) => self.unreadable(&damaged(Subject::Checkpoint, &checkpoint.id, error)),
        }
        if !checkpoint.is_linked() {
            return;
        }
        match Manifest::decode_head(&checkpoint.manifest, checkpoint.created_at) {
            Ok(manifest) => self.manifest(row, namespace, (checkpoint, &manifest)),
            Err(error) => self.unreadable(&damaged(Subject::Checkpoint, &checkpoint.id, error)),
        }
    }

    fn manifest(&mut self, row: &Row, namespace: &str, (checkpoint, manifest): (&CheckpointRow, &Manifest)) {
        let by = || format!("checkpoint {}", checkpoint.id);
        for value in manifest.values() {
            self.named.value(namespace, value, by);
        }
        match (&manifest.parent, checkpoint.height.checked_sub(1)) {
            (None, None) => {}
            (Some(parent), Some(below)) => {
                let own = self.tips.get(&(self.named.space(namespace), checkpoint.branch));
                let left = own.and_then(|branch| branch.fork).filter(|fork| fork.height == below);
                let segment = left.map_or(checkpoint.branch, |fork| fork.branch);
                self.named.checkpoint(namespace, (segment, below, Some(parent.clone())), Problem::Gap, by);
            }
            _ => self.wrong(row, "it has a parent exactly if it is no root"),
        }
    }

    fn value(&mut self, row: &Row, namespace: &str, (address, head): (ValueAddress, &ValueHead)) {
        let by = || format!("value {address}");
        self.named.left_branch(namespace, address.branch, by);
        if let Some(base) = head.structure.base() {
            self.named.value(namespace, base, by);
            if (base.address.height, base.address.ordinal) >= (address.height, address.ordinal) {
                self.wrong(row, &format!("its value {address} follows from one that is not older"));
            }
        }
        if let Some((hash, length)) = head.blob {
            self.named.blob(hash, length, by);
        }
    }

    /// The second walk.
    async fn look_for(&mut self) -> Result<()> {
        let mut highest: BTreeMap<(Arc<str>, BranchId), u64> = BTreeMap::new();
        for class in [RowClass::Checkpoint, RowClass::Value, RowClass::Branch] {
            let mut walk = Walk::new(self.uid, class);
            while let Some(page) = walk.next_as_stored(self.rows).await? {
                for row in page.into_iter().flatten() {
                    self.named.found(&row);
                    match &row {
                        Row::Checkpoint { namespace, row } => {
                            let at = highest.entry((self.named.space(namespace), row.branch)).or_default();
                            *at = row.height.max(*at);
                        }
                        Row::Branch { namespace, row: branch, .. } => {
                            let top = highest.get(&(self.named.space(namespace), branch.id));
                            let tip = branch.tip.as_ref().map(|tip| tip.height);
                            if top.is_some_and(|top| tip.is_none_or(|tip| tip < *top)) {
                                self.wrong(&row, "a checkpoint lies above its tip");
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    async fn look_for_blobs(&mut self, store: &dyn CheckpointStore) -> Result<()> {
        // Of a thread whose row is damaged only its other rows are checked.
        let Ok(thread) = thread_row(self.rows, self.uid).await else { return Ok(()) };
        for (hash, length, by) in self.named.take_blobs() {
            let get = BlobCall::Get { scope: thread.scope.clone(), hash };
            let finding = |problem, reason| Finding { problem, subject: Subject::Blob, id: hash.to_string(), reason };
            match store.blob(get).await {
                Ok(BlobReply::Bytes(bytes)) if BlobHash::of(&bytes) == hash && bytes.len() as u64 == length => {}
                Ok(_) => self.report.add(finding(Problem::Damaged, format!("it is not what {by} names"))),
                Err(error) if error.kind() == ErrorKind::Missing => {
                    self.report.add(finding(Problem::Lost, format!("{by} names it, but it is gone")));
                }
                Err(error) => self.damaged(&error)?,
            }
        }
        Ok(())
    }
}
