//! What is remembered across threads, as nodes and callers see it?
//!
//! A value of any type under a key, in a namespace. The store keeps JSON; `items/write.rs` and `items/find.rs` are the calls
//! that take options.

mod find;
mod write;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use stepmark_core::capability::{self, ItemKey, ItemVersion, ItemWrite, Namespace};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::clock::{Clock, IdGen, SystemClock, SystemIds};
use stepmark_core::error::{Error as StoreError, ErrorKind as StoreKind, Subject};
use stepmark_core::store::CheckpointStore;

use crate::decide::{REPEAT_PAUSE, REPEATS_MAX};
use crate::error::{Error, Result};
use crate::node::{Cx, FromCx};
use crate::node_error::NodeError;
use crate::run::Host;
use crate::state::State;

pub use find::{FindItems, FindNamespaces, FoundItems, FoundNamespaces};
pub use write::{DeleteItem, PutItem};

/// How often [`Items::update`] reads again because others wrote between.
const UPDATES_MAX: u32 = 32;

/// What a store remembers across threads: values under keys, in namespaces. A node takes it as an argument; `app.items()`
/// is the same from outside.
///
/// Items belong to no thread. A node that runs again, after a crash or on a fork, finds what is there by then and writes
/// again; nothing takes it back. What a run must find as it left it belongs into its state.
///
/// A namespace is a label or a tuple of them: `"settings"`, `["users", user]`.
#[derive(Clone)]
pub struct Items {
    store: Arc<dyn CheckpointStore>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdGen>,
}

/// An item that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Item<T> {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: T,
    /// Which write it is of.
    pub version: ItemVersion,
    /// When it was first written, by the store's time.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// When it is over, if ever.
    pub expires_at: Option<Timestamp>,
}

impl Items {
    /// Those of `store`.
    ///
    /// # Errors
    /// `Store`: this store keeps none (Redis, objects).
    pub fn of(store: impl CheckpointStore) -> Result<Self> {
        Self::at(Arc::new(store), Arc::new(SystemClock), SystemIds::shared())
    }

    fn at(store: Arc<dyn CheckpointStore>, clock: Arc<dyn Clock>, ids: Arc<dyn IdGen>) -> Result<Self> {
        if store.items().is_none() {
            let reason = "this store keeps none; memory, SQLite and PostgreSQL do";
            return Err(StoreError::unsupported(Subject::Store, "items", reason).into());
        }
        Ok(Self { store, clock, ids })
    }

    pub(crate) fn of_host(host: &Host) -> Result<Self> {
        let store = host.store.as_ref().ok_or_else(|| Error::invalid("there is no store: say `.with(store)`"))?;
        Self::at(Arc::clone(store), Arc::clone(&host.clock), Arc::clone(&host.ids))
    }

