//! How do items move, which belong to no thread?
//!
//! Page by page, as they are stored. Each is as it was at some moment: nothing ties one to another.

use std::io::Write;

use stepmark_core::capability::{Item, Items, ItemsQuery, Namespace};
use stepmark_core::error::{Error as StoreError, Subject};
use stepmark_core::store::CheckpointStore;

use crate::error::Result;
use crate::file::FileWriter;
use crate::import::Target;
use crate::send::{Counts, Moving, OnProgress, Part, Sink, send_threads};
use crate::threads_of;

/// How many items are read, sent and restored at a time. Values are large at most, so a frame holds them all.
const PAGE_ITEMS: u32 = 32;

/// Which items move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemsBelow {
    /// Whose.
    pub scope: String,
    /// Those in this namespace and below it; without a label all of the scope.
    pub prefix: Namespace,
}

impl ItemsBelow {
    /// All items of a scope.
    pub fn all_of(scope: impl Into<String>) -> Self {
        Self { scope: scope.into(), prefix: Namespace::default() }
    }
}

/// Writes items to a file of their own, with their versions, times and ends, as they are stored: sealed ones stay sealed, and
/// no key is needed. Those whose time is over are left out. [`import`](crate::import) reads the file.
///
/// # Errors
/// [`Error::Store`](crate::Error::Store): `Unsupported` (store): it keeps no items. `Corrupt` (item): a damaged one.
pub async fn export_items(
    store: &dyn CheckpointStore,
    items: &ItemsBelow,
    out: &mut (dyn Write + Send),
    on_progress: OnProgress<'_>,
) -> Result<Counts> {
    let mut file = FileWriter::begin(out)?;
    let mut counts = Counts::default();
    send_items(items_of(store)?, items, &mut file, (&mut counts, on_progress)).await?;
    file.end(0).await?;
    Ok(counts)
}

/// Writes everything of a scope to one file: its items, if the store keeps any, and then all its threads, as
/// [`export`](crate::export) does.
///
/// # Errors
/// Those of [`export`](crate::export) and [`export_items`].
pub async fn export_all(
    store: &dyn CheckpointStore,
    scope: &str,
    out: &mut (dyn Write + Send),
    on_progress: OnProgress<'_>,
) -> Result<Counts> {
    send_all(store, scope, &mut FileWriter::begin(out)?, on_progress).await
}

/// Copies items into another store: what [`export_items`] writes and [`import`](crate::import) reads, without a file between.
///
/// # Errors
/// Those of both.
pub async fn copy_items(
    from: &dyn CheckpointStore,
    to: &dyn CheckpointStore,
    items: &ItemsBelow,
    on_progress: OnProgress<'_>,
) -> Result<Counts> {
    let (mut target, mut counts) = (Target::new(to)?, Counts::default());
    send_items(items_of(from)?, items, &mut target, (&mut counts, on_progress)).await?;
    Ok(counts)
}

/// Copies everything of a scope into another store: its items, if the store keeps any, and then all its threads, as
/// [`copy`](crate::copy) does. It may be repeated like an import.
///
/// # Errors
/// Those of [`copy`](crate::copy) and [`copy_items`].
pub async fn copy_all(
    from: &dyn CheckpointStore,
    to: &dyn CheckpointStore,
    scope: &str,
    on_progress: OnProgress<'_>,
) -> Result<Counts> {
    send_all(from, scope, &mut Target::new(to)?, on_progress).await
}

/// Items come first: a store that keeps none refuses them before it has anything.
async fn send_all(
    store: &dyn CheckpointStore,
    scope: &str,
    sink: &mut dyn Sink,
    on_progress: OnProgress<'_>,
) -> Result<Counts> {
    let mut counts = Counts::default();
    if let Some(items) = store.items() {
        send_items(items, &ItemsBelow::all_of(scope), sink, (&mut counts, &mut *on_progress)).await?;
    }
    let threads = threads_of(store, scope).await?;
    send_threads(store, &threads, sink, (counts, on_progress)).await
}

async fn send_items(
    items: &dyn Items,
    below: &ItemsBelow,
    sink: &mut dyn Sink,
    (counts, on_progress): (&mut Counts, OnProgress<'_>),
) -> Result<()> {
    let mut walk = ItemsWalk::new(below);
    while let Some(page) = walk.next_as_stored(items).await? {
        let page: Vec<Item> = page.into_iter().collect::<Result<_, StoreError>>()?;
        if let Some(last) = page.last() {
            let namespace = last.key.namespace.clone();
            counts.add_items(&page);
            sink.take(Part::Items(page)).await?;
            on_progress(Moving::Items(&namespace), counts);
        }
    }
    Ok(())
}

/// A walk over items as they are stored.
pub(crate) struct ItemsWalk {
    query: Option<ItemsQuery>,
}

impl ItemsWalk {
    pub(crate) fn new(below: &ItemsBelow) -> Self {
        let ItemsBelow { scope, prefix } = below.clone();
        Self { query: Some(ItemsQuery { scope, prefix, after: None, limit: PAGE_ITEMS }) }
    }

    /// The next page with its damaged items.
    pub(crate) async fn next_as_stored(&mut self, items: &dyn Items) -> Result<Option<Vec<Result<Item, StoreError>>>> {
        let Some(query) = self.query.take() else { return Ok(None) };
        let page = items.page(query.clone()).await?;
        self.query = page.next.map(|after| ItemsQuery { after: Some(after), ..query });
        Ok(Some(page.items))
    }
}

impl Counts {
    pub(crate) fn add_items(&mut self, items: &[Item]) {
        const COLUMNS: usize = 128;
        self.items += items.len() as u64;
        self.bytes += items.iter().map(|item| COLUMNS + item.value.len()).sum::<usize>() as u64;
    }
}

/// The items of a store.
pub(crate) fn items_of(store: &dyn CheckpointStore) -> Result<&dyn Items> {
    let none = || StoreError::unsupported(Subject::Store, "items", "this store keeps none");
    Ok(store.items().ok_or_else(none)?)
}
