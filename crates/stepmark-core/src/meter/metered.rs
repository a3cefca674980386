//! What goes through a store, and how does each call end?
#![deny(clippy::missing_trait_methods, reason = "a method that is not handed on would be a capability lost")]

use std::time::Instant;

use async_trait::async_trait;
use metrics::{counter, histogram};
use tracing::Instrument;

use super::{
    APPEND_SECONDS, BYTES_LOGICAL, BYTES_STORED, COMMIT_SECONDS, CONFLICTS, ERRORS, FENCED, LOAD_SECONDS, LOADS, span,
};
use crate::capability::{Items, ResultCache, Retention, Rows, Search, Secrets};
use crate::checkpoint::CheckpointRow;
use crate::effect::{EffectEnd, EffectOutcome, EffectWrite};
use crate::error::{ErrorKind, Result};
use crate::id::ThreadUid;
use crate::pending::PendingRow;
use crate::store::{
    Appended, BlobCall, BlobReply, CheckpointStore, Commit, HistoryPage, HistoryQuery, Info, Load, Loaded, Outcome,
    Records, ThreadPage, ThreadQuery,
};
use crate::value::ValueRow;

/// A store that tells what goes through it. Put it in front of everything else; a second one, behind a codec, tells how many
/// bytes are stored.
///
/// ```
/// use stepmark_core::memory::MemoryStore;
/// use stepmark_core::meter::Metered;
///
/// // With a codec: Metered::calls("memory", codec.around(Metered::stored_bytes("memory", MemoryStore::new())))
/// let store = Metered::calls("memory", Metered::stored_bytes("memory", MemoryStore::new()));
/// ```
#[derive(Clone, Debug)]
pub struct Metered<S> {
    store: S,
    backend: &'static str,
    bytes: &'static str,
    tells_calls: bool,
}

impl<S: CheckpointStore> Metered<S> {
    /// Tells of every call: how long it took, how it ended, how many bytes the application wrote; and opens a span around it,
    /// which names thread, branch and step, and no contents.
    pub fn calls(backend: &'static str, store: S) -> Self {
        Self { store, backend, bytes: BYTES_LOGICAL, tells_calls: true }
    }

    /// Tells how many bytes reach the store, and nothing else.
    pub fn stored_bytes(backend: &'static str, store: S) -> Self {
        Self { store, backend, bytes: BYTES_STORED, tells_calls: false }
    }

    fn wrote(&self, bytes: usize) {
        counter!(self.bytes, "backend" => self.backend).increment(bytes as u64);
    }

    /// Runs a call within a span, and tells how it ended.
    async fn told<T>(
        &self,
        seconds: Option<&'static str>,
        span: tracing::Span,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let begun = now();
        let answer = call.instrument(span.clone()).await;
        let end = end_of(&answer);
        span.record("end", end);
        if let Some(name) = seconds {
            histogram!(name, "backend" => self.backend, "end" => end).record(begun.elapsed().as_secs_f64());
        }
        let Err(error) = &answer else { return answer };
        match error.kind() {
            ErrorKind::Conflict => counter!(CONFLICTS, "backend" => self.backend).increment(1),
            ErrorKind::Fenced => counter!(FENCED, "backend" => self.backend).increment(1),
            _ => counter!(ERRORS, "backend" => self.backend, "end" => end).increment(1),
        }
        answer
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a call took is told, and decides nothing")]
fn now() -> Instant {
    Instant::now()
}

fn end_of<T>(answer: &Result<T>) -> &'static str {
    match answer.as_ref().map_err(crate::error::Error::kind) {
        Ok(_) => "done",
        Err(ErrorKind::Conflict) => "conflict",
        Err(ErrorKind::Fenced) => "fenced",
        Err(ErrorKind::Exists) => "exists",
        Err(ErrorKind::Missing) => "missing",
        Err(ErrorKind::Deleted) => "deleted",
        Err(ErrorKind::Corrupt) => "corrupt",
        Err(ErrorKind::Unavailable) => "unavailable",
        Err(ErrorKind::Unsupported) => "unsupported",
        Err(ErrorKind::Invalid) => "invalid",
    }
}

fn bytes_of<'a>(
    checkpoints: impl IntoIterator<Item = &'a CheckpointRow>,
    values: &[ValueRow],
    pending: &[PendingRow],
) -> usize {
    let rows: usize = checkpoints.into_iter().map(|row| row.manifest.len() + row.packed.len()).sum();
    let values: usize = values.iter().map(|row| row.node.body.len()).sum();
    rows + values + pending.iter().map(|row| row.body.len()).sum::<usize>()
}