    /// Writes a value, in place of what is there; awaiting it does. When that returns, the value is durable.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn remember(items: stepmark_engine::Items) -> stepmark_engine::Result<()> {
    /// items.put(["users", "ada"], "diet", &"vegetarian").await?;
    /// items.put(["users", "ada"], "mood", &"curious").ttl(Duration::from_hours(1)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Invalid`: the value has no JSON form, or the address is longer than 2,000 bytes. `Store` otherwise.
    pub fn put<'a, T: Serialize + ?Sized>(
        &'a self,
        namespace: impl Into<Namespace>,
        key: impl Into<String>,
        value: &T,
    ) -> PutItem<'a> {
        PutItem::new(self, address(namespace, key), value)
    }

    /// The item, if it is there. If it lives for a while, it lives as long again from now.
    ///
    /// # Errors
    /// `Store`: its value does not fit the type, or its bytes are damaged.
    pub async fn get<T: DeserializeOwned>(
        &self,
        namespace: impl Into<Namespace>,
        key: impl Into<String>,
    ) -> Result<Option<Item<T>>> {
        self.read(&address(namespace, key), true).await
    }

    /// The same without letting it live longer.
    ///
    /// # Errors
    /// As [`Items::get`].
    pub async fn peek<T: DeserializeOwned>(
        &self,
        namespace: impl Into<Namespace>,
        key: impl Into<String>,
    ) -> Result<Option<Item<T>>> {
        self.read(&address(namespace, key), false).await
    }

    /// Writes what `change` makes of the value, or of nothing; answers what was written. Of several at once each is made on
    /// what the other wrote, so that nothing is lost; `change` may be called more than once.
    ///
    /// The item keeps no end: what lived for a while lives for ever.
    ///
    /// # Errors
    /// `Contended`: others were faster 32 times. `Invalid`, `Store` as for [`Items::put`] and [`Items::get`].
    pub async fn update<T: Serialize + DeserializeOwned>(
        &self,
        namespace: impl Into<Namespace>,
        key: impl Into<String>,
        change: impl Fn(Option<T>) -> T,
    ) -> Result<T> {
        let address = address(namespace, key);
        for _ in 1..UPDATES_MAX {
            match self.changed(&address, &change).await {
                Err(error) if is_overtaken(&error) => {}
                decided => return decided,
            }
        }
        self.changed(&address, &change).await
    }

    async fn changed<T: Serialize + DeserializeOwned>(
        &self,
        address: &ItemKey,
        change: &impl Fn(Option<T>) -> T,
    ) -> Result<T> {
        let found = self.read::<T>(address, false).await?;
        let version = found.as_ref().map(|item| item.version);
        let value = change(found.map(|item| item.value));
        let put = PutItem::new(self, address.clone(), &value);
        match version {
            Some(version) => put.if_version(version).await?,
            None => put.if_absent().await?,
        };
        Ok(value)
    }

    /// Takes an item away; awaiting it does, and answers whether it was there.
    pub fn delete(&self, namespace: impl Into<Namespace>, key: impl Into<String>) -> DeleteItem<'_> {
        DeleteItem::new(self, address(namespace, key))
    }

    /// Looks for items in a namespace and below it; awaiting it does. What is found and lives for a while lives as long
    /// again from now.
    ///
    /// ```
    /// use stepmark_core::capability::Filter;
    /// use stepmark_engine::Items;
    ///
    /// # async fn find(items: Items) -> stepmark_engine::Result<()> {
    /// # #[derive(serde::Deserialize)] struct Fact { about: String, weight: u32 }
    /// let facts = items.search::<Fact>(["users", "ada"]).filter(Filter::gte("weight", 3)).text("coffee").newest_first();
    /// for fact in facts.limit(5).await?.items {
    ///     println!("{}: {}", fact.key, fact.value.about);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn search<T: DeserializeOwned>(&self, prefix: impl Into<Namespace>) -> FindItems<'_, T> {
        FindItems::new(self, prefix.into())
    }

    /// Lists the namespaces that hold items, in order; awaiting it does.
    pub fn namespaces(&self) -> FindNamespaces<'_> {
        FindNamespaces::new(self)
    }

    /// Removes up to `limit` items whose time is over, and answers how many. Nobody sees them anyway, and each write removes
    /// some: this is for stores in which nothing is written for long.
    ///
    /// # Errors
    /// `Store`: the store could not write.
    pub async fn sweep(&self, limit: u32) -> Result<u64> {
        Ok(self.kept()?.sweep(limit).await?)
    }

    async fn read<T: DeserializeOwned>(&self, address: &ItemKey, refresh: bool) -> Result<Option<Item<T>>> {
        self.kept()?.get(address, refresh).await?.map(typed).transpose()
    }

    fn kept(&self) -> Result<&dyn capability::Items> {
        let none = || StoreError::unsupported(Subject::Store, "items", "this store keeps none");
        Ok(self.store.items().ok_or_else(none)?)
    }

    /// Writes, and repeats the same call while its outcome is unknown.
    async fn write(&self, write: ItemWrite) -> Result<ItemVersion> {
        for repeat in 1..=REPEATS_MAX {
            match self.kept()?.put(write.clone()).await {
                Err(error) if error.kind() == StoreKind::Unavailable => {
                    self.clock.sleep(REPEAT_PAUSE * repeat).await;
                }
                decided => return Ok(decided?.version),
            }
        }
        Ok(self.kept()?.put(write).await?.version)
    }
}

impl fmt::Debug for Items {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Items").field(&self.store).finish()
    }
}

impl<S: State> Cx<S> {
    /// What the store remembers across threads: see [`Items`].
    ///
    /// # Errors
    /// The run has no store, or one that keeps no items.
    pub fn items(&self) -> Result<Items, NodeError> {
        self.extract()
    }
}

impl<S: State> FromCx<S> for Items {
    fn from_cx(cx: &Cx<S>) -> Result<Self, NodeError> {
        let items = cx.info().run.items.as_ref();
        items.cloned().ok_or_else(|| {
            let node = cx.node();
            NodeError::new(format_args!("node `{node}` needs items, and the application has no store that keeps any"))
        })
    }
}

fn address(namespace: impl Into<Namespace>, key: impl Into<String>) -> ItemKey {
    ItemKey { scope: String::new(), namespace: namespace.into(), key: key.into() }
}

/// Whether others wrote between a read and the write that follows from it.
fn is_overtaken(error: &Error) -> bool {
    error.is_store(StoreKind::Conflict, Subject::Item) || error.is_store(StoreKind::Exists, Subject::Item)
}

fn typed<T: DeserializeOwned>(item: capability::Item) -> Result<Item<T>> {
    let value = serde_json::from_slice(&item.value).map_err(|error| {
        Error::unreadable(Subject::Item, &item.key, format_args!("it is no {}: {error}", std::any::type_name::<T>()))
    })?;
    let capability::ItemStamp { version, created_at, updated_at, expires_at } = item.stamp;
    let ItemKey { namespace, key, .. } = item.key;
    Ok(Item { namespace, key, value, version, created_at, updated_at, expires_at })
}
