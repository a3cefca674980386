//! How do threads become a file?

use std::io::Write;

use stepmark_core::store::{CheckpointStore, ThreadAddress, ThreadQuery};

use crate::error::Result;
use crate::file::FileWriter;
use crate::send::{Counts, OnProgress, send};

/// How many threads are listed at a time.
const PAGE_THREADS: u32 = 256;

/// Writes threads with all that belongs to them – history, branches, tags, pending rows, effects, graphs, blobs, attributes –
/// to one file, as `docs/format.md` draws it. Each is as it was at one moment, also where runs go on; the store is only read.
///
/// When the call returns, the file is whole. If it fails, or is dropped, what was written is no whole file, and
/// [`import`](crate::import) says so. Bytes are moved as they are stored: give it the store itself, not what opens or
/// compresses for it; no key is needed.
///
/// # Errors
/// [`Error::Store`](crate::Error::Store): an unknown thread, a damaged row (which it names: see `verify`),
/// or `Conflict` (thread), where one that takes many megabytes moved while it was read.
pub async fn export(
    store: &dyn CheckpointStore,
    threads: &[ThreadAddress],
    out: &mut (dyn Write + Send),
    on_progress: OnProgress<'_>,
) -> Result<Counts> {
    send(store, threads, &mut FileWriter::begin(out)?, on_progress).await
}

/// The addresses of all threads of a scope.
pub async fn threads_of(store: &dyn CheckpointStore, scope: &str) -> Result<Vec<ThreadAddress>> {
    let mut query = ThreadQuery { scope: scope.to_owned(), after: None, limit: PAGE_THREADS, waiting: false };
    let mut found = Vec::new();
    loop {
        let page = store.threads(query.clone()).await?;
        found.extend(page.threads.iter().map(|entry| ThreadAddress::Uid(entry.thread.uid)));
        match page.next {
            Some(after) => query.after = Some(after),
            None => return Ok(found),
        }
    }
}
