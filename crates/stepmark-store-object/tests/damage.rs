//! Is every flipped byte found, and what lies outside of records read back?

mod common;

use std::sync::Arc;

use stepmark_conformance::make::{Line, blob_node, full, intent, run_id};
use stepmark_core::capability::{
    Attribute, AttributeChange, AttributeKind, AttributeValue, CheckpointPlace, Declaration, Unlink,
};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::pending::PendingKind;
use stepmark_core::rows::{GraphRow, RunRow, RunStatus};
use stepmark_core::store::{BlobCall, CheckpointStore, Load, Loaded, RunWrite, ThreadAddress};
use stepmark_store_object::Objects;
use stepmark_store_object::object_store::ObjectStoreExt;
use stepmark_store_object::object_store::memory::InMemory;
use stepmark_store_object::object_store::path::Path;

async fn opened(place: &Arc<InMemory>) -> Arc<dyn CheckpointStore> {
    Arc::new(Objects::open(Arc::clone(place) as _, "").await.expect("it opens"))
}

/// A thread with large and small bodies of all kinds.
async fn with_bodies(store: &Arc<dyn CheckpointStore>) -> Line {
    let mut line = Line::unborn(store, "", "t");
    let graph = GraphRow::new("kit".into(), b"a record".to_vec());
    let run = RunRow { graph_signature: Some(graph.signature), ..line.run("r", RunStatus::Open) };
    line.apply(line.birth().named("main").with_graph(graph).with_run(RunWrite::Begin(run)).build()).await;
    let (node, bytes) = blob_node(&"in a blob");
    store.blob(BlobCall::Put { scope: String::new(), bytes }).await.expect("the blob is kept");
    let draft = line.next().packed("small", full(&"s")).packed("large", full(&"l".repeat(3000)));
    let draft = draft.stored("row", full(&"r".repeat(3000))).stored("short row", full(&"r")).stored("blob", node);
    let draft = draft.next_with_payload(full(&"p".repeat(200)));
    let kept: Vec<_> = ["large", "row", "blob"].map(|channel| (channel, draft.value(channel))).into();
    line.apply(draft.build()).await;
    let mut draft = line.next();
    for (channel, value) in kept {
        draft = draft.keep(channel, value);
    }
    line.apply(draft.build()).await;
    store.append(line.flush(0, &"f".repeat(3000))).await.expect("it is flushed");
    store.append(line.flush(1, "short")).await.expect("it is flushed");
    line.does(&intent("pay", "ten"), "receipt").await;
    describe(&line).await;
    line
}

/// A row of each other kind, what is said of the thread, and a checkpoint that is taken away.
async fn describe(line: &Line) {
    let (search, retention) = (line.store.search().expect("it searches"), line.store.retention().expect("it lets go"));
    line.called("research").await;
    let question = line.ask(0, "really?").await;
    line.store.append(line.answer(&question, "yes")).await.expect("anybody answers");
    line.store.append(line.tag("good")).await.expect("the tip is there");
    let declaration = Declaration { name: "who".into(), kind: AttributeKind::Text };
    search.declare("", vec![declaration]).await.expect("nothing is declared otherwise");
    let change = AttributeChange { name: "who".into(), value: Some(AttributeValue::Text("zoe".into())) };
    search.set_attributes(line.thread.uid, vec![change]).await.expect("it is declared");
    let place = CheckpointPlace { namespace: String::new(), branch: line.branch.id, height: 0 };
    let unlink = Unlink { thread: line.thread.uid, mark: None, checkpoints: vec![place], branches: Vec::new() };
    assert_eq!(retention.unlink(unlink).await.expect("the thread is there").checkpoints, 1);
    retention.set_expiry(line.thread.uid, Some(i64::MAX / 2)).await.expect("the thread is there");
}

fn whole(line: &Line) -> Load {
    Load { tags: true, effects: true, children: true, graph: true, run: Some(run_id("r")), ..line.whole() }
}

async fn read(place: &Arc<InMemory>, load: Load) -> stepmark_core::error::Result<Loaded> {
    opened(place).await.load(load).await
}

