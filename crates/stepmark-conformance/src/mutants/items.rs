//! Stores that keep items otherwise than they promise.

use std::time::Duration;

use async_trait::async_trait;
use stepmark_core::capability::{
    ExpectItem, Item, ItemCursor, ItemKey, ItemOrder, ItemPage, ItemSearch, ItemVersion, ItemWrite, NamespaceQuery,
};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::store::{CheckpointStore, Outcome};

use crate::call::{Call, Intercept, ItemCall, ItemReply, Reply};

macro_rules! flaws {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        $($(#[$doc])* pub(super) const $name: u8 = $number;)*
    };
}

flaws! {
    /// Writes over what the write expects absent.
    ABSENT_NOT_ASKED = 0;
    /// Writes over any version.
    VERSION_NOT_ASKED = 1;
    /// Looks at the version, and writes later.
    LOOKS_THEN_WRITES = 2;
    /// Takes a repeated write for another one.
    REPEATED_REFUSED = 3;
    /// Makes each write a new item.
    CREATION_FORGOTTEN = 4;
    /// Knows no time.
    FOR_EVER = 5;
    /// Never lets what is read live longer.
    NEVER_REFRESHED = 6;
    /// Lets all that is read live longer.
    ALWAYS_REFRESHED = 7;
    /// Deletes any version.
    DELETES_ANY = 8;
    /// Says of each deletion that something was there.
    ALWAYS_DELETED = 9;
    /// Sweeps what is not over.
    SWEEPS_ALL = 10;
    /// Takes the beginning of a label for the label.
    BEGINNINGS_MATCH = 11;
    /// Asks for one of several filters.
    ONE_FILTER = 12;
    /// Tells letters of two cases apart.
    CASE_COUNTS = 13;
    /// Skips an item between pages.
    PAGE_SKIPS_ONE = 14;
    /// Finds by address, whatever is asked.
    NEWEST_IGNORED = 15;
    /// Finds something for any vector.
    VECTOR_IGNORED = 16;
    /// Tells a cut namespace once for each that it was.
    CUT_REPEATED = 17;
    /// Ends a label at a zero.
    ZERO_ENDS_LABEL = 18;
    /// Has one scope.
    SCOPE_IGNORED = 19;
    /// Shortens a key until it fits.
    LONG_KEYS_CUT = 20;
    /// Writes what is restored as if it were new.
    RESTORED_ANEW = 21;
    /// Restores over what is there.
    RESTORE_OVERWRITES = 22;
    /// Restores each item by itself.
    RESTORED_ONE_BY_ONE = 23;
    /// Refuses what was restored before.
    RESTORED_ONCE = 24;
    /// Lets live longer what is read to be moved.
    PAGE_REFRESHES = 25;
    /// Lets what is over live again.
    RESTORES_WHAT_IS_OVER = 26;
    /// Takes one of two items under one key.
    RESTORES_ONE_OF_TWO = 27;
}

/// Items with one of these flaws.
#[derive(Debug, Default)]
pub(super) struct Careless<const FLAW: u8>;

#[async_trait]
impl<const FLAW: u8> Intercept for Careless<FLAW> {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Call::Item(mut call) = call else { return call.run(store).await };
        change_address(FLAW, &mut call);
        let reply = match call {
            ItemCall::Put(write) => put(FLAW, store, write).await?,
            ItemCall::Get { key, refresh } => {
                let refresh = (refresh || FLAW == ALWAYS_REFRESHED) && FLAW != NEVER_REFRESHED;
                ItemCall::Get { key, refresh }.run(store).await?
            }
            ItemCall::Delete { key, version } => {
                let version = version.filter(|_| FLAW != DELETES_ANY);
                match (ItemCall::Delete { key, version }).run(store).await? {
                    ItemReply::Delete(was_there) => ItemReply::Delete(was_there || FLAW == ALWAYS_DELETED),
                    reply => reply,
                }
            }
            ItemCall::Search(search) => ItemReply::Search(found(FLAW, store, search).await?),
            ItemCall::Namespaces(query) if FLAW == CUT_REPEATED => cut(store, query).await?,
            ItemCall::Sweep { limit } if FLAW == SWEEPS_ALL => {
                let all = ItemSearch { limit, ..ItemSearch::default() };
                for item in found(FLAW, store, all).await?.items {
                    ItemCall::Delete { key: item.key, version: None }.run(store).await?;
                }
                ItemCall::Sweep { limit }.run(store).await?
            }
            ItemCall::Page(query) if FLAW == PAGE_REFRESHES => {
                let (scope, prefix, limit) = (query.scope.clone(), query.prefix.clone(), query.limit);
                searched(store, ItemSearch { scope, prefix, limit, refresh: true, ..ItemSearch::default() }).await?;
                ItemCall::Page(query).run(store).await?
            }
            ItemCall::Restore(items) => ItemReply::Restore(restored(FLAW, store, items).await?),
            call => call.run(store).await?,
        };
        Ok(Reply::Item(reply))
    }
}

fn change_address(flaw: u8, call: &mut ItemCall) {
    let (scope, namespace) = match call {
        ItemCall::Put(ItemWrite { key, .. }) | ItemCall::Get { key, .. } | ItemCall::Delete { key, .. } => {
            (&mut key.scope, &mut key.namespace)
        }
        ItemCall::Search(search) => (&mut search.scope, &mut search.prefix),
        ItemCall::Namespaces(query) => (&mut query.scope, &mut query.prefix),
        ItemCall::Page(query) => (&mut query.scope, &mut query.prefix),
        ItemCall::Sweep { .. } | ItemCall::Restore(_) => return,
    };
    match flaw {
        SCOPE_IGNORED => scope.clear(),
        ZERO_ENDS_LABEL => {
            for label in &mut namespace.0 {
                label.truncate(label.find('\0').unwrap_or(label.len()));
            }
        }
        _ => {}
    }
}

