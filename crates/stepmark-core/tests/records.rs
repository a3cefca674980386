//! Do encoded records read back as written, and are damaged ones refused without a panic?

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use stepmark_core::checkpoint::{
    ChannelEntry, JoinEntry, MadeBy, Manifest, NextTask, NodeEntry, Origin, Payload, SeenEntry, TaskEntry, Timestamp,
    WriteMark,
};
use stepmark_core::coding::{ManifestParts, join_manifest};
use stepmark_core::id::{BlobHash, BranchId, CheckpointId, InterruptId, RunId, TaskHash, ThreadUid};
use stepmark_core::interrupt::{Answer, Asker, Question};
use stepmark_core::pending::{
    GotoEntry, ParentEntry, PendingRow, TaskEnd, TaskRecord, WriteBody, decode_flush, encode_flush,
};
use stepmark_core::value::{
    ListMark, NumberedValue, Structure, ValueAddress, ValueHead, ValueNode, ValueRef, decode_packed, encode_packed,
    find_packed,
};
use stepmark_core::wire::WireError;

fn any_name() -> impl Strategy<Value = Arc<str>> {
    "[a-zé_ ]{1,12}".prop_map(Into::into)
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn any_value_ref() -> impl Strategy<Value = ValueRef> {
    // Few branches, so that the table of branches is shared.
    (1..4u64, any::<u64>(), any::<u32>(), any::<bool>()).prop_map(|(branch, height, ordinal, packed)| {
        let branch = BranchId::new(branch).expect("not zero");
        ValueRef { address: ValueAddress { branch, height, ordinal }, packed }
    })
}

fn any_channel() -> impl Strategy<Value = ChannelEntry> {
    (any_name(), any_value_ref(), option::of(any_bytes())).prop_map(|(name, value, version)| ChannelEntry {
        name,
        value,
        version,
    })
}

fn any_mark() -> impl Strategy<Value = WriteMark> {
    prop_oneof![
        Just(WriteMark::Opaque),
        Just(WriteMark::Whole),
        (any::<u64>(), any::<u64>()).prop_map(|(first, count)| WriteMark::Items { first, count }),
        any_bytes().prop_map(WriteMark::Small),
    ]
}

fn any_payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        Just(Payload::None),
        any_bytes().prop_map(|bytes| Payload::Inline(bytes.into())),
        any_value_ref().prop_map(Payload::Value),
    ]
}

fn any_id() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9é-]{1,30}", Just("0198c5a6-7b1e-7c3d-8a4f-0123456789ab".to_owned())]
}

fn any_maker() -> impl Strategy<Value = MadeBy> {
    prop_oneof![Just(MadeBy::Node), Just(MadeBy::Cache), Just(MadeBy::Handler)]
}

fn any_task(nodes: u32, channels: u32) -> impl Strategy<Value = TaskEntry> {
    let writes = vec((0..channels.max(1), any_mark()), if channels == 0 { 0..1 } else { 0..4 });
    (0..nodes, any::<[u32; 2]>(), any::<Timestamp>(), any::<u64>(), any_maker(), writes).prop_map(
        |(node, [trigger, attempts], started_at, duration_us, made_by, writes)| TaskEntry {
            node,
            trigger,
            attempts,
            started_at,
            duration_us,
            made_by,
            writes,
        },
    )
}

fn any_join(nodes: u32) -> impl Strategy<Value = JoinEntry> {
    (0..nodes, vec((0..nodes, any::<bool>()), 0..4)).prop_map(|(target, sources)| JoinEntry { target, sources })
}

fn any_seen(nodes: u32) -> impl Strategy<Value = SeenEntry> {
    (0..nodes, any_name(), any_bytes()).prop_map(|(node, trigger, version)| SeenEntry { node, trigger, version })
}

fn any_next(nodes: u32) -> impl Strategy<Value = NextTask> {
    (0..nodes, any::<u32>(), any_payload()).prop_map(|(node, trigger, payload)| NextTask { node, trigger, payload })
}

fn any_manifest() -> impl Strategy<Value = Manifest> {
    let node = (any_name(), any::<u64>()).prop_map(|(name, activations)| NodeEntry { name, activations });
    (vec(node, 1..5), vec(any_channel(), 0..5)).prop_flat_map(|(nodes, channels)| {
        // Writes of tasks name channels by index; without channels there are no tasks that wrote.
        let tasks = if channels.is_empty() { 0..1 } else { 0..5 };
        let (count, width) = (nodes.len() as u32, channels.len() as u32);
        let rows = (
            vec(any_join(count), 0..3),
            vec(any_seen(count), 0..3),
            vec(any_next(count), 0..4),
            vec(any_next(count), 0..4),
        );
        let texts = (option::of("[a-zé ]{0,20}"), option::of(any_bytes()), option::of(any_id()), any_id());
        let (origin, numbers) = (option::of((any::<[u8; 16]>(), any_id())), any::<[u32; 2]>());
        (rows, vec(any_task(count, width), tasks), texts, (origin, numbers)).prop_map(
            move |((joins, seen, next, deferred), tasks, (author, metadata, parent, run), (origin, numbers))| {
                let [state_version, steps_covered] = numbers;
                let checkpoint = |id: &str| CheckpointId::parse(id).expect("a valid id");
                let tasks = tasks.into_iter().filter(|task| width > 0 || task.writes.is_empty()).collect();
                let deferred = if next.is_empty() { Vec::new() } else { deferred };
                Manifest {
                    parent: parent.map(|id| checkpoint(&id)),
                    origin: origin.map(|(uid, id)| Origin { thread: ThreadUid(uid), checkpoint: checkpoint(&id) }),
                    run: RunId::parse(&run).expect("a valid id"),
                    state_version,
                    steps_covered,
                    channels: channels.clone(),
                    nodes: nodes.clone(),
                    joins,
                    seen,
                    tasks,
                    next,
                    deferred,
                    author,
                    metadata,
                }
            },
        )
    })
}

