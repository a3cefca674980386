//! Does a load return what was committed, of one moment, and name what it cannot find?

use std::sync::Arc;

use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::coding::{Coding, ManifestParts, Seal, join_manifest};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::CheckpointId;
use stepmark_core::pending::PendingRow;
use stepmark_core::rows::{GraphRow, RunRow, RunStatus, Tip};
use stepmark_core::store::{BlobCall, Channels, FORMAT_VERSION, Load, Loaded, Place, Records, RunWrite, ThreadAddress};
use stepmark_core::value::{ValueHead, ValueNode, ValueRef, ValueRow};

use super::{assert_names, assert_refused};
use crate::make::{
    HEIGHT_CHANNEL, Line, appended, blob_node, branch_id, checkpoint_id, full, intent, materialised, run_id, value_of,
};
use crate::{Record, StoreEnv};

/// How many loads run beside how many commits.
const SNAPSHOT_ROUNDS: u64 = 60;

/// A load beside commits shows one committed state: tip, checkpoint, value, run record and pending rows agree.
pub async fn load_is_a_snapshot(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    line.apply(line.next().with_run(RunWrite::Begin(line.run("r", RunStatus::Open))).build()).await;
    let load = Load { run: Some(run_id("r")), ..line.whole() };
    let writes = async {
        for _ in 0..SNAPSHOT_ROUNDS {
            let draft = line.next();
            let mut run = line.run("r", RunStatus::Open);
            run.last = Some(draft.tip());
            let height = draft.height;
            line.apply(draft.stored("log", full(&height)).with_run(RunWrite::Update(run)).build()).await;
            tokio::task::yield_now().await;
        }
    };
    let reads = async {
        for _ in 0..SNAPSHOT_ROUNDS {
            assert_of_one_moment(&store.load(load.clone()).await.expect("the tip loads"));
            tokio::task::yield_now().await;
        }
    };
    futures_util::future::join(writes, reads).await;
}

fn assert_of_one_moment(loaded: &Loaded) {
    let row = loaded.checkpoint.as_ref().expect("the thread was born");
    let tip = Some(Tip { height: row.height, id: row.id.clone() });
    assert_eq!(loaded.branch.row.tip, tip);
    assert_eq!(loaded.branches.first().map(|branch| branch.row.tip.clone()), Some(tip.clone()));
    assert_eq!(value_of::<u64>(loaded, HEIGHT_CHANNEL), row.height);
    if row.height > 1 {
        assert_eq!(value_of::<u64>(loaded, "log"), row.height);
        assert_eq!(loaded.run.as_ref().map(|run| run.last.clone()), Some(tip));
    }
}

/// A load sees every commit that was acknowledged before it, also through another handle.
pub async fn acknowledged_commit_is_loaded(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let other = env.reopen().await;
    for _ in 0..10 {
        line.step().await;
        line.assert_stored().await;
        let seen = other.load(line.whole()).await.expect("the tip loads");
        assert_eq!(seen.branch.row, line.branch);
    }
}

/// Unknown threads, branches, names and checkpoints are errors that name them.
pub async fn unknown_names_are_errors(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::born(&store, "t").await;
    let by_name = ThreadAddress::Name { scope: String::new(), name: "nobody".into() };
    let refusal = assert_refused(store.load(Load::head(by_name)).await, ErrorKind::Missing, Subject::Thread);
    assert_names(&refusal, "nobody");
    let stranger = Line::unborn(&store, "", "u").thread.uid;
    let refusal =
        assert_refused(store.load(Load::head(ThreadAddress::Uid(stranger))).await, ErrorKind::Missing, Subject::Thread);
    assert_names(&refusal, stranger);
    let (branch, checkpoint) = (branch_id(), checkpoint_id());
    let places = [
        (Place::Branch(branch), Subject::Branch, branch.to_string()),
        (Place::Named("draft".into()), Subject::Branch, "draft".into()),
        (Place::Checkpoint(checkpoint.clone()), Subject::Checkpoint, checkpoint.to_string()),
    ];
    for (place, subject, name) in places {
        let refusal = assert_refused(store.load(line.at(place)).await, ErrorKind::Missing, subject);
        assert_names(&refusal, name);
    }
    let elsewhere = Load { namespace: "child".into(), ..line.at(Place::Head) };
    assert_refused(store.load(elsewhere).await, ErrorKind::Missing, Subject::Branch);
}

