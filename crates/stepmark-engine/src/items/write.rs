//! How is an item written or taken away?

use std::fmt;
use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;
use stepmark_core::capability::{ExpectItem, ItemKey, ItemVersion, ItemWrite};

use super::Items;
use crate::error::{Error, Result};

/// A value to write; awaiting it writes, and answers the version that it is from then on.
#[must_use = "nothing is written until it is awaited"]
pub struct PutItem<'a> {
    items: &'a Items,
    write: ItemWrite,
    /// Why the value has no stored form, if it has none.
    unencodable: Option<serde_json::Error>,
}

impl<'a> PutItem<'a> {
    pub(super) fn new<T: Serialize + ?Sized>(items: &'a Items, key: ItemKey, value: &T) -> Self {
        let (value, unencodable) = match serde_json::to_vec(value) {
            Ok(value) => (value, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let mut random = [0; 8];
        items.ids.fill(&mut random);
        let version = ItemVersion(u64::from_le_bytes(random));
        let write = ItemWrite { key, value, ttl: None, version, expect: ExpectItem::Any };
        Self { items, write, unencodable }
    }

    /// The item lives this long after it was written or read. Without, it lives for ever, also where it had an end before.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.write.ttl = Some(ttl);
        self
    }

    /// Writes only where nothing is there; else it is `Exists`.
    pub fn if_absent(mut self) -> Self {
        self.write.expect = ExpectItem::Absent;
        self
    }

    /// Writes only where this version is there; else it is `Contended`: read the item again and decide again.
    pub fn if_version(mut self, version: ItemVersion) -> Self {
        self.write.expect = ExpectItem::Version(version);
        self
    }

    async fn put(self) -> Result<ItemVersion> {
        if let Some(error) = self.unencodable {
            return Err(Error::invalid(format_args!("item {}: its value has no JSON form: {error}", self.write.key)));
        }
        self.items.write(self.write).await
    }
}

impl<'a> IntoFuture for PutItem<'a> {
    type Output = Result<ItemVersion>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.put())
    }
}

impl fmt::Debug for PutItem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutItem").field("key", &self.write.key).finish_non_exhaustive()
    }
}

/// An item to take away; awaiting it does, and answers whether it was there.
#[derive(Debug)]
#[must_use = "nothing is deleted until it is awaited"]
pub struct DeleteItem<'a> {
    items: &'a Items,
    key: ItemKey,
    version: Option<ItemVersion>,
}

impl<'a> DeleteItem<'a> {
    pub(super) fn new(items: &'a Items, key: ItemKey) -> Self {
        Self { items, key, version: None }
    }

    /// Takes it away only where this version is there; where another is, it is `Contended`.
    pub fn if_version(mut self, version: ItemVersion) -> Self {
        self.version = Some(version);
        self
    }
}

impl<'a> IntoFuture for DeleteItem<'a> {
    type Output = Result<bool>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.items.kept()?.delete(&self.key, self.version).await?) })
    }
}
