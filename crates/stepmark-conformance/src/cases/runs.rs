//! Do records of runs, graphs and roots come back, and are units that contradict themselves refused?

use stepmark_core::checkpoint::{Origin, Source};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::{CheckpointId, ThreadUid};
use stepmark_core::load::manifest_of;
use stepmark_core::pending::PendingRow;
use stepmark_core::rows::{GraphRow, RunRow, RunStatus};
use stepmark_core::store::{
    BlobUse, Channels, Commit, Expect, Fence, Line as Walk, Load, NameWrite, Outcome, Place, Records, RunWrite,
    TagWrite,
};
use stepmark_core::value::ValueRow;

use super::assert_refused;
use crate::StoreEnv;
use crate::make::{Line, answer_row, blob_node, bytes16, checkpoint_id, encoded, full, run_id, value_of};

fn graph(line: &Line, text: &str) -> (GraphRow, RunRow) {
    let graph = GraphRow::new("kit".into(), encoded(&text));
    let run = RunRow { graph_signature: Some(graph.signature), ..line.run(text, RunStatus::Open) };
    (graph, run)
}

/// A run's record comes back with the signature of its graph, also after it moved on, by commit and by append.
pub async fn run_signature_reads_back(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let (_, run) = graph(&line, "r");
    line.apply(line.next().with_run(RunWrite::Begin(run.clone())).build()).await;
    let load = Load { run: Some(run_id("r")), ..line.whole() };
    assert_eq!(store.load(load.clone()).await.expect("the tip loads").run, Some(run.clone()));
    let moved = RunRow { graph_signature: Some([7; 16]), status: RunStatus::Failed, ..run };
    store.append(Records { run: Some(moved.clone()), ..line.append(Vec::new()) }).await.expect("the owner writes");
    assert_eq!(env.reopen().await.load(load.clone()).await.expect("the tip loads").run, Some(moved.clone()));
    let without = RunRow { graph_signature: None, ..moved };
    line.apply(line.next().with_run(RunWrite::Update(without.clone())).build()).await;
    assert_eq!(store.load(load).await.expect("the tip loads").run, Some(without));
}

/// A graph's record is loaded with a run that has its signature: the one asked for, else the checkpoint's.
pub async fn graph_record_is_loaded_with_its_run(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let ((first, run), (second, later)) = (graph(&line, "first"), graph(&line, "second"));
    line.apply(line.next().with_run(RunWrite::Begin(run)).with_graph(first.clone()).build()).await;
    let mut draft = line.next().claiming().with_run(RunWrite::Begin(later)).with_graph(second.clone());
    draft.manifest.run = run_id("second");
    line.apply(draft.build()).await;
    let found = async |run: Option<&str>| {
        let load = Load { graph: true, run: run.map(run_id), ..line.whole() };
        env.reopen().await.load(load).await.expect("the tip loads").graph
    };
    assert_eq!(found(None).await, Some(second));
    assert_eq!(found(Some("first")).await, Some(first));
    assert_eq!(found(Some("unknown")).await, None);
    assert_eq!(line.read().await.graph, None, "it comes when asked for");
    line.apply(line.next().with_run(RunWrite::Begin(line.run("bare", RunStatus::Open))).build()).await;
    let bare = Load { graph: true, ..line.whole() };
    assert_eq!(store.load(bare).await.expect("the tip loads").graph, None, "its run has no record");
}

/// A graph's record is written once for all threads, and kept as it is when it comes again.
pub async fn graph_record_is_kept_once(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let (kept, run) = graph(&line, "r");
    let commit = line.next().with_run(RunWrite::Begin(run.clone())).with_graph(kept.clone()).build();
    line.apply(commit.clone()).await;
    assert_eq!(store.commit(commit).await.expect("it is there"), Outcome::Repeated);
    let mut other = Line::born(&store, "other").await;
    let forged = GraphRow { record: encoded(&"another"), ..kept.clone() };
    let run = RunRow { branch: other.branch.id, ..run };
    other.apply(other.next().with_run(RunWrite::Begin(run)).with_graph(forged).build()).await;
    for line in [&line, &other] {
        let load = Load { graph: true, run: Some(run_id("r")), ..line.whole() };
        assert_eq!(store.load(load).await.expect("the tip loads").graph, Some(kept.clone()));
    }
    store.delete_thread(line.thread.uid).await.expect("the thread is known");
    let load = Load { graph: true, run: Some(run_id("r")), ..other.whole() };
    assert_eq!(store.load(load).await.expect("the tip loads").graph, Some(kept), "it belongs to no thread");
}