#[tokio::test]
async fn bodies_outside_read_back_in_every_handle() {
    let place = Arc::<InMemory>::default();
    let line = with_bodies(&opened(&place).await).await;
    let memory: Arc<dyn CheckpointStore> = Arc::new(stepmark_core::memory::MemoryStore::new());
    let same = with_bodies(&memory).await;
    let (stored, expected) = (read(&place, whole(&line)).await.expect("it loads"), same.read().await);
    let bodies = |loaded: &Loaded| {
        let nodes = loaded.chains.iter().flat_map(|chain| &chain.nodes).map(|(_, node)| node.clone());
        // Where a sub-graph stands names its branch.
        let pending = loaded.pending.iter().filter(|row| row.kind != PendingKind::Child);
        let pending: Vec<_> = pending.map(|row| row.body.clone()).collect();
        (nodes.collect::<Vec<_>>(), pending)
    };
    assert_eq!(bodies(&stored), bodies(&expected));
    assert_eq!(read(&place, whole(&line)).await.expect("it loads"), stored);
}

/// What is said of the thread that is loaded.
async fn said(place: &Arc<InMemory>, loads: &[(Load, Loaded)]) -> stepmark_core::error::Result<Vec<Attribute>> {
    let store = opened(place).await;
    store.search().expect("it searches").attributes(loads[0].1.thread.uid).await
}

/// Flips bytes of an object, all at its beginning and then one of seven; what is then read is refused by name or unchanged.
async fn flip_all(place: &Arc<InMemory>, path: &Path, loads: &[(Load, Loaded)], must_be_found: bool) {
    let said = said(place, loads).await.expect("undamaged, it is read");
    let bytes = place.get(path).await.expect("it is there").bytes().await.expect("it reads");
    for at in (0..bytes.len()).filter(|at| *at < 400 || at % 7 == 0) {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 1 << (at % 8);
        place.put(path, damaged.into()).await.expect("it is written");
        let mut found = false;
        for (load, undamaged) in loads {
            match read(place, load.clone()).await {
                Ok(loaded) => assert!(loaded == *undamaged, "{path} byte {at} changes what is read"),
                Err(error) => {
                    let is_named = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported);
                    assert!(is_named && !error.id().is_empty(), "{path} byte {at}: {error}");
                    found = true;
                }
            }
        }
        match self::said(place, loads).await {
            Ok(now) => assert!(now == said, "{path} byte {at} changes what is said"),
            Err(error) => {
                assert!(!error.id().is_empty(), "{path} byte {at}: {error}");
                found = true;
            }
        }
        assert!(found || !must_be_found, "{path} byte {at} is not found");
    }
    place.put(path, bytes.into()).await.expect("it is written");
}

#[tokio::test]
async fn every_flipped_byte_is_found() {
    let place = Arc::<InMemory>::default();
    let line = with_bodies(&opened(&place).await).await;
    let by_name = ThreadAddress::Name { scope: String::new(), name: "t".into() };
    let mut loads = Vec::new();
    for load in [whole(&line), Load { thread: by_name, ..whole(&line) }] {
        loads.push((load.clone(), read(&place, load).await.expect("undamaged, it loads")));
    }
    for path in common::paths_of(&*place).await {
        if path.as_ref() == "stepmark" {
            continue;
        }
        // The object of a name is looked into only where the log was not begun: its uid alone counts.
        let is_name = path.as_ref().starts_with("names/");
        // Bodies that nothing at this place names are not read.
        flip_all(&place, &path, &loads, !is_name).await;
    }
}

#[tokio::test]
async fn flipped_byte_of_a_pack_is_found() {
    let place = Arc::<InMemory>::default();
    let line = Line::grown(&opened(&place).await, "t", 31).await;
    let packs = async || {
        let paths = common::paths_of(&*place).await;
        paths.into_iter().find(|path| path.as_ref().contains("/packs/"))
    };
    let mut pack = packs().await;
    while pack.is_none() {
        tokio::task::yield_now().await;
        pack = packs().await;
    }
    let load = line.whole();
    let loads = [(load.clone(), read(&place, load).await.expect("undamaged, it loads"))];
    flip_all(&place, &pack.expect("it is there"), &loads, true).await;
}

#[tokio::test]
async fn place_of_another_layout_is_refused() {
    let place = Arc::<InMemory>::default();
    for text in ["stepmark object store, layout 2\n", "something else", ""] {
        place.put(&"stepmark".into(), text.as_bytes().to_vec().into()).await.expect("it is written");
        let refused = Objects::open(Arc::clone(&place) as _, "").await.expect_err("it is not ours");
        assert!(refused.is(ErrorKind::Unsupported, Subject::Store), "{refused}");
    }
}
