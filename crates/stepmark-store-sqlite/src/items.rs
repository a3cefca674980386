//! How are items that threads share kept in the file?
//!
//! Reads go to the readers, writes to the writer thread, in its groups; a write is decided there, so that of several at once
//! one is first. A search is one statement: it is read until its page is full. Each write takes along some items whose time
//! is over.

use std::ops::ControlFlow;

use async_trait::async_trait;
use rusqlite::{Row, params};
use stepmark_core::capability::{
    Item, ItemKey, ItemOrder, ItemPage, ItemSearch, ItemStamp, ItemVersion, ItemWrite, Items, ItemsQuery, Listing,
    NamespacePage, NamespaceQuery, NamespaceRange, PutVerdict, StoredAddress, StoredItems, check_items, check_search,
    check_write, decide_delete, decide_put, decide_restore,
};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::RecordHash;
use stepmark_core::store::Outcome;

use crate::apply::{Applied, Undo};
use crate::queries;
use crate::session::{Cells, Session};
use crate::store::Sqlite;
use crate::writer::{Done, Work};

/// How many items whose time is over a write takes along: it does not wait long for what others left.
const SWEPT_BESIDE: u32 = 64;
/// How many namespaces are looked at in one go.
const PORTION: i64 = 256;

/// What is done to items.
pub(crate) enum ItemWork {
    Put(Box<ItemWrite>),
    Delete {
        key: ItemKey,
        version: Option<ItemVersion>,
    },
    /// What was read at a time.
    Refresh {
        items: Vec<(ItemKey, ItemVersion)>,
        read_at: Timestamp,
    },
    Sweep {
        limit: u32,
    },
    Restore(Vec<Item>),
}

/// What was done.
pub(crate) enum ItemDone {
    Put(ItemStamp),
    Deleted(bool),
    Refreshed,
    Swept(u64),
    Restored(Outcome),
}

impl ItemWork {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Put(write) => write.value.len(),
            Self::Restore(items) => items.iter().map(|item| item.value.len()).sum(),
            Self::Delete { .. } | Self::Refresh { .. } | Self::Sweep { .. } => 0,
        }
    }

    pub(crate) fn apply(&self, session: &Session<'_>, now: Timestamp) -> Applied<ItemDone> {
        let done = match self {
            Self::Put(write) => put(session, write, now).map(ItemDone::Put),
            Self::Delete { key, version } => delete(session, key, *version, now).map(ItemDone::Deleted),
            Self::Refresh { items, read_at } => refresh(session, items, *read_at).map(|()| ItemDone::Refreshed),
            Self::Sweep { limit } => sweep(session, *limit, now).map(ItemDone::Swept),
            Self::Restore(items) => restore(session, items, now)?.map(ItemDone::Restored),
        };
        Ok(done)
    }
}

fn put(session: &Session<'_>, write: &ItemWrite, now: Timestamp) -> Result<ItemStamp> {
    let stamp = match decide_put(write, stored(session, &write.key)?, now)? {
        PutVerdict::Repeated(stamp) => return Ok(stamp),
        PutVerdict::Write(stamp) => stamp,
    };
    let (ttl_us, hash) = (write.ttl_us(), write.record_hash());
    insert(session, &Columns { key: &write.key, stamp, ttl_us, hash, value: &write.value })?;
    sweep(session, SWEPT_BESIDE, now)?;
    Ok(stamp)
}

/// A row to write.
struct Columns<'a> {
    key: &'a ItemKey,
    stamp: ItemStamp,
    ttl_us: Option<i64>,
    hash: RecordHash,
    value: &'a [u8],
}

fn insert(session: &Session<'_>, columns: &Columns<'_>) -> Result<()> {
    let Columns { key: ItemKey { scope, namespace, key }, stamp, ttl_us, hash, value } = columns;
    let ItemStamp { version, created_at, updated_at, expires_at } = stamp;
    let (namespace, key, version) = (namespace.encode(), key.as_bytes(), version.0 as i64);
    let row = params![scope, namespace, key, version, created_at, updated_at, expires_at, ttl_us, hash.0, value];
    session.execute(queries::ITEM_PUT, row).map(drop)
}

