//! Do the bytes that `docs/format.md` shows come out of the encoders? The document and this file hold the same text.

use stepmark_core::capability::CacheKey;
use stepmark_core::checkpoint::{
    ChannelEntry, CheckpointRow, MadeBy, Manifest, NextTask, NodeEntry, Origin, Payload, Source, TaskEntry, WriteMark,
};
use stepmark_core::child::{ChildPlace, ChildRow};
use stepmark_core::effect::{AttemptRow, AttemptStatus, EffectKey, EffectRow, EffectStatus, MadeAt, Nonce};
use stepmark_core::id::{
    BlobHash, BranchId, CheckpointId, ClaimToken, InterruptId, Lane, RecordHash, RunId, TaskHash, ThreadUid,
};
use stepmark_core::interrupt::{Answer, Asker, Question};
use stepmark_core::pending::{
    GotoEntry, NO_TASK, ParentEntry, PendingKind, PendingRow, TaskEnd, TaskRecord, WriteBody, encode_flush,
};
use stepmark_core::rows::{BranchRow, EffectsMode, GraphRow, RunRow, RunStatus, TagRow, ThreadRow, Tip, ref_hash};
use stepmark_core::value::{
    ListMark, NumberedValue, Structure, ValueAddress, ValueHead, ValueNode, ValueRef, ValueRow, encode_packed,
};

const THREAD: ThreadUid = ThreadUid([0x11; 16]);
const DOCUMENT: &str = include_str!("../../../docs/format.md");

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

fn address(height: u64, ordinal: u32) -> ValueAddress {
    ValueAddress { branch: branch(), height, ordinal }
}

fn tip() -> Tip {
    Tip { height: 1, id: CheckpointId::parse("c1").expect("an id") }
}

fn manifest() -> Manifest {
    let mut manifest = Manifest::new(RunId::parse("r1").expect("an id"), 1);
    manifest.parent = Some(CheckpointId::parse("c0").expect("an id"));
    let value = ValueRef { address: address(1, 0), packed: true };
    manifest.channels = vec![ChannelEntry { name: "notes".into(), value, version: None }];
    manifest.nodes =
        vec![NodeEntry { name: "plan".into(), activations: 1 }, NodeEntry { name: "look".into(), activations: 0 }];
    let writes = vec![(0, WriteMark::Items { first: 1, count: 1 })];
    manifest.tasks = vec![TaskEntry {
        node: 0,
        trigger: 0,
        attempts: 1,
        started_at: 900,
        duration_us: 80,
        made_by: MadeBy::Node,
        writes,
    }];
    manifest.next = vec![NextTask { node: 1, trigger: 1, payload: Payload::Inline([0xa1, b'x'].into()) }];
    manifest
}

fn list_node() -> ValueNode {
    let base = ValueRef { address: address(0, 0), packed: true };
    let list = Some(ListMark { length: 2, chain: None });
    let structure = Structure::List { base, keep: 1, items: 1 };
    let head = ValueHead { list, ..ValueHead::new(structure, 1) };
    ValueNode { head, body: vec![0xa1, b'b'] }
}

#[test]
fn values_are_as_drawn() {
    let node = list_node();
    check("list head", &node.head.encode());
    check("packed part", &encode_packed(&[NumberedValue { ordinal: 0, node: node.clone() }]));
    let blob = Some((BlobHash([0xbb; 32]), 100_000));
    let head = ValueHead { blob, ..ValueHead::new(Structure::Full, 1) };
    check("blob head", &head.encode());
    check("value hash", &ValueRow { address: address(1, 1), node }.hash(THREAD, "").0);
}

#[test]
fn checkpoint_is_as_drawn() {
    let (manifest, none) = (manifest().encode(1000), RecordHash([0; 16]));
    check("manifest", &manifest);
    let row = CheckpointRow {
        branch: branch(),
        height: 1,
        id: tip().id,
        source: Source::Step,
        created_at: 1000,
        manifest,
        manifest_hash: none,
        packed: encode_packed(&[NumberedValue { ordinal: 0, node: list_node() }]),
        packed_hash: none,
    };
    check("manifest hash", &row.hash_manifest(THREAD, "").0);
    check("packed hash", &row.hash_packed(THREAD, "").0);
}

