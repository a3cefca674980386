//! Is a record refused that is not where it was sealed, not as it was sealed, or not sealed at all?
//!
//! Who does this here can write to the store and knows its format, so every hash fits what it covers. What he has not is
//! the key.

mod common;

use std::sync::Arc;

use stepmark_codec::{Codec, CodecStore, Key, MasterKeys};
use stepmark_conformance::make::{Line, appended, blob_node, full, intent};
use stepmark_core::capability::{Restore, Row, RowClass, Rows, RowsQuery};
use stepmark_core::checkpoint::{CheckpointRow, Manifest};
use stepmark_core::coding::{Coding, ManifestParts, Seal, join_manifest};
use stepmark_core::error::{Error, ErrorKind, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::memory::MemoryStore;
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::store::{BlobCall, BlobReply, CheckpointStore, Line as Walk, Load, Loaded, Place};
use stepmark_core::value::{Structure, ValueRow, decode_packed, encode_packed};

use common::{both, sealing};

/// A thread with two of each kind of record that is sealed, and what its store keeps of it.
struct Sealed {
    codec: Codec,
    store: CodecStore,
    line: Line,
    side: Line,
    rows: Vec<Row>,
}

impl Sealed {
    async fn new(codec: Codec) -> Self {
        let store = codec.clone().around(MemoryStore::new());
        let shared: Arc<dyn CheckpointStore> = Arc::new(store.clone());
        let mut line = Line::unborn(&shared, "", "t");
        line.apply(line.birth().named("main").packed("list", full(&["a", "b"])).build()).await;
        for round in 0..2 {
            let (node, bytes) = blob_node(&format!("a blob of round {round}"));
            store.blob(BlobCall::Put { scope: String::new(), bytes }).await.expect("it waits");
            let draft = line.next().stored("row", full(&format!("round {round}"))).stored("blob", node);
            line.apply(draft.packed("list", full(&["c", "d"])).build()).await;
        }
        let list = line.next().packed("list", full(&["e", "f"]));
        let base = list.value("list");
        line.apply(list.build()).await;
        line.apply(line.next().stored("list", appended(base, 2, &["g"])).build()).await;
        line.does(&intent("pay", "ten"), "receipt").await;
        line.does(&intent("send", "letter"), "stamp").await;
        for number in 0..2 {
            store.append(line.flush(number, "pending")).await.expect("the owner flushes");
            let question = line.ask(number, "really?").await;
            store.append(line.answer(&question, "yes")).await.expect("anybody answers");
        }
        let side = line.forked(Some("side")).await;
        let rows = rows_of(&store, line.thread.uid).await;
        Self { codec, store, line, side, rows }
    }

    /// What a reader is told of the same thread with other rows.
    async fn read(&self, rows: Vec<Row>) -> Result<Vec<Loaded>, Error> {
        let raw = MemoryStore::new();
        for used in rows.iter().flat_map(|row| row.blobs().expect("heads read")) {
            let get = BlobCall::Get { scope: String::new(), hash: used.hash };
            let BlobReply::Bytes(bytes) = self.store.inner().blob(get).await.expect("it is there") else { panic!() };
            raw.blob(BlobCall::Put { scope: String::new(), bytes }).await.expect("it is kept");
        }
        let restore = Restore { thread: self.line.thread.clone(), rows, publish: true };
        raw.restore(restore).await.expect("every hash fits");
        let store = self.codec.clone().around(raw);
        let mut loads = Vec::new();
        for line in [&self.line, &self.side] {
            loads.push(store.load(Load { effects: true, ..line.whole() }).await?);
        }
        for entry in store.history(self.line.walk(Walk::All { before: None }, 50)).await?.entries {
            let place = Place::Checkpoint(entry.checkpoint.id);
            store.load(Load { pending: false, ..self.line.at(place) }).await?;
        }
        Ok(loads)
    }

    /// What he is told after `tamper` changed the rows.
    async fn refusal(&self, tamper: impl FnOnce(&mut Vec<Row>)) -> Error {
        let mut rows = self.rows.clone();
        tamper(&mut rows);
        assert_ne!(rows, self.rows, "nothing was changed");
        self.read(rows).await.expect_err("it was changed, and reads")
    }

    async fn assert_refused(&self, subject: Subject, tamper: impl FnOnce(&mut Vec<Row>)) {
        let refusal = self.refusal(tamper).await;
        assert!(refusal.is(ErrorKind::Corrupt, subject) && !refusal.id().is_empty(), "{subject}: {refusal:?}");
    }
}

async fn rows_of(store: &CodecStore, thread: ThreadUid) -> Vec<Row> {
    let rows: &dyn Rows = store.inner().rows().expect("memory shows them");
    let mut all = Vec::new();
    for class in RowClass::ALL.into_iter().skip(1) {
        let query = RowsQuery { thread, class, after: None, limit: 1000 };
        all.extend(rows.page(query).await.expect("a page").rows.into_iter().map(|row| row.expect("it is whole")));
    }
    all
}

fn values(rows: &mut [Row]) -> Vec<&mut ValueRow> {
    rows.iter_mut().filter_map(|row| if let Row::Value { row, .. } = row { Some(row) } else { None }).collect()
}

/// Those whose bodies do, or do not, lie in blobs.
fn values_in(rows: &mut [Row], blobs: bool) -> Vec<&mut ValueRow> {
    values(rows).into_iter().filter(|row| row.node.head.blob.is_some() == blobs).collect()
}

fn checkpoints(rows: &mut [Row]) -> Vec<&mut CheckpointRow> {
    rows.iter_mut().filter_map(|row| if let Row::Checkpoint { row, .. } = row { Some(row) } else { None }).collect()
}

fn pending(rows: &mut [Row], kind: PendingKind, lane: u64) -> Vec<&mut PendingRow> {
    let of_kind = |row: &&mut PendingRow| row.kind == kind && row.lane.0 == lane;
    let found = rows.iter_mut().filter_map(|row| if let Row::Pending { row, .. } = row { Some(row) } else { None });
    found.filter(of_kind).collect()
}

/// Exchanges what two things hold.
fn swap<T, B>(mut pair: Vec<&mut T>, body: impl Fn(&mut T) -> &mut B) {
    let [first, second, ..] = &mut pair[..] else { panic!("there are two") };
    std::mem::swap(body(first), body(second));
}

/// Changes a manifest and makes its hashes fit.
fn rewrite(thread: ThreadUid, row: &mut CheckpointRow, change: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>)) {
    let parts = ManifestParts::of(&row.manifest).expect("two parts");
    let (mut head, mut rest) = (parts.head.to_vec(), parts.rest.to_vec());
    change(&mut head, &mut rest);
    row.manifest = join_manifest(&head, &rest);
    *row = row.clone().sealed(thread, "");
}

