//! How does a thread go on when the line that it stood on is damaged?
//!
//! From the last checkpoint that can be read whole, on a new branch. The damaged line stays as it is, without a name.

use std::collections::HashMap;

use stepmark_core::capability::{Row, RowClass};
use stepmark_core::clock::IdGen;
use stepmark_core::error::{Error as StoreError, ErrorKind, Subject};
use stepmark_core::id::{BranchId, CheckpointId, RunId, ThreadUid};
use stepmark_core::rows::{BranchRow, ForkPoint, RunEvent, RunRow, ThreadRow, Tip};
use stepmark_core::store::{
    Channels, CheckpointStore, Commit, Expect, LeftBranch, Load, NameWrite, Place, RunWrite, ThreadAddress,
};

use crate::error::{Error, Result};
use crate::send::{Walk, rows_of, thread_row};

/// Where a thread goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The branch that was left; it has no name any more.
    pub from: BranchId,
    /// The new branch, under the old one's name.
    pub to: BranchId,
    /// The checkpoint from which it goes on: the last one of the line that can be read whole.
    pub checkpoint: Tip,
}

/// Lets a named branch of the root namespace go on from its last checkpoint that can be read whole: its row, every value
/// with all that it follows from, every blob, and the state of every sub-graph there. A new branch from there takes the
/// name, and becomes the head where the old one was. Nothing is repaired and nothing is guessed: results that unfinished
/// tasks had stored are left behind, so those tasks run again; effects stay in the ledger. `None` where the tip and what
/// lies over it can be read: nothing was written.
///
/// It is one unit, fenced like any other: a run that still works on the damaged line is fenced by it. Repeating it after an
/// error finds the name on the new branch, and changes nothing.
///
/// # Errors
/// [`Error::Store`]: `Missing` (branch): no branch has the name. `Corrupt` (branch): no checkpoint of its line can be read,
/// or the rows of the line itself are damaged. `Missing`, `Corrupt`, `Deleted` (key), `Unsupported`: a record of the line
/// cannot be judged, because its key is not there or is another one, or because a newer version wrote it. `Fenced`,
/// `Conflict`: somebody moved the line meanwhile; call again. Nothing was written after any of them.
pub async fn quarantine(
    store: &dyn CheckpointStore,
    thread: ThreadUid,
    name: &str,
    ids: &(dyn IdGen + 'static),
) -> Result<Option<Quarantined>> {
    let line = Line::read(store, thread, name).await?;
    let tip = line.own.tip.as_ref();
    for (segment, tip_below) in line.places() {
        let is_tip = Some(&tip_below) == tip;
        let is_good = line.is_good(&tip_below, is_tip).await?;
        if is_tip && is_good {
            return Ok(None);
        }
        // What lies over the tip stays behind, so the tip alone may be good.
        if is_good || (is_tip && line.is_good(&tip_below, false).await?) {
            return Ok(Some(line.go_on(segment, tip_below, ids).await?));
        }
    }
    let reason = "no checkpoint of its line can be read whole";
    Err(StoreError::corrupt(Subject::Branch, name, reason).into())
}

/// What can be read of a line.
struct Line<'a> {
    store: &'a dyn CheckpointStore,
    thread: ThreadRow,
    name: String,
    own: BranchRow,
    /// Branches of the root namespace.
    branches: HashMap<BranchId, BranchRow>,
    /// Checkpoints of all namespaces, by place.
    checkpoints: HashMap<(String, BranchId, u64), CheckpointId>,
    /// The root's segment and height, the namespace, and where it stood.
    children: Vec<(BranchId, u64, String, BranchId, u64)>,
    /// The run of the line that has not ended.
    run: Option<RunId>,
}

/// Whether a record is not as it was written, or gone. One that this program cannot read, for want of a key or of a newer
/// version, is none the worse for it.
fn is_damage(error: &StoreError) -> bool {
    let is_of_record = !matches!(error.subject(), Subject::Key | Subject::Thread | Subject::Store);
    is_of_record && matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Missing)
}