fn any_record() -> impl Strategy<Value = TaskRecord> {
    let body = prop_oneof![any_bytes().prop_map(WriteBody::Inline), any_value_ref().prop_map(WriteBody::Value)];
    let goto = prop_oneof![
        Just(GotoEntry::End),
        any_name().prop_map(GotoEntry::Node),
        (any_name(), any_bytes()).prop_map(|(node, payload)| GotoEntry::Send(node, payload.into())),
        (any::<[u32; 2]>(), vec((any_name(), any_bytes()), 0..3), vec(any_name().prop_map(GotoEntry::Node), 0..3))
            .prop_map(|([level, state_version], writes, goto)| {
                GotoEntry::Parent(ParentEntry { level, state_version, writes, goto })
            }),
    ];
    let done = (any_maker(), vec((any_name(), body), 0..4), vec(goto, 0..4));
    let end = prop_oneof![
        any_bytes().prop_map(TaskEnd::Failed),
        done.prop_map(|(made_by, writes, goto)| TaskEnd::Done { made_by, writes, goto }),
        any::<u32>().prop_map(|since| TaskEnd::Started { since }),
    ];
    (any::<[u8; 16]>(), any::<[u32; 2]>(), any::<Timestamp>(), any::<u64>(), end).prop_map(
        |(task, [state_version, attempts], started_at, duration_us, end)| TaskRecord {
            task: TaskHash(task),
            state_version,
            attempts,
            started_at,
            duration_us,
            end,
        },
    )
}

fn any_question() -> impl Strategy<Value = Question> {
    let asker = prop_oneof![Just(Asker::Task), Just(Asker::Before), Just(Asker::After)];
    let texts = (any_name(), prop_oneof![Just("".into()), any_name()]);
    let bodies = (any_bytes(), option::of(any_bytes()));
    (any::<[u8; 16]>(), asker, texts, any::<u32>(), any::<Timestamp>(), bodies).prop_map(
        |(id, asker, (node, name), occurrence, asked_at, (body, answer_schema))| Question {
            id: InterruptId(id),
            asker,
            node,
            name,
            occurrence,
            asked_at,
            body,
            answer_schema,
            inside: None,
        },
    )
}

fn any_answer() -> impl Strategy<Value = Answer> {
    (any::<[[u8; 16]; 2]>(), any::<(u64, Timestamp)>(), option::of("[a-zé ]{0,20}"), any_bytes()).prop_map(
        |([id, question], (after, answered_at), author, body)| Answer {
            id: InterruptId(id),
            question,
            after,
            answered_at,
            author,
            body,
        },
    )
}

fn any_structure() -> impl Strategy<Value = Structure> {
    (any_value_ref(), any::<[u64; 3]>(), 0..4u8).prop_map(|(base, [a, b, c], kind)| match kind {
        0 => Structure::Full,
        1 => Structure::List { base, keep: a, items: b },
        2 => Structure::Splice { base, at: a, remove: b, items: c },
        _ => Structure::Map { base, set: a, removed: b },
    })
}

fn any_node() -> impl Strategy<Value = ValueNode> {
    let list = (any::<u64>(), option::of(any::<[u8; 16]>())).prop_map(|(length, chain)| ListMark { length, chain });
    let blob = option::of((any::<[u8; 32]>(), any::<u64>()).prop_map(|(hash, bytes)| (BlobHash(hash), bytes)));
    (any_structure(), blob, any::<u32>(), any::<bool>(), option::of(list), any_bytes()).prop_map(
        |(structure, blob, state_version, closed, list, body)| ValueNode {
            head: ValueHead { blob, closed, list, ..ValueHead::new(structure, state_version) },
            body,
        },
    )
}

/// Calls `read` with `stored` cut at every byte, and with some of its bits flipped; it may refuse but must not panic.
fn assert_survives(stored: &[u8], flips: &[(prop::sample::Index, u8)], mut read: impl FnMut(&[u8]) -> bool) {
    for end in 0..stored.len() {
        assert!(!read(&stored[..end]), "cut at {end}, it reads");
    }
    let mut damaged = stored.to_vec();
    for (place, bit) in flips {
        damaged[place.index(stored.len())] ^= 1 << (bit % 8);
        read(&damaged);
    }
    damaged.extend_from_slice(&[0; 3]);
    read(&damaged);
}

