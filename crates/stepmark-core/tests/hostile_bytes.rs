//! What do the decoders do with bytes that no writer wrote? They refuse them: no panic, no overflow, no large allocation.

use stepmark_core::checkpoint::{
    ChannelEntry, JoinEntry, MANIFEST_VERSION, MadeBy, Manifest, NextTask, NodeEntry, Origin, Payload, SeenEntry,
    TaskEntry, WriteMark,
};
use stepmark_core::child::ChildPlace;
use stepmark_core::effect::{EffectKey, MadeAt};
use stepmark_core::id::{BlobHash, BranchId, CheckpointId, InterruptId, Lane, RunId, TaskHash, ThreadUid};
use stepmark_core::interrupt::{Answer, AskedInside, Asker, Question};
use stepmark_core::materialise::{materialise, take_value};
use stepmark_core::pending::{
    GotoEntry, NO_TASK, ParentEntry, PendingKind, PendingRow, TaskEnd, TaskRecord, WriteBody, decode_flush,
    encode_flush,
};
use stepmark_core::value::{
    ListMark, NumberedValue, Structure, ValueAddress, ValueHead, ValueNode, ValueRef, decode_packed, encode_packed,
    find_packed,
};
use stepmark_core::wire::WireError;

const ROUNDS: u64 = 4000;

/// A xorshift generator; the same bytes in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// The bytes with some flipped, cut, doubled or set to the values that lengths are damaged with.
    fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut damaged = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(damaged.len().max(1));
            match self.below(5) {
                0 => damaged.truncate(at),
                1 => damaged.extend_from_within(at.min(damaged.len())..),
                2 => damaged.splice(at.min(damaged.len()).., [0xff, 0xff, 0xff, 0xff, 0x0f]).for_each(drop),
                _ => {
                    let bits = self.next() as u8;
                    if let Some(byte) = damaged.get_mut(at) {
                        *byte ^= bits;
                    }
                }
            }
        }
        damaged
    }
}

fn branch() -> BranchId {
    BranchId::new(0x0123_4567_89ab_cdef).expect("non-zero")
}

fn value(height: u64, ordinal: u32, packed: bool) -> ValueRef {
    ValueRef { address: ValueAddress { branch: branch(), height, ordinal }, packed }
}

fn run() -> RunId {
    RunId::parse("0198c5a6-7b1e-7c3d-8a4f-0123456789ab").expect("a run id")
}

fn manifest() -> Manifest {
    let mut manifest = Manifest::new(run(), 2);
    manifest.parent = Some(CheckpointId::parse("before").expect("an id"));
    manifest.channels = vec![
        ChannelEntry { name: "messages".into(), value: value(4, 0, true), version: None },
        ChannelEntry { name: "total".into(), value: value(3, 7, false), version: Some(vec![1, 2]) },
    ];
    manifest.nodes =
        vec![NodeEntry { name: "a".into(), activations: 3 }, NodeEntry { name: "b".into(), activations: 0 }];
    manifest.joins = vec![JoinEntry { target: 1, sources: vec![(0, true), (1, false)] }];
    manifest.seen = vec![SeenEntry { node: 0, trigger: "messages".into(), version: vec![9] }];
    let writes = vec![
        (0, WriteMark::Items { first: 2, count: 1 }),
        (1, WriteMark::Small(vec![5])),
        (0, WriteMark::Opaque),
        (1, WriteMark::Whole),
    ];
    manifest.tasks = vec![TaskEntry {
        node: 0,
        trigger: 0,
        attempts: 1,
        started_at: 90,
        duration_us: 10,
        made_by: MadeBy::Handler,
        writes,
    }];
    manifest.next = vec![
        NextTask { node: 1, trigger: 0, payload: Payload::None },
        NextTask { node: 1, trigger: 1, payload: Payload::Inline([1, 2, 3].into()) },
        NextTask { node: 1, trigger: 2, payload: Payload::Value(value(4, 2, false)) },
    ];
    manifest.author = Some("a person".into());
    manifest.metadata = Some(vec![0x80]);
    manifest
}

