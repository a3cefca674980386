//! How is a thread read at a place?
//!
//! Rows and heads of values are known from the log; which bodies are needed is told from them, and those that lie outside are
//! fetched together: first those of rows, then those of chains.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use stepmark_core::checkpoint::{CheckpointRow, Manifest, PackedPlace};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BlobHash, BranchId, RecordHash};
use stepmark_core::load::{check_checkpoint, check_hash, damaged, head_of, walk_chain, wanted_values};
use stepmark_core::rows::GraphRow;
use stepmark_core::store::{Chain, Channels, HistoryPage, HistoryQuery, Load, Loaded};
use stepmark_core::value::{ValueAddress, ValueNode, ValueRef, ValueRow, find_packed};

use crate::log::{Known, REQUESTS_MAX, Span, ThreadLog};
use crate::record::{BodyKey, is_outside, marked};

/// Reads a thread at a place.
pub(crate) async fn load(log: &Arc<ThreadLog>, load: &Load) -> Result<Loaded> {
    // The graph of a checkpoint's run needs the manifest, which may lie outside.
    let mut loaded = log.known().fold.load(&Load { graph: false, ..load.clone() })?;
    let reader = Reader { log, namespace: &load.namespace };
    let manifest = reader.fill_checkpoint(&mut loaded, load.channels != Channels::None).await?;
    reader.fill_pending(&mut loaded).await?;
    reader.fill_chains(&mut loaded, &load.channels, manifest.as_ref()).await?;
    if load.graph {
        loaded.graph = reader.graph(load, manifest.as_ref()).await?;
    }
    Ok(loaded)
}

/// One page of checkpoints.
pub(crate) async fn history(log: &Arc<ThreadLog>, query: &HistoryQuery) -> Result<HistoryPage> {
    let HistoryPage { entries, next } = log.known().fold.history(query)?;
    let reader = Reader { log, namespace: &query.namespace };
    let entries = entries.into_iter().map(|mut entry| {
        let reader = &reader;
        async move {
            reader.fill_manifest(&mut entry.checkpoint).await?;
            entry.checkpoint.packed.clear();
            Ok(entry)
        }
    });
    Ok(HistoryPage { entries: stream::iter(entries).buffered(REQUESTS_MAX).try_collect().await?, next })
}

/// Reads bodies of a namespace.
pub(crate) struct Reader<'a> {
    pub(crate) log: &'a Arc<ThreadLog>,
    pub(crate) namespace: &'a str,
}

/// What a node of a chain still lacks.
enum Lacks {
    Packed(PackedPlace),
    Value(RecordHash),
    Blob(BlobHash),
}

