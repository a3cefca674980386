//! How are items that threads share kept in the tables?
//!
//! Reads go to a connection of their own, writes to the workers; a write locks what is there, so that of several at once one
//! is first. A search is a cursor that is fetched until its page is full. Each write takes along some items whose time is
//! over; the server's clock says which.

use async_trait::async_trait;
use stepmark_core::capability::{
    Item, ItemKey, ItemOrder, ItemPage, ItemSearch, ItemStamp, ItemVersion, ItemWrite, Items, ItemsQuery, Listing,
    NamespacePage, NamespaceQuery, NamespaceRange, PutVerdict, StoredAddress, StoredItems, check_items, check_search,
    check_write, decide_delete, decide_put, decide_restore,
};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::RecordHash;
use stepmark_core::store::Outcome;
use tokio_postgres::Row;

use crate::queries;
use crate::read::time;
use crate::session::{Cells, Session, params};
use crate::store::PostgresStore;
use crate::writer::{Done, Work};

/// How many items whose time is over a write takes along: it does not wait long for what others left.
const SWEPT_BESIDE: i64 = 64;
/// How many namespaces are looked at in one go.
const PORTION: i64 = 256;

/// What is done to items.
pub(crate) enum ItemWork {
    Put(Box<ItemWrite>),
    Delete { key: ItemKey, version: Option<ItemVersion> },
    Refresh { items: Vec<(ItemKey, ItemVersion)>, read_at: Timestamp },
    Sweep { limit: u32 },
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

    /// In a transaction, so that what was looked at stays locked until it is written.
    pub(crate) async fn apply(&self, session: Session<'_>) -> Result<ItemDone> {
        session.batch(queries::BEGIN_WRITE).await?;
        session.end(self.run(session).await).await
    }

    async fn run(&self, session: Session<'_>) -> Result<ItemDone> {
        match self {
            Self::Put(write) => put(session, write).await.map(ItemDone::Put),
            Self::Delete { key, version } => delete(session, key, *version).await.map(ItemDone::Deleted),
            Self::Refresh { items, read_at } => refresh(session, items, *read_at).await.map(|()| ItemDone::Refreshed),
            Self::Sweep { limit } => sweep(session, i64::from(*limit)).await.map(ItemDone::Swept),
            Self::Restore(items) => restore(session, items).await.map(ItemDone::Restored),
        }
    }
}

async fn put(session: Session<'_>, write: &ItemWrite) -> Result<ItemStamp> {
    let (stored, now) = (locked(session, &write.key).await?, time(session).await?);
    let stamp = match decide_put(write, stored, now)? {
        PutVerdict::Repeated(stamp) => return Ok(stamp),
        PutVerdict::Write(stamp) => stamp,
    };
    let (ttl_us, hash) = (write.ttl_us(), write.record_hash());
    let columns = Columns { key: &write.key, stamp, ttl_us, hash, value: &write.value };
    columns.write(session, stored.is_some()).await?;
    sweep(session, SWEPT_BESIDE).await?;
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

impl Columns<'_> {
    async fn write(&self, session: Session<'_>, is_there: bool) -> Result<()> {
        // Where nothing was locked another writer may have made it since: then its key is taken, and this is tried again.
        let sql = if is_there { queries::ITEM_UPDATE } else { queries::ITEM_INSERT };
        let Self { key: ItemKey { scope, namespace, key }, stamp, ttl_us, hash, value } = *self;
        let ItemStamp { version, created_at, updated_at, expires_at } = stamp;
        let (namespace, key, version) = (namespace.encode(), key.as_bytes(), version.0 as i64);
        let hash = &hash.0[..];
        let row = params![scope, namespace, key, version, created_at, updated_at, expires_at, ttl_us, hash, value];
        session.execute(sql, row).await.map(drop)
    }
}

async fn restore(session: Session<'_>, items: &[Item]) -> Result<Outcome> {
    let now = time(session).await?;
    let mut outcome = Outcome::Repeated;
    for item in items {
        let stored = locked(session, &item.key).await?;
        if decide_restore(item, stored, now)? {
            let Item { key, value, ttl_us, stamp } = item;
            let columns = Columns { key, stamp: *stamp, ttl_us: *ttl_us, hash: item.record_hash(), value };
            columns.write(session, stored.is_some()).await?;
            outcome = Outcome::Applied;
        }
    }
    Ok(outcome)
}