async fn version_of(store: &dyn CheckpointStore, key: &ItemKey) -> Result<Option<ItemVersion>> {
    match (ItemCall::Get { key: key.clone(), refresh: false }).run(store).await? {
        ItemReply::Get(item) => Ok(item.map(|item| item.stamp.version)),
        reply => unreachable!("a get was answered {reply:?}"),
    }
}

async fn put(flaw: u8, store: &dyn CheckpointStore, mut write: ItemWrite) -> Result<ItemReply> {
    match (flaw, write.expect) {
        (ABSENT_NOT_ASKED, ExpectItem::Absent) | (VERSION_NOT_ASKED, ExpectItem::Version(_)) => {
            write.expect = ExpectItem::Any;
        }
        (LOOKS_THEN_WRITES, ExpectItem::Version(version)) => {
            if version_of(store, &write.key).await? != Some(version) {
                return Err(Error::conflict(Subject::Item, &write.key, ""));
            }
            tokio::task::yield_now().await;
            write.expect = ExpectItem::Any;
        }
        (REPEATED_REFUSED, _) if version_of(store, &write.key).await? == Some(write.version) => {
            return Err(Error::exists(Subject::Item, &write.key, ""));
        }
        (CREATION_FORGOTTEN, ExpectItem::Any) => {
            ItemCall::Delete { key: write.key.clone(), version: None }.run(store).await?;
        }
        (FOR_EVER, _) => write.ttl = None,
        (LONG_KEYS_CUT, _) => write.key.key.truncate(1500),
        _ => {}
    }
    ItemCall::Put(write).run(store).await
}

async fn restore(store: &dyn CheckpointStore, items: Vec<Item>) -> Result<Outcome> {
    match ItemCall::Restore(items).run(store).await? {
        ItemReply::Restore(outcome) => Ok(outcome),
        reply => unreachable!("a restore was answered {reply:?}"),
    }
}

async fn restored(flaw: u8, store: &dyn CheckpointStore, mut items: Vec<Item>) -> Result<Outcome> {
    match flaw {
        RESTORED_ANEW => {
            for Item { key, value, ttl_us, stamp } in items {
                let ttl = ttl_us.map(|ttl_us| Duration::from_micros(ttl_us.unsigned_abs()));
                let write = ItemWrite { key, value, ttl, version: stamp.version, expect: ExpectItem::Any };
                ItemCall::Put(write).run(store).await?;
            }
            return Ok(Outcome::Applied);
        }
        RESTORED_ONE_BY_ONE => {
            let mut outcome = Outcome::Repeated;
            for item in items {
                if restore(store, vec![item]).await? == Outcome::Applied {
                    outcome = Outcome::Applied;
                }
            }
            return Ok(outcome);
        }
        RESTORE_OVERWRITES => {
            for item in &items {
                ItemCall::Delete { key: item.key.clone(), version: None }.run(store).await?;
            }
        }
        RESTORED_ONCE => {
            for item in &items {
                if version_of(store, &item.key).await?.is_some() {
                    return Err(Error::exists(Subject::Item, &item.key, ""));
                }
            }
        }
        RESTORES_WHAT_IS_OVER => items.iter_mut().for_each(|item| item.stamp.expires_at = None),
        RESTORES_ONE_OF_TWO => items.dedup_by(|one, other| one.key == other.key),
        _ => {}
    }
    restore(store, items).await
}

async fn searched(store: &dyn CheckpointStore, search: ItemSearch) -> Result<ItemPage> {
    match ItemCall::Search(search).run(store).await? {
        ItemReply::Search(page) => Ok(page),
        reply => unreachable!("a search was answered {reply:?}"),
    }
}

async fn found(flaw: u8, store: &dyn CheckpointStore, mut search: ItemSearch) -> Result<ItemPage> {
    let asked = search.clone();
    match flaw {
        BEGINNINGS_MATCH => {
            search.prefix.0.pop();
        }
        ONE_FILTER => search.filters.truncate(1),
        NEWEST_IGNORED => search.order = ItemOrder::Key,
        VECTOR_IGNORED => search.vector = None,
        PAGE_SKIPS_ONE => search.limit += 1,
        ALWAYS_REFRESHED => search.refresh = true,
        NEVER_REFRESHED => search.refresh = false,
        _ => {}
    }
    let mut page = searched(store, search).await?;
    match flaw {
        BEGINNINGS_MATCH => {
            let prefix = asked.prefix.to_string();
            page.items.retain(|item| item.key.namespace.to_string().starts_with(&prefix));
        }
        CASE_COUNTS => {
            let text = asked.text.unwrap_or_default();
            page.items.retain(|item| String::from_utf8_lossy(&item.value).contains(&text));
        }
        PAGE_SKIPS_ONE if page.items.len() > asked.limit as usize => {
            page.next = page.items.pop().map(|item| ItemCursor {
                namespace: item.key.namespace,
                key: item.key.key,
                updated_at: item.stamp.updated_at,
            });
        }
        _ => {}
    }
    Ok(page)
}

async fn cut(store: &dyn CheckpointStore, mut query: NamespaceQuery) -> Result<ItemReply> {
    let depth = query.depth_max.take();
    let ItemReply::Namespaces(mut page) = ItemCall::Namespaces(query).run(store).await? else {
        unreachable!("a listing was answered otherwise")
    };
    for namespace in &mut page.namespaces {
        namespace.0.truncate(depth.map_or(usize::MAX, |depth| depth as usize));
    }
    Ok(ItemReply::Namespaces(page))
}