/// The root of a thread that was forked from another.
#[test]
fn origin_is_as_drawn() {
    let mut manifest = Manifest::new(RunId::parse("r1").expect("an id"), 1);
    let checkpoint = CheckpointId::parse("o7").expect("an id");
    manifest.origin = Some(Origin { thread: ThreadUid([0x22; 16]), checkpoint });
    let value = ValueRef { address: address(0, 0), packed: true };
    manifest.channels = vec![ChannelEntry { name: "notes".into(), value, version: None }];
    check("manifest with an origin", &manifest.encode(1000));
}

/// A checkpoint of a graph with deferred nodes, while some wait.
#[test]
fn deferred_tasks_are_as_drawn() {
    let place = ValueRef { address: address(1, 2), packed: true };
    let deferred = vec![
        NextTask { node: 0, trigger: 0, payload: Payload::None },
        NextTask { node: 0, trigger: 1, payload: Payload::Value(place) },
    ];
    check("manifest with deferred tasks", &Manifest { deferred, ..manifest() }.encode(1000));
}

#[test]
fn question_and_answer_are_as_drawn() {
    let task = TaskHash::of("", "look", 1, 1);
    let question = Question {
        id: InterruptId::of(THREAD, task, "approve", 0),
        asker: Asker::Task,
        node: "look".into(),
        name: "approve".into(),
        occurrence: 0,
        asked_at: 1200,
        body: vec![0xa3, b'o', b'k', b'?'],
        answer_schema: Some(br#"{"type":"boolean"}"#.to_vec()),
        inside: None,
    };
    let row = PendingRow {
        base: tip().id,
        lane: Lane(0xb1),
        kind: PendingKind::Interrupt,
        task,
        ordinal: 0,
        values: Vec::new(),
        body: question.encode(),
    };
    check("interrupt id", &question.id.0);
    check("question hash", &question.hash());
    check("question body", &row.body);
    check("hash of the question's row", &row.hash(THREAD, "").0);
    let author = Some("ada".to_owned());
    let answer =
        Answer { id: question.id, question: question.hash(), after: 1, answered_at: 1300, author, body: vec![0xc3] };
    let row = PendingRow { kind: PendingKind::Answer, body: answer.encode(), ..row };
    check("answer body", &row.body);
    check("hash of the answer's row", &row.hash(THREAD, "").0);
}

#[test]
fn effect_is_as_drawn() {
    let task = TaskHash::of("", "look", 1, 1);
    let key = EffectKey::Position { task, name: "pay".into(), occurrence: 0 };
    check("effect key", &key.encode());
    check("business key", &EffectKey::Business("invoice 7".into()).encode());
    let made = MadeAt { branch: branch(), height: 1, task, branches: 2 };
    check("where it was made", &made.encode());
    let row = EffectRow {
        key: key.clone(),
        generation: 1,
        fingerprint: [0xf1; 16],
        status: EffectStatus::Open,
        made,
        origin: THREAD,
        result: None,
    };
    check("idempotency key", &row.idempotency_key());
    check("hash of an open effect", &row.hash(THREAD).0);
    let done = EffectRow { status: EffectStatus::Done, result: Some(vec![0xc3]), ..row };
    check("hash of an effect that is done", &done.hash(THREAD).0);
    let attempt = AttemptRow {
        key,
        generation: 1,
        nonce: Nonce([0xaa; 16]),
        branch: branch(),
        epoch: 1,
        task,
        status: AttemptStatus::Open,
    };
    check("hash of an attempt", &attempt.hash(THREAD).0);
}

#[test]
fn tag_and_graph_are_as_drawn() {
    let tag = TagRow { name: "good".into(), branch: branch(), height: 1 };
    check("tag hash", &tag.hash(THREAD, "").0);
    let graph = GraphRow::new("g".into(), vec![0x81, 0xa4, b'n', b'a', b'm', b'e', 0xa1, b'g']);
    check("graph signature", &graph.signature);
    check("graph hash", &graph.hash().0);
}

#[test]
fn flush_is_as_drawn() {
    let writes = vec![
        ("notes".into(), WriteBody::Inline(vec![0x91, 0xa1, b'c'])),
        ("text".into(), WriteBody::Value(ValueRef { address: address(2, 1), packed: false })),
    ];
    let goto = vec![GotoEntry::Node("end".into())];
    let end = |made_by| TaskEnd::Done { made_by, writes: writes.clone(), goto: goto.clone() };
    let task = TaskHash::of("", "look", 1, 1);
    let made = |end| TaskRecord { task, state_version: 1, attempts: 1, started_at: 1100, duration_us: 80, end };
    let record = made(end(MadeBy::Node));
    let started = TaskRecord {
        task: TaskHash([0x22; 16]),
        state_version: 1,
        attempts: 2,
        started_at: 1200,
        duration_us: 0,
        end: TaskEnd::Started { since: 0 },
    };
    check("newer flush body", &encode_flush(&[made(end(MadeBy::Handler)), started]));
    let row = PendingRow {
        base: tip().id,
        lane: Lane(0xb1),
        kind: PendingKind::Results,
        task: NO_TASK,
        ordinal: 0,
        values: vec![ValueRef { address: address(2, 1), packed: false }],
        body: encode_flush(&[record]),
    };
    check("task hash", &task.0);
    check("flush head", &row.encode_head());
    check("flush body", &row.body);
    check("flush hash", &row.hash(THREAD, "").0);
}

/// A node of a sub-graph that writes to the graph around and sends it on.
#[test]
fn command_to_a_parent_is_as_drawn() {
    let writes = vec![("log".into(), vec![0x91, 0xa1, b'p'])];
    let parent = ParentEntry { level: 1, state_version: 1, writes, goto: vec![GotoEntry::Node("bill".into())] };
    let end = TaskEnd::Done { made_by: MadeBy::Node, writes: Vec::new(), goto: vec![GotoEntry::Parent(parent)] };
    let task = TaskHash::of("", "look", 1, 1);
    let record = TaskRecord { task, state_version: 1, attempts: 1, started_at: 1100, duration_us: 80, end };
    check("flush with a command", &encode_flush(&[record]));
}

#[test]
fn kept_result_is_as_drawn() {
    let writes = vec![("log".into(), WriteBody::Inline(vec![0x91, 0xa1, b'p']))];
    let end = TaskEnd::Done { made_by: MadeBy::Node, writes, goto: Vec::new() };
    let record =
        TaskRecord { task: TaskHash([0; 16]), state_version: 1, attempts: 1, started_at: 0, duration_us: 0, end };
    let result = encode_flush(&[record]);
    check("kept result", &result);
    let key = CacheKey { graph: "g".into(), node: "look".into(), hash: [0xee; 16] };
    check("hash of a kept result", &key.record_hash(2000, &result).0);
}

#[test]
fn sub_graph_is_as_drawn() {
    let id = CheckpointId::parse("k0").expect("an id");
    let child = BranchId::new(0xc1).expect("non-zero");
    let call = TaskHash::of("", "look", 1, 1);
    let place = ChildPlace {
        namespace: "research".into(),
        branch: child,
        height: 0,
        id: id.clone(),
        caller: call,
        occurrence: 0,
    };
    check("place of a sub-graph", &place.encode());
    let row = PendingRow {
        base: tip().id,
        lane: branch().lane(),
        kind: PendingKind::Child,
        task: TaskHash::of("", "look", 1, 1),
        ordinal: 1,
        values: Vec::new(),
        body: place.encode(),
    };
    check("hash of the row over the root's tip", &row.hash(THREAD, "").0);
    let tip = Some(Tip { height: 0, id });
    let (claim, effects) = (ClaimToken([0xcc; 16]), EffectsMode::Ledger);
    let own = BranchRow { id: child, fork: None, tip, epoch: 1, claim, effects, root: Some(branch()) };
    check("hash of a branch with a root", &own.hash(THREAD, "research").0);
    check("hash of where it stood", &ChildRow::from(place).hash(THREAD, branch(), 2).0);
}

#[test]
fn mutable_rows_are_as_drawn() {
    let thread = ThreadRow { uid: THREAD, scope: String::new(), name: "t".into(), head: branch(), created_at: 1000 };
    check("thread hash", &thread.hash().0);
    check("ref hash", &ref_hash(THREAD, "main", branch()).0);
    let effects = EffectsMode::Ledger;
    let row = BranchRow {
        id: branch(),
        fork: None,
        tip: Some(tip()),
        epoch: 1,
        claim: ClaimToken([0xcc; 16]),
        effects,
        root: None,
    };
    check("branch hash", &row.hash(THREAD, "").0);
    let run = RunRow {
        id: RunId::parse("r1").expect("an id"),
        branch: branch(),
        graph: "g".into(),
        graph_signature: None,
        status: RunStatus::Open,
        input_hash: [0xee; 16],
        started_at: 1000,
        ended_at: None,
        last: None,
    };
    check("run hash", &run.hash(THREAD).0);
    let signed = RunRow { graph_signature: Some([0xdd; 16]), ..run };
    check("hash of a run with a signature", &signed.hash(THREAD).0);
}
