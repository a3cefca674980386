//! Do the bytes that `docs/format.md` shows of compressed and sealed records come out of a codec, and go in again? The
//! document and this file hold the same text.

use std::sync::Arc;

use stepmark_codec::{Codec, CodecStore, Key, KeyOwner, KeyProvider, KeyRing};
use stepmark_conformance::make::{self, Line};
use stepmark_core::capability::{CacheKey, Row, RowClass, RowsQuery};
use stepmark_core::checkpoint::{CheckpointRow, Manifest, Source};
use stepmark_core::error::Result;
use stepmark_core::id::{BranchId, CheckpointId, ClaimToken, RecordHash, RunId, ThreadUid};
use stepmark_core::memory::MemoryStore;
use stepmark_core::rows::{BranchRow, EffectsMode, ThreadRow, Tip};
use stepmark_core::store::{BlobCall, BlobUse, CheckpointStore, Commit, Expect};
use stepmark_core::value::{
    ListMark, NumberedValue, Structure, ValueAddress, ValueHead, ValueNode, ValueRow, encode_packed,
};

const THREAD: ThreadUid = ThreadUid([0x11; 16]);
const DOCUMENT: &str = include_str!("../../../docs/format.md");

/// Every owner has the same keys.
#[derive(Debug)]
struct Fixed;

#[async_trait::async_trait]
impl KeyProvider for Fixed {
    async fn keys(&self, _owner: KeyOwner) -> Result<KeyRing> {
        Ok(KeyRing::new(Key::new([0x1d; 32]), 1, Key::new([0x4e; 32])))
    }

    async fn make(&self, owner: KeyOwner) -> Result<KeyRing> {
        self.keys(owner).await
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// The document shows these bytes, with blanks wherever they help the eye.
fn check(name: &str, bytes: &[u8]) {
    let shown: String = DOCUMENT.chars().filter(|char| !char.is_whitespace()).collect();
    assert!(shown.contains(&hex(bytes)), "docs/format.md does not show the {name}: {}", hex(bytes));
}

fn branch() -> BranchId {
    BranchId::new(0xb1).expect("non-zero")
}

/// The thread of the examples: one checkpoint whose packed value is a list, and two value rows, one in a blob.
fn unit(blob: &[u8]) -> Commit {
    let tip = Tip { height: 0, id: CheckpointId::parse("c0").expect("an id") };
    let address = |ordinal| ValueAddress { branch: branch(), height: 0, ordinal };
    let list = Some(ListMark { length: 1, chain: Some([0xcc; 16]) });
    let node =
        ValueNode { head: ValueHead { list, ..ValueHead::new(Structure::Full, 1) }, body: vec![0x91, 0xa1, b'a'] };
    let mut manifest = Manifest::new(RunId::parse("r1").expect("an id"), 1);
    manifest.author = Some("ada".into());
    let row = CheckpointRow {
        branch: branch(),
        height: 0,
        id: tip.id.clone(),
        source: Source::Input,
        created_at: 1000,
        manifest: manifest.encode(1000),
        manifest_hash: RecordHash([0; 16]),
        packed: encode_packed(&[NumberedValue { ordinal: 0, node }]),
        packed_hash: RecordHash([0; 16]),
    };
    let claim = ClaimToken([0xcc; 16]);
    let branch = BranchRow {
        id: branch(),
        fork: None,
        tip: Some(tip),
        epoch: 1,
        claim,
        effects: EffectsMode::Ledger,
        root: None,
    };
    let mut commit = Commit::new(THREAD, Expect::New, branch);
    commit.new_thread = Some(ThreadRow {
        uid: THREAD,
        scope: String::new(),
        name: "t".into(),
        head: commit.branch.id,
        created_at: 1000,
    });
    commit.checkpoint = Some(row.sealed(THREAD, ""));
    let zeros = [&[0xc5, 0x10, 0x00][..], &[0; 4096]].concat();
    let hash = stepmark_core::id::BlobHash::of(blob);
    let in_blob = ValueHead { blob: Some((hash, blob.len() as u64)), ..ValueHead::new(Structure::Full, 1) };
    commit.values = vec![
        ValueRow { address: address(1), node: ValueNode { head: ValueHead::new(Structure::Full, 1), body: zeros } },
        ValueRow { address: address(2), node: ValueNode { head: in_blob, body: Vec::new() } },
    ];
    commit.blobs = vec![BlobUse { value: address(2), hash }];
    commit
}

async fn stored(codec: Codec) -> (CodecStore, Vec<Row>) {
    let store = codec.around(MemoryStore::new());
    let blob = vec![0xa1, b'b'];
    store.blob(BlobCall::Put { scope: String::new(), bytes: blob.clone() }).await.expect("it is kept");
    store.commit(unit(&blob)).await.expect("it is new");
    let mut rows = Vec::new();
    for class in [RowClass::Checkpoint, RowClass::Value] {
        let query = RowsQuery { thread: THREAD, class, after: None, limit: 9 };
        let page = store.inner().rows().expect("memory shows them").page(query).await.expect("a page");
        rows.extend(page.rows.into_iter().map(|row| row.expect("it is whole")));
    }
    (store, rows)
}

#[tokio::test]
async fn compressed_value_is_as_drawn() {
    let (_, rows) = stored(Codec::new().compressed()).await;
    let Row::Value { row, .. } = &rows[1] else { panic!("a value") };
    check("head of a compressed value", &row.node.head.encode());
    assert!(row.node.body.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]), "a zstd frame");
    let Row::Value { row, .. } = &rows[2] else { panic!("a value") };
    assert!(row.node.head.coding.is_plain(), "a small blob stays");
}

