//! Is a commit one fenced, atomic unit?

use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::BlobHash;
use stepmark_core::pending::PendingRow;
use stepmark_core::rows::{ForkPoint, RunStatus, ThreadRow};
use stepmark_core::store::{BlobCall, BlobReply, Commit, Load, Outcome, Records, RunWrite, ThreadAddress};
use stepmark_core::value::ValueRow;

use super::{assert_names, assert_refused};
use crate::StoreEnv;
use crate::make::{Line, appended, blob_node, branch_id, full, run_id, value_of};

/// What a commit wrote is loaded as it was written: rows, values, name and run.
pub async fn commit_reads_back(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::unborn(&store, "", "t");
    let run = line.run("first", RunStatus::Open);
    let draft = line.birth().packed("question", full(&"why?")).stored("answer", full(&vec![7u8; 9000]));
    let commit = draft.with_run(RunWrite::Begin(run.clone())).named("main").build();
    line.apply(commit.clone()).await;

    let loaded = store.load(Load { run: Some(run.id.clone()), ..line.whole() }).await.expect("the tip loads");
    assert_eq!(loaded.thread, line.thread);
    assert_eq!(loaded.branch.row, commit.branch);
    assert_eq!(loaded.branch.name.as_deref(), Some("main"));
    assert_eq!(loaded.checkpoint, commit.checkpoint);
    assert_eq!(loaded.branches.len(), 1);
    assert_eq!(loaded.run, Some(run));
    assert_eq!(value_of::<String>(&loaded, "question"), "why?");
    assert_eq!(value_of::<Vec<u8>>(&loaded, "answer"), vec![7; 9000]);
}

/// A commit that is refused for any of its parts leaves none of the others.
pub async fn commit_is_all_or_nothing(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let taken = ValueRow { address: line.next().next_address(), node: full(&"flushed") };
    let mut flush = line.flush(0, "flushed");
    flush.values.push(taken.clone());
    store.append(flush).await.expect("the flush is fenced well");

    let (lost, _) = blob_node(&"never put");
    let run = line.run("second", RunStatus::Open);
    let full_of_parts = |line: &Line| {
        let draft = line.next().from_ordinal(2).stored("log", full(&"x")).named("draft");
        draft.with_run(RunWrite::Begin(run.clone()))
    };
    let missing_blob = full_of_parts(&line).stored("blob", lost).build();
    assert_refused(store.commit(missing_blob).await, ErrorKind::Missing, Subject::Blob);
    let mut other_value = full_of_parts(&line).build();
    other_value.values.push(ValueRow { node: full(&"another"), ..taken });
    assert_refused(store.commit(other_value).await, ErrorKind::Corrupt, Subject::Value);
    let mut other_pending = full_of_parts(&line).build();
    other_pending.pending.push(PendingRow { body: vec![1], ..line.pending(0, "flushed") });
    assert_refused(store.commit(other_pending).await, ErrorKind::Corrupt, Subject::Pending);

    line.assert_stored().await;
    let loaded = store.load(Load { run: Some(run.id.clone()), ..line.whole() }).await.expect("the tip loads");
    assert_eq!((loaded.run, loaded.branch.name, loaded.next_ordinal), (None, None, 2));
    assert_eq!(loaded.pending, [line.pending(0, "flushed")]);
    line.apply(full_of_parts(&line).build()).await;
}

/// Two writers that saw one tip: the second is refused, and nothing of it is visible.
pub async fn stale_tip_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let mut late = line.clone();
    line.step().await;
    let commit = late.next().stored("log", full(&"late")).build();
    let id = commit.checkpoint.as_ref().map(|row| row.id.clone()).expect("a step has a checkpoint");
    let refusal = assert_refused(late.send(commit).await, ErrorKind::Conflict, Subject::Branch);
    assert_names(&refusal, line.branch.id);
    assert_refused(late.send(late.claim()).await, ErrorKind::Conflict, Subject::Branch);
    line.assert_stored().await;
    let lost = line.at(stepmark_core::store::Place::Checkpoint(id));
    assert_refused(store.load(lost).await, ErrorKind::Missing, Subject::Checkpoint);
    assert_eq!(line.read().await.next_ordinal, 0);
}