/// Every item is decided on before the first is written.
fn restore(session: &Session<'_>, items: &[Item], now: Timestamp) -> Applied<Outcome> {
    let is_missing = |item: &Item| decide_restore(item, stored(session, &item.key)?, now);
    let missing = match items.iter().map(is_missing).collect::<Result<Vec<_>>>() {
        Ok(missing) => missing,
        Err(refusal) => return Ok(Err(refusal)),
    };
    for (item, _) in items.iter().zip(&missing).filter(|(_, is_missing)| **is_missing) {
        let Item { key, value, ttl_us, stamp } = item;
        let columns = Columns { key, stamp: *stamp, ttl_us: *ttl_us, hash: item.record_hash(), value };
        insert(session, &columns).map_err(Undo)?;
    }
    Ok(Ok(if missing.contains(&true) { Outcome::Applied } else { Outcome::Repeated }))
}

fn delete(session: &Session<'_>, key: &ItemKey, version: Option<ItemVersion>, now: Timestamp) -> Result<bool> {
    let is_there = decide_delete(key, version, stored(session, key)?, now)?;
    session.execute(queries::ITEM_DELETE, params![key.scope, key.namespace.encode(), key.key.as_bytes()])?;
    Ok(is_there)
}

fn refresh(session: &Session<'_>, items: &[(ItemKey, ItemVersion)], read_at: Timestamp) -> Result<()> {
    for (ItemKey { scope, namespace, key }, version) in items {
        let key = params![scope, namespace.encode(), key.as_bytes(), version.0 as i64, read_at];
        session.execute(queries::ITEM_REFRESH, key)?;
    }
    Ok(())
}

fn sweep(session: &Session<'_>, limit: u32, now: Timestamp) -> Result<u64> {
    session.execute(queries::ITEM_SWEEP, params![now, limit]).map(|removed| removed as u64)
}

/// The stamp of what is there, whether or not its time is over.
fn stored(session: &Session<'_>, address: &ItemKey) -> Result<Option<ItemStamp>> {
    let ItemKey { scope, namespace, key } = address;
    let read = |row: &Row<'_>| stamp(&Cells::new(row, Subject::Item, address));
    session.first(queries::ITEM_STAMP, params![scope, namespace.encode(), key.as_bytes()], read)
}

fn stamp(cells: &Cells<'_, &ItemKey>) -> Result<ItemStamp> {
    let version = ItemVersion(cells.number(0)?);
    Ok(ItemStamp { version, created_at: cells.get(1)?, updated_at: cells.get(2)?, expires_at: cells.get(3)? })
}

/// An item of a row whose first columns are those of a stamp.
fn item(row: &Row<'_>, key: &ItemKey) -> Result<Item> {
    let cells = Cells::new(row, Subject::Item, key);
    let (ttl_us, hash) = (cells.get(4)?, cells.array::<16>(5)?);
    let item = Item { key: key.clone(), value: cells.get(6)?, ttl_us, stamp: stamp(&cells)? };
    if item.record_hash().0 != hash {
        return Err(Error::corrupt(Subject::Item, key, "its hash does not match"));
    }
    Ok(item)
}

fn get(session: &Session<'_>, address: &ItemKey, now: Timestamp) -> Result<Option<Item>> {
    let ItemKey { scope, namespace, key } = address;
    let key = params![scope, namespace.encode(), key.as_bytes(), now];
    session.first(queries::ITEM_GET, key, |row| item(row, address))
}