/// A flipped byte of any record is found when it is read, and the damaged record is named.
pub async fn flipped_byte_is_named(env: &dyn StoreEnv) {
    let records = [
        (Record::Thread, Subject::Thread),
        (Record::Branch, Subject::Branch),
        (Record::Manifest, Subject::Checkpoint),
        (Record::Packed, Subject::Checkpoint),
        (Record::Value, Subject::Value),
        (Record::Pending, Subject::Pending),
        (Record::Run, Subject::Run),
        (Record::Tag, Subject::Tag),
        (Record::Graph, Subject::Graph),
        (Record::Effect, Subject::Effect),
        (Record::Attempt, Subject::Effect),
        (Record::Child, Subject::Checkpoint),
        (Record::Blob, Subject::Blob),
    ];
    for (record, subject) in records {
        let store = env.fresh().await;
        let line = line_with_every_record(&store).await;
        let rows = Load { tags: true, graph: true, children: true, effects: true, ..line.whole() };
        let load = Load { run: Some(run_id("r")), ..rows };
        store.load(load.clone()).await.expect("undamaged, it loads");
        assert!(env.corrupt(record).await, "this environment cannot damage {record:?}: skip the case, with a reason");
        let refusal = assert_refused(env.reopen().await.load(load).await, ErrorKind::Corrupt, subject);
        assert!(!refusal.id().is_empty(), "{record:?}");
    }
}

async fn line_with_every_record(store: &Arc<dyn stepmark_core::store::CheckpointStore>) -> Line {
    let mut line = Line::born(store, "t").await;
    let child = line.called("child").await;
    let (node, bytes) = blob_node(&"in a blob");
    store.blob(BlobCall::Put { scope: String::new(), bytes }).await.expect("the blob is kept");
    let draft = line.next().stored("row", full(&"in a row")).stored("blob", node);
    let graph = GraphRow::new("kit".into(), b"a record".to_vec());
    let run = RunRow { graph_signature: Some(graph.signature), ..line.run("r", RunStatus::Open) };
    let mut commit = draft.with_run(RunWrite::Begin(run)).with_graph(graph).build();
    commit.children = vec![child.child_row()];
    line.apply(commit).await;
    store.append(line.flush(0, "pending")).await.expect("the flush is fenced well");
    store.append(line.tag("good")).await.expect("the tip is there");
    line.does(&intent("pay", "ten"), "receipt").await;
    line
}

/// Head, branch, name and checkpoint lead to the same place.
pub async fn every_place_leads_to_its_checkpoint(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::unborn(&store, "", "t");
    line.apply(line.birth().named("main").build()).await;
    line.steps(2).await;
    let tip = line.branch.tip.clone().expect("it has steps");
    let places =
        [Place::Head, Place::Branch(line.branch.id), Place::Named("main".into()), Place::Checkpoint(tip.id.clone())];
    let whole = line.read().await;
    for place in places {
        assert_eq!(store.load(line.at(place.clone())).await.expect("the place loads"), whole, "{place:?}");
    }
    let by_name = ThreadAddress::Name { scope: String::new(), name: "t".into() };
    let load = Load { thread: by_name, ..line.at(Place::Head) };
    assert_eq!(store.load(load).await.expect("the thread loads"), whole);
}

/// A checkpoint that is the tip of several branches means the head, if it is the head's; else the branch that holds it.
pub async fn shared_checkpoint_means_the_head(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut main = Line::born(&store, "t").await;
    let shared = main.branch.tip.clone().expect("it was born").id;
    let mut side = main.forked(Some("side")).await;
    let grand = side.forked(None).await;
    let branch_at = async |id: CheckpointId| {
        store.load(main.at(Place::Checkpoint(id))).await.expect("the checkpoint loads").branch.row.id
    };
    assert_eq!(branch_at(shared.clone()).await, main.branch.id);
    side.step().await;
    let own = side.branch.tip.clone().expect("it has a step").id;
    let below = side.forked(None).await;
    assert_eq!(branch_at(own).await, side.branch.id);
    let uid = main.thread.uid;
    main.step().await;
    let old = Load { place: Place::Checkpoint(shared), ..Load::head(ThreadAddress::Uid(uid)) };
    assert_eq!(store.load(old).await.expect("the old tip loads").branch.row.id, main.branch.id);
    for line in [main, side, grand, below] {
        line.assert_stored().await;
    }
}