#[tokio::test]
async fn sealed_records_are_as_drawn() {
    let (store, rows) = stored(Codec::new().sealed(Fixed)).await;
    let Row::Checkpoint { row, .. } = &rows[0] else { panic!("a checkpoint") };
    check("sealed manifest", &row.manifest);
    check("sealed packed part", &row.packed);
    check("hash of a sealed manifest", &row.manifest_hash.0);
    let Row::Value { row, .. } = &rows[2] else { panic!("a value") };
    check("head of a value in a sealed blob", &row.node.head.encode());
    let get = BlobCall::Get { scope: String::new(), hash: row.node.head.blob.expect("a blob").0 };
    let stepmark_core::store::BlobReply::Bytes(bytes) = store.inner().blob(get).await.expect("it is there") else {
        panic!("bytes")
    };
    check("sealed blob", &bytes);
}

/// An effect's fingerprint and a run's input hash as they are stored, and the key of a kept result.
#[tokio::test]
async fn blinded_hashes_are_as_drawn() {
    let store = Codec::new().sealed(Fixed).around(MemoryStore::new());
    let shared: Arc<dyn CheckpointStore> = Arc::new(store.clone());
    let mut line = Line::unborn(&shared, "", "t");
    let mut run = line.run("r1", stepmark_core::rows::RunStatus::Open);
    run.input_hash = [0xee; 16];
    line.apply(line.birth().with_run(stepmark_core::store::RunWrite::Begin(run)).build()).await;
    let mut intent = make::intent("invoice 7", "");
    intent.fingerprint = [0xf1; 16];
    line.granted(&intent).await;
    for class in [RowClass::Run, RowClass::Effect] {
        let query = RowsQuery { thread: line.thread.uid, class, after: None, limit: 9 };
        let page = store.inner().rows().expect("memory shows them").page(query).await.expect("a page");
        match page.rows.into_iter().next().expect("a row").expect("it is whole") {
            Row::Run(row) => check("input hash", &row.input_hash),
            Row::Effect(entry) => check("fingerprint", &entry.row.fingerprint),
            other => panic!("asked for neither: {other:?}"),
        }
    }
    let cache = store.cache().expect("memory keeps results");
    let key = CacheKey { graph: "g".into(), node: "look".into(), hash: [0xee; 16] };
    cache.put(key.clone(), vec![1], std::time::Duration::from_mins(1)).await.expect("kept");
    assert_eq!(cache.get(&key).await.expect("it opens"), Some(vec![1]));
}