#[tokio::test]
async fn untouched_rows_read_as_before() {
    for codec in [sealing(), both()] {
        let sealed = Sealed::new(codec).await;
        let loads = sealed.read(sealed.rows.clone()).await.expect("it reads");
        let before = Load { effects: true, ..sealed.line.whole() };
        assert_eq!(loads[0].chains, sealed.store.load(before).await.expect("it loads").chains);
        assert_eq!(loads[0].pending.len(), 6);
    }
}

#[tokio::test]
async fn swapped_values_are_refused() {
    let sealed = Sealed::new(sealing()).await;
    sealed.assert_refused(Subject::Value, |rows| swap(values_in(rows, false), |row| &mut row.node.body)).await;
    sealed.assert_refused(Subject::Value, |rows| swap(values_in(rows, false), |row| &mut row.node)).await;
    // The blobs of two values, each with the mark of the other.
    sealed.assert_refused(Subject::Value, |rows| swap(values_in(rows, true), |row| &mut row.node)).await;
    sealed.assert_refused(Subject::Value, |rows| swap(values_in(rows, true), |row| &mut row.node.head.blob)).await;
}

#[tokio::test]
async fn swapped_packed_values_are_refused() {
    let sealed = Sealed::new(sealing()).await;
    let uid = sealed.line.thread.uid;
    sealed
        .assert_refused(Subject::Value, |rows| {
            let mut rows = checkpoints(rows);
            let read = |row: &CheckpointRow| decode_packed(&row.packed).expect("it reads");
            let (mut older, mut newer) = (read(rows[2]), read(rows[3]));
            std::mem::swap(&mut older[0].node, &mut newer[0].node);
            for (row, nodes) in [(2, older), (3, newer)] {
                rows[row].packed = encode_packed(&nodes);
                *rows[row] = rows[row].clone().sealed(uid, "");
            }
        })
        .await;
}