/// A writer whose branch was claimed by another is refused, whatever it expects of the tip.
pub async fn stale_epoch_is_fenced(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let mut zombie = line.clone();
    line.apply(line.claim()).await;
    let refusal = assert_refused(zombie.send(zombie.next().build()).await, ErrorKind::Fenced, Subject::Branch);
    assert_names(&refusal, line.branch.id);
    line.step().await;
    assert_refused(zombie.send(zombie.next().build()).await, ErrorKind::Fenced, Subject::Branch);
    assert_refused(zombie.send(zombie.claim()).await, ErrorKind::Fenced, Subject::Branch);
    zombie.branch.tip.clone_from(&line.branch.tip);
    assert_refused(zombie.send(zombie.next().build()).await, ErrorKind::Fenced, Subject::Branch);
    line.assert_stored().await;
    line.step().await;
}

/// A write that expects another head than the thread has is refused.
pub async fn moved_head_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::born(&store, "t").await;
    let mut side = line.forked(Some("side")).await;
    let mut commit = side.next().build();
    commit.expect_head = Some(side.branch.id);
    assert_refused(side.send(commit.clone()).await, ErrorKind::Conflict, Subject::Thread);
    side.assert_stored().await;
    commit.expect_head = Some(line.branch.id);
    side.apply(commit).await;
    side.assert_stored().await;
}

/// A thread's name and uid belong to the first that creates it; the loser finds that one.
pub async fn second_creator_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let winner = Line::born(&store, "t").await;
    let mut loser = Line::unborn(&store, "", "t");
    let refusal = assert_refused(loser.send(loser.birth().build()).await, ErrorKind::Exists, Subject::Thread);
    assert_names(&refusal, "t");
    let mut renamed = Line { thread: ThreadRow { name: "u".into(), ..winner.thread.clone() }, ..loser.clone() };
    assert_refused(renamed.send(renamed.birth().build()).await, ErrorKind::Exists, Subject::Thread);
    let by_name = ThreadAddress::Name { scope: String::new(), name: "t".into() };
    assert_eq!(store.load(Load::head(by_name)).await.expect("the winner loads").thread, winner.thread);
    let by_uid = Load::head(ThreadAddress::Uid(loser.thread.uid));
    assert_refused(store.load(by_uid).await, ErrorKind::Missing, Subject::Thread);
    winner.assert_stored().await;
}

/// A branch's id and name belong to the first that takes them.
pub async fn taken_branch_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::born(&store, "t").await;
    let side = line.forked(Some("side")).await;
    let (_, same_name) = line.fork(Some("side"));
    let refusal = assert_refused(store.commit(same_name).await, ErrorKind::Exists, Subject::Branch);
    assert_names(&refusal, "side");
    let (_, mut same_id) = line.fork(None);
    same_id.branch.id = side.branch.id;
    assert_refused(store.commit(same_id).await, ErrorKind::Exists, Subject::Branch);
    assert_eq!(line.read().await.branches.len(), 2);
    side.assert_stored().await;
}

/// A run's id is unique in its thread over all branches, and free in another thread.
pub async fn taken_run_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let begin = |line: &Line| line.next().with_run(RunWrite::Begin(line.run("r", RunStatus::Open))).build();
    line.apply(begin(&line)).await;
    let refusal = assert_refused(line.send(begin(&line)).await, ErrorKind::Exists, Subject::Run);
    assert_names(&refusal, "r");
    let mut side = line.forked(None).await;
    assert_refused(side.send(begin(&side)).await, ErrorKind::Exists, Subject::Run);
    side.assert_stored().await;
    let mut other = Line::born(&store, "other").await;
    other.apply(begin(&other)).await;
}

