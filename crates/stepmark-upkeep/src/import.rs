//! How does a file become threads, and a thread one of another store?

use std::io::Read;

use async_trait::async_trait;
use stepmark_core::capability::{Carried, Only, Restore, Row, Rows};
use stepmark_core::error::{Error as StoreError, ErrorKind, Subject};
use stepmark_core::rows::ThreadRow;
use stepmark_core::store::{BlobCall, CheckpointStore, ThreadAddress};

use crate::error::{Error, Result};
use crate::file::{Assembly, FileReader};
use crate::frame::{Frame, Tally};
use crate::items::items_of;
use crate::send::{Counts, Moving, OnProgress, Part, Sink, rows_of, send};

/// Brings the threads and items of a file into a store. A thread appears when all of it is there, not before.
///
/// When the call returns, all threads of the file are there as they were. It may be repeated, after a crash or an error too:
/// what is there is kept, what lacks is added. Until a thread is published its name is taken and nobody finds it; it can be
/// given up with `delete_thread`.
///
/// Its attributes are set right after it is published, and those that its scope lacks are declared before. Whoever is killed
/// between leaves a thread without attributes; the import that is repeated adds those that lack, also to a thread that has
/// moved on since. So it is with the time when a thread may go; of two the later one stays.
///
/// # Errors
/// [`Error::Cut`], [`Error::Damaged`]: the file is not whole, and where; threads before that place are there.
/// [`Error::Store`]: `Exists`, where the store has a thread of that name, or the same thread otherwise; `Deleted`, where it
/// was deleted there. `Exists` (attribute): the store has declared one with another kind, or its thread another value of it,
/// which is kept; `Unsupported` (attribute): the store cannot search, and would lose it; nothing of such a thread
/// is written. `Exists` (item): the store has another write of it, which is kept; `Unsupported` (store): it keeps no items.
pub async fn import(
    input: &mut (dyn Read + Send),
    store: &dyn CheckpointStore,
    on_progress: OnProgress<'_>,
) -> Result<Counts> {
    receive(input, &mut Target::new(store)?, on_progress).await
}

/// Reads a file for somebody else, piece by piece.
pub(crate) async fn receive(
    input: &mut (dyn Read + Send),
    sink: &mut dyn Sink,
    on_progress: OnProgress<'_>,
) -> Result<Counts> {
    let mut file = FileReader::begin(input)?;
    let (mut counts, mut assembly, mut open) = (Counts::default(), Assembly::default(), None);
    loop {
        let frame = file.next()?;
        if !assembly.is_whole() && !matches!(frame, Frame::Blob { .. }) {
            return Err(file.damaged("a blob is not whole"));
        }
        match (frame, &mut open) {
            (Frame::Items(items), None) => {
                let namespace = items.last().map(|item| item.key.namespace.clone()).unwrap_or_default();
                counts.add_items(&items);
                sink.take(Part::Items(items)).await?;
                on_progress(Moving::Items(&namespace), &counts);
            }
            (Frame::Thread(thread, carried), None) => {
                sink.begin_thread(&thread, &carried).await?;
                open = Some((thread, Tally::default()));
            }
            (Frame::Blob { hash, length, part }, Some((_, tally))) => {
                if let Some(bytes) = assembly.add(hash, length, part).map_err(|reason| file.damaged(reason))? {
                    tally.blobs += 1;
                    counts.blobs += 1;
                    counts.bytes += bytes.len() as u64;
                    sink.take(Part::Blob(hash, bytes)).await?;
                }
            }
            (Frame::Rows(rows), Some((thread, tally))) => {
                tally.rows += rows.len() as u64;
                counts.rows += rows.len() as u64;
                counts.bytes += rows.iter().map(Row::bytes).sum::<usize>() as u64;
                sink.take(Part::Rows(rows)).await?;
                on_progress(Moving::Thread(thread), &counts);
            }
            (Frame::Whole(said), Some((_, found))) if said == *found => {
                sink.take(Part::Whole(said)).await?;
                counts.threads += 1;
                open = None;
            }
            (Frame::End(threads), None) if threads == counts.threads => return Ok(counts),
            _ => return Err(file.damaged("it does not fit what came before it")),
        }
    }
}