#[tokio::test]
async fn changed_manifests_are_refused() {
    let sealed = Sealed::new(sealing()).await;
    let uid = sealed.line.thread.uid;
    // Payloads, author and metadata of another checkpoint.
    sealed
        .assert_refused(Subject::Checkpoint, |rows| {
            let mut rows = checkpoints(rows);
            let other = ManifestParts::of(&rows[1].manifest).expect("two parts").rest.to_vec();
            rewrite(uid, rows[2], |_, rest| *rest = other);
        })
        .await;
    // The whole manifest of another checkpoint, which names older values.
    sealed
        .assert_refused(Subject::Checkpoint, |rows| {
            let mut rows = checkpoints(rows);
            rows[3].manifest = rows[2].manifest.clone();
            *rows[3] = rows[3].clone().sealed(uid, "");
        })
        .await;
    // One number of the plain head, and one column.
    sealed
        .assert_refused(Subject::Checkpoint, |rows| {
            let last = checkpoints(rows).pop().expect("the tip");
            let mut manifest = Manifest::decode_head(&last.manifest, last.created_at).expect("a head");
            manifest.state_version += 1;
            let changed = manifest.encode(last.created_at);
            let changed = ManifestParts::of(&changed).expect("two parts").head_as(true);
            rewrite(uid, last, |head, _| *head = changed);
        })
        .await;
    sealed
        .assert_refused(Subject::Checkpoint, |rows| {
            let last = checkpoints(rows).pop().expect("the tip");
            last.created_at += 1;
            *last = last.clone().sealed(uid, "");
        })
        .await;
}

#[tokio::test]
async fn changed_heads_are_refused() {
    let sealed = Sealed::new(sealing()).await;
    sealed
        .assert_refused(Subject::Value, |rows| {
            let list = |row: &&mut ValueRow| matches!(row.node.head.structure, Structure::List { .. });
            let row = values(rows).into_iter().find(list).expect("a list");
            if let Structure::List { keep, .. } = &mut row.node.head.structure {
                *keep -= 1;
            }
        })
        .await;
    sealed.assert_refused(Subject::Value, |rows| values_in(rows, true)[0].node.head.state_version += 1).await;
}

#[tokio::test]
async fn swapped_pending_rows_are_refused() {
    let sealed = Sealed::new(sealing()).await;
    let lane = sealed.line.branch.id.lane().0;
    for kind in [PendingKind::Results, PendingKind::Interrupt, PendingKind::Answer] {
        sealed.assert_refused(Subject::Pending, |rows| swap(pending(rows, kind, lane), |row| &mut row.body)).await;
    }
    // Results as they were at an earlier checkpoint of the thread, or of other tasks.
    sealed
        .assert_refused(Subject::Pending, |rows| {
            let mut rows = pending(rows, PendingKind::Results, lane);
            rows[0].ordinal = 7;
        })
        .await;
}

