//! Do big and many things come back as small ones do?

use stepmark_core::checkpoint::NodeEntry;
use stepmark_core::id::{CheckpointId, NAME_BYTES_MAX, OPAQUE_ID_BYTES_MAX};
use stepmark_core::rows::RunStatus;
use stepmark_core::store::{Load, Place, RunWrite};
use stepmark_core::value::{INLINE_BYTES_MAX, PACKED_BYTES_MAX, ValueRef};

use crate::StoreEnv;
use crate::make::{Line, appended, bytes_of, full, value_of};

/// Packed values and value rows of any size come back.
pub async fn values_of_any_size_read_back(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    for size in [0, 1, 4096, PACKED_BYTES_MAX, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 1 << 20, (1 << 20) + 1, 5 << 20]
    {
        let text = "s".repeat(size);
        let draft = if size <= PACKED_BYTES_MAX { line.next().packed("text", full(&text)) } else { line.next() };
        let draft = draft.stored("row", full(&text));
        line.apply(draft.build()).await;
        let loaded = line.read().await;
        assert!(bytes_of(&loaded, "row") == full(&text).body, "a row of {size} bytes comes back changed");
        if size <= PACKED_BYTES_MAX {
            assert!(bytes_of(&loaded, "text") == full(&text).body, "{size} packed bytes come back changed");
        }
    }
}

/// A checkpoint with a thousand channels, nodes and value rows comes back.
pub async fn wide_checkpoint_reads_back(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let mut draft = (0..1000u32).fold(line.next(), |draft, index| {
        let name = format!("channel {index}");
        if index % 2 == 0 { draft.packed(&name, full(&index)) } else { draft.stored(&name, full(&index)) }
    });
    let nodes = (0..1000).map(|index| NodeEntry { name: format!("node {index}").into(), activations: index });
    draft.manifest.nodes.extend(nodes);
    let commit = draft.build();
    line.apply(commit.clone()).await;
    let loaded = line.read().await;
    assert_eq!(loaded.checkpoint, commit.checkpoint);
    assert_eq!(loaded.chains.len(), 1001);
    assert_eq!((value_of::<u32>(&loaded, "channel 998"), value_of::<u32>(&loaded, "channel 999")), (998, 999));
}

/// A chain of three hundred nodes comes whole, in one load.
pub async fn long_chain_is_loaded(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let draft = line.next().packed("log", full(&[0u64; 0]));
    let mut base: ValueRef = draft.value("log");
    line.apply(draft.build()).await;
    for length in 0..300u64 {
        let draft = line.next().packed("log", appended(base, length, &[length]));
        base = draft.value("log");
        line.apply(draft.build()).await;
    }
    assert_eq!(value_of::<Vec<u64>>(&line.read().await, "log"), (0..300).collect::<Vec<u64>>());
}

/// Five hundred flush rows of one checkpoint come back in the order of their numbers.
pub async fn many_pending_rows_keep_their_order(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::born(&store, "t").await;
    for chunk in 0..50u64 {
        let rows = (0..10).map(|index| line.pending(chunk * 10 + index, &format!("result {index}"))).collect();
        store.append(line.append(rows)).await.expect("the owner flushes");
    }
    let numbers: Vec<u64> = line.read().await.pending.iter().map(|row| row.ordinal).collect();
    assert_eq!(numbers, (0..500).collect::<Vec<u64>>());
}

/// Names and ids of the greatest length are kept.
pub async fn longest_names_are_kept(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let name = "n".repeat(NAME_BYTES_MAX);
    let id = "i".repeat(OPAQUE_ID_BYTES_MAX);
    let mut line = Line::unborn(&store, &name, &name);
    let mut draft = line.birth().named(&name).packed(&name, full(&"x"));
    draft.id = CheckpointId::parse(&id).expect("a valid id");
    line.apply(draft.with_run(RunWrite::Begin(line.run(&id, RunStatus::Open))).build()).await;
    store.append(line.tag(&name)).await.expect("the tip is there");
    let load = Load { run: Some(crate::make::run_id(&id)), tags: true, ..line.at(Place::Named(name.clone())) };
    let loaded = store.load(load).await.expect("the branch loads");
    assert_eq!(loaded.tags[0].row, line.tag_row(&name));
    assert_eq!((loaded.thread, loaded.branch.name), (line.thread.clone(), Some(name)));
    assert_eq!(loaded.run.map(|run| run.id.to_string()), Some(id));
    line.assert_stored().await;
}