/// A checkpoint as a moment of a branch comes with what was asked in that branch's lane, wherever the branch is by now.
pub async fn moment_has_its_branchs_lane(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut main = Line::born(&store, "t").await;
    let mut side = main.forked(Some("side")).await;
    let (of_main, of_side) = (main.ask(0, "delete?").await, side.ask(0, "send?").await);
    let lanes = [(main.branch.id, of_main.clone()), (side.branch.id, of_side)];
    for round in 0..2 {
        for (branch, asked) in &lanes {
            let place = Place::Moment { branch: *branch, checkpoint: of_main.base.clone() };
            let loaded = store.load(Load { pending: true, ..main.at(place) }).await.expect("the moment loads");
            assert_eq!((loaded.branch.row.id, &loaded.pending[..]), (*branch, std::slice::from_ref(asked)), "{round}");
            assert_eq!(loaded.checkpoint.map(|row| row.id), Some(of_main.base.clone()));
        }
        main.step().await;
        side.step().await;
    }
    let (branch, checkpoint) = (main.branch.id, checkpoint_id());
    let nowhere = main.at(Place::Moment { branch, checkpoint });
    assert_refused(store.load(nowhere).await, ErrorKind::Missing, Subject::Checkpoint);
    let nobody = main.at(Place::Moment { branch: branch_id(), checkpoint: of_main.base });
    assert_refused(store.load(nobody).await, ErrorKind::Missing, Subject::Branch);
}

/// What a codec in front of the store made of manifests and bodies passes unopened: a store reads heads alone.
pub async fn coded_records_pass_unopened(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let coding = Coding { compressed_from: Some(5_000), seal: Seal::Body };
    let coded = |body: &[u8]| {
        let head = full(&0).head;
        ValueNode { head: ValueHead { coding, ..head }, body: body.to_vec() }
    };
    let graph = GraphRow::new("kit".into(), b"a record".to_vec());
    let run = RunRow { graph_signature: Some(graph.signature), ..line.run("kit", RunStatus::Open) };
    let draft = line.next().packed("packed", coded(b"\xc1packed")).stored("row", coded(b"\xc1row"));
    let mut commit = draft.with_run(RunWrite::Begin(run)).with_graph(graph.clone()).build();
    let row = commit.checkpoint.take().expect("a step has a checkpoint");
    let parts = ManifestParts::of(&row.manifest).expect("it has two parts");
    let manifest = join_manifest(&parts.head_as(true), b"\xc1 nobody here reads this");
    let row = CheckpointRow { manifest, ..row }.sealed(line.thread.uid, "");
    commit.checkpoint = Some(row.clone());
    line.apply(commit).await;
    let flush = PendingRow { body: b"\xc1results".to_vec(), ..line.pending(0, "") };
    store.append(line.append(vec![flush.clone()])).await.expect("the owner flushes");
    for store in [store, env.reopen().await] {
        let loaded = store.load(Load { graph: true, ..line.whole() }).await.expect("it loads by heads");
        assert_eq!((loaded.checkpoint.as_ref(), &loaded.pending), (Some(&row), &vec![flush.clone()]));
        assert_eq!((loaded.chains.len(), loaded.graph.as_ref()), (3, Some(&graph)));
        let bodies: Vec<_> =
            loaded.chains.iter().map(|chain| &chain.nodes[0].1).filter(|node| !node.head.coding.is_plain()).collect();
        assert_eq!(bodies, [&coded(b"\xc1packed"), &coded(b"\xc1row")]);
        let page = store.history(line.lineage(None, 1)).await.expect("it lists by heads");
        assert_eq!(page.entries[0].checkpoint.manifest, row.manifest);
    }
}

/// Only the channels asked for come with values; rows alone come without packed values.
pub async fn only_named_channels_are_loaded(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let draft = line.next().packed("a", full(&1)).stored("b", full(&2)).packed("c", full(&3));
    line.apply(draft.build()).await;
    let named = |names: &[&str]| Channels::Named(names.iter().map(|name| (*name).to_owned()).collect());
    for (channels, count) in [(Channels::All, 4), (named(&["b", "c"]), 2), (named(&["never written"]), 0)] {
        let loaded = store.load(Load { channels, ..line.whole() }).await.expect("the tip loads");
        assert_eq!(loaded.chains.len(), count);
    }
    let some = store.load(Load { channels: named(&["c", "b"]), ..line.whole() }).await.expect("the tip loads");
    assert_eq!((value_of::<u64>(&some, "b"), value_of::<u64>(&some, "c")), (2, 3));
    let rows = store.load(Load { channels: Channels::None, ..line.whole() }).await.expect("the tip loads");
    assert!(rows.chains.is_empty());
    assert!(rows.checkpoint.is_some_and(|row| row.packed.is_empty() && !row.manifest.is_empty()));
}

