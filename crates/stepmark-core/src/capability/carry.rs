//! What comes along, besides its rows, when a thread moves to another store?
//!
//! A thread that is being restored is found by nobody, so what is said of it is set once it is there; whoever was killed
//! between repeats the move, which adds what lacks.

use super::search::{Attribute, AttributeChange, Declaration};
use crate::checkpoint::Timestamp;
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::id::ThreadUid;
use crate::store::CheckpointStore;

/// What is said of a thread.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Carried {
    /// Its attributes, by name.
    pub attributes: Vec<Attribute>,
    /// When it may go, if that is still to come. An end that is over is left behind: whoever moves such a thread wants it.
    pub expires_at: Option<Timestamp>,
}

impl Carried {
    /// What is said of a thread; what its store cannot say is absent.
    ///
    /// # Errors
    /// Those of [`Search::attributes`](super::Search::attributes) and [`Retention::state`](super::Retention::state).
    pub async fn of(store: &dyn CheckpointStore, thread: ThreadUid) -> Result<Self> {
        let attributes = match store.search() {
            Some(search) => search.attributes(thread).await?,
            None => Vec::new(),
        };
        let mut expires_at = match store.retention() {
            Some(retention) => retention.state(thread).await?.expires_at,
            None => None,
        };
        if let Some(end) = expires_at {
            let now = store.info().await?.time;
            expires_at = Some(end).filter(|end| *end > now);
        }
        Ok(Self { attributes, expires_at })
    }

    /// Declares the attributes that a thread brings along, before anything of it is written.
    ///
    /// # Errors
    /// `Exists` (attribute): one is declared with another kind. `Unsupported` (attribute): the store cannot search, and
    /// would lose it; `Unsupported` (store): it lets no thread go, and would keep this one for ever. Nothing is declared.
    pub async fn declare(&self, store: &dyn CheckpointStore, scope: &str) -> Result<()> {
        if self.expires_at.is_some() && store.retention().is_none() {
            let reason = "this store lets no thread go, and this one expires; take that back before it moves";
            return Err(Error::unsupported(Subject::Store, "expiry", reason));
        }
        let Some(first) = self.attributes.first() else { return Ok(()) };
        let search = store.search().ok_or_else(|| {
            let reason = "this store cannot search, so attributes are not kept; remove them before the thread moves";
            Error::unsupported(Subject::Attribute, &first.name, reason)
        })?;
        let declaration =
            |attribute: &Attribute| Declaration { name: attribute.name.clone(), kind: attribute.value.kind() };
        search.declare(scope, self.attributes.iter().map(declaration).collect()).await
    }

    /// Adds the attributes that a thread lacks, and its end; answers whether the thread is there. What it has besides stays,
    /// and of two ends the later one.
    ///
    /// # Errors
    /// `Exists` (attribute) names one that has another value, which is kept; then nothing is added.
    pub async fn set(&self, store: &dyn CheckpointStore, thread: ThreadUid) -> Result<bool> {
        let set = match self.set_attributes(store, thread).await {
            Ok(()) => self.set_end(store, thread).await,
            refused => refused,
        };
        match set {
            Err(error) if error.is(ErrorKind::Missing, Subject::Thread) => Ok(false),
            set => set.map(|()| true),
        }
    }

    async fn set_attributes(&self, store: &dyn CheckpointStore, thread: ThreadUid) -> Result<()> {
        let Some(search) = store.search().filter(|_| !self.attributes.is_empty()) else { return Ok(()) };
        let there = search.attributes(thread).await?;
        let mut changes = Vec::new();
        for Attribute { name, value } in &self.attributes {
            match there.iter().find(|known| known.name == *name) {
                None => changes.push(AttributeChange { name: name.clone(), value: Some(value.clone()) }),
                Some(known) if known.value == *value => {}
                Some(known) => {
                    let reason = format!("thread {thread} has it as {:?}, what is brought says {value:?}", known.value);
                    return Err(Error::exists(Subject::Attribute, name, reason));
                }
            }
        }
        if changes.is_empty() { Ok(()) } else { search.set_attributes(thread, changes).await }
    }

    async fn set_end(&self, store: &dyn CheckpointStore, thread: ThreadUid) -> Result<()> {
        let (Some(end), Some(retention)) = (self.expires_at, store.retention()) else { return Ok(()) };
        if retention.state(thread).await?.expires_at >= Some(end) {
            return Ok(());
        }
        retention.set_expiry(thread, Some(end)).await
    }
}