fn any_flips() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    vec((any::<prop::sample::Index>(), any::<u8>()), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn manifests_read_back(manifest in any_manifest(), created_at in any::<Timestamp>(), flips in any_flips()) {
        let stored = manifest.encode(created_at);
        prop_assert_eq!(Manifest::decode(&stored, created_at), Ok(manifest));
        assert_survives(&stored, &flips, |damaged| Manifest::decode(damaged, created_at).is_ok());
    }

    /// A sealed manifest is refused by who reads all of it; its head tells a store as much as that of a plain one.
    #[test]
    fn sealed_manifests_show_their_heads(manifest in any_manifest(), created_at in any::<Timestamp>(), flips in any_flips()) {
        let stored = manifest.encode(created_at);
        let parts = ManifestParts::of(&stored).expect("it has two parts");
        let sealed = join_manifest(&parts.head_as(true), b"what nobody reads");
        prop_assert_eq!(Manifest::decode(&sealed, created_at), Err(WireError::Sealed));
        let head = Manifest::decode_head(&sealed, created_at).expect("its head is plain");
        prop_assert_eq!(Manifest::decode_head(&stored, created_at), Ok(head.clone()));
        prop_assert_eq!(head.values().collect::<Vec<_>>(), manifest.values().collect::<Vec<_>>());
        prop_assert_eq!((&head.run, &head.nodes, &head.parent), (&manifest.run, &manifest.nodes, &manifest.parent));
        prop_assert_eq!((head.author, head.metadata), (None, None));
        assert_survives(&sealed[..sealed.len() - 17], &flips, |damaged| Manifest::decode_head(damaged, created_at).is_ok());
    }

    #[test]
    fn flushes_read_back(records in vec(any_record(), 0..5), flips in any_flips()) {
        let stored = encode_flush(&records);
        prop_assert_eq!(decode_flush(&stored), Ok(records));
        assert_survives(&stored, &flips, |damaged| decode_flush(damaged).is_ok());
    }

    #[test]
    fn questions_read_back(question in any_question(), flips in any_flips()) {
        let stored = question.encode();
        prop_assert_eq!(Question::decode(&stored), Ok(question));
        assert_survives(&stored, &flips, |damaged| Question::decode(damaged).is_ok());
    }

    #[test]
    fn answers_read_back(answer in any_answer(), flips in any_flips()) {
        let stored = answer.encode();
        prop_assert_eq!(Answer::decode(&stored), Ok(answer));
        assert_survives(&stored, &flips, |damaged| Answer::decode(damaged).is_ok());
    }

    #[test]
    fn pending_heads_read_back(values in vec(any_value_ref(), 0..6), flips in any_flips()) {
        let row = PendingRow {
            base: CheckpointId::parse("base").expect("a valid id"),
            lane: BranchId::new(1).expect("not zero").lane(),
            kind: stepmark_core::pending::PendingKind::Results,
            task: stepmark_core::pending::NO_TASK,
            ordinal: 0,
            values: values.clone(),
            body: Vec::new(),
        };
        let stored = row.encode_head();
        prop_assert_eq!(PendingRow::decode_head(&stored), Ok(values));
        assert_survives(&stored, &flips, |damaged| PendingRow::decode_head(damaged).is_ok());
    }

    #[test]
    fn value_heads_read_back(node in any_node(), flips in any_flips()) {
        let stored = node.head.encode();
        prop_assert_eq!(ValueHead::decode(&stored), Ok(node.head));
        assert_survives(&stored, &flips, |damaged| ValueHead::decode(damaged).is_ok());
    }

    #[test]
    fn packed_values_read_back(nodes in vec(any_node(), 0..5), flips in any_flips()) {
        let numbered = |(ordinal, node): (usize, &ValueNode)| NumberedValue { ordinal: ordinal as u32, node: node.clone() };
        let values: Vec<NumberedValue> = nodes.iter().enumerate().map(numbered).collect();
        let stored = encode_packed(&values);
        prop_assert_eq!(decode_packed(&stored), Ok(values.clone()));
        for value in &values {
            prop_assert_eq!(find_packed(&stored, value.ordinal), Ok(Some(value.node.clone())));
        }
        if !stored.is_empty() {
            // A cut between two values reads as fewer of them: the row's hash tells that, not the encoding.
            for end in 0..stored.len() {
                let read = decode_packed(&stored[..end]);
                prop_assert!(read.is_err() || read.is_ok_and(|read| read.len() < values.len()));
            }
            let mut damaged = stored;
            for (place, bit) in flips {
                let length = damaged.len();
                damaged[place.index(length)] ^= 1 << (bit % 8);
                let _ = decode_packed(&damaged);
                let _ = find_packed(&damaged, 1);
            }
        }
    }
}