impl Reader<'_> {
    /// The bytes at a span.
    pub(crate) async fn body(&self, span: &Span) -> Result<Bytes> {
        let shared = &self.log.shared;
        let path = shared.paths.entry(self.log.uid, span.entry);
        let read = shared.bucket.get_range(&path, span.start..span.start + span.length).await;
        if let Ok(Some(bytes)) = &read
            && bytes.len() as u64 == span.length
        {
            return Ok(bytes.clone());
        }
        // Entries never change, but where a thread is deleted.
        self.log.catch_up().await?;
        if !self.log.is_there() {
            return Err(self.log.known().fold.missing());
        }
        read?;
        let place = crate::entry::entry_name(self.log.uid, span.entry);
        Err(Error::corrupt(Subject::Thread, place, "a body that a row names is gone"))
    }

    fn span(&self, key: &BodyKey) -> Option<Span> {
        self.log.known().bodies.get(key).cloned()
    }

    /// Brings a checkpoint's manifest, and compares its hash.
    pub(crate) async fn fill_manifest(&self, row: &mut CheckpointRow) -> Result<()> {
        if is_outside(&row.manifest) {
            let key = BodyKey::Manifest(self.namespace.to_owned(), row.branch, row.height);
            if let Some(span) = self.span(&key) {
                row.manifest = self.body(&span).await?.into();
            }
        }
        check_checkpoint(row, self.log.uid, self.namespace, false)
    }

    async fn fill_checkpoint(&self, loaded: &mut Loaded, packed: bool) -> Result<Option<Manifest>> {
        let Some(row) = &mut loaded.checkpoint else { return Ok(None) };
        self.fill_manifest(row).await?;
        if packed {
            row.packed = self.packed(row.branch, row.height).await?.into();
        } else {
            row.packed.clear();
        }
        head_of(row).map(Some)
    }

    /// The packed values of a checkpoint that is known to be there.
    async fn packed(&self, branch: BranchId, height: u64) -> Result<Bytes> {
        let gone = || {
            let place = format!("{branch} at height {height} (packed values)");
            Error::corrupt(Subject::Checkpoint, place, "a row names it but it is gone")
        };
        let row = self.log.known().fold.checkpoint_at(self.namespace, branch, height).cloned().ok_or_else(gone)?;
        let bytes = match self.span(&BodyKey::Packed(self.namespace.to_owned(), branch, height)) {
            Some(span) => self.body(&span).await?,
            None => row.packed.into(),
        };
        let hash = PackedPlace { branch, height }.hash_packed(self.log.uid, self.namespace, &bytes);
        check_hash(row.packed_hash, hash, Subject::Checkpoint, format!("{} (packed values)", row.id))?;
        Ok(bytes)
    }

    async fn fill_pending(&self, loaded: &mut Loaded) -> Result<()> {
        let lacking = loaded.pending.iter_mut().filter_map(|row| {
            let span = self.log.known().pending_body(marked(&row.body)?)?.clone();
            Some((row, span))
        });
        let fills = lacking.map(|(row, span)| async move {
            let stored = marked(&row.body).unwrap_or(RecordHash([0; 16]));
            row.body = self.body(&span).await?.into();
            let place = format!("{} lane {:016x} number {}", row.base, row.lane.0, row.ordinal);
            check_hash(stored, row.hash(self.log.uid, self.namespace), Subject::Pending, place)
        });
        stream::iter(fills.collect::<Vec<_>>()).buffer_unordered(REQUESTS_MAX).try_collect::<Vec<()>>().await?;
        Ok(())
    }

    async fn fill_chains(&self, loaded: &mut Loaded, channels: &Channels, manifest: Option<&Manifest>) -> Result<()> {
        let mut lacking = Vec::new();
        for newest in wanted_values(channels, manifest, &loaded.pending) {
            let known = self.log.known();
            let chain = walk_chain(newest, |place| {
                let (node, lacks) = known.node(self.namespace, place)?;
                lacking.push(lacks);
                Ok(node)
            })?;
            loaded.chains.push(chain);
        }
        let nodes = loaded.chains.iter_mut().flat_map(|chain: &mut Chain| &mut chain.nodes).zip(lacking);
        self.fill_nodes(nodes.filter_map(|(node, lacks)| Some((node, lacks?))).collect()).await
    }

    async fn fill_nodes(&self, lacking: Vec<(&mut (ValueAddress, ValueNode), Lacks)>) -> Result<()> {
        let mut packed: HashMap<PackedPlace, Bytes> = HashMap::new();
        for (_, lacks) in &lacking {
            if let Lacks::Packed(place) = lacks {
                packed.entry(*place).or_default();
            }
        }
        let reads = packed
            .into_keys()
            .map(|place| async move { Ok::<_, Error>((place, self.packed(place.branch, place.height).await?)) });
        let reads = stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(REQUESTS_MAX);
        let packed: HashMap<PackedPlace, Bytes> = reads.try_collect().await?;
        let packed = &packed;
        let fills = lacking.into_iter().map(|((address, node), lacks)| async move {
            node.body = match lacks {
                Lacks::Packed(place) => {
                    let found = packed.get(&place).map(|packed| find_packed(packed, address.ordinal)).transpose();
                    let found = found.map_err(|error| damaged(Subject::Value, *address, error))?.flatten();
                    found.ok_or_else(|| gone(*address))?.body
                }
                Lacks::Value(hash) => self.value_body(*address, node, hash).await?,
                Lacks::Blob(hash) => self.blob(hash).await?,
            };
            Ok::<_, Error>(())
        });
        stream::iter(fills.collect::<Vec<_>>()).buffer_unordered(REQUESTS_MAX).try_collect::<Vec<()>>().await?;
        Ok(())
    }

    pub(crate) async fn value_body(
        &self,
        address: ValueAddress,
        node: &ValueNode,
        stored: RecordHash,
    ) -> Result<Vec<u8>> {
        let span = self.span(&BodyKey::Value(self.namespace.to_owned(), address)).ok_or_else(|| gone(address))?;
        let body = self.body(&span).await?;
        let row = ValueRow { address, node: ValueNode { head: node.head, body: body.into() } };
        check_hash(stored, row.hash(self.log.uid, self.namespace), Subject::Value, address)?;
        Ok(row.node.body)
    }

    async fn blob(&self, hash: BlobHash) -> Result<Vec<u8>> {
        let scope = self.log.known().fold.thread().map(|row| row.scope.clone()).unwrap_or_default();
        let shared = &self.log.shared;
        let bytes = shared.blob(&scope, hash).await?;
        let bytes = bytes.ok_or_else(|| Error::corrupt(Subject::Blob, hash, "a value names it but it is gone"))?;
        check_blob(hash, &bytes)?;
        Ok(bytes.into())
    }

    /// The graph record of the run that was asked for, else of the checkpoint's run.
    async fn graph(&self, load: &Load, manifest: Option<&Manifest>) -> Result<Option<GraphRow>> {
        let run = load.run.as_ref().or(manifest.map(|manifest| &manifest.run));
        let run = run.and_then(|run| self.log.known().fold.run(run).cloned());
        let Some((name, signature)) = run.and_then(|run| Some((run.graph, run.graph_signature?))) else {
            return Ok(None);
        };
        let shared = &self.log.shared;
        let Some(object) = shared.bucket.get(&shared.paths.graph(&name, signature)).await? else { return Ok(None) };
        decode_graph(name, signature, &object).map(Some)
    }
}