async fn delete(session: Session<'_>, key: &ItemKey, version: Option<ItemVersion>) -> Result<bool> {
    let (stored, now) = (locked(session, key).await?, time(session).await?);
    let is_there = decide_delete(key, version, stored, now)?;
    let ItemKey { scope, namespace, key } = key;
    session.execute(queries::ITEM_DELETE, params![scope, namespace.encode(), key.as_bytes()]).await?;
    Ok(is_there)
}

async fn refresh(session: Session<'_>, items: &[(ItemKey, ItemVersion)], read_at: Timestamp) -> Result<()> {
    for (ItemKey { scope, namespace, key }, version) in items {
        let key = params![scope, namespace.encode(), key.as_bytes(), version.0 as i64, read_at];
        session.execute(queries::ITEM_REFRESH, key).await?;
    }
    Ok(())
}

async fn sweep(session: Session<'_>, limit: i64) -> Result<u64> {
    session.execute(queries::ITEM_SWEEP, params![limit]).await
}

/// The stamp of what is there, whether or not its time is over; nobody else writes it until the transaction ends.
async fn locked(session: Session<'_>, address: &ItemKey) -> Result<Option<ItemStamp>> {
    let ItemKey { scope, namespace, key } = address;
    let read = |row: &Row| stamp(&Cells::new(row, Subject::Item, address));
    session.first(queries::ITEM_STAMP, params![scope, namespace.encode(), key.as_bytes()], read).await
}

fn stamp(cells: &Cells<'_, &ItemKey>) -> Result<ItemStamp> {
    let version = ItemVersion(cells.number(0)?);
    Ok(ItemStamp { version, created_at: cells.get(1)?, updated_at: cells.get(2)?, expires_at: cells.get(3)? })
}

/// An item of a row whose first columns are those of a stamp.
fn item(row: &Row, key: &ItemKey) -> Result<Item> {
    let cells = Cells::new(row, Subject::Item, key);
    let (ttl_us, hash) = (cells.get(4)?, cells.array::<16>(5)?);
    let item = Item { key: key.clone(), value: cells.get(6)?, ttl_us, stamp: stamp(&cells)? };
    if item.record_hash().0 != hash {
        return Err(Error::corrupt(Subject::Item, key, "its hash does not match"));
    }
    Ok(item)
}

async fn get(session: Session<'_>, address: &ItemKey) -> Result<(Option<Item>, Timestamp)> {
    let ItemKey { scope, namespace, key } = address;
    let place = params![scope, namespace.encode(), key.as_bytes()];
    let found = session.first(queries::ITEM_GET, place, |row| item(row, address)).await?;
    // Where nothing lives for a while nobody asks for the time.
    let lives_for_a_while = found.as_ref().is_some_and(|item| item.ttl_us.is_some());
    let now = if lives_for_a_while { time(session).await? } else { 0 };
    Ok((found, now))
}

async fn search(session: Session<'_>, search: &ItemSearch) -> Result<(ItemPage, Timestamp)> {
    let NamespaceRange { from, end } = search.prefix.range();
    let after = search.after.as_ref();
    let namespace = after.map(|after| after.namespace.encode());
    let key = after.map(|after| after.key.as_bytes());
    let updated_at = after.map(|after| after.updated_at);
    let now = time(session).await?;
    match search.order {
        ItemOrder::Key => {
            session.execute(queries::ITEM_SEARCH, params![search.scope, from, end, now, namespace, key]).await?
        }
        ItemOrder::Newest => {
            let place = params![search.scope, from, end, now, namespace, key, updated_at];
            session.execute(queries::ITEM_SEARCH_NEWEST, place).await?
        }
    };
    let mut found = Vec::new();
    // Where values decide, many rows may be read for a few; else as many as are wanted.
    let portion = if search.asks_values() { search.wanted().max(256) } else { search.wanted() };
    let fetch = format!("FETCH {portion} FROM stepmark_items");
    while found.len() < search.wanted() {
        let rows = session.fetch(&fetch).await?;
        let is_last = rows.len() < portion;
        for row in rows {
            let item = item(&row, &address_of(&row)?.read(&search.scope)?)?;
            if found.len() < search.wanted() && search.wants(&item.key, &item.value)? {
                found.push(item);
            }
        }
        if is_last {
            break;
        }
    }
    Ok((search.page(found), now))
}