/// Payloads of planned tasks that lie in value rows come with all channels.
pub async fn payloads_are_loaded(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let draft = line.next();
    let address = draft.next_address();
    line.apply(draft.next_with_payload(full(&"a big payload")).build()).await;
    assert_eq!(materialised(&line.read().await, address), full(&"a big payload").body);
}

/// A value follows from nodes of other branches and other places, and comes as one whole chain.
pub async fn value_chain_crosses_branches(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let first = line.next().packed("log", full(&["0"]));
    let mut base = first.value("log");
    line.apply(first.build()).await;
    for length in 1..7u64 {
        if length % 2 == 0 {
            line = line.forked(None).await;
        }
        let node = appended(base, length, &[length.to_string()]);
        let draft = if length % 3 == 0 { line.next().stored("log", node) } else { line.next().packed("log", node) };
        base = draft.value("log");
        line.apply(draft.build()).await;
    }
    let loaded = line.read().await;
    let expected: Vec<String> = (0..7).map(|word: u64| word.to_string()).collect();
    assert_eq!(value_of::<Vec<String>>(&loaded, "log"), expected);
    let chain = loaded.chains.iter().find(|chain| chain.nodes[0].0 == base.address).expect("the log was loaded");
    assert_eq!(chain.nodes.len(), 7);
}

/// A channel that did not change names its old value, and still loads.
pub async fn unchanged_value_is_loaded(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let draft = line.next().packed("a", full(&"packed")).stored("b", full(&"row"));
    let (packed, row) = (draft.value("a"), draft.value("b"));
    line.apply(draft.build()).await;
    line.step().await;
    let mut side = line.forked(None).await;
    for line in [&mut line, &mut side] {
        line.apply(line.next().keep("a", packed).keep("b", row).build()).await;
        let loaded = line.read().await;
        assert_eq!(value_of::<String>(&loaded, "a"), "packed");
        assert_eq!(value_of::<String>(&loaded, "b"), "row");
    }
}

/// The next ordinal continues after every value row at the height to come, also over those of a dead attempt.
pub async fn next_ordinal_skips_flushed_values(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    assert_eq!(line.read().await.next_ordinal, 0);
    let address = line.next().next_address();
    let values = [0u32, 1, 4].map(|ordinal| ValueRow {
        address: stepmark_core::value::ValueAddress { ordinal, ..address },
        node: full(&ordinal),
    });
    store.append(Records { values: values.into(), ..line.flush(0, "x") }).await.expect("the flush is fenced well");
    line.apply(line.claim()).await;
    assert_eq!(line.read().await.next_ordinal, 5);
    let flushed = ValueRef { address: stepmark_core::value::ValueAddress { ordinal: 4, ..address }, packed: false };
    line.apply(line.next().from_ordinal(5).keep("flushed", flushed).stored("own", full(&5)).build()).await;
    let loaded = line.read().await;
    assert_eq!((value_of::<u32>(&loaded, "flushed"), value_of::<u32>(&loaded, "own")), (4, 5));
    assert_eq!(loaded.next_ordinal, 0);
}

/// All branches of the thread come in order of creation, with their names.
pub async fn branches_are_listed_in_order(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let mut expected = vec![(line.branch.id, None)];
    for name in [Some("zeta"), None, Some("alpha"), Some("mid")] {
        let side = line.forked(name).await;
        expected.push((side.branch.id, name.map(str::to_owned)));
    }
    line.step().await;
    let listed: Vec<_> = line.read().await.branches.into_iter().map(|branch| (branch.row.id, branch.name)).collect();
    assert_eq!(listed, expected);
    let without = store.load(Load { branches: false, ..line.whole() }).await.expect("the tip loads");
    assert!(without.branches.is_empty());
}

/// A branch without a checkpoint loads: a run may be accepted before its first input is applied.
pub async fn branch_before_its_first_checkpoint_loads(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::unborn(&store, "", "t");
    let mut commit = line.birth().build();
    (commit.checkpoint, commit.branch.tip) = (None, None);
    line.apply(commit).await;
    let loaded = line.read().await;
    assert_eq!((loaded.branch.row.clone(), loaded.checkpoint.is_none()), (line.branch.clone(), true));
    line.step().await;
    line.assert_stored().await;
}

/// The store says which format it speaks, and its time does not go back.
pub async fn store_time_never_goes_back(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let first = store.info().await.expect("the store answers");
    assert_eq!(first.format_version, FORMAT_VERSION);
    assert!(!first.backend.is_empty());
    let mut before = first.time;
    for _ in 0..20 {
        let now = store.info().await.expect("the store answers").time;
        assert!(now >= before, "{now} is before {before}");
        before = now;
    }
}