fn search(session: &Session<'_>, search: &ItemSearch, now: Timestamp) -> Result<ItemPage> {
    let NamespaceRange { from, end } = search.prefix.range();
    let after = search.after.as_ref();
    let (namespace, key) = (after.map(|after| after.namespace.encode()), after.map(|after| after.key.as_bytes()));
    let updated_at = after.map(|after| after.updated_at);
    let place = params![search.scope, from, end, now, namespace, key, updated_at];
    let (sql, place) = match search.order {
        ItemOrder::Key => (queries::ITEM_SEARCH, &place[..6]),
        ItemOrder::Newest => (queries::ITEM_SEARCH_NEWEST, place),
    };
    let mut found = Vec::new();
    session.walk(sql, place, |row| {
        let item = item(row, &address_of(row)?.read(&search.scope)?)?;
        if search.wants(&item.key, &item.value)? {
            found.push(item);
        }
        Ok(if found.len() < search.wanted() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(search.page(found))
}

fn page(session: &Session<'_>, query: &ItemsQuery, now: Timestamp) -> Result<StoredItems> {
    let NamespaceRange { from, end } = query.prefix.range();
    let (namespace, key) = query.after.as_ref().map(|after| (&after.namespace, &after.key)).unzip();
    let mut found = Vec::new();
    session.walk(queries::ITEM_SEARCH, params![query.scope, from, end, now, namespace, key], |row| {
        let address = address_of(row)?;
        let item = address.read(&query.scope).and_then(|key| item(row, &key));
        found.push((address, item));
        Ok(if found.len() < query.wanted() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(query.page(found))
}

/// The address in the last two columns of a search.
fn address_of(row: &Row<'_>) -> Result<StoredAddress> {
    let cells = Cells::new(row, Subject::Item, "address");
    Ok(StoredAddress { namespace: cells.get(7)?, key: cells.get(8)? })
}

fn namespaces(session: &Session<'_>, query: &NamespaceQuery, now: Timestamp) -> Result<NamespacePage> {
    let mut listing = Listing::new(query);
    while let Some(NamespaceRange { from, end }) = listing.ahead() {
        let place = params![query.scope, from, end, now, PORTION];
        let read = |row: &Row<'_>| Cells::new(row, Subject::Item, "namespace").get::<Vec<u8>>(0);
        let portion = session.all(queries::ITEM_NAMESPACES, place, read)?;
        listing.take(portion)?;
    }
    Ok(listing.page())
}

#[async_trait]
impl Items for Sqlite {
    async fn put(&self, write: ItemWrite) -> Result<ItemStamp> {
        check_write(&write)?;
        let ItemDone::Put(stamp) = self.changed(ItemWork::Put(Box::new(write))).await? else {
            return Err(self.mismatched());
        };
        Ok(stamp)
    }

    async fn get(&self, key: &ItemKey, refresh: bool) -> Result<Option<Item>> {
        let (key, now) = (key.clone(), self.now());
        let mut found = self.read(move |session| get(session, &key, now)).await?;
        if let Some(item) = found.as_mut().filter(|_| refresh) {
            self.refresh(std::slice::from_mut(item)).await?;
        }
        Ok(found)
    }

    async fn delete(&self, key: &ItemKey, version: Option<ItemVersion>) -> Result<bool> {
        let ItemDone::Deleted(was_there) = self.changed(ItemWork::Delete { key: key.clone(), version }).await? else {
            return Err(self.mismatched());
        };
        Ok(was_there)
    }

    async fn search(&self, wanted: ItemSearch) -> Result<ItemPage> {
        check_search(&wanted)?;
        let (now, refresh) = (self.now(), wanted.refresh);
        let mut page = self.read(move |session| search(session, &wanted, now)).await?;
        if refresh {
            self.refresh(&mut page.items).await?;
        }
        Ok(page)
    }

    async fn namespaces(&self, query: NamespaceQuery) -> Result<NamespacePage> {
        let now = self.now();
        self.read(move |session| namespaces(session, &query, now)).await
    }

    async fn sweep(&self, limit: u32) -> Result<u64> {
        let ItemDone::Swept(removed) = self.changed(ItemWork::Sweep { limit }).await? else {
            return Err(self.mismatched());
        };
        Ok(removed)
    }

    async fn page(&self, query: ItemsQuery) -> Result<StoredItems> {
        let now = self.now();
        self.read(move |session| page(session, &query, now)).await
    }

    async fn restore(&self, items: Vec<Item>) -> Result<Outcome> {
        check_items(&items)?;
        let ItemDone::Restored(outcome) = self.changed(ItemWork::Restore(items)).await? else {
            return Err(self.mismatched());
        };
        Ok(outcome)
    }
}

impl Sqlite {
    async fn changed(&self, work: ItemWork) -> Result<ItemDone> {
        let Done::Item(done) = self.submit(Work::Item(work)).await? else { return Err(self.mismatched()) };
        Ok(done)
    }

    /// Lets those live on that live for a while. What was written or deleted since it was read stays as it is.
    async fn refresh(&self, found: &mut [Item]) -> Result<()> {
        let read_at = self.now();
        let mut items = Vec::new();
        for item in found.iter_mut().filter(|item| item.ttl_us.is_some()) {
            item.stamp.expires_at = item.refreshed(read_at);
            items.push((item.key.clone(), item.stamp.version));
        }
        if items.is_empty() {
            return Ok(());
        }
        self.changed(ItemWork::Refresh { items, read_at }).await.map(drop)
    }
}