async fn page(session: Session<'_>, query: &ItemsQuery) -> Result<StoredItems> {
    let NamespaceRange { from, end } = query.prefix.range();
    let (namespace, key) = query.after.as_ref().map(|after| (&after.namespace[..], &after.key[..])).unzip();
    let now = time(session).await?;
    session.execute(queries::ITEM_SEARCH, params![query.scope, from, end, now, namespace, key]).await?;
    let mut found = Vec::new();
    for row in session.fetch(&format!("FETCH {} FROM stepmark_items", query.wanted())).await? {
        let address = address_of(&row)?;
        let item = address.read(&query.scope).and_then(|key| item(&row, &key));
        found.push((address, item));
    }
    Ok(query.page(found))
}

/// The address in the last two columns of a search.
fn address_of(row: &Row) -> Result<StoredAddress> {
    let cells = Cells::new(row, Subject::Item, "address");
    Ok(StoredAddress { namespace: cells.get(7)?, key: cells.get(8)? })
}

async fn namespaces(session: Session<'_>, query: &NamespaceQuery) -> Result<NamespacePage> {
    let now = time(session).await?;
    let mut listing = Listing::new(query);
    while let Some(NamespaceRange { from, end }) = listing.ahead() {
        let place = params![query.scope, from, end, now, PORTION];
        let read = |row: &Row| Cells::new(row, Subject::Item, "namespace").get::<Vec<u8>>(0);
        let portion = session.all(queries::ITEM_NAMESPACES, place, read).await?;
        listing.take(portion)?;
    }
    Ok(listing.page())
}

#[async_trait]
impl Items for PostgresStore {
    async fn put(&self, write: ItemWrite) -> Result<ItemStamp> {
        check_write(&write)?;
        let ItemDone::Put(stamp) = self.changed(ItemWork::Put(Box::new(write))).await? else {
            return Err(self.mismatched());
        };
        Ok(stamp)
    }

    async fn get(&self, key: &ItemKey, refresh: bool) -> Result<Option<Item>> {
        let (mut found, now) = self.read(key, |session, key| Box::pin(get(session, key))).await?;
        if let Some(item) = found.as_mut().filter(|_| refresh) {
            self.refresh(std::slice::from_mut(item), now).await?;
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
        let (mut page, now) = self.read(&wanted, |session, wanted| Box::pin(search(session, wanted))).await?;
        if wanted.refresh {
            self.refresh(&mut page.items, now).await?;
        }
        Ok(page)
    }

    async fn namespaces(&self, query: NamespaceQuery) -> Result<NamespacePage> {
        self.read(&query, |session, query| Box::pin(namespaces(session, query))).await
    }

    async fn sweep(&self, limit: u32) -> Result<u64> {
        let ItemDone::Swept(removed) = self.changed(ItemWork::Sweep { limit }).await? else {
            return Err(self.mismatched());
        };
        Ok(removed)
    }

    async fn page(&self, query: ItemsQuery) -> Result<StoredItems> {
        self.read(&query, |session, query| Box::pin(page(session, query))).await
    }

    async fn restore(&self, mut items: Vec<Item>) -> Result<Outcome> {
        check_items(&items)?;
        // In one order everywhere, as those that are refreshed.
        items.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        let ItemDone::Restored(outcome) = self.changed(ItemWork::Restore(items)).await? else {
            return Err(self.mismatched());
        };
        Ok(outcome)
    }
}

impl PostgresStore {
    async fn changed(&self, work: ItemWork) -> Result<ItemDone> {
        let Done::Item(done) = self.submit(Work::Item(work)).await? else { return Err(self.mismatched()) };
        Ok(done)
    }

    /// Lets those live on that live for a while. What was written or deleted since it was read stays as it is.
    async fn refresh(&self, found: &mut [Item], read_at: Timestamp) -> Result<()> {
        let mut items = Vec::new();
        for item in found.iter_mut().filter(|item| item.ttl_us.is_some()) {
            item.stamp.expires_at = item.refreshed(read_at);
            items.push((item.key.clone(), item.stamp.version));
        }
        if items.is_empty() {
            return Ok(());
        }
        // In one order everywhere, so that two of them do not wait for each other.
        items.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        self.changed(ItemWork::Refresh { items, read_at }).await.map(drop)
    }
}