fn bytes_of_effect(write: Option<&EffectWrite>) -> usize {
    match write {
        Some(EffectWrite::Outcome(EffectOutcome { end: EffectEnd::Done(result), .. })) => result.len(),
        Some(_) | None => 0,
    }
}

#[async_trait]
impl<S: CheckpointStore> CheckpointStore for Metered<S> {
    async fn commit(&self, commit: Commit) -> Result<Outcome> {
        let bytes = bytes_of(commit.root.iter().chain(&commit.checkpoint), &commit.values, &commit.pending);
        let answer = if self.tells_calls {
            let span = span::of_commit(self.backend, &commit);
            self.told(Some(COMMIT_SECONDS), span, self.store.commit(commit)).await
        } else {
            self.store.commit(commit).await
        };
        if let Ok(Outcome::Applied) = answer {
            self.wrote(bytes);
        }
        answer
    }

    async fn append(&self, append: Records) -> Result<Appended> {
        let bytes = bytes_of(None, &append.values, &append.pending) + bytes_of_effect(append.effect.as_ref());
        let answer = if self.tells_calls {
            let span = span::of_append(self.backend, &append);
            self.told(Some(APPEND_SECONDS), span, self.store.append(append)).await
        } else {
            self.store.append(append).await
        };
        if answer.is_ok() {
            self.wrote(bytes);
        }
        answer
    }

    async fn load(&self, load: Load) -> Result<Loaded> {
        if !self.tells_calls {
            return self.store.load(load).await;
        }
        counter!(LOADS, "backend" => self.backend).increment(1);
        let span = span::of_load(self.backend, &load);
        self.told(Some(LOAD_SECONDS), span, self.store.load(load)).await
    }

    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage> {
        if !self.tells_calls {
            return self.store.history(query).await;
        }
        self.told(None, span::of("history", self.backend), self.store.history(query)).await
    }

    async fn threads(&self, query: ThreadQuery) -> Result<ThreadPage> {
        if !self.tells_calls {
            return self.store.threads(query).await;
        }
        self.told(None, span::of("threads", self.backend), self.store.threads(query)).await
    }

    async fn blob(&self, call: BlobCall) -> Result<BlobReply> {
        let bytes = match &call {
            BlobCall::Put { bytes, .. } => bytes.len(),
            BlobCall::Get { .. } | BlobCall::Has { .. } => 0,
        };
        let answer = if self.tells_calls {
            self.told(None, span::of("blob", self.backend), self.store.blob(call)).await
        } else {
            self.store.blob(call).await
        };
        if answer.is_ok() && bytes > 0 {
            self.wrote(bytes);
        }
        answer
    }

    async fn delete_thread(&self, thread: ThreadUid) -> Result<()> {
        if !self.tells_calls {
            return self.store.delete_thread(thread).await;
        }
        self.told(None, span::of("delete_thread", self.backend), self.store.delete_thread(thread)).await
    }

    async fn info(&self) -> Result<Info> {
        self.store.info().await
    }

    /// What is asked of capabilities passes untold.
    fn cache(&self) -> Option<&dyn ResultCache> {
        self.store.cache()
    }

    fn rows(&self) -> Option<&dyn Rows> {
        self.store.rows()
    }

    fn items(&self) -> Option<&dyn Items> {
        self.store.items()
    }

    fn retention(&self) -> Option<&dyn Retention> {
        self.store.retention()
    }

    fn search(&self) -> Option<&dyn Search> {
        self.store.search()
    }

    fn secrets(&self) -> Option<&dyn Secrets> {
        self.store.secrets()
    }
}
