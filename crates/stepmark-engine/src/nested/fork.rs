//! How does a branch begin on which a sub-graph stands at an earlier checkpoint?
//!
//! On the checkpoint of the root whose step made that one. The rows that say where the step's sub-graphs stood, up to that
//! moment, are copied: so the task that called goes on from there, and what it had called before is not run again.

use stepmark_core::child::ChildPlace;
use stepmark_core::error::{ErrorKind as StoreKind, Subject};
use stepmark_core::id::{BranchId, CheckpointId, check_name};
use stepmark_core::pending::{NO_TASK, PendingKind, PendingRow};
use stepmark_core::store::{Channels, Commit, Expect, HistoryQuery, Line, Load, Loaded, Place, ThreadAddress};

use super::{Nested, NestedAt, known};
use crate::decide::{commit_decided, store_of};
use crate::error::{Error, ErrorKind, Result};
use crate::fork::{is_at_tip, new_branch};
use crate::state::State;
use crate::thread::Thread;

impl<S: State, C: State> NestedAt<'_, '_, S, C> {
    /// Makes a branch of the thread on which the sub-graph stands at this checkpoint: it leaves before the step of the root
    /// that made it. Nothing is executed; [`resume`](Thread::resume) of the branch goes on from there, without the results,
    /// steps and answers that followed.
    ///
    /// # Errors
    /// `Missing` names an unknown thread or checkpoint, or one that did not lead to where the sub-graph stands.
    /// `BranchExists` if the name is taken.
    pub async fn fork(&self, name: &str) -> Result<Thread<S>> {
        check_name(Subject::Branch, name)?;
        let thread = self.nested.thread;
        let root = self.nested.root(false).await?;
        let own = self.load(&root, Channels::None).await?;
        let row = known(&own)?;
        let (base, rows) = self.nested.before(&root, (row.height, &row.id)).await?;
        let branch = new_branch(&thread.host, &base)?;
        let pending = rows.iter().map(|row| row.in_lane(branch.id.lane())).collect();
        let commit = Commit::new(root.thread.uid, Expect::New, branch);
        let mut commit = Commit { pending, name: Some(name.into()), ..commit };
        commit_decided(&thread.host, "", &mut commit, &[]).await?;
        Ok(thread.branch(name))
    }
}

impl<S: State, C: State> Nested<'_, S, C> {
    /// The root before the step that made a checkpoint of the sub-graph, and where its sub-graphs stood by then.
    async fn before(&self, root: &Loaded, place: (u64, &CheckpointId)) -> Result<(Loaded, Vec<PendingRow>)> {
        if is_at_tip(root) {
            let base = self.moment_of(root, (root.branch.row.id, known(root)?.id.clone())).await?;
            let rows = rows_up_to(&base.pending, &self.namespace, place.1)?;
            if !rows.is_empty() {
                return Ok((base, rows));
            }
        }
        let after = self.first_beyond(root, place.0).await?;
        let after = known(&after)?;
        let height = after.height.checked_sub(1).ok_or_else(|| self.not_led(place.1))?;
        // What that step wrote beside it lies in the lane of the branch that the step is on.
        let base = self.moment_of(root, (after.branch, self.root_at(root, height).await?)).await?;
        let rows = rows_up_to(&base.pending, &self.namespace, place.1)?;
        if rows.is_empty() { Err(self.not_led(place.1)) } else { Ok((base, rows)) }
    }

    /// The first checkpoint of the root's line by which the sub-graph had come that far.
    async fn first_beyond(&self, root: &Loaded, height: u64) -> Result<Loaded> {
        let (mut low, mut high) = (0, known(root)?.height);
        while low < high {
            let middle = low + (high - low) / 2;
            let id = self.root_at(root, middle).await?;
            if self.stands_at(root, id).await?.is_some_and(|stands| stands >= height) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let found = Load { place: Place::Checkpoint(self.root_at(root, low).await?), ..root_load(root) };
        Ok(store_of(&self.host)?.load(found).await?)
    }

    /// The checkpoint of the root's line at a height.
    async fn root_at(&self, root: &Loaded, height: u64) -> Result<CheckpointId> {
        let line = Line::Lineage { branch: root.branch.row.id, below: Some(height + 1) };
        let query = HistoryQuery { thread: root.thread.uid, namespace: String::new(), line, limit: 1 };
        let page = store_of(&self.host)?.history(query).await?;
        let id = page.entries.into_iter().next().map(|entry| entry.checkpoint.id);
        id.ok_or_else(|| Error::invalid("the thread has no checkpoint yet"))
    }

    /// How far the sub-graph had come by a checkpoint of the root's line.
    async fn stands_at(&self, root: &Loaded, base: CheckpointId) -> Result<Option<u64>> {
        let place = Place::Child { root: root.branch.row.id, base };
        match store_of(&self.host)?.load(Load { place, ..self.load(root) }).await {
            Err(error) if error.is(StoreKind::Missing, Subject::Checkpoint) => Ok(None),
            loaded => Ok(Some(known(&loaded?)?.height)),
        }
    }

    /// A checkpoint of the root as a moment of a branch, with what was written beside it there.
    async fn moment_of(&self, root: &Loaded, (branch, checkpoint): (BranchId, CheckpointId)) -> Result<Loaded> {
        let place = Place::Moment { branch, checkpoint };
        Ok(store_of(&self.host)?.load(Load { place, pending: true, ..root_load(root) }).await?)
    }

    fn not_led(&self, checkpoint: &CheckpointId) -> Error {
        let message = format!(
            "checkpoint {checkpoint} of sub-graph {:?} was made by no call that led to where it stands",
            self.namespace
        );
        Error::new(ErrorKind::Missing, message)
    }
}

fn root_load(root: &Loaded) -> Load {
    Load::head(ThreadAddress::Uid(root.thread.uid))
}

/// The rows of the task that made a checkpoint, up to that one; none if no row names it.
fn rows_up_to(rows: &[PendingRow], namespace: &str, checkpoint: &CheckpointId) -> Result<Vec<PendingRow>> {
    let mut made_by = None;
    for row in rows.iter().filter(|row| row.kind == PendingKind::Child && row.task != NO_TASK) {
        let place = ChildPlace::decode(&row.body);
        let place = place.map_err(|error| Error::unreadable(Subject::Pending, &row.base, error))?;
        if place.namespace == namespace && place.id == *checkpoint {
            made_by = Some((row.task, row.ordinal));
        }
    }
    let Some((task, last)) = made_by else { return Ok(Vec::new()) };
    let is_of_it = |row: &&PendingRow| row.kind == PendingKind::Child && row.task == task && row.ordinal <= last;
    Ok(rows.iter().filter(is_of_it).cloned().collect())
}
