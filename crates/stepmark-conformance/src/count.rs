//! How many calls does a piece of work cost?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use stepmark_core::error::Result;
use stepmark_core::store::CheckpointStore;

use crate::call::{Call, CallKind, Intercept, Intercepted, Reply};

/// A store that counts its calls.
pub type CountingStore = Intercepted<Counts>;

/// Calls and refusals so far, by kind.
#[derive(Debug, Default)]
pub struct Counts {
    calls: [AtomicU64; CallKind::ALL.len()],
    refused: [AtomicU64; CallKind::ALL.len()],
}

impl CountingStore {
    /// Counts the calls of `store`.
    pub fn new(store: Arc<dyn CheckpointStore>) -> Self {
        Self::around(store, Counts::default())
    }

    /// How many calls of this kind were sent.
    pub fn calls(&self, kind: CallKind) -> u64 {
        self.intercept().calls[kind as usize].load(Ordering::Relaxed)
    }

    /// How many of them were answered with an error.
    pub fn refused(&self, kind: CallKind) -> u64 {
        self.intercept().refused[kind as usize].load(Ordering::Relaxed)
    }

    /// How many calls of all kinds were sent.
    pub fn total(&self) -> u64 {
        CallKind::ALL.into_iter().map(|kind| self.calls(kind)).sum()
    }
}

#[async_trait]
impl Intercept for Counts {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let kind = call.kind();
        self.calls[kind as usize].fetch_add(1, Ordering::Relaxed);
        let reply = call.run(store).await;
        if reply.is_err() {
            self.refused[kind as usize].fetch_add(1, Ordering::Relaxed);
        }
        reply
    }
}
