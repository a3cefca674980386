//! What may a caller say of a thread, so that it is found?

use std::collections::BTreeMap;

use stepmark_core::capability::{AttributeChange, AttributeKind, AttributeValue, Declaration, check_changes};
use stepmark_core::error::{ErrorKind as StoreKind, Subject};
use stepmark_core::id::{RunId, ThreadUid};
use stepmark_core::store::Place;

use super::search_of;
use crate::app::App;
use crate::decide::store_of;
use crate::error::{ErrorKind, Result};
use crate::outcome::Outcome;
use crate::request::{Earlier, Request, Resident};
use crate::state::State;
use crate::thread::Thread;

impl<S: State> App<S> {
    /// Declares attributes of the store's threads, for ever; what is declared already stays. They are stored as they are,
    /// also where everything else is encrypted: declare nothing that is secret.
    ///
    /// # Errors
    /// `Exists`: one is declared with another kind. `Invalid`: a name that is empty, longer than 255 bytes or has control
    /// characters. The message names it.
    pub async fn declare_attributes<N: Into<String>>(
        &self,
        attributes: impl IntoIterator<Item = (N, AttributeKind)>,
    ) -> Result<()> {
        let declarations = attributes.into_iter().map(|(name, kind)| Declaration { name: name.into(), kind }).collect();
        Ok(search_of(self.host())?.declare("", declarations).await?)
    }

    /// The declared attributes, by name.
    ///
    /// # Errors
    /// `Store`: the store cannot search.
    pub async fn declared_attributes(&self) -> Result<BTreeMap<String, AttributeKind>> {
        let declared = search_of(self.host())?.declared("").await?;
        Ok(declared.into_iter().map(|declaration| (declaration.name, declaration.kind)).collect())
    }
}

impl<S: State> Thread<S> {
    /// Says something of the thread, whatever runs on it: all of it or, after an error, nothing. Other attributes stay.
    ///
    /// ```ignore
    /// thread.set_attributes([("customer", "ACME".into()), ("priority", 3.into())]).await?;
    /// ```
    ///
    /// # Errors
    /// `Missing` names an unknown thread, or an attribute that is not declared; `Invalid` an attribute whose value is of
    /// another kind, a text of more than 1,024 bytes or no finite number.
    pub async fn set_attributes<N: Into<String>>(
        &self,
        attributes: impl IntoIterator<Item = (N, AttributeValue)>,
    ) -> Result<()> {
        self.change_attributes(&changes(attributes)).await
    }

    /// Takes attributes back; those that are not there stay away.
    ///
    /// # Errors
    /// `Missing` as for [`Thread::set_attributes`].
    pub async fn remove_attributes<N: Into<String>>(&self, names: impl IntoIterator<Item = N>) -> Result<()> {
        let removed = |name: N| AttributeChange { name: name.into(), value: None };
        self.change_attributes(&names.into_iter().map(removed).collect::<Vec<_>>()).await
    }

    /// What is said of the thread, by name.
    ///
    /// # Errors
    /// `Missing` names an unknown thread.
    pub async fn attributes(&self) -> Result<BTreeMap<String, AttributeValue>> {
        let attributes = search_of(&self.host)?.attributes(self.uid().await?).await?;
        Ok(attributes.into_iter().map(|attribute| (attribute.name, attribute.value)).collect())
    }

    async fn change_attributes(&self, changes: &[AttributeChange]) -> Result<()> {
        Ok(search_of(&self.host)?.set_attributes(self.uid().await?, changes.to_vec()).await?)
    }

    pub(super) async fn uid(&self) -> Result<ThreadUid> {
        Ok(store_of(&self.host)?.load(self.request_of(Place::Head)).await?.thread.uid)
    }
}

fn changes<N: Into<String>>(attributes: impl IntoIterator<Item = (N, AttributeValue)>) -> Vec<AttributeChange> {
    let set = |(name, value): (N, AttributeValue)| AttributeChange { name: name.into(), value: Some(value) };
    attributes.into_iter().map(set).collect()
}

impl<S: State> Request<'_, S> {
    /// Says something of the thread with an input, as [`Thread::set_attributes`] does: refused with the input where it
    /// cannot be said, else set when the input is durable, under [`Durability::Sync`](crate::Durability::Sync) before any
    /// node runs; with a resume they are set before it begins, whatever becomes of it.
    ///
    /// They are no part of the input. A process that is killed between both leaves the input and none of the attributes, and
    /// so does a store that fails between both, with an error; nobody but the caller knows them then. The same input with the
    /// same run id says all of them again, whether its run is open, failed or ended, also where others have changed them
    /// since; so does a resume that is given them.
    /// A run that was discarded says nothing.
    #[must_use]
    pub fn attributes<N: Into<String>>(mut self, attributes: impl IntoIterator<Item = (N, AttributeValue)>) -> Self {
        self.attributes.extend(changes(attributes));
        self
    }

    /// Refuses what cannot be said.
    pub(crate) async fn check_attributes(&self) -> Result<()> {
        let declared = search_of(&self.thread.host)?.declared(self.thread.scope()).await?;
        check_changes(&declared, &self.attributes)?;
        Ok(())
    }

    /// What became of the run that has this id already. Who repeats it may have been killed before the thread was described.
    pub(crate) async fn earlier_run_described(&self, id: &RunId, input_hash: [u8; 16]) -> Result<Earlier<S>> {
        let earlier = self.earlier_run(id, input_hash).await;
        let is_stored = match &earlier {
            Ok(earlier) => matches!(earlier, Earlier::Ended(_)),
            Err(error) => matches!(error.kind(), ErrorKind::RunActive | ErrorKind::Unfinished),
        };
        if is_stored && !self.attributes.is_empty() {
            Box::pin(self.describe()).await?;
        }
        earlier
    }

    /// Resumes a thread once it is described; that it is not there is said by the resume.
    pub(crate) async fn resume_described(&self, resident: &mut Resident<'_>) -> Result<Outcome<S>> {
        if !self.attributes.is_empty() {
            self.describe().await?;
        }
        self.resume(resident).await
    }

    /// Says what the request has to say; answers whether the thread is there.
    pub(crate) async fn describe(&self) -> Result<bool> {
        match self.thread.change_attributes(&self.attributes).await {
            Err(error) if error.is_store(StoreKind::Missing, Subject::Thread) => Ok(false),
            described => described.map(|()| true),
        }
    }
}
