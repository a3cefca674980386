//! How does a program without an async runtime remember across threads?

use serde::Serialize;
use serde::de::DeserializeOwned;
use stepmark_core::capability::{ItemVersion, Namespace};

use super::{Blocking, BlockingApp};
use crate::error::Result;
use crate::items::{FoundItems, FoundNamespaces, Item, Items};
use crate::state::State;

/// [`Items`] whose calls wait.
#[derive(Clone, Debug)]
pub struct BlockingItems {
    items: Items,
    blocking: Blocking,
}

impl Blocking {
    /// Items whose calls wait on this runtime.
    pub fn items(&self, items: Items) -> BlockingItems {
        BlockingItems { items, blocking: self.clone() }
    }
}

impl<S: State> BlockingApp<S> {
    /// [`App::items`](crate::App::items).
    pub fn items(&self) -> Result<BlockingItems> {
        Ok(self.blocking.items(self.app.items()?))
    }
}

impl BlockingItems {
    /// The items themselves, to build what [`wait`](Self::wait) waits for:
    /// `items.wait(items.handle().put(..).if_absent())`.
    pub fn handle(&self) -> &Items {
        &self.items
    }

    /// [`Items::put`].
    pub fn put<T: Serialize + ?Sized>(
        &self,
        namespace: impl Into<Namespace>,
        key: impl Into<String>,
        value: &T,
    ) -> Result<ItemVersion> {
        self.wait(self.items.put(namespace, key, value))
    }

    /// [`Items::get`].
    pub fn get<T: DeserializeOwned>(
        &self,
        namespace: impl Into<Namespace>,
        key: impl Into<String>,
    ) -> Result<Option<Item<T>>> {
        self.wait(self.items.get(namespace, key))
    }

    /// [`Items::peek`].
    pub fn peek<T: DeserializeOwned>(
        &self,
        namespace: impl Into<Namespace>,
        key: impl Into<String>,
    ) -> Result<Option<Item<T>>> {
        self.wait(self.items.peek(namespace, key))
    }

    /// [`Items::update`].
    pub fn update<T: Serialize + DeserializeOwned>(
        &self,
        namespace: impl Into<Namespace>,
        key: impl Into<String>,
        change: impl Fn(Option<T>) -> T,
    ) -> Result<T> {
        self.wait(self.items.update(namespace, key, change))
    }

    /// [`Items::delete`].
    pub fn delete(&self, namespace: impl Into<Namespace>, key: impl Into<String>) -> Result<bool> {
        self.wait(self.items.delete(namespace, key))
    }

    /// The first page of [`Items::search`]; filters and further pages are options of [`handle`](Self::handle).
    pub fn search<T: DeserializeOwned>(&self, prefix: impl Into<Namespace>) -> Result<FoundItems<T>> {
        self.wait(self.items.search(prefix))
    }

    /// The first page of [`Items::namespaces`].
    pub fn namespaces(&self) -> Result<FoundNamespaces> {
        self.wait(self.items.namespaces())
    }

    /// [`Items::sweep`].
    pub fn sweep(&self, limit: u32) -> Result<u64> {
        self.wait(self.items.sweep(limit))
    }

    /// [`Blocking::wait`].
    pub fn wait<T>(&self, call: impl IntoFuture<Output = Result<T>>) -> Result<T> {
        self.blocking.wait(call)
    }
}
