//! How are items that threads share kept behind a codec?
//!
//! They belong to no thread, so the store's own key seals their values; names, keys and times stay plain. What would have to
//! look into values is refused. What moves passes as it is stored, so that it needs no key.

use async_trait::async_trait;
use stepmark_core::capability::{
    Item, ItemKey, ItemPage, ItemSearch, ItemStamp, ItemVersion, ItemWrite, Items, ItemsQuery, NamespacePage,
    NamespaceQuery, StoredItems, check_write,
};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::store::Outcome;

use crate::place;
use crate::seal::{KeyOwner, Keys, is_sealed};
use crate::store::CodecStore;

#[async_trait]
impl Items for CodecStore {
    async fn put(&self, mut write: ItemWrite) -> Result<ItemStamp> {
        check_write(&write)?;
        if let Some(keys) = self.made_keys(KeyOwner::Store).await? {
            write.value = keys.seal(&place::item(&write.key, write.version), &write.value)?;
        }
        self.shared()?.put(write).await
    }

    async fn get(&self, key: &ItemKey, refresh: bool) -> Result<Option<Item>> {
        let found = self.shared()?.get(key, refresh).await?;
        let keys = self.made_keys(KeyOwner::Store).await?;
        found.map(|item| opened(keys.as_ref(), item)).transpose()
    }

    async fn delete(&self, key: &ItemKey, version: Option<ItemVersion>) -> Result<bool> {
        self.shared()?.delete(key, version).await
    }

    async fn search(&self, search: ItemSearch) -> Result<ItemPage> {
        let keys = self.made_keys(KeyOwner::Store).await?;
        if keys.is_some() && search.asks_values() {
            let reason = "values are sealed here, and the store cannot look into them; search by namespace alone";
            return Err(Error::unsupported(Subject::Item, "filter or text", reason));
        }
        let ItemPage { items, next } = self.shared()?.search(search).await?;
        let items = items.into_iter().map(|item| opened(keys.as_ref(), item)).collect::<Result<_>>()?;
        Ok(ItemPage { items, next })
    }

    async fn namespaces(&self, query: NamespaceQuery) -> Result<NamespacePage> {
        self.shared()?.namespaces(query).await
    }

    async fn sweep(&self, limit: u32) -> Result<u64> {
        self.shared()?.sweep(limit).await
    }

    async fn page(&self, query: ItemsQuery) -> Result<StoredItems> {
        self.shared()?.page(query).await
    }

    async fn restore(&self, items: Vec<Item>) -> Result<Outcome> {
        if let Some(plain) = items.iter().find(|item| self.codec.keys.is_some() && !is_sealed(&item.value)) {
            return Err(Error::invalid(Subject::Item, &plain.key, "it is not sealed, as everything here is"));
        }
        self.shared()?.restore(items).await
    }
}

pub(crate) fn opened(keys: Option<&Keys>, mut item: Item) -> Result<Item> {
    if let Some(keys) = keys {
        let place = place::item(&item.key, item.stamp.version);
        item.value = keys.open(&place, &item.value, (Subject::Item, &item.key))?;
    }
    Ok(item)
}

impl CodecStore {
    pub(crate) fn shared(&self) -> Result<&dyn Items> {
        self.inner().items().ok_or_else(|| Error::unsupported(Subject::Store, "items", "this store keeps none"))
    }
}
