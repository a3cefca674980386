//! What is on a thread of plain values?
//!
//! A thread is there while its last save has not expired. What another program wrote, or a value of another type, is
//! named and refused.

use stepmark_core::checkpoint::{CheckpointRow, Manifest};
use stepmark_core::error::{Error as StoreError, ErrorKind as StoreKind, Subject};
use stepmark_core::id::{CheckpointId, check_name};
use stepmark_core::load::manifest_of;
use stepmark_core::store::{Channels, HistoryQuery, Line, Load, Loaded, Place, ThreadAddress};

use crate::decide::Seam;
use crate::encode::DecodeError;
use crate::error::{Error, ErrorKind, Result};
use crate::load::Chains;
use crate::plain::mark::Mark;
use crate::plain::{Keeper, Saved};

/// The one channel.
pub(crate) const CHANNEL: &str = "value";
/// How many saves are fetched at a time.
const PAGE_SIZE: u32 = 256;

/// A loaded place of a thread of plain values.
pub(crate) struct Kept {
    pub(crate) loaded: Loaded,
    pub(crate) manifest: Manifest,
    pub(crate) mark: Mark,
}

/// What a thread's head says.
pub(crate) enum Found {
    Nothing,
    /// There, but to be read as if it were not.
    Expired(Kept),
    Alive(Kept),
}

impl Keeper {
    pub(crate) async fn load(&self, thread: &str) -> Result<Option<Vec<u8>>> {
        match self.find(thread, Channels::All).await? {
            Found::Nothing | Found::Expired(_) => Ok(None),
            Found::Alive(kept) => self.value(thread, &kept).map(Some),
        }
    }

    pub(crate) async fn load_at(&self, thread: &str, checkpoint: &str) -> Result<Vec<u8>> {
        let id = CheckpointId::parse(checkpoint)?;
        let head = self.alive(thread).await?;
        let load = Load { place: Place::Checkpoint(id), channels: Channels::All, ..head_of(thread) };
        let kept = kept(thread, self.store.load(load).await?)?;
        if kept.row()?.height < head.mark.first {
            return Err(StoreError::missing(Subject::Checkpoint, checkpoint, "it has expired").into());
        }
        self.value(thread, &kept)
    }

    pub(crate) async fn list(&self, thread: &str) -> Result<Vec<Saved>> {
        let head = self.alive(thread).await?;
        self.check_form(thread, &head.mark)?;
        let mut line = Some(Line::Lineage { branch: head.loaded.branch.row.id, below: None });
        let mut saves = Vec::new();
        while let Some(from) = line {
            let (uid, namespace) = (head.loaded.thread.uid, String::new());
            let query = HistoryQuery { thread: uid, namespace, line: from, limit: PAGE_SIZE };
            let page = self.store.history(query).await?;
            line = page.next;
            for entry in page.entries {
                if entry.checkpoint.height < head.mark.first {
                    return Ok(saves);
                }
                let mark = Mark::of(&manifest_of(&entry.checkpoint)?).ok_or_else(|| foreign(thread))?;
                saves.push(Saved::of(&entry.checkpoint, &mark));
            }
        }
        Ok(saves)
    }

    pub(crate) async fn delete(&self, thread: &str) -> Result<()> {
        let kept = match self.find(thread, Channels::None).await? {
            Found::Nothing => return Err(StoreError::missing(Subject::Thread, thread, "").into()),
            Found::Expired(kept) | Found::Alive(kept) => kept,
        };
        self.seam().delete_thread(kept.loaded.thread.uid).await
    }

    /// The head of a thread, unless it has expired.
    pub(crate) async fn find(&self, thread: &str, channels: Channels) -> Result<Found> {
        check_name(Subject::Thread, thread)?;
        let loaded = match self.store.load(Load { channels, ..head_of(thread) }).await {
            Err(error) if error.is(StoreKind::Missing, Subject::Thread) => return Ok(Found::Nothing),
            loaded => loaded?,
        };
        let kept = kept(thread, loaded)?;
        let expired = match kept.mark.expires_at {
            Some(end) => self.store.info().await?.time >= end,
            None => false,
        };
        Ok(if expired { Found::Expired(kept) } else { Found::Alive(kept) })
    }

    async fn alive(&self, thread: &str) -> Result<Kept> {
        let reason = match self.find(thread, Channels::None).await? {
            Found::Alive(kept) => return Ok(kept),
            Found::Expired(_) => "it has expired",
            Found::Nothing => "",
        };
        Err(StoreError::missing(Subject::Thread, thread, reason).into())
    }

    fn value(&self, thread: &str, kept: &Kept) -> Result<Vec<u8>> {
        self.check_form(thread, &kept.mark)?;
        let value = kept.manifest.channel(CHANNEL).ok_or_else(|| foreign(thread))?;
        Ok(Chains::of(&kept.loaded).value(value)?.into_owned())
    }

    pub(crate) fn check_form(&self, thread: &str, mark: &Mark) -> Result<()> {
        if self.form.covers(&mark.form) {
            return Ok(());
        }
        let message = format!("thread {thread:?} holds {}, this program's type is {}", mark.form, self.form);
        Err(Error::new(ErrorKind::WrongType, message))
    }

    pub(crate) fn unreadable(&self, thread: &str, error: &DecodeError) -> Error {
        Error::unreadable(Subject::Thread, thread, format!("its value does not read as {}: {error}", self.form))
    }

    pub(crate) fn seam(&self) -> Seam<'_> {
        Seam { store: &*self.store, clock: &*self.clock }
    }
}

impl Kept {
    /// The checkpoint's row, which every save has written.
    pub(crate) fn row(&self) -> Result<&CheckpointRow> {
        self.loaded.checkpoint.as_ref().ok_or_else(|| foreign(&self.loaded.thread.name))
    }
}

impl Saved {
    pub(crate) fn of(row: &CheckpointRow, mark: &Mark) -> Self {
        let number = row.height - mark.first.min(row.height);
        Self { id: row.id.clone(), number, saved_at: row.created_at, expires_at: mark.expires_at }
    }
}

fn head_of(thread: &str) -> Load {
    Load::head(ThreadAddress::Name { scope: String::new(), name: thread.to_owned() })
}

fn kept(thread: &str, loaded: Loaded) -> Result<Kept> {
    let manifest = loaded.checkpoint.as_ref().map(manifest_of).transpose()?.ok_or_else(|| foreign(thread))?;
    let mark = Mark::of(&manifest).ok_or_else(|| foreign(thread))?;
    Ok(Kept { loaded, manifest, mark })
}

fn foreign(thread: &str) -> Error {
    let message = format!("thread {thread:?} was written by a graph, not saved as a plain value");
    Error::new(ErrorKind::WrongType, message)
}
