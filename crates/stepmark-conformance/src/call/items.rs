//! How do calls about items pass a wrapper?

use async_trait::async_trait;
use stepmark_core::capability::{
    Item, ItemKey, ItemPage, ItemSearch, ItemStamp, ItemVersion, ItemWrite, Items, ItemsQuery, NamespacePage,
    NamespaceQuery, StoredItems,
};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::store::{CheckpointStore, Outcome};

use super::{Call, Intercept, Intercepted, Reply};

/// One call about items.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the method of its name with its arguments")]
pub enum ItemCall {
    Put(ItemWrite),
    Get { key: ItemKey, refresh: bool },
    Delete { key: ItemKey, version: Option<ItemVersion> },
    Search(ItemSearch),
    Namespaces(NamespaceQuery),
    Sweep { limit: u32 },
    Page(ItemsQuery),
    Restore(Vec<Item>),
}

/// The answer to an [`ItemCall`], in the same order.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is the answer of the method of its name")]
pub enum ItemReply {
    Put(ItemStamp),
    Get(Option<Item>),
    Delete(bool),
    Search(ItemPage),
    Namespaces(NamespacePage),
    Sweep(u64),
    Page(StoredItems),
    Restore(Outcome),
}

impl ItemCall {
    /// Delivers the call.
    pub async fn run(self, store: &dyn CheckpointStore) -> Result<ItemReply> {
        let none = || Error::unsupported(Subject::Store, "items", "this store keeps none");
        let items = store.items().ok_or_else(none)?;
        Ok(match self {
            Self::Put(write) => ItemReply::Put(items.put(write).await?),
            Self::Get { key, refresh } => ItemReply::Get(items.get(&key, refresh).await?),
            Self::Delete { key, version } => ItemReply::Delete(items.delete(&key, version).await?),
            Self::Search(search) => ItemReply::Search(items.search(search).await?),
            Self::Namespaces(query) => ItemReply::Namespaces(items.namespaces(query).await?),
            Self::Sweep { limit } => ItemReply::Sweep(items.sweep(limit).await?),
            Self::Page(query) => ItemReply::Page(items.page(query).await?),
            Self::Restore(restored) => ItemReply::Restore(items.restore(restored).await?),
        })
    }

    /// Whether it is there to change something.
    pub fn writes(&self) -> bool {
        match self {
            Self::Put(_) | Self::Delete { .. } | Self::Sweep { .. } | Self::Restore(_) => true,
            Self::Get { .. } | Self::Search(_) | Self::Namespaces(_) | Self::Page(_) => false,
        }
    }
}

/// The reply of the method that was called.
macro_rules! reply {
    ($reply:expr, $pattern:pat => $value:expr) => {
        match $reply {
            Reply::Item($pattern) => Ok($value),
            other => unreachable!("an intercept answered {other:?}"),
        }
    };
}

#[async_trait]
impl<I: Intercept> Items for Intercepted<I> {
    async fn put(&self, write: ItemWrite) -> Result<ItemStamp> {
        reply!(self.call(Call::Item(ItemCall::Put(write))).await?, ItemReply::Put(stamp) => stamp)
    }

    async fn get(&self, key: &ItemKey, refresh: bool) -> Result<Option<Item>> {
        let call = ItemCall::Get { key: key.clone(), refresh };
        reply!(self.call(Call::Item(call)).await?, ItemReply::Get(item) => item)
    }

    async fn delete(&self, key: &ItemKey, version: Option<ItemVersion>) -> Result<bool> {
        let call = ItemCall::Delete { key: key.clone(), version };
        reply!(self.call(Call::Item(call)).await?, ItemReply::Delete(was_there) => was_there)
    }

    async fn search(&self, search: ItemSearch) -> Result<ItemPage> {
        reply!(self.call(Call::Item(ItemCall::Search(search))).await?, ItemReply::Search(page) => page)
    }

    async fn namespaces(&self, query: NamespaceQuery) -> Result<NamespacePage> {
        reply!(self.call(Call::Item(ItemCall::Namespaces(query))).await?, ItemReply::Namespaces(page) => page)
    }

    async fn sweep(&self, limit: u32) -> Result<u64> {
        reply!(self.call(Call::Item(ItemCall::Sweep { limit })).await?, ItemReply::Sweep(removed) => removed)
    }

    async fn page(&self, query: ItemsQuery) -> Result<StoredItems> {
        reply!(self.call(Call::Item(ItemCall::Page(query))).await?, ItemReply::Page(page) => page)
    }

    async fn restore(&self, items: Vec<Item>) -> Result<Outcome> {
        reply!(self.call(Call::Item(ItemCall::Restore(items))).await?, ItemReply::Restore(outcome) => outcome)
    }
}
