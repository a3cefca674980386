//! What does a backend bring to be tested?

use std::sync::Arc;

use async_trait::async_trait;
use stepmark_core::memory::MemoryStore;
use stepmark_core::store::CheckpointStore;
use tokio::sync::Mutex;

/// A place where stores of one backend can be made.
#[async_trait]
pub trait StoreEnv: Send + Sync {
    /// A store with nothing in it. Stores made before may stay open beside it.
    async fn fresh(&self) -> Arc<dyn CheckpointStore>;

    /// Another handle on what the newest fresh store holds, opened as a second process would open it.
    async fn reopen(&self) -> Arc<dyn CheckpointStore>;

    /// Flips one byte in every record of this kind that the newest fresh store holds, in the bytes that its hash
    /// covers. Answers whether it did; an environment that cannot reach the bytes answers `false`, and the suite that
    /// uses it skips `flipped_byte_is_named` with a reason.
    async fn corrupt(&self, record: Record) -> bool {
        let _ = record;
        false
    }
}

/// A kind of record that can be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// The thread's row.
    Thread,
    /// A branch's row.
    Branch,
    /// A checkpoint's manifest.
    Manifest,
    /// A checkpoint's packed values.
    Packed,
    /// A value's row.
    Value,
    /// A pending row.
    Pending,
    /// A run record.
    Run,
    /// A tag.
    Tag,
    /// A graph record.
    Graph,
    /// An entry of a ledger.
    Effect,
    /// An attempt at an effect.
    Attempt,
    /// Where a sub-graph stood.
    Child,
    /// A blob's bytes.
    Blob,
    /// An item's value.
    Item,
}

/// Memory stores, bare or wrapped.
pub struct MemoryEnv {
    wrap: Box<dyn Fn(MemoryStore) -> Arc<dyn CheckpointStore> + Send + Sync>,
    newest: Mutex<Option<Arc<dyn CheckpointStore>>>,
}

impl MemoryEnv {
    /// Bare memory stores.
    pub fn new() -> Self {
        Self::wrapped(|store| Arc::new(store))
    }

    /// Memory stores inside what `wrap` makes of them.
    pub fn wrapped(wrap: impl Fn(MemoryStore) -> Arc<dyn CheckpointStore> + Send + Sync + 'static) -> Self {
        Self { wrap: Box::new(wrap), newest: Mutex::default() }
    }
}

impl Default for MemoryEnv {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for MemoryEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryEnv")
    }
}

#[async_trait]
impl StoreEnv for MemoryEnv {
    async fn fresh(&self) -> Arc<dyn CheckpointStore> {
        let store = (self.wrap)(MemoryStore::new());
        *self.newest.lock().await = Some(Arc::clone(&store));
        store
    }

    async fn reopen(&self) -> Arc<dyn CheckpointStore> {
        self.newest.lock().await.clone().expect("fresh was called before")
    }
}