/// The manifest of a root says from which thread and checkpoint its state came.
pub async fn origin_reads_back(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    for id in [checkpoint_id(), CheckpointId::parse("from python").expect("a valid id")] {
        let mut line = Line::unborn(&store, "", &id.to_string());
        let mut birth = line.birth();
        birth.source = Source::Fork;
        let origin = Origin { thread: ThreadUid(bytes16()), checkpoint: id };
        birth.manifest.origin = Some(origin.clone());
        line.apply(birth.build()).await;
        let row = line.read().await.checkpoint.expect("it was born");
        assert_eq!((manifest_of(&row).expect("it decodes").origin, row.source), (Some(origin), Source::Fork));
        line.step().await;
        let row = line.read().await.checkpoint.expect("it has a step");
        assert_eq!(manifest_of(&row).expect("it decodes").origin, None);
        line.assert_stored().await;
    }
}

/// A thread's input and its end are one unit: two checkpoints, both there, or neither.
pub async fn root_and_checkpoint_are_one_unit(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::unborn(&store, "", "t");
    let mut commit = line.whole_run();
    commit.runs.push(RunWrite::Begin(line.run("r", RunStatus::Done)));
    let root = commit.root.clone().expect("it has one");
    line.apply(commit.clone()).await;
    line.assert_stored().await;
    for walk in [Walk::Lineage { branch: line.branch.id, below: None }, Walk::All { before: None }] {
        let page = store.history(line.walk(walk, 9)).await.expect("the line is known");
        let found: Vec<_> = page.entries.iter().map(|entry| (entry.checkpoint.height, &entry.checkpoint.id)).collect();
        assert_eq!(found, [(1, &line.branch.tip.as_ref().expect("a tip").id), (0, &root.id)]);
    }
    assert_eq!(value_of::<String>(&line.read().await, "log"), "end");
    let below = store.load(line.at(Place::Checkpoint(root.id.clone()))).await.expect("the root loads");
    assert_eq!(value_of::<String>(&below, "log"), "input");
    assert_eq!(store.commit(commit.clone()).await.expect("it is there"), Outcome::Repeated);
    line.step().await;
    line.apply(line.claim()).await;
    assert_eq!(store.commit(commit).await.expect("it is there"), Outcome::Repeated);
    line.step().await;
    line.assert_stored().await;

    let loser = Line::unborn(&store, "", "t");
    let commit = loser.whole_run();
    let root = commit.root.clone().expect("it has one");
    assert_refused(store.commit(commit).await, ErrorKind::Exists, Subject::Thread);
    assert_refused(store.load(line.at(Place::Checkpoint(root.id))).await, ErrorKind::Missing, Subject::Checkpoint);
    let stranger = Line::unborn(&store, "", "u");
    let mut lost = stranger.whole_run();
    let (node, _) = blob_node(&"never put");
    let hash = node.head.blob.expect("a blob").0;
    lost.blobs.push(BlobUse { value: stranger.next().next_address(), hash });
    assert_refused(store.commit(lost).await, ErrorKind::Missing, Subject::Blob);
    assert_refused(store.load(stranger.whole()).await, ErrorKind::Missing, Subject::Thread);
}

/// A thread may be made without a checkpoint; its first two may still come in one unit, which claims it.
pub async fn root_may_begin_a_branch_without_checkpoints(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::unborn(&store, "", "t");
    let mut made = Commit::new(line.thread.uid, Expect::New, line.branch.clone());
    (made.new_thread, made.name) = (Some(line.thread.clone()), Some("main".into()));
    line.apply(made.clone()).await;
    assert_eq!(store.load(line.whole()).await.expect("the thread is there").checkpoint, None);
    let claim = line.claim();
    let mut commit = line.whole_run();
    (commit.expect, commit.new_thread) = (claim.expect, None);
    (commit.branch.epoch, commit.branch.claim) = (claim.branch.epoch, claim.branch.claim);
    line.apply(commit.clone()).await;
    line.assert_stored().await;
    assert_eq!(value_of::<String>(&line.read().await, "log"), "end");
    for sent in [made, commit] {
        assert_eq!(store.commit(sent).await.expect("it is there"), Outcome::Repeated);
    }
}

/// Value rows of both checkpoints of a unit with a root are kept.
pub async fn values_of_a_root_are_kept(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::unborn(&store, "", "t");
    let root = line.birth().stored("document", full(&"input"));
    let value = root.value("document");
    let built = root.build();
    let mut end = Line { branch: built.branch.clone(), ..line.clone() }.next();
    (end.commit.expect, end.commit.new_thread) = (built.expect, built.new_thread);
    let mut commit = end.keep("document", value).stored("answer", full(&"end")).build();
    commit.root = built.checkpoint;
    commit.values.extend(built.values);
    line.apply(commit).await;
    let loaded = line.read().await;
    assert_eq!(
        (value_of::<String>(&loaded, "document"), value_of::<String>(&loaded, "answer")),
        ("input".into(), "end".into())
    );
    let named = Load { channels: Channels::Named(vec!["document".into()]), ..line.whole() };
    assert_eq!(store.load(named).await.expect("the tip loads").chains.len(), 1);
}

