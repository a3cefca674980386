//! How do items that threads share get another key of the store?
//!
//! As threads do: page by page, into a store that does not have them. They keep their versions, times and ends.

use stepmark_core::capability::{Item, ItemsQuery};
use stepmark_core::error::Result;
use stepmark_core::store::Outcome;

use crate::place;
use crate::seal::{KeyOwner, Keys};
use crate::store::CodecStore;

/// How many items are read and written at once; their values may be large.
const ITEMS_AT_ONCE: u32 = 32;

/// Copies the items of a scope from behind one codec to behind another, sealed with the newest of its keys, and answers how
/// many there are. What is there with the same version is left as it is, so after a crash the call is repeated; a store that
/// keeps no items has none.
///
/// Nobody may write the items meanwhile. Those whose time is over are left behind.
///
/// # Errors
/// `Exists` (item): `to` has another write of it, which is kept. `Unsupported` (store): `to` keeps none. What opening an
/// item answers: a damaged one is named.
pub async fn recode_items(from: &CodecStore, to: &CodecStore, scope: &str) -> Result<u64> {
    let Some(source) = from.inner().items() else { return Ok(0) };
    let mut query = ItemsQuery { scope: scope.to_owned(), limit: ITEMS_AT_ONCE, ..ItemsQuery::default() };
    let mut recoded = 0;
    loop {
        let page = source.page(query.clone()).await?;
        if !page.items.is_empty() {
            let old = from.keys(KeyOwner::Store).await?;
            let new = to.made_keys(KeyOwner::Store).await?;
            let items = page.items.into_iter().map(|item| resealed((old.as_ref(), new.as_ref()), item?));
            let items: Vec<Item> = items.collect::<Result<_>>()?;
            recoded += items.len() as u64;
            match to.shared()?.restore(items).await? {
                Outcome::Applied | Outcome::Repeated => {}
            }
        }
        match page.next {
            Some(after) => query.after = Some(after),
            None => return Ok(recoded),
        }
    }
}

fn resealed((old, new): (Option<&Keys>, Option<&Keys>), item: Item) -> Result<Item> {
    let mut item = crate::items::opened(old, item)?;
    if let Some(keys) = new {
        item.value = keys.seal(&place::item(&item.key, item.stamp.version), &item.value)?;
    }
    Ok(item)
}