impl Known {
    /// A value's node, and what it still lacks.
    fn node(&self, namespace: &str, place: ValueRef) -> Result<(ValueNode, Option<Lacks>)> {
        let ValueAddress { branch, height, ordinal } = place.address;
        let (node, lacks) = if place.packed {
            self.packed_node(namespace, PackedPlace { branch, height }, ordinal)?
        } else {
            let node = self.fold.value(namespace, place.address).cloned().ok_or_else(|| gone(place.address))?;
            let lacks = marked(&node.body).map(Lacks::Value);
            (node, lacks)
        };
        let blob = node.head.blob.map(|(hash, _)| Lacks::Blob(hash));
        Ok((node, blob.or(lacks)))
    }

    fn packed_node(&self, namespace: &str, place: PackedPlace, ordinal: u32) -> Result<(ValueNode, Option<Lacks>)> {
        let address = ValueAddress { branch: place.branch, height: place.height, ordinal };
        let key = BodyKey::Packed(namespace.to_owned(), place.branch, place.height);
        if let Some(span) = self.bodies.get(&key) {
            let head = span.heads.iter().find(|(here, _)| *here == ordinal).map(|(_, head)| *head);
            let node = ValueNode { head: head.ok_or_else(|| gone(address))?, body: Vec::new() };
            return Ok((node, Some(Lacks::Packed(place))));
        }
        let row = self.fold.checkpoint_at(namespace, place.branch, place.height).ok_or_else(|| gone(address))?;
        let found = find_packed(&row.packed, ordinal).map_err(|error| damaged(Subject::Value, address, error))?;
        Ok((found.ok_or_else(|| gone(address))?, None))
    }
}

fn gone(address: ValueAddress) -> Error {
    Error::corrupt(Subject::Value, address, "a row names it but it is gone")
}

/// Refuses bytes that are not those of the hash.
pub(crate) fn check_blob(hash: BlobHash, bytes: &[u8]) -> Result<()> {
    if BlobHash::of(bytes) == hash {
        return Ok(());
    }
    Err(Error::corrupt(Subject::Blob, hash, "stored bytes do not have their hash"))
}

/// The object of a graph record: the hash, then the record.
pub(crate) fn encode_graph(row: &GraphRow) -> Vec<u8> {
    [&row.hash().0[..], &row.record].concat()
}

pub(crate) fn decode_graph(name: String, signature: [u8; 16], object: &[u8]) -> Result<GraphRow> {
    let (stored, record) = object.split_at(object.len().min(size_of::<RecordHash>()));
    let row = GraphRow { name, signature, record: record.to_vec() };
    if stored != row.hash().0 {
        return Err(Error::corrupt(Subject::Graph, &row.name, "stored hash does not match the stored bytes"));
    }
    Ok(row)
}
