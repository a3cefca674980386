//! How is a thread read for somebody else?
//!
//! Class by class and page by page. Nothing holds a thread still meanwhile, so what can move is read a second time: if it
//! has not moved, all that was read is of one moment, and if it has, the thread is taken back and read anew.

use std::collections::HashSet;

use async_trait::async_trait;
use stepmark_core::capability::{Carried, Item, Namespace, Row, RowClass, Rows, RowsQuery};
use stepmark_core::error::{Error as StoreError, Subject};
use stepmark_core::id::{BlobHash, ThreadUid, hash16};
use stepmark_core::rows::ThreadRow;
use stepmark_core::store::{BlobCall, BlobReply, CheckpointStore, Load, ThreadAddress};
use stepmark_core::wire::Writer;

use crate::error::Result;
use crate::frame::Tally;
use crate::row;

/// Rows read, sent and restored at a time.
const PAGE_ROWS: u32 = 64;

/// How often a thread that moves is read.
const READS_MAX: u32 = 16;

/// How many blobs are remembered as sent; one that is forgotten is sent again.
const BLOBS_REMEMBERED_MAX: usize = 65_536;

/// Classes whose rows move, or are added without a branch that moves with them.
const MOVING: [RowClass; 7] = [
    RowClass::Thread,
    RowClass::Branch,
    RowClass::Ref,
    RowClass::Run,
    RowClass::Tag,
    RowClass::Effect,
    RowClass::Pending,
];

/// A piece of a thread, or items that belong to none.
pub(crate) enum Part {
    /// A blob, before the rows that use it.
    Blob(BlobHash, Vec<u8>),
    /// Rows.
    Rows(Vec<Row>),
    /// There is no more.
    Whole(Tally),
    /// Items, outside of any thread.
    Items(Vec<Item>),
}

/// Who gets threads and items, piece by piece.
#[async_trait]
pub(crate) trait Sink: Send {
    async fn begin_thread(&mut self, thread: &ThreadRow, carried: &Carried) -> Result<()>;
    async fn take(&mut self, part: Part) -> Result<()>;
    /// Forgets the thread that began last; answers whether that was possible.
    async fn take_back(&mut self) -> Result<bool>;
    async fn end(&mut self, threads: u64) -> Result<()>;
}

/// How much was moved so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Threads that are whole.
    pub threads: u64,
    /// Rows, without those of threads.
    pub rows: u64,
    /// Blobs; one that several rows use may count more than once.
    pub blobs: u64,
    /// Items that threads share.
    pub items: u64,
    /// Bytes of rows and items, about, and of blobs.
    pub bytes: u64,
}

