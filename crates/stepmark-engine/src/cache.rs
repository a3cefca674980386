//! When is a node's result used again without running the node?
//!
//! A result is kept under what it depends on: by default the payload and the whole state, or what the graph says. Another
//! task, on any thread, that comes to the same key is given it. A cache never fails a task: what cannot be kept or read is
//! made again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use stepmark_core::capability::{CacheKey, ResultCache};
use stepmark_core::checkpoint::MadeBy;
use stepmark_core::id::{TaskHash, hash16};
use stepmark_core::pending::{TaskEnd, TaskRecord, WriteBody, decode_flush, encode_flush};
use stepmark_core::store::CheckpointStore;
use stepmark_core::wire::Writer;

use crate::compile::Program;
use crate::encode::{self, Body};
use crate::flush::goto_entry;
use crate::handle::Destination;
use crate::load::{self, Chains};
use crate::node::{RawOutput, TaskContext};
use crate::node_error::NodeError;
use crate::run::Run;
use crate::schema::AnyState;
use crate::state::Keep;

/// A larger result is not kept.
const RESULT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// MessagePack's nil, which is what a node without a payload is given.
const NIL: &[u8] = &[0xc0];

/// How long results of a node may be used again, and by whom. See [`NodePolicy::cache`](crate::NodePolicy::cache).
pub struct Cache<S, P = ()> {
    ttl: Duration,
    key: Option<KeyOf<S, P>>,
}

type KeyOf<S, P> = Arc<dyn Fn(&S, &P) -> Result<Vec<u8>, NodeError> + Send + Sync>;
type ErasedKey = Arc<dyn Fn(&AnyState, &[u8]) -> Result<Vec<u8>, NodeError> + Send + Sync>;

impl<S, P> Cache<S, P> {
    /// For this long after it was made, a result is used by tasks that have the same payload and see the same state: all
    /// channels but those that are ephemeral or untracked.
    pub fn ttl(ttl: Duration) -> Self {
        Self { ttl, key: None }
    }

    /// Uses a result for tasks of which `key` says the same, whatever else they see. Without a payload `P` is `()`.
    #[must_use]
    pub fn key<K: Serialize>(mut self, key: impl Fn(&S, &P) -> K + Send + Sync + 'static) -> Self {
        self.key = Some(Arc::new(move |state, payload| Ok(encode::to_bytes(&key(state, payload))?)));
        self
    }
}

impl<S, P> fmt::Debug for Cache<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("ttl", &self.ttl).field("has_own_key", &self.key.is_some()).finish()
    }
}

/// A cache without its types.
#[derive(Clone)]
pub(crate) struct CacheSpec {
    ttl: Duration,
    key: Option<ErasedKey>,
}

impl CacheSpec {
    pub(crate) fn of<S: Send + Sync + 'static, P: DeserializeOwned + 'static>(cache: Cache<S, P>) -> Self {
        let erased = |key: KeyOf<S, P>| -> ErasedKey {
            Arc::new(move |state, payload| {
                let state = state.downcast_ref().ok_or_else(|| NodeError::new("the state is of another type"))?;
                key(state, &encode::from_bytes(payload)?)
            })
        };
        Self { ttl: cache.ttl, key: cache.key.map(erased) }
    }
}

impl fmt::Debug for CacheSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheSpec").field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

/// Where a task's result may be, and is to be kept.
pub(crate) struct CachePlace {
    store: Arc<dyn CheckpointStore>,
    program: Arc<Program>,
    node: u32,
}

impl CachePlace {
    /// Of a task whose run has a store.
    pub(crate) fn of(run: &Run, node: u32) -> Option<Self> {
        let is_stored = run.line.is_some() || run.inside.is_some();
        let store = run.host.store.as_ref().filter(|store| is_stored && store.cache().is_some())?;
        Some(Self { store: Arc::clone(store), program: Arc::clone(&run.host.program), node })
    }

    fn cache(&self) -> Option<&dyn ResultCache> {
        self.store.cache()
    }

    /// What the task's result is known by; an error where the graph's own key panics or cannot be encoded.
    pub(crate) fn key(&self, spec: &CacheSpec, context: &TaskContext) -> Result<CacheKey, NodeError> {
        let payload = context.payload.as_deref().unwrap_or(NIL);
        let mut writer = Writer::with_capacity(256);
        match &spec.key {
            Some(key) => writer.u8(1).bytes(&key(&context.state, payload)?),
            None => self.write_whole(writer.u8(0).bytes(payload), &context.state)?,
        };
        let (graph, node) = (&self.program.name, &self.program.nodes[self.node as usize].name);
        Ok(CacheKey { graph: graph.clone(), node: node.to_string(), hash: hash16(writer.as_slice()) })
    }

    fn write_whole<'w>(&self, writer: &'w mut Writer, state: &AnyState) -> Result<&'w mut Writer, NodeError> {
        let schema = &*self.program.schema;
        writer.varint(u64::from(schema.version()));
        for (channel, spec) in schema.channels().iter().enumerate() {
            if spec.keep == Keep::Stored {
                let mut body = Body::default();
                schema.encode_full(state, channel, &mut body)?;
                writer.str(spec.name).bytes(&body.bytes);
            }
        }
        Ok(writer)
    }

    /// The result that is kept under a key, if this program can read it.
    pub(crate) async fn look(&self, key: &CacheKey) -> Option<RawOutput> {
        let kept = self.cache()?.get(key).await.ok()??;
        let record = decode_flush(&kept).ok()?.pop()?;
        let finished = load::finished((&self.program, &[]), self.node, record, &Chains::none()).ok()??;
        Some(RawOutput { update: finished.update, goto: finished.goto })
    }

    /// A result as it is kept, if it can be.
    pub(crate) fn encoded(&self, output: &RawOutput) -> Option<Vec<u8>> {
        let kept = encode_flush(&[self.record(output)?]);
        (kept.len() <= RESULT_BYTES_MAX).then_some(kept)
    }

    /// Keeps a result.
    pub(crate) async fn keep(&self, spec: &CacheSpec, key: CacheKey, kept: Vec<u8>) {
        if let Some(cache) = self.cache() {
            // What is not kept is made again.
            let _ = cache.put(key, kept, spec.ttl).await;
        }
    }

    /// The result as a flush stores it, but with the writes that are never stored; `None` where it has no such form.
    fn record(&self, output: &RawOutput) -> Option<TaskRecord> {
        let schema = &*self.program.schema;
        let mut written = Vec::new();
        schema.writes(&output.update, &mut |channel, _| written.push(channel));
        let mut writes = Vec::with_capacity(written.len());
        for channel in written {
            let write = schema.encode_write(&output.update, channel).ok()?;
            writes.push((schema.channels()[channel].name.into(), WriteBody::Inline(write)));
        }
        let is_own = |to: &Destination| !matches!(to, Destination::Parent(_));
        let is_kept = output.goto.iter().all(|route| is_own(&route.to));
        let goto = output.goto.iter().filter(|_| is_kept);
        let goto = goto.map(|route| goto_entry((&self.program, &[]), route).ok()).collect::<Option<_>>()?;
        let end = TaskEnd::Done { made_by: MadeBy::Node, writes, goto };
        let (task, state_version) = (TaskHash([0; 16]), schema.version());
        is_kept.then_some(TaskRecord { task, state_version, attempts: 1, started_at: 0, duration_us: 0, end })
    }
}