impl<'a> Line<'a> {
    async fn read(store: &'a dyn CheckpointStore, uid: ThreadUid, name: &str) -> Result<Line<'a>> {
        let rows = rows_of(store)?;
        let thread = thread_row(rows, uid).await?;
        let (mut named, mut branches, mut checkpoints) = (None, HashMap::new(), HashMap::new());
        let (mut children, mut runs) = (Vec::new(), Vec::new());
        for class in [RowClass::Ref, RowClass::Branch, RowClass::Run, RowClass::Child, RowClass::Checkpoint] {
            let mut walk = Walk::new(uid, class);
            while let Some(page) = walk.next_as_stored(rows).await? {
                for row in page.into_iter().flatten() {
                    match row {
                        Row::Ref { name: found, branch } if found == name => named = Some(branch),
                        Row::Branch { namespace, row, .. } if namespace.is_empty() => {
                            branches.insert(row.id, row);
                        }
                        Row::Run(run) => runs.push(run),
                        Row::Child { root, height, row } => {
                            children.push((root, height, row.namespace, row.branch, row.height));
                        }
                        Row::Checkpoint { namespace, row } if row.is_linked() => {
                            checkpoints.insert((namespace, row.branch, row.height), row.id);
                        }
                        _ => {}
                    }
                }
            }
        }
        let missing = || StoreError::missing(Subject::Branch, name, "no branch has this name, or its row is damaged");
        let own: BranchRow = named.and_then(|id| branches.get(&id)).cloned().ok_or_else(missing)?;
        let run = runs.into_iter().rfind(|run| run.branch == own.id && run.status.next(RunEvent::Discarded).is_some());
        let run = run.map(|run| run.id);
        Ok(Line { store, thread, name: name.to_owned(), own, branches, checkpoints, children, run })
    }

    /// The checkpoints of the line whose rows can be read, newest first, each with the segment that holds it.
    fn places(&self) -> Vec<(BranchId, Tip)> {
        let mut places = Vec::new();
        for (segment, top, bottom) in self.segments() {
            for height in (bottom..=top).rev() {
                if let Some(id) = self.checkpoints.get(&(String::new(), segment, height)) {
                    places.push((segment, Tip { height, id: id.clone() }));
                }
            }
        }
        places
    }

    /// The segments of the line with the greatest and the smallest height that it has of each.
    fn segments(&self) -> Vec<(BranchId, u64, u64)> {
        let mut segments = Vec::new();
        let (mut next, mut top) = (Some(&self.own), self.own.tip.as_ref().map_or(0, |tip| tip.height));
        while let Some(branch) = next {
            let bottom = branch.fork.map_or(0, |fork| fork.height + 1);
            if bottom <= top {
                segments.push((branch.id, top, bottom));
            }
            // Fork points fall along a line; one that does not ends it.
            next = branch.fork.filter(|fork| fork.height <= top).and_then(|fork| {
                let parent = self.branches.get(&fork.branch)?;
                parent.fork.is_none_or(|older| older.height < fork.height).then_some(parent)
            });
            top = branch.fork.map_or(top, |fork| fork.height.min(top));
        }
        segments
    }

    /// Whether a checkpoint of the line can be read with all its values, and all sub-graphs where they stood then.
    async fn is_good(&self, at: &Tip, with_pending: bool) -> Result<bool> {
        let place = Place::Moment { branch: self.own.id, checkpoint: at.id.clone() };
        if !self.loads("", place, with_pending).await? {
            return Ok(false);
        }
        let mut stood: HashMap<&str, (u64, Option<&CheckpointId>, BranchId)> = HashMap::new();
        for (segment, top, _) in self.segments() {
            for (root, height, namespace, branch, child_height) in &self.children {
                let counts = *root == segment && *height <= top.min(at.height);
                if counts && stood.get(namespace.as_str()).is_none_or(|(known, ..)| known < height) {
                    let id = self.checkpoints.get(&(namespace.clone(), *branch, *child_height));
                    stood.insert(namespace, (*height, id, *branch));
                }
            }
        }
        for (namespace, (_, id, branch)) in stood {
            let Some(id) = id else { return Ok(false) };
            if !self.loads(namespace, Place::Moment { branch, checkpoint: id.clone() }, false).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn loads(&self, namespace: &str, place: Place, pending: bool) -> Result<bool> {
        let address = ThreadAddress::Uid(self.thread.uid);
        let load =
            Load { namespace: namespace.to_owned(), place, channels: Channels::All, pending, ..Load::head(address) };
        match self.store.load(load).await {
            Ok(_) => Ok(true),
            Err(error) if is_damage(&error) => Ok(false),
            Err(error) => Err(Error::Store(error)),
        }
    }

    /// The run of the line that has not ended, as who began it knows it: a codec keeps rows otherwise than it takes them.
    async fn given_up(&self, checkpoint: &Tip) -> Result<Option<RunRow>> {
        let Some(id) = &self.run else { return Ok(None) };
        let place = Place::Moment { branch: self.own.id, checkpoint: checkpoint.id.clone() };
        let address = ThreadAddress::Uid(self.thread.uid);
        let load =
            Load { place, run: Some(id.clone()), channels: Channels::None, pending: false, ..Load::head(address) };
        let run = self.store.load(load).await?.run;
        Ok(run.and_then(|run| Some(RunRow { status: run.status.next(RunEvent::Discarded)?, ..run })))
    }

    /// One unit: the new branch, the name, the head, the old branch claimed, its run given up.
    async fn go_on(&self, segment: BranchId, checkpoint: Tip, ids: &(dyn IdGen + 'static)) -> Result<Quarantined> {
        let row = BranchRow {
            id: ids.branch(),
            fork: Some(ForkPoint { branch: segment, height: checkpoint.height }),
            tip: Some(checkpoint.clone()),
            epoch: 1,
            claim: ids.claim(),
            effects: self.own.effects,
            root: None,
        };
        let to = row.id;
        let left = BranchRow { epoch: self.own.epoch + 1, claim: ids.claim(), ..self.own.clone() };
        let is_head = self.thread.head == self.own.id;
        let time = self.store.info().await?.time;
        let run = self.given_up(&checkpoint).await?;
        let mut commit = Commit {
            name: Some(NameWrite { name: self.name.clone(), from: Some(self.own.id) }),
            expect_head: is_head.then_some(self.own.id),
            becomes_head: is_head,
            leaves: Some(LeftBranch { epoch: self.own.epoch, row: left }),
            ..Commit::new(self.thread.uid, Expect::New, row)
        };
        commit.runs = run.into_iter().map(|run| RunWrite::Update(RunRow { ended_at: Some(time), ..run })).collect();
        self.store.commit(commit).await?;
        Ok(Quarantined { from: self.own.id, to, checkpoint })
    }
}