/// A commit whose values name a blob without bytes is refused; after a put the same commit succeeds.
pub async fn missing_blob_is_refused(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let (node, bytes) = blob_node(&"a long document");
    let commit = line.next().stored("document", node).build();
    let refusal = assert_refused(line.send(commit.clone()).await, ErrorKind::Missing, Subject::Blob);
    assert_names(&refusal, BlobHash::of(&bytes));
    line.assert_stored().await;
    let put = BlobCall::Put { scope: String::new(), bytes: bytes.clone() };
    assert_eq!(store.blob(put).await.expect("the blob is kept"), BlobReply::Kept(BlobHash::of(&bytes)));
    line.apply(commit).await;
    assert_eq!(value_of::<String>(&line.read().await, "document"), "a long document");
}

/// A checkpoint's id with another manifest, other packed values or another place is not a repetition.
pub async fn same_id_with_other_bytes_is_corrupt(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let before = line.clone();
    let first = before.next().packed("log", full(&"a"));
    line.apply(first.clone().build()).await;

    let same_id = |mut draft: crate::make::Draft| {
        draft.id = first.id.clone();
        draft.build()
    };
    let mut other_author = before.next().packed("log", full(&"a"));
    other_author.manifest.author = Some("someone else".into());
    let others = [
        same_id(other_author),
        same_id(before.next().packed("log", full(&"b"))),
        same_id(line.next().packed("log", full(&"a"))),
    ];
    for commit in others {
        let refusal = assert_refused(store.commit(commit).await, ErrorKind::Corrupt, Subject::Checkpoint);
        assert_names(&refusal, &first.id);
    }
    assert_eq!(line.read().await.checkpoint, first.build().checkpoint);
}

/// Unknown threads, branches, runs and fork points are named, and nothing is made in their place.
pub async fn unknown_targets_are_missing(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::born(&store, "t").await;
    let stranger = Line::unborn(&store, "", "stranger");
    let no_thread = Commit { new_thread: None, ..stranger.birth().build() };
    let refusal = assert_refused(store.commit(no_thread).await, ErrorKind::Missing, Subject::Thread);
    assert_names(&refusal, stranger.thread.uid);

    let mut no_branch = line.next().build();
    no_branch.branch.id = branch_id();
    let refusal = assert_refused(store.commit(no_branch.clone()).await, ErrorKind::Missing, Subject::Branch);
    assert_names(&refusal, no_branch.branch.id);

    let no_run = line.next().with_run(RunWrite::Update(line.run("r", RunStatus::Done))).build();
    let refusal = assert_refused(store.commit(no_run).await, ErrorKind::Missing, Subject::Run);
    assert_names(&refusal, run_id("r"));

    let (_, mut no_checkpoint) = line.fork(None);
    no_checkpoint.branch.fork = Some(ForkPoint { branch: line.branch.id, height: 5 });
    assert_refused(store.commit(no_checkpoint).await, ErrorKind::Missing, Subject::Checkpoint);
    assert_eq!(line.read().await.branches.len(), 1);
    line.assert_stored().await;
}

/// An input claims the branch and extends it in one unit.
pub async fn claim_and_checkpoint_are_one_unit(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let mut zombie = line.clone();
    line.apply(line.next().claiming().build()).await;
    assert_eq!((line.branch.epoch, line.branch.tip.as_ref().map(|tip| tip.height)), (2, Some(1)));
    line.assert_stored().await;
    assert_refused(zombie.send(zombie.next().claiming().build()).await, ErrorKind::Fenced, Subject::Branch);
    line.step().await;
    line.assert_stored().await;
}

/// Branches that share their past grow on their own: tips, epochs and values stay apart.
pub async fn branches_of_one_thread_grow_apart(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut main = Line::born(&store, "t").await;
    main.apply(main.next().packed("log", full(&["shared"])).build()).await;
    let base = main.read().await.chains.last().expect("the log was loaded").nodes[0].0;
    let base = stepmark_core::value::ValueRef { address: base, packed: true };
    let mut left = main.forked(Some("left")).await;
    let mut right = main.forked(None).await;
    for (line, word) in [(&mut left, "left"), (&mut right, "right"), (&mut main, "main")] {
        line.apply(line.claim()).await;
        line.apply(line.next().packed("log", appended(base, 1, &[word])).build()).await;
    }
    left.step().await;
    for (line, word, height) in [(&left, "left", 3), (&right, "right", 2), (&main, "main", 2)] {
        line.assert_stored().await;
        assert_eq!(line.branch.tip.as_ref().map(|tip| tip.height), Some(height), "{word}");
    }
    for (line, word) in [(&right, "right"), (&main, "main")] {
        assert_eq!(value_of::<Vec<String>>(&line.read().await, "log"), ["shared", word]);
    }
    let names: Vec<_> = main.read().await.branches.into_iter().map(|branch| branch.name).collect();
    assert_eq!(names, [None, Some("left".into()), None]);
}