/// What is being moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moving<'a> {
    /// A thread.
    Thread(&'a ThreadRow),
    /// Items, up to some in this namespace.
    Items(&'a Namespace),
}

/// Who is told how much was moved, after each page.
pub type OnProgress<'a> = &'a mut (dyn FnMut(Moving<'_>, &Counts) + Send);

/// The rows of a store.
pub(crate) fn rows_of(store: &dyn CheckpointStore) -> Result<&dyn Rows> {
    let none = || StoreError::unsupported(Subject::Store, "rows", "this store offers none");
    Ok(store.rows().ok_or_else(none)?)
}

/// Sends threads, one after another.
pub(crate) async fn send(
    store: &dyn CheckpointStore,
    threads: &[ThreadAddress],
    sink: &mut dyn Sink,
    on_progress: OnProgress<'_>,
) -> Result<Counts> {
    send_threads(store, threads, sink, (Counts::default(), on_progress)).await
}

/// The same, behind what was sent before.
pub(crate) async fn send_threads(
    store: &dyn CheckpointStore,
    threads: &[ThreadAddress],
    sink: &mut dyn Sink,
    (mut counts, on_progress): (Counts, OnProgress<'_>),
) -> Result<Counts> {
    let source = Source { store, rows: rows_of(store)? };
    for address in threads {
        let uid = match address {
            ThreadAddress::Uid(uid) => *uid,
            ThreadAddress::Name { .. } => store.load(Load::head(address.clone())).await?.thread.uid,
        };
        counts = source.send_still(uid, sink, (counts, &mut *on_progress)).await?;
        counts.threads += 1;
    }
    sink.end(counts.threads).await?;
    Ok(counts)
}

#[derive(Clone, Copy)]
struct Source<'a> {
    store: &'a dyn CheckpointStore,
    rows: &'a dyn Rows,
}

impl Source<'_> {
    /// Sends a thread as it was at one moment.
    async fn send_still(
        self,
        uid: ThreadUid,
        sink: &mut dyn Sink,
        (before, on_progress): (Counts, OnProgress<'_>),
    ) -> Result<Counts> {
        for _ in 0..READS_MAX {
            let (counts, read) = self.send_once(uid, sink, (before, &mut *on_progress)).await?;
            let mut again = Digest::of(Carried::of(self.store, uid).await?);
            for class in MOVING {
                let mut walk = Walk::new(uid, class);
                while let Some(page) = walk.next(self.rows).await? {
                    for row in &page {
                        again.add(row, uid);
                    }
                }
            }
            if again == read {
                let tally = Tally { rows: counts.rows - before.rows, blobs: counts.blobs - before.blobs };
                sink.take(Part::Whole(tally)).await?;
                return Ok(counts);
            }
            if !sink.take_back().await? {
                break;
            }
        }
        let reason = "it moved while it was read; try again when fewer runs work on it";
        Err(StoreError::conflict(Subject::Thread, uid, reason).into())
    }

    /// Sends what is read of a thread, with a digest of what may move meanwhile.
    async fn send_once(
        self,
        uid: ThreadUid,
        sink: &mut dyn Sink,
        (mut counts, on_progress): (Counts, OnProgress<'_>),
    ) -> Result<(Counts, Digest)> {
        let mut digest = Digest::of(Carried::of(self.store, uid).await?);
        let thread = thread_row(self.rows, uid).await?;
        digest.add(&Row::Thread(thread.clone()), uid);
        sink.begin_thread(&thread, &digest.carried).await?;
        let mut sent = HashSet::new();
        for class in RowClass::ALL.into_iter().filter(|class| *class != RowClass::Thread) {
            let mut walk = Walk::new(uid, class);
            while let Some(page) = walk.next(self.rows).await? {
                for row in &page {
                    if MOVING.contains(&class) {
                        digest.add(row, uid);
                    }
                    self.send_blobs(row, &thread.scope, sink, (&mut sent, &mut counts)).await?;
                    counts.rows += 1;
                    counts.bytes += row.bytes() as u64;
                }
                if !page.is_empty() {
                    sink.take(Part::Rows(page)).await?;
                    on_progress(Moving::Thread(&thread), &counts);
                }
            }
        }
        Ok((counts, digest))
    }

    async fn send_blobs(
        self,
        row: &Row,
        scope: &str,
        sink: &mut dyn Sink,
        (sent, counts): (&mut HashSet<BlobHash>, &mut Counts),
    ) -> Result<()> {
        for used in row.blobs()? {
            if sent.len() >= BLOBS_REMEMBERED_MAX {
                sent.clear();
            }
            if sent.insert(used.hash) {
                let get = BlobCall::Get { scope: scope.to_owned(), hash: used.hash };
                let BlobReply::Bytes(bytes) = self.store.blob(get).await? else {
                    return Err(StoreError::corrupt(Subject::Blob, used.hash, "asked for bytes, got none").into());
                };
                counts.blobs += 1;
                counts.bytes += bytes.len() as u64;
                sink.take(Part::Blob(used.hash, bytes)).await?;
            }
        }
        Ok(())
    }
}

/// The row of a thread.
pub(crate) async fn thread_row(rows: &dyn Rows, uid: ThreadUid) -> Result<ThreadRow> {
    let page = rows.page(RowsQuery { thread: uid, class: RowClass::Thread, after: None, limit: 1 }).await?;
    match page.rows.into_iter().next().transpose()? {
        Some(Row::Thread(row)) => Ok(row),
        _ => Err(StoreError::missing(Subject::Thread, uid, "").into()),
    }
}

/// A walk over the undamaged rows of a class.
pub(crate) struct Walk {
    query: Option<RowsQuery>,
}

impl Walk {
    pub(crate) fn new(thread: ThreadUid, class: RowClass) -> Self {
        Self { query: Some(RowsQuery { thread, class, after: None, limit: PAGE_ROWS }) }
    }

    /// The next page; a damaged row is an error.
    pub(crate) async fn next(&mut self, rows: &dyn Rows) -> Result<Option<Vec<Row>>> {
        match self.next_as_stored(rows).await? {
            Some(page) => Ok(Some(page.into_iter().collect::<Result<_, StoreError>>()?)),
            None => Ok(None),
        }
    }

    /// The next page with its damaged rows.
    pub(crate) async fn next_as_stored(&mut self, rows: &dyn Rows) -> Result<Option<Vec<Result<Row, StoreError>>>> {
        let Some(query) = self.query.take() else { return Ok(None) };
        let page = rows.page(query.clone()).await?;
        self.query = page.next.map(|after| RowsQuery { after: Some(after), ..query });
        Ok(Some(page.rows))
    }
}

/// What is said of a thread, and what its rows were, in their order.
#[derive(Debug, PartialEq)]
struct Digest {
    carried: Carried,
    rows: [u8; 16],
}

impl Digest {
    fn of(carried: Carried) -> Self {
        Self { carried, rows: [0; 16] }
    }

    fn add(&mut self, each: &Row, thread: ThreadUid) {
        let mut writer = Writer::new();
        row::write(each, thread, writer.raw(&self.rows));
        self.rows = hash16(writer.as_slice());
    }
}