/// A fork copies results and questions byte by byte into its lane; an answer is that of one branch.
#[tokio::test]
async fn answers_do_not_move_to_other_branches_but_questions_do() {
    let sealed = Sealed::new(sealing()).await;
    let (lane, other) = (sealed.line.branch.id.lane(), sealed.side.branch.id.lane());
    let copies = |kind: PendingKind| {
        let mut rows = sealed.rows.clone();
        let found: Vec<PendingRow> =
            pending(&mut rows, kind, lane.0).into_iter().map(|row| row.in_lane(other)).collect();
        rows.extend(found.into_iter().map(|row| Row::Pending { namespace: String::new(), row }));
        rows
    };
    for kind in [PendingKind::Results, PendingKind::Interrupt] {
        let loads = sealed.read(copies(kind)).await.expect("they open");
        assert_eq!(loads[1].pending.len(), 2);
    }
    let refusal = sealed.read(copies(PendingKind::Answer)).await.expect_err("it is another branch's");
    assert!(refusal.is(ErrorKind::Corrupt, Subject::Pending), "{refusal:?}");
}

#[tokio::test]
async fn swapped_results_of_effects_are_refused() {
    let sealed = Sealed::new(sealing()).await;
    sealed
        .assert_refused(Subject::Effect, |rows| {
            let effects = rows.iter_mut().filter_map(|row| if let Row::Effect(row) = row { Some(row) } else { None });
            swap(effects.collect(), |entry| &mut entry.row.result);
        })
        .await;
}

/// What another thread holds is not taken for this one's, also under the same address and with the same key provider.
#[tokio::test]
async fn records_of_another_thread_are_refused() {
    let (sealed, other) = (Sealed::new(sealing()).await, Sealed::new(sealing()).await);
    let mut foreign = other.rows.clone();
    let theirs: Vec<Vec<u8>> = values_in(&mut foreign, false).into_iter().map(|row| row.node.body.clone()).collect();
    sealed
        .assert_refused(Subject::Key, |rows| {
            for (row, body) in values_in(rows, false).into_iter().zip(theirs) {
                row.node.body = body;
            }
        })
        .await;
}

/// Records from before the store was sealed, or from who has no key, are refused, whatever they hold.
#[tokio::test]
async fn plaintext_records_are_refused() {
    let sealed = Sealed::new(sealing()).await;
    let (uid, lane) = (sealed.line.thread.uid, sealed.line.branch.id.lane().0);
    sealed
        .assert_refused(Subject::Value, |rows| {
            let row = &mut values_in(rows, false)[0].node;
            (row.head.coding, row.body) = (Coding::default(), full(&"forged").body);
        })
        .await;
    sealed
        .assert_refused(Subject::Value, |rows| {
            let head = &mut values_in(rows, true)[0].node.head;
            head.coding.seal = Seal::Open;
        })
        .await;
    sealed
        .assert_refused(Subject::Checkpoint, |rows| {
            let last = checkpoints(rows).pop().expect("the tip");
            rewrite(uid, last, |head, rest| {
                head[0] &= 0x7f;
                *rest = vec![0, 0];
            });
        })
        .await;
    for kind in [PendingKind::Results, PendingKind::Interrupt, PendingKind::Answer] {
        let plain = sealed.line.pending(0, "forged").body;
        sealed.assert_refused(Subject::Pending, |rows| pending(rows, kind, lane)[0].body = plain).await;
    }
    sealed
        .assert_refused(Subject::Effect, |rows| {
            let effect = rows.iter_mut().find_map(|row| if let Row::Effect(row) = row { Some(row) } else { None });
            effect.expect("an effect").row.result = Some(full(&"forged").body);
        })
        .await;
}