/// A commit may give one run up and begin another; both records move with it.
pub async fn run_records_move_with_the_commit(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    line.apply(line.next().with_run(RunWrite::Begin(line.run("old", RunStatus::Open))).build()).await;
    let (given_up, begun) = (line.run("old", RunStatus::Cancelled), line.run("new", RunStatus::Open));
    let runs = [RunWrite::Update(given_up.clone()), RunWrite::Begin(begun.clone())];
    let commit = runs.into_iter().fold(line.next().claiming(), crate::make::Draft::with_run).build();
    line.apply(commit.clone()).await;
    for run in [given_up, begun] {
        let load = Load { run: Some(run.id.clone()), ..line.whole() };
        assert_eq!(store.load(load).await.expect("the tip loads").run, Some(run));
    }
    assert_eq!(store.commit(commit).await.expect("the same again"), Outcome::Repeated);
    let unknown = Load { run: Some(run_id("none")), ..line.whole() };
    assert_eq!(store.load(unknown).await.expect("an unknown run is absent").run, None);
}

/// A claim that brings a value where the run before it flushed one meanwhile has lost a race; it is no damage.
pub async fn claim_over_flushed_values_conflicts(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut line = Line::born(&store, "t").await;
    let takeover = line.next().from_ordinal(3).stored("log", full(&"mine")).claiming();
    let address = takeover.value("log").address;
    let values = vec![ValueRow { address, node: full(&"flushed") }];
    store.append(Records { values, ..line.flush(0, "in time") }).await.expect("the owner flushes");
    let refusal = assert_refused(line.send(takeover.build()).await, ErrorKind::Conflict, Subject::Branch);
    assert_names(&refusal, line.branch.id);
    let free = line.read().await.next_ordinal;
    line.apply(line.next().from_ordinal(free).stored("log", full(&"mine")).claiming().build()).await;
    assert_eq!(value_of::<String>(&line.read().await, "log"), "mine");
}

/// Spoils a commit, with the help of another branch's line.
type Contradict = fn(&Line, &mut Commit);

/// A unit whose parts contradict each other is refused as such, and nothing of it is written.
pub async fn contradiction_is_invalid(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::grown(&store, "t", 1).await;
    let side = line.forked(None).await;
    let contradictions: [(Subject, Contradict); 9] = [
        (Subject::Branch, |_, commit| commit.branch.epoch += 2),
        (Subject::Branch, |_, commit| commit.branch.epoch -= 1),
        (Subject::Branch, |_, commit| commit.checkpoint = None),
        (Subject::Branch, |side, commit| commit.branch.fork = side.branch.fork),
        (Subject::Branch, |side, commit| commit.branch.claim = side.branch.claim),
        (Subject::Checkpoint, |_, commit| commit.branch.tip.as_mut().expect("it has a tip").height += 1),
        (Subject::Value, |_, commit| commit.values[0].address.height += 1),
        (Subject::Pending, |side, commit| commit.pending.push(side.pending(0, "of another lane"))),
        (Subject::Run, |side, commit| commit.runs.push(RunWrite::Begin(side.run("r", RunStatus::Open)))),
    ];
    for (index, (subject, contradict)) in contradictions.into_iter().enumerate() {
        let mut commit = line.next().stored("log", full(&index)).build();
        contradict(&side, &mut commit);
        assert_refused(store.commit(commit).await, ErrorKind::Invalid, subject);
    }
    let astray = Records { pending: side.flush(0, "of another lane").pending, ..line.flush(0, "x") };
    assert_refused(store.append(astray).await, ErrorKind::Invalid, Subject::Pending);
    line.assert_stored().await;
    assert_eq!(line.read().await.next_ordinal, 0);
}