fn flush() -> Vec<TaskRecord> {
    let done = TaskEnd::Done {
        made_by: MadeBy::Cache,
        writes: vec![
            ("total".into(), WriteBody::Inline(vec![7])),
            ("text".into(), WriteBody::Value(value(5, 1, false))),
        ],
        goto: vec![GotoEntry::End, GotoEntry::Node("b".into()), GotoEntry::Send("b".into(), [1].into())],
    };
    let parent = ParentEntry {
        level: 1,
        state_version: 3,
        writes: vec![("log".into(), vec![1, 2])],
        goto: vec![GotoEntry::End, GotoEntry::Node("c".into())],
    };
    let commanding = TaskEnd::Done { made_by: MadeBy::Node, writes: Vec::new(), goto: vec![GotoEntry::Parent(parent)] };
    let record = |end| TaskRecord {
        task: TaskHash([3; 16]),
        state_version: 1,
        attempts: 2,
        started_at: -5,
        duration_us: 8,
        end,
    };
    let started = record(TaskEnd::Started { since: 1 });
    vec![record(done), record(TaskEnd::Failed(vec![0xc0])), record(commanding), started]
}

/// The manifest of a root that was forked from another thread.
fn forked_manifest() -> Manifest {
    let checkpoint = CheckpointId::parse("0198c5a6-7b1e-7c3d-8a4f-0123456789ac").expect("an id");
    Manifest { parent: None, origin: Some(Origin { thread: ThreadUid([6; 16]), checkpoint }), ..manifest() }
}

/// A manifest with tasks that wait.
fn deferring_manifest() -> Manifest {
    let deferred = vec![
        NextTask { node: 0, trigger: 0, payload: Payload::None },
        NextTask { node: 0, trigger: 1, payload: Payload::Inline([4, 5].into()) },
        NextTask { node: 1, trigger: 1, payload: Payload::Value(value(2, 1, true)) },
    ];
    Manifest { deferred, ..manifest() }
}

fn question() -> Question {
    Question {
        id: InterruptId([8; 16]),
        asker: Asker::Task,
        node: "b".into(),
        name: "approve".into(),
        occurrence: 300,
        asked_at: -1,
        body: vec![0x81, 0xa1, b'q', 1],
        answer_schema: Some(b"{}".to_vec()),
        inside: None,
    }
}

fn answer() -> Answer {
    let author = Some("a person".into());
    Answer {
        id: InterruptId([8; 16]),
        question: question().hash(),
        after: 300,
        answered_at: i64::MAX,
        author,
        body: vec![0xc3],
    }
}

fn effect_keys() -> [EffectKey; 2] {
    let position = EffectKey::Position { task: TaskHash([3; 16]), name: "pay".into(), occurrence: 300 };
    [position, EffectKey::Business("invoice 7".into())]
}

fn made() -> MadeAt {
    MadeAt { branch: branch(), height: 300, task: TaskHash([4; 16]), branches: 2 }
}

fn place() -> ChildPlace {
    let id = CheckpointId::parse("0198c5a6-7b1e-7c3d-8a4f-0123456789ab").expect("an id");
    ChildPlace {
        namespace: "research/0".into(),
        branch: branch(),
        height: 300,
        id,
        caller: TaskHash([9; 16]),
        occurrence: 2,
    }
}

fn head(structure: Structure, list: Option<ListMark>) -> ValueHead {
    ValueHead { list, ..ValueHead::new(structure, 1) }
}

#[test]
fn manifest_reads_back_and_no_cut_one_does() {
    for created_at in [100, i64::MIN, i64::MAX] {
        for manifest in [manifest(), forked_manifest(), deferring_manifest()] {
            let stored = manifest.encode(created_at);
            assert_eq!(Manifest::decode(&stored, created_at).as_ref(), Ok(&manifest));
            for end in 0..stored.len() {
                assert!(Manifest::decode(&stored[..end], created_at).is_err(), "cut at {end}");
            }
        }
    }
}

#[test]
fn question_and_answer_read_back_and_no_cut_one_does() {
    let inside = Some(AskedInside { namespace: "research".into(), task: TaskHash([4; 16]) });
    for question in [question(), Question { inside, ..question() }] {
        let asked = question.encode();
        assert_eq!(Question::decode(&asked), Ok(question));
        assert!((0..asked.len()).all(|end| Question::decode(&asked[..end]).is_err()));
        assert!(Question::decode(&[&asked[..], &[0]].concat()).is_err());
    }
    let answered = answer().encode();
    assert_eq!(Answer::decode(&answered), Ok(answer()));
    assert!((0..answered.len()).all(|end| Answer::decode(&answered[..end]).is_err()));
    assert!(Answer::decode(&[&answered[..], &[0]].concat()).is_err());
}