/// A thread that was never sealed is not read through a codec that seals, nor a sealed one without keys.
#[tokio::test]
async fn sealed_and_plain_threads_are_not_taken_for_each_other() {
    let plain = Sealed::new(Codec::new()).await;
    let guarded = Sealed { codec: sealing(), ..Sealed::new(Codec::new()).await };
    let refusal = guarded.read(guarded.rows.clone()).await.expect_err("it is plain");
    assert!(refusal.kind() == ErrorKind::Corrupt && refusal.to_string().contains("not sealed"), "{refusal}");
    plain.read(plain.rows.clone()).await.expect("without keys it reads");
    let open = Sealed { codec: Codec::new().compressed(), ..Sealed::new(both()).await };
    let refusal = open.read(open.rows.clone()).await.expect_err("it is sealed");
    assert!(refusal.kind() == ErrorKind::Unsupported && refusal.to_string().contains("keys"), "{refusal}");
}

/// Every byte of every sealed body is covered.
#[tokio::test]
async fn flipped_bytes_are_refused_and_named() {
    let sealed = Sealed::new(both()).await;
    let body = values_in(&mut sealed.rows.clone(), false)[0].node.body.clone();
    for index in 0..body.len() {
        let refusal = sealed.refusal(|rows| values_in(rows, false)[0].node.body[index] ^= 1).await;
        let named = matches!(refusal.subject(), Subject::Value | Subject::Key);
        assert!(named && refusal.kind() != ErrorKind::Invalid, "byte {index}: {refusal:?}");
        assert!(refusal.to_string().contains("value"), "byte {index}: {refusal}");
    }
    let lane = sealed.line.branch.id.lane().0;
    let body = pending(&mut sealed.rows.clone(), PendingKind::Answer, lane)[0].body.clone();
    for index in 0..body.len() {
        let refusal = sealed.refusal(|rows| pending(rows, PendingKind::Answer, lane)[0].body[index] ^= 0x80).await;
        assert!(refusal.to_string().contains("pending row"), "byte {index}: {refusal}");
    }
}

/// Equal contents at two places, and the same hash of two things, have nothing in common in the store.
#[tokio::test]
async fn equal_contents_are_not_seen() {
    let sealed = Sealed::new(sealing()).await;
    let lane = sealed.line.branch.id.lane().0;
    let mut rows = sealed.rows.clone();
    let bodies: Vec<Vec<u8>> =
        pending(&mut rows, PendingKind::Results, lane).into_iter().map(|row| row.body.clone()).collect();
    let windows = |body: &[u8]| -> Vec<Vec<u8>> { body[7..].windows(8).map(<[u8]>::to_vec).collect() };
    assert!(windows(&bodies[0]).iter().all(|window| !windows(&bodies[1]).contains(window)));
    let plain = intent("pay", "ten").fingerprint;
    let stored =
        rows.iter().filter_map(|row| if let Row::Effect(row) = row { Some(row.row.fingerprint) } else { None });
    assert!(stored.into_iter().all(|fingerprint| fingerprint != plain));
}

/// The same write has the same bytes, and equal blobs of one thread are one blob; of two threads they are two.
#[tokio::test]
async fn equal_blobs_are_one_within_a_thread() {
    let store = MasterKeys::new(Key::new([9; 32]));
    let store = Codec::new().sealed(store).around(MemoryStore::new());
    let shared: Arc<dyn CheckpointStore> = Arc::new(store.clone());
    let mut hashes = Vec::new();
    for name in ["t", "u"] {
        let mut line = Line::born(&shared, name).await;
        for _ in 0..2 {
            let (node, bytes) = blob_node(&"equal");
            store.blob(BlobCall::Put { scope: String::new(), bytes }).await.expect("it waits");
            line.apply(line.next().stored("blob", node).build()).await;
        }
        let mut rows = rows_of(&store, line.thread.uid).await;
        hashes.push(values(&mut rows).iter().map(|row| row.node.head.blob.expect("a blob").0).collect::<Vec<_>>());
    }
    assert_eq!(hashes[0][0], hashes[0][1]);
    assert_ne!(hashes[0][0], hashes[1][0]);
}