/// Copies threads into another store, with their identities: what [`export`](crate::export) writes and [`import`] reads,
/// without a file between. It may be repeated like an import.
///
/// Several processes may bring the same thread at once: what one of them published is never given up by another, and a thread
/// of up to a mebibyte is published as a whole, whoever began it. A larger one that moves while it is read is brought by one process at a time.
///
/// # Errors
/// Those of both.
pub async fn copy(
    from: &dyn CheckpointStore,
    to: &dyn CheckpointStore,
    threads: &[ThreadAddress],
    on_progress: OnProgress<'_>,
) -> Result<Counts> {
    send(from, threads, &mut Target::new(to)?, on_progress).await
}

/// A store that threads are brought into.
pub(crate) struct Target<'a> {
    store: &'a dyn CheckpointStore,
    rows: &'a dyn Rows,
    thread: Option<ThreadRow>,
    carried: Carried,
    brought: Brought,
}

/// What was brought of a thread, as long as it is no more than one unit takes. It is brought again in the unit that publishes
/// the thread: somebody else who brings the same one may have given up what was there, and have begun anew.
#[derive(Default)]
struct Brought {
    rows: Vec<Row>,
    bytes: usize,
}

impl Brought {
    fn add(&mut self, rows: &[Row]) {
        self.bytes += rows.iter().map(Row::bytes).sum::<usize>();
        if self.bytes <= UNIT_BYTES_MAX {
            self.rows.extend_from_slice(rows);
        } else {
            self.rows.clear();
        }
    }
}

/// How much one unit brings of a thread, about.
const UNIT_BYTES_MAX: usize = 1024 * 1024;

impl<'a> Target<'a> {
    pub(crate) fn new(store: &'a dyn CheckpointStore) -> Result<Self> {
        Ok(Self {
            store,
            rows: rows_of(store)?,
            thread: None,
            carried: Carried::default(),
            brought: Brought::default(),
        })
    }

    /// Shows the thread, and then says what is said of it.
    async fn publish(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.brought).rows;
        self.restore(rows, true).await?;
        if let Some(thread) = &self.thread {
            self.carried.set(self.store, thread.uid).await?;
        }
        Ok(())
    }

    async fn restore(&self, rows: Vec<Row>, publish: bool) -> Result<()> {
        let none = || StoreError::invalid(Subject::Thread, "", "rows come after their thread");
        let thread = self.thread.clone().ok_or_else(none)?;
        self.rows.restore(Restore { thread, rows, publish }).await?;
        Ok(())
    }
}

#[async_trait]
impl Sink for Target<'_> {
    async fn begin_thread(&mut self, thread: &ThreadRow, carried: &Carried) -> Result<()> {
        carried.declare(self.store, &thread.scope).await?;
        (self.thread, self.carried) = (Some(thread.clone()), carried.clone());
        self.brought = Brought::default();
        self.restore(Vec::new(), false).await?;
        // Who brought it here may have been killed before it was described, and it may have moved on since.
        carried.set(self.store, thread.uid).await?;
        Ok(())
    }

    async fn take(&mut self, part: Part) -> Result<()> {
        match part {
            Part::Blob(_, bytes) => {
                let scope = self.thread.as_ref().map(|thread| thread.scope.clone()).unwrap_or_default();
                self.store.blob(BlobCall::Put { scope, bytes }).await?;
                Ok(())
            }
            Part::Rows(rows) => {
                self.brought.add(&rows);
                self.restore(rows, false).await
            }
            Part::Whole(_) => self.publish().await,
            Part::Items(items) => {
                items_of(self.store)?.restore(items).await?;
                Ok(())
            }
        }
    }

    async fn take_back(&mut self) -> Result<bool> {
        let Some(thread) = self.thread.take() else { return Ok(false) };
        let Some(retention) = self.store.retention() else { return Ok(false) };
        // One that is found was there before, or somebody else who brings it was faster: it is not ours to delete.
        match retention.delete(thread.uid, Only::RESTORING).await {
            Ok(is_given_up) => Ok(is_given_up),
            Err(error) if error.is(ErrorKind::Missing, Subject::Thread) => Ok(true),
            Err(error) => Err(Error::Store(error)),
        }
    }

    async fn end(&mut self, _threads: u64) -> Result<()> {
        Ok(())
    }
}