/// Spoils a unit.
type Spoil<T> = fn(&Line, &mut T);

/// A unit that says what no writer means is refused as such, and nothing of it is written.
pub async fn malformed_unit_is_invalid(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::grown(&store, "t", 1).await;
    let side = line.forked(None).await;
    let before = line.read().await;
    let commits: [(Subject, Spoil<Commit>); 4] = [
        (Subject::Thread, |_, commit| commit.becomes_head = true),
        (Subject::Checkpoint, |_, commit| commit.root.clone_from(&commit.checkpoint)),
        (Subject::Checkpoint, |line, commit| commit.root = line.birth().build().checkpoint),
        (Subject::Branch, |line, commit| commit.leaves = Some(line.left())),
    ];
    for (subject, spoil) in commits {
        let mut commit = line.next().build();
        spoil(&line, &mut commit);
        assert_refused(store.commit(commit).await, ErrorKind::Invalid, subject);
    }
    let mut unclaimed = side.left();
    unclaimed.row = side.branch.clone();
    let leaves = Commit { leaves: Some(unclaimed), ..line.next().build() };
    assert_refused(store.commit(leaves).await, ErrorKind::Invalid, Subject::Branch);
    let stranger = Line::unborn(&store, "", "u");
    let name = NameWrite { name: "main".into(), from: Some(line.branch.id) };
    let renamed = Commit { name: Some(name), ..stranger.birth().build() };
    assert_refused(store.commit(renamed).await, ErrorKind::Invalid, Subject::Branch);
    let mut twice = stranger.whole_run();
    twice.root = twice.root.map(|row| {
        let id = twice.checkpoint.as_ref().expect("it has one").id.clone();
        stepmark_core::checkpoint::CheckpointRow { id, ..row }.sealed(stranger.thread.uid, "")
    });
    assert_refused(store.commit(twice).await, ErrorKind::Invalid, Subject::Checkpoint);
    assert_eq!(line.read().await, before);
    assert_refused(store.load(stranger.whole()).await, ErrorKind::Missing, Subject::Thread);
}

/// An append that its writer may not write, or that says one thing twice, is refused as such.
pub async fn malformed_append_is_invalid(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::grown(&store, "t", 1).await;
    let asked = line.ask(0, "delete?").await;
    let before = store.load(Load { tags: true, ..line.whole() }).await.expect("the tip loads");
    let owners: [Spoil<Records>; 3] = [
        |line, append| append.pending = vec![answer_row(&line.question(0, "delete?"), "yes")],
        |line, append| append.head_from = Some(line.branch.id),
        |line, append| append.tags = line.tag("mine").tags,
    ];
    let outsiders: [(Subject, Spoil<Records>); 7] = [
        (Subject::Branch, |line, append| append.pending = vec![line.pending(0, "a result")]),
        (Subject::Branch, |line, append| append.run = Some(line.run("r", RunStatus::Done))),
        (Subject::Branch, |_, append| append.expect_answers = Some(0)),
        (Subject::Branch, |line, append| {
            append.values = vec![ValueRow { address: line.next().next_address(), node: full(&"x") }];
        }),
        (Subject::Pending, |line, append| {
            let asked = line.question(0, "delete?");
            append.pending = ["yes", "no"].map(|text| answer_row(&asked, text)).into();
        }),
        (Subject::Tag, |line, append| append.tags = [line.tag("t").tags, line.tag("t").tags].concat()),
        (Subject::Tag, |line, append| {
            append.tags = vec![TagWrite::Remove("t".into()), TagWrite::Set(line.tag_row("t"))];
        }),
    ];
    for spoil in owners {
        let mut append = line.flush(0, "mine");
        spoil(&line, &mut append);
        assert_refused(store.append(append).await, ErrorKind::Invalid, Subject::Branch);
    }
    for (subject, spoil) in outsiders {
        let mut append = line.outside();
        spoil(&line, &mut append);
        assert_refused(store.append(append).await, ErrorKind::Invalid, subject);
    }
    let side = line.forked(None).await;
    let elsewhere = Records { branch: side.branch.id, ..line.answer(&asked, "yes") };
    assert_refused(store.append(elsewhere).await, ErrorKind::Invalid, Subject::Pending);
    let owner = Fence::Owner { tip: line.branch.tip.clone(), epoch: line.branch.epoch };
    let pending = vec![PendingRow { lane: side.branch.id.lane(), ..line.pending(0, "x") }];
    let astray = Records { fence: owner, pending, ..line.outside() };
    assert_refused(store.append(astray).await, ErrorKind::Invalid, Subject::Pending);
    let after = store.load(Load { tags: true, branches: false, ..line.whole() }).await.expect("the tip loads");
    assert_eq!((after.pending, after.tags, after.thread), (before.pending, before.tags, before.thread));
}
