//! How is a value kept without a graph?
//!
//! [`Checkpoints`] saves values of one type on threads of one channel: the same checkpoints, fences and stores as a run's,
//! without nodes. `save.rs` writes, `read.rs` reads, `mark.rs` is what a checkpoint says of its value.

mod form;
pub(crate) mod mark;
mod read;
mod save;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::clock::{Clock, IdGen, SystemClock, SystemIds};
use stepmark_core::id::CheckpointId;
use stepmark_core::store::CheckpointStore;

use crate::encode;
use crate::error::{Error, Result};
use crate::plain::form::Form;

/// Checkpoints of values, without a graph: a program saves how far it has come and goes on there after a crash.
///
/// Every save is a checkpoint of its thread. The stored bytes are `MessagePack` with named fields, marked with the type's
/// bare name and with the fields that serde announces for it; a thread that holds another type is refused by name
/// (`WrongType`). A type may gain fields that have a serde default; one that lost or renamed a field (without an `alias`)
/// does not read what was saved before. Clones share the store.
pub struct Checkpoints<T> {
    keeper: Keeper,
    value: PhantomData<fn(T) -> T>,
}

/// Everything but the type of the values.
#[derive(Clone, Debug)]
struct Keeper {
    store: Arc<dyn CheckpointStore>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdGen>,
    form: Form,
    expire_after: Option<Duration>,
}

/// A save, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Saved {
    /// Its checkpoint: [`Checkpoints::load_at`] takes it.
    pub id: CheckpointId,
    /// 0 for the first save of the thread, then one more each.
    pub number: u64,
    /// When, in microseconds since the Unix epoch; for people, never for order.
    pub saved_at: Timestamp,
    /// When the thread is gone unless it is saved again, by the store's time; absent if never.
    pub expires_at: Option<Timestamp>,
}

impl<T: Serialize + DeserializeOwned> Checkpoints<T> {
    /// Keeps values in `store`. Nothing is read or written.
    pub fn new(store: impl CheckpointStore) -> Self {
        let keeper = Keeper {
            store: Arc::new(store),
            clock: Arc::new(SystemClock),
            ids: SystemIds::shared(),
            form: Form::of::<T>(),
            expire_after: None,
        };
        Self { keeper, value: PhantomData }
    }

    /// Lets a thread expire this long after its last save, by the store's time. An expired thread reads as if it had never
    /// been there, and the next save starts it anew; its bytes stay until the store is swept. What was saved before with
    /// another setting, or with none, keeps its own.
    #[must_use]
    pub fn expire_after(mut self, duration: Duration) -> Self {
        self.keeper.expire_after = Some(duration);
        self
    }

    /// Marks values with this name instead of the type's own: keep it when the type is renamed, change it when its fields
    /// mean something else.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.keeper.form = self.keeper.form.named(name.into());
        self
    }

    /// Takes time and randomness from elsewhere: for tests and simulations.
    #[must_use]
    pub fn with_sources(mut self, clock: Arc<dyn Clock>, ids: Arc<dyn IdGen>) -> Self {
        (self.keeper.clock, self.keeper.ids) = (clock, ids);
        self
    }

    /// Saves `value` as the thread's next checkpoint; the first save makes the thread. When this returns, the value is
    /// durable and [`Checkpoints::load`] finds it, also after the process was killed.
    ///
    /// Savers at the same time do not overwrite each other: each save is a checkpoint of its own, `load` returns the one
    /// that came last, and [`Checkpoints::list`] has all of them. A value equal to the last one stores no bytes again.
    /// Dropping the future either saves the value whole or leaves everything as it was.
    ///
    /// # Errors
    /// `WrongType`: the thread holds another type, or a graph wrote it; it is as before. `Contended`: other savers were
    /// faster four times; nothing was saved, try again. `Invalid`: a bad thread name, or a value without a stored form.
    /// `Store`: the store could not tell whether it was saved.
    pub async fn save(&self, thread: &str, value: &T) -> Result<Saved> {
        let bytes = encode::to_bytes(value).map_err(Error::unencodable)?;
        self.keeper.save(thread, bytes).await
    }

    /// The value that was saved last. `None` means one thing only: there is no such thread. It was never saved, or it was
    /// deleted, or it has expired.
    ///
    /// # Errors
    /// `WrongType` as for [`Checkpoints::save`]. `Store`: the stored bytes are damaged, or do not fit the type.
    pub async fn load(&self, thread: &str) -> Result<Option<T>> {
        let bytes = self.keeper.load(thread).await?;
        bytes.map(|bytes| self.decode(thread, &bytes)).transpose()
    }

    /// The value of one save.
    ///
    /// # Errors
    /// `Missing` names the thread or the checkpoint; a save from before the thread expired is missing, too. Others as for
    /// [`Checkpoints::load`].
    pub async fn load_at(&self, thread: &str, checkpoint: impl fmt::Display) -> Result<T> {
        let bytes = self.keeper.load_at(thread, &checkpoint.to_string()).await?;
        self.decode(thread, &bytes)
    }

    /// All saves of the thread, newest first, without their values.
    ///
    /// # Errors
    /// `Missing` names an unknown or expired thread; `WrongType` as for [`Checkpoints::save`].
    pub async fn list(&self, thread: &str) -> Result<Vec<Saved>> {
        self.keeper.list(thread).await
    }

    /// Deletes the thread with all its saves. When this returns, they are gone for good, and the name is free.
    ///
    /// # Errors
    /// `Missing` names an unknown thread; one that has only expired is deleted. `WrongType`: a graph wrote it.
    pub async fn delete(&self, thread: &str) -> Result<()> {
        self.keeper.delete(thread).await
    }

    fn decode(&self, thread: &str, bytes: &[u8]) -> Result<T> {
        encode::from_bytes(bytes).map_err(|error| self.keeper.unreadable(thread, &error))
    }
}

impl<T> Clone for Checkpoints<T> {
    fn clone(&self) -> Self {
        Self { keeper: self.keeper.clone(), value: PhantomData }
    }
}

impl<T> fmt::Debug for Checkpoints<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Keeper { store, form, .. } = &self.keeper;
        f.debug_struct("Checkpoints").field("of", &form.to_string()).field("store", store).finish_non_exhaustive()
    }
}
