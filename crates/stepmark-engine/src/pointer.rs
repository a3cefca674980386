//! How do the pointers of a thread move: its head, the names of its branches, and tags?
//!
//! Pointers only: no checkpoint is written or lost. A line that a name leaves stays as an unnamed branch.

use std::fmt;

use stepmark_core::error::Subject;
use stepmark_core::id::{BranchId, CheckpointId, check_name};
use stepmark_core::rows::TagRow;
use stepmark_core::store::{
    Channels, Commit, LeftBranch, Load, Loaded, NameWrite, Place, Records, RunWrite, TagEntry, TagWrite,
};

use crate::decide::{append_decided, commit_decided, store_of};
use crate::error::{Error, Result};
use crate::fork::fork_commit;
use crate::load;
use crate::resume::run_of_tip;
use crate::state::State;
use crate::thread::{At, DECISIONS_MAX, Thread, is_contended};

/// A name for a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagInfo {
    /// The name.
    pub name: String,
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// Its height on its lineage.
    pub step: u64,
    /// The branch on whose segment it lies.
    pub branch: BranchId,
}

impl<S: State> Thread<S> {
    /// Makes a branch, by name or id, the thread's head: what the thread means from now on. A run that goes on ends on its
    /// own branch. Making the head what it is already writes nothing.
    ///
    /// # Errors
    /// `Missing` names an unknown thread or branch. `Contended`: somebody else moved the head at the same time.
    pub async fn set_head(&self, branch: impl Into<String>) -> Result<()> {
        let branch = self.branch(branch);
        let mut loaded = branch.load(Channels::None).await?;
        for _ in 0..=DECISIONS_MAX {
            let (head, to) = (loaded.thread.head, loaded.branch.row.id);
            if head == to {
                return Ok(());
            }
            let records = Records { head_from: Some(head), ..Records::from_outside(loaded.thread.uid, to) };
            append_decided(&self.host, records).await?;
            // A reset may have moved the name just before, and no head with it. Who cannot ask has moved the head all the same.
            let Ok(again) = branch.load(Channels::None).await else { return Ok(()) };
            if again.branch.row.id == to || again.thread.head != to {
                return Ok(());
            }
            loaded = again;
        }
        Err(self.contended())
    }

    /// Takes the branch back, or anywhere: its name, and the head if it is the branch, move to a new branch at
    /// `checkpoint`, which may be any of the thread. Returns the id of the line that was left: it stays as it is, without
    /// a name. Its unfinished run is given up, and fenced if it goes on; [`set_head`](Self::set_head) goes back to it.
    ///
    /// At a tip, what its unfinished tasks have stored is copied as [`At::fork`] does. Executes nothing.
    ///
    /// # Errors
    /// `Missing` names an unknown thread, branch or checkpoint. `Invalid`: the branch has no name and is not the head.
    /// `Contended`: other writers kept moving it.
    pub async fn reset(&self, checkpoint: impl fmt::Display) -> Result<BranchId> {
        let at = self.at(checkpoint);
        let mut resident = self.resident.lock().await;
        *resident = None;
        for _ in 0..=DECISIONS_MAX {
            let left = self.load(Channels::None).await?;
            let mut commit = self.reset_commit(&left, &at).await?;
            match commit_decided(&self.host, "", &mut commit, &[]).await {
                Ok(_) => return Ok(left.branch.row.id),
                Err(error) if is_contended(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(self.contended())
    }

    /// The unit that makes the new branch and leaves the old one.
    async fn reset_commit(&self, left: &Loaded, at: &At<'_, S>) -> Result<Commit> {
        let (head, old) = (left.thread.head, &left.branch.row);
        if left.branch.name.is_none() && old.id != head {
            let message = format!("branch {} has no name to move and is not the head: fork it under a name", old.id);
            return Err(Error::invalid(message));
        }
        let mut row = old.clone();
        (row.epoch, row.claim) = (old.epoch + 1, self.host.ids.claim());
        let name = left.branch.name.clone().map(|name| NameWrite { name, from: Some(old.id) });
        Ok(Commit {
            name,
            expect_head: Some(head),
            becomes_head: old.id == head,
            leaves: Some(LeftBranch { epoch: old.epoch, row }),
            runs: self.left_run(left).await?,
            ..fork_commit(&self.host, &at.load_to_fork().await?)?
        })
    }

    /// The run of a line that is left, given up.
    async fn left_run(&self, left: &Loaded) -> Result<Vec<RunWrite>> {
        let Some(manifest) = load::manifest(left)? else { return Ok(Vec::new()) };
        let on_own_segment = left.checkpoint.as_ref().is_some_and(|row| row.branch == left.branch.row.id);
        let run = run_of_tip(&left.branch.row, on_own_segment, &manifest.run);
        self.given_up(&left.branch.row, run, self.host.clock.now()).await
    }

    /// Names a checkpoint of the thread. A tag never moves: take it away first.
    ///
    /// # Errors
    /// `Exists` if the name is another checkpoint's; `Missing` names an unknown thread or checkpoint; `Invalid`: a name
    /// that is empty, longer than 512 bytes or has control characters.
    pub async fn tag(&self, name: &str, checkpoint: impl fmt::Display) -> Result<()> {
        check_name(Subject::Tag, name)?;
        let loaded = self.at(checkpoint).load(Channels::None, false).await?;
        let Some(row) = &loaded.checkpoint else { return Err(Error::invalid("the thread has no checkpoint yet")) };
        let tag = TagRow { name: name.to_owned(), branch: row.branch, height: row.height };
        self.write_tag(&loaded, TagWrite::Set(tag)).await
    }

    /// Takes a tag away; its checkpoint stays.
    ///
    /// # Errors
    /// `Missing` names an unknown thread or tag.
    pub async fn untag(&self, name: &str) -> Result<()> {
        let loaded = self.load_tags().await?;
        find_tag(&loaded.tags, name)?;
        self.write_tag(&loaded, TagWrite::Remove(name.to_owned())).await
    }

    /// All tags of the thread, by name.
    ///
    /// # Errors
    /// `Missing` names an unknown thread.
    pub async fn tags(&self) -> Result<Vec<TagInfo>> {
        let info = |TagEntry { row, checkpoint }: TagEntry| {
            let TagRow { name, branch, height: step } = row;
            TagInfo { name, checkpoint, step, branch }
        };
        Ok(self.load_tags().await?.tags.into_iter().map(info).collect())
    }

    /// A past moment of the thread, by tag.
    ///
    /// # Errors
    /// `Missing` names an unknown thread or tag.
    pub async fn at_tag(&self, name: &str) -> Result<At<'_, S>> {
        let loaded = self.load_tags().await?;
        Ok(self.at(&find_tag(&loaded.tags, name)?.checkpoint))
    }

    async fn load_tags(&self) -> Result<Loaded> {
        Ok(store_of(&self.host)?.load(Load { tags: true, ..self.request_of(Place::Head) }).await?)
    }

    async fn write_tag(&self, loaded: &Loaded, tag: TagWrite) -> Result<()> {
        let records = Records::from_outside(loaded.thread.uid, loaded.branch.row.id);
        append_decided(&self.host, Records { tags: vec![tag], ..records }).await
    }
}

fn find_tag<'a>(tags: &'a [TagEntry], name: &str) -> Result<&'a TagEntry> {
    let missing = || stepmark_core::error::Error::missing(Subject::Tag, name, "");
    Ok(tags.iter().find(|tag| tag.row.name == name).ok_or_else(missing)?)
}