/// Records of newer versions and kinds are told apart from damage.
#[test]
fn newer_versions_are_unknown() {
    let at = |mut stored: Vec<u8>, place: usize, byte: u8| {
        stored[place] = byte;
        stored
    };
    let unknown = |error: WireError| matches!(error, WireError::Unknown { .. });
    assert!(Question::decode(&at(question().encode(), 0, 3)).is_err_and(unknown));
    assert!(Question::decode(&at(question().encode(), 17, 4)).is_err_and(unknown));
    assert!(Answer::decode(&at(answer().encode(), 0, 2)).is_err_and(unknown));
    // The length of the manifest's head comes before its version.
    let head_at = |stored: &[u8]| 1 + usize::from(stored[0] >= 0x80);
    let stored = manifest().encode(1);
    assert!(Manifest::decode(&at(stored.clone(), head_at(&stored), MANIFEST_VERSION + 1), 1).is_err_and(unknown));
    assert!(decode_flush(&at(encode_flush(&flush()), 0, 3)).is_err_and(unknown));
}

#[test]
fn flush_reads_back_and_no_cut_one_does() {
    let stored = encode_flush(&flush());
    assert_eq!(decode_flush(&stored), Ok(flush()));
    for end in 0..stored.len() {
        assert!(decode_flush(&stored[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn effect_key_and_place_read_back_and_no_cut_one_does() {
    for key in effect_keys() {
        let stored = key.encode();
        assert_eq!(EffectKey::decode(&stored), Ok(key));
        assert!((0..stored.len()).all(|end| EffectKey::decode(&stored[..end]).is_err()));
    }
    let stored = made().encode();
    assert_eq!(MadeAt::decode(&stored), Ok(made()));
    assert!((0..stored.len()).all(|end| MadeAt::decode(&stored[..end]).is_err()));
}

#[test]
fn place_of_a_sub_graph_reads_back_and_no_cut_one_does() {
    let stored = place().encode();
    assert_eq!(ChildPlace::decode(&stored), Ok(place()));
    assert!((0..stored.len()).all(|end| ChildPlace::decode(&stored[..end]).is_err()));
    assert!(ChildPlace::decode(&[&stored[..], &[0]].concat()).is_err());
    let newer = ChildPlace::decode(&[&[2], &stored[1..]].concat());
    assert!(newer.is_err_and(|error| matches!(error, stepmark_core::wire::WireError::Unknown { .. })));
}

#[test]
fn damaged_records_are_refused_or_read() {
    let mut random = Random(0x5eed);
    let mut blob = head(Structure::List { base: value(3, 1, true), keep: 4, items: 2 }, None);
    blob.blob = Some((BlobHash([1; 32]), 70_000));
    let packed = [1, 2].map(|ordinal| NumberedValue { ordinal, node: ValueNode { head: blob, body: vec![1; 9] } });
    let row = PendingRow {
        base: CheckpointId::parse("base").expect("an id"),
        lane: Lane(7),
        kind: PendingKind::Results,
        task: NO_TASK,
        ordinal: 0,
        values: vec![value(5, 0, false), value(5, 1, true)],
        body: Vec::new(),
    };
    let records = [
        manifest().encode(100),
        forked_manifest().encode(100),
        deferring_manifest().encode(100),
        encode_flush(&flush()),
        question().encode(),
        answer().encode(),
        blob.encode(),
        encode_packed(&packed),
        row.encode_head(),
        effect_keys()[0].encode(),
        effect_keys()[1].encode(),
        made().encode(),
        place().encode(),
    ];
    for _ in 0..ROUNDS {
        for record in &records {
            let damaged = random.damage(record);
            // Each decoder sees the damage of every record: none may rely on whose bytes it is given.
            let _ = Manifest::decode(&damaged, i64::MIN).map(|read| read.encode(i64::MAX));
            let _ = decode_flush(&damaged).map(|read| encode_flush(&read));
            let _ = Question::decode(&damaged).map(|read| (read.hash(), read.encode()));
            let _ = Answer::decode(&damaged).map(|read| read.encode());
            let _ = ValueHead::decode(&damaged);
            let _ = decode_packed(&damaged);
            let _ = find_packed(&damaged, 2);
            let _ = PendingRow::decode_head(&damaged);
            let _ = CheckpointId::from_stored(&damaged);
            let _ = EffectKey::decode(&damaged).map(|read| read.encode());
            let _ = MadeAt::decode(&damaged).map(|read| read.encode());
            let _ = ChildPlace::decode(&damaged).map(|read| read.encode());
        }
    }
}

#[test]
fn damaged_chains_are_refused_or_read() {
    let mut random = Random(0xc4a1);
    let list = ValueNode { head: head(Structure::Full, None), body: vec![0x93, 1, 0xa1, b'x', 0x91, 2] };
    let map = ValueNode { head: head(Structure::Full, None), body: vec![0x81, 0xa1, b'k', 7] };
    for _ in 0..ROUNDS {
        let base = value(1, 0, true);
        let mut count = || [0, 1, 2, 3, 4, u64::MAX][random.below(6)];
        let structures = [
            Structure::List { base, keep: count(), items: count() },
            Structure::Splice { base, at: count(), remove: count(), items: count() },
            Structure::Map { base, set: count(), removed: count() },
        ];
        for structure in structures {
            let full = if matches!(structure, Structure::Map { .. }) { &map } else { &list };
            let node = ValueNode { head: head(structure, None), body: random.damage(&[2, 0xa1, b'k', 1, 8, 4]) };
            let damaged = ValueNode { head: full.head, body: random.damage(&full.body) };
            let _ = materialise(&[node.clone(), node.clone(), full.clone()]);
            let _ = materialise(&[node, damaged]);
        }
    }
}

#[test]
fn counts_beyond_the_bytes_are_refused() {
    let full = ValueNode { head: head(Structure::Full, None), body: vec![0x91, 1] };
    let base = value(1, 0, true);
    for structure in [
        Structure::List { base, keep: 1, items: u64::MAX },
        Structure::Splice { base, at: 0, remove: 0, items: u64::MAX },
        Structure::List { base, keep: 1, items: u64::from(u32::MAX) },
    ] {
        let node = ValueNode { head: head(structure, None), body: vec![2] };
        assert!(materialise(&[node, full.clone()]).is_err(), "{structure:?}");
    }
}

#[test]
fn deep_nesting_needs_no_stack() {
    let deep = [vec![0x91; 1_000_000], vec![0xc0]].concat();
    let full = ValueNode { head: head(Structure::Full, None), body: [&[0x92, 1][..], &deep].concat() };
    let splice = Structure::Splice { base: value(1, 0, true), at: 1, remove: 1, items: 0 };
    let node = ValueNode { head: head(splice, None), body: Vec::new() };
    assert_eq!(materialise(&[node, full]), Ok(vec![0x91, 1]));
}

/// Every marker with the bytes that follow it, as the MessagePack specification counts them.
#[test]
fn every_kind_of_value_is_measured() {
    let zeros = |count| vec![0u8; count];
    let cases: [(&[u8], usize); 30] = [
        (&[0x7f], 0),
        (&[0xe0], 0),
        (&[0xc0], 0),
        (&[0xc2], 0),
        (&[0x82], 4),
        (&[0x93], 3),
        (&[0xa5], 5),
        (&[0xc4, 3], 3),
        (&[0xc5, 0, 3], 3),
        (&[0xc6, 0, 0, 0, 3], 3),
        (&[0xc7, 3], 4),
        (&[0xc8, 0, 3], 4),
        (&[0xc9, 0, 0, 0, 3], 4),
        (&[0xca], 4),
        (&[0xcb], 8),
        (&[0xcc], 1),
        (&[0xcd], 2),
        (&[0xce], 4),
        (&[0xcf], 8),
        (&[0xd0], 1),
        (&[0xd3], 8),
        (&[0xd4], 2),
        (&[0xd8], 17),
        (&[0xd9, 2], 2),
        (&[0xda, 0, 2], 2),
        (&[0xdb, 0, 0, 0, 2], 2),
        (&[0xdc, 0, 2], 2),
        (&[0xdd, 0, 0, 0, 2], 2),
        (&[0xde, 0, 2], 4),
        (&[0xdf, 0, 0, 0, 2], 4),
    ];
    for (marker, follow) in cases {
        let value = [marker, &zeros(follow)].concat();
        let stream = [&value[..], &[0xc3]].concat();
        let mut rest = &stream[..];
        assert_eq!(take_value(&mut rest), Ok(&value[..]), "{marker:x?}");
        assert_eq!(rest, [0xc3]);
        let mut cut = &value[..value.len() - 1];
        assert!(take_value(&mut cut).is_err(), "{marker:x?}");
    }
    assert!(take_value(&mut &[0xc1][..]).is_err());
}
