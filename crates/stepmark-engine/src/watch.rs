//! How does somebody wait for what another thread does?
//!
//! By looking at its head: at once when a bell of this process rings (`bell.rs`), else from time to time, so that another
//! process is seen too. What is reported was read from the store, so it is durable, and it is the newest there is.

use std::fmt;
use std::time::Duration;

use stepmark_core::error::{ErrorKind as StoreKind, Subject};
use stepmark_core::id::{CheckpointId, ThreadUid};
use stepmark_core::rows::Tip;
use stepmark_core::store::{Channels, Loaded, Place};

use crate::app::App;
use crate::bell::{Bell, Rings};
use crate::decide::store_of;
use crate::error::Result;
use crate::history::Snapshot;
use crate::state::State;
use crate::thread::{BranchPlace, Thread, is_gone};

/// How long to wait before the store is asked again: the first time, and at most. Only what another process does is found
/// that late.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Waits until a thread moves: see [`App::watch`] and [`Thread::watch`].
pub struct Watch<S> {
    thread: Thread<S>,
    /// The tip that was reported last.
    seen: Option<CheckpointId>,
    /// Rings when a thread of the name is made.
    made: Bell,
    /// Rings when the thread moves; absent until there is one.
    moved: Option<(ThreadUid, Bell)>,
}

impl<S: State> App<S> {
    /// Waits for what this graph's thread `name` does: `app.thread(name).watch()`.
    pub fn watch(&self, name: impl Into<String>) -> Watch<S> {
        self.thread(name).watch()
    }
}

impl<S: State> Thread<S> {
    /// Waits for what becomes of the thread: of its head, or of the branch that the handle means. Nothing is read before
    /// [`Watch::changed`].
    ///
    /// A node of another graph may hold the application as a `Dep<App<..>>` and wait for a thread of it.
    pub fn watch(&self) -> Watch<S> {
        let made = Bell::hang(Rings::Name(self.scope().to_owned(), self.name.clone()));
        Watch { thread: self.same_place(), seen: None, made, moved: None }
    }
}

/// What was found at a look.
enum Look {
    Moved,
    Same,
    /// There is a thread now whose bell was not heard yet: look again.
    Unheard,
}

impl<S: State> Watch<S> {
    /// Goes on from a checkpoint that was seen before, in an earlier process perhaps: it is not reported again.
    #[must_use]
    pub fn after(mut self, checkpoint: impl fmt::Display) -> Self {
        // What is no id is no checkpoint that was ever seen.
        self.seen = CheckpointId::parse(&checkpoint.to_string()).ok();
        self
    }

    /// Waits until the thread stands elsewhere than at the checkpoint that was reported last, and returns where it stands
    /// now. The first call returns at once if the thread has a checkpoint; a thread or branch that does not exist yet, or
    /// not any more, is waited for.
    ///
    /// What happened between two calls is not lost: the next one reports the newest checkpoint at once. Those in between
    /// are in the [history](Thread::history). Nothing older is reported after something newer, but where the head itself
    /// was moved back. Inside a process a commit is seen when it is durable, another process's within a second.
    ///
    /// Cancellation safe: a checkpoint counts as reported when this returns it.
    ///
    /// # Errors
    /// The store does not answer, or holds what this program cannot read. Another call looks again.
    pub async fn changed(&mut self) -> Result<Snapshot<S>> {
        let mut pause = PAUSE_MIN;
        loop {
            // Before the look: what becomes durable after it is heard.
            let made = self.made.heard();
            let moved = self.moved.as_ref().map(|(_, bell)| bell.heard());
            match self.look().await? {
                Look::Moved => {
                    if let Some(newest) = self.newest().await? {
                        return Ok(newest);
                    }
                }
                Look::Unheard => continue,
                Look::Same => {}
            }
            let heard = async {
                match moved {
                    Some(moved) => tokio::select! { () = made => {}, () = moved => {} },
                    None => made.await,
                }
            };
            tokio::select! {
                () = heard => pause = PAUSE_MIN,
                () = self.thread.host.clock.sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
            }
        }
    }

    async fn look(&mut self) -> Result<Look> {
        let here = self.read(Channels::None).await?;
        let uid = match &here {
            Some(loaded) => Some(loaded.thread.uid),
            None => self.thread_uid().await?,
        };
        if let Some(uid) = uid
            && self.moved.as_ref().is_none_or(|(known, _)| *known != uid)
        {
            self.moved = Some((uid, Bell::hang(Rings::Thread(uid))));
            return Ok(Look::Unheard);
        }
        Ok(if here.is_some_and(|loaded| self.is_news(&loaded)) { Look::Moved } else { Look::Same })
    }

    /// What is there now, with its values: it may be newer still, or what it was before.
    async fn newest(&mut self) -> Result<Option<Snapshot<S>>> {
        let newest = self.read(Channels::All).await?.filter(|loaded| self.is_news(loaded));
        let Some(newest) = newest else { return Ok(None) };
        let snapshot = Snapshot::of_loaded(&self.thread.host.program, &newest)?;
        self.seen = tip_id(&newest).cloned();
        Ok(Some(snapshot))
    }

    /// Where the thread stands; `None` if there is no such thread or branch.
    async fn read(&self, channels: Channels) -> Result<Option<Loaded>> {
        match self.thread.load(channels).await {
            Err(error) if is_gone(&error) || error.is_store(StoreKind::Missing, Subject::Branch) => Ok(None),
            loaded => loaded.map(Some),
        }
    }

    /// The thread whose branch is not there yet.
    async fn thread_uid(&self) -> Result<Option<ThreadUid>> {
        if self.thread.at == BranchPlace::Head {
            return Ok(None);
        }
        match store_of(&self.thread.host)?.load(self.thread.request_of(Place::Head)).await {
            Err(error) if error.is(StoreKind::Missing, Subject::Thread) => Ok(None),
            loaded => Ok(Some(loaded?.thread.uid)),
        }
    }

    fn is_news(&self, loaded: &Loaded) -> bool {
        tip_id(loaded).is_some_and(|tip| self.seen.as_ref() != Some(tip))
    }
}

fn tip_id(loaded: &Loaded) -> Option<&CheckpointId> {
    loaded.branch.row.tip.as_ref().map(|Tip { id, .. }| id)
}

impl<S> fmt::Debug for Watch<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("thread", &self.thread).field("seen", &self.seen).finish_non_exhaustive()
    }
}
