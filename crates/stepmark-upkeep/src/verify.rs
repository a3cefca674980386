//! Is a thread as it was written?
//!
//! Two walks over its rows. The first compares every hash and collects what rows name; the second looks for what was
//! named, and reads it later than what names it, so that nothing of a thread that grows meanwhile is taken for lost.

mod expected;
mod named;
mod report;
mod store;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use expected::{Expected, contradiction};
use named::Named;
pub use report::{Finding, Problem, Report, StoreReport};
use stepmark_core::capability::{Carried, Row, RowClass, Rows};
use stepmark_core::checkpoint::{CheckpointRow, Manifest};
use stepmark_core::child::ChildPlace;
use stepmark_core::effect::EffectEntry;
use stepmark_core::error::{Error as StoreError, ErrorKind, Subject};
use stepmark_core::id::{BlobHash, BranchId, ThreadUid};
use stepmark_core::load::damaged;
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::{BranchRow, ForkPoint};
use stepmark_core::store::{BlobCall, BlobReply, CheckpointStore, Load, ThreadAddress};
use stepmark_core::value::{ValueAddress, ValueHead, decode_packed};
pub use store::{verify_all, verify_items};

use crate::error::{Error, Result};
use crate::send::{Walk, rows_of, thread_row};

/// Classes that are read again: what the first walk saw names rows of these. Branches last, so that one that has not moved by
/// then has not moved since.
const AGAIN: [RowClass; 7] = [
    RowClass::Run,
    RowClass::Graph,
    RowClass::Pending,
    RowClass::Child,
    RowClass::Checkpoint,
    RowClass::Value,
    RowClass::Branch,
];

/// Compares every hash of a thread, and looks for everything that must be there: what rows name (bases of values, blobs,
/// parents, branches, fork points, tips, runs and their graphs, checkpoints of tags, runs and sub-graphs), and what came in
/// one unit with a row or between two (numbers of branches and of flushes, generations and attempts of effects, questions of
/// answers and of runs that wait, rows that say where sub-graphs stood). Needs no key and none of the types of its states,
/// changes nothing, and may run beside runs.
///
/// In a thread that was pruned, a checkpoint or branch that is not there is a [`Problem::Gap`]; in any other it is lost.
///
/// Some rows are told of by nothing else, and nobody sees that they are gone: a branch's name; a tag; a finished step; the
/// last result over a tip; results, questions and answers below it; an answer; a question beside which another one waits or
/// is answered; of several attempts of an effect one that has not done it; the newest entry of an effect's key with all its
/// attempts; the newest branch, if it has neither name nor checkpoint; attributes. Nor does it look at what belongs to no thread's rows: when a
/// thread may go, when checkpoints arrived, which values use a blob, and results that are
/// kept for a while. Items have a walk of their own ([`verify_items`]); [`verify_all`] looks at both.
///
/// # Errors
/// [`Error::Store`]: the thread is unknown, or the store cannot be read at all. Damage is no error: it is what the report
/// is for.
pub async fn verify(store: &dyn CheckpointStore, thread: &ThreadAddress) -> Result<Report> {
    let uid = match thread {
        ThreadAddress::Uid(uid) => *uid,
        ThreadAddress::Name { .. } => store.load(Load::head(thread.clone())).await?.thread.uid,
    };
    let mut check = Check {
        rows: rows_of(store)?,
        uid,
        report: Report::default(),
        named: Named::default(),
        expected: Expected::of(uid),
        tips: HashMap::new(),
    };
    check.collect().await?;
    check.look_for().await?;
    check.look_for_blobs(store).await?;
    check.look_at_carried(store).await?;
    let Check { mut report, named, expected, .. } = check;
    let is_pruned = is_pruned(store, uid, expected.newest_branch()).await?;
    named.left(is_pruned).chain(expected.missed(is_pruned)).for_each(|finding| report.add(finding));
    Ok(report)
}

/// Whether something may have ceased to exist in a thread. It is asked last: what was not pruned by then was not before.
async fn is_pruned(store: &dyn CheckpointStore, thread: ThreadUid, branches: u64) -> Result<bool> {
    let Some(retention) = store.retention() else { return Ok(true) };
    match retention.state(thread).await {
        Ok(state) => Ok(state.mark > branches),
        // Nobody can tell, where the rows that it is told by are damaged.
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Missing) => Ok(true),
        Err(error) => Err(Error::Store(error)),
    }
}

struct Check<'a> {
    rows: &'a dyn Rows,
    uid: ThreadUid,
    report: Report,
    named: Named,
    expected: Expected,
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
                        Err(error) => self.report.damaged(error)?,
                    }
                }
            }
        }
        self.lineages();
        Ok(())
    }

    fn wrong(&mut self, row: &Row, reason: &str) {
        let (subject, id) = (row.subject(), row.to_string());
        self.report.add(Finding { problem: Problem::Wrong, subject, id, reason: reason.to_owned() });
    }

    fn row(&mut self, row: &Row) {
        let by = || format!("{} {row}", row.subject());
        self.expected.first(row);
        match row {
            Row::Thread(thread) => self.named.branch("", thread.head, by),
            Row::Branch { namespace, row: branch, .. } => self.branch(row, namespace, branch),
            Row::Ref { branch, .. } => self.named.branch("", *branch, by),
            Row::Run(run) => {
                self.named.left_branch("", run.branch, by);
                if let Some(last) = &run.last {
                    self.named.id("", &last.id, by);
                }
                if let Some(signature) = run.graph_signature {
                    self.named.graph(&run.graph, signature, by);
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
        if let Some(reason) = contradiction(entry) {
            self.wrong(row, reason);
        }
        if entry.row.origin == self.uid {
            self.named.left_branch("", entry.row.made.branch, || format!("effect {row}"));
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
        if namespace.is_empty() {
            // What plans tasks, or applied some, was written by a run. Those of sub-graphs have no record.
            if !manifest.next.is_empty() || !manifest.tasks.is_empty() {
                self.named.run(&manifest.run, by);
            }
            for moved in self.expected.moved_by(checkpoint, manifest) {
                self.named.child((checkpoint.branch, checkpoint.height), &moved, by);
            }
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
        for class in AGAIN {
            let mut walk = Walk::new(self.uid, class);
            while let Some(page) = walk.next_as_stored(self.rows).await? {
                for row in page.into_iter().flatten() {
                    self.named.found(&row);
                    self.expected.again(&row);
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

    async fn look_at_carried(&mut self, store: &dyn CheckpointStore) -> Result<()> {
        match Carried::of(store, self.uid).await {
            Ok(_) => Ok(()),
            // The thread's own row is damaged, as was found before.
            Err(error) if error.is(ErrorKind::Missing, Subject::Thread) => Ok(()),
            Err(error) if error.is(ErrorKind::Missing, Subject::Attribute) => {
                let (id, reason) = (error.id().to_owned(), "the thread has it, but its declaration is gone".to_owned());
                self.report.add(Finding { problem: Problem::Lost, subject: Subject::Attribute, id, reason });
                Ok(())
            }
            Err(error) => self.report.damaged(error),
        }
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
                Err(error) => self.report.damaged(error)?,
            }
        }
        Ok(())
    }
}
