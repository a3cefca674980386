//! Sequences in which two writers meet: each call's outcome is told by what it wrote, and nobody's row is lost.

use std::sync::Arc;

use stepmark_core::checkpoint::{CheckpointRow, Manifest, Source};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::{BranchId, CheckpointId, ClaimToken, RecordHash, RunId, ThreadUid};
use stepmark_core::memory::MemoryStore;
use stepmark_core::pending::{NO_TASK, PendingKind, PendingRow, encode_flush};
use stepmark_core::rows::{BranchRow, EffectsMode, ForkPoint, RunRow, RunStatus, ThreadRow, Tip};
use stepmark_core::store::{CheckpointStore, Commit, Expect, Fence, Outcome, Records, RunWrite};
use stepmark_core::value::{Structure, ValueAddress, ValueHead, ValueNode, ValueRef, ValueRow};

const THREAD: ThreadUid = ThreadUid([1; 16]);

fn id(bits: u64) -> BranchId {
    BranchId::new(bits).expect("non-zero")
}

fn tip(height: u64, name: &str) -> Tip {
    Tip { height, id: CheckpointId::parse(name).expect("an id") }
}

fn run(branch: u64, status: RunStatus) -> RunRow {
    RunRow {
        id: RunId::parse("r").expect("an id"),
        branch: id(branch),
        graph: "g".into(),
        graph_signature: None,
        status,
        input_hash: [0; 16],
        started_at: 0,
        ended_at: None,
        last: None,
    }
}

fn branch(bits: u64, epoch: u64, tip: Option<Tip>) -> BranchRow {
    let claim = ClaimToken([epoch as u8; 16]);
    BranchRow { id: id(bits), fork: None, tip, epoch, claim, effects: EffectsMode::Ledger, root: None }
}

fn checkpoint(bits: u64, tip: &Tip) -> CheckpointRow {
    let manifest = Manifest::new(RunId::parse("r").expect("an id"), 1).encode(0);
    let none = RecordHash([0; 16]);
    let row = CheckpointRow {
        branch: id(bits),
        height: tip.height,
        id: tip.id.clone(),
        source: Source::Step,
        created_at: 0,
        manifest,
        manifest_hash: none,
        packed: Vec::new(),
        packed_hash: none,
    };
    row.sealed(THREAD, "")
}

fn value(height: u64, ordinal: u32, body: u8) -> ValueRow {
    let head = ValueHead::new(Structure::Full, 1);
    let address = ValueAddress { branch: id(1), height, ordinal };
    ValueRow { address, node: ValueNode { head, body: vec![body] } }
}

/// A commit of checkpoint `name` on top of `before` by the writer of `epoch`.
fn step(before: Option<Tip>, expected_epoch: u64, epoch: u64, name: &str) -> Commit {
    let after = tip(before.as_ref().map_or(0, |before| before.height + 1), name);
    let row = checkpoint(1, &after);
    let expect = Expect::At { tip: before, epoch: expected_epoch };
    Commit { checkpoint: Some(row), ..Commit::new(THREAD, expect, branch(1, epoch, Some(after))) }
}

/// A store with one thread, its first input at height 0 on branch 1, epoch 1, run `r`.
async fn store() -> Arc<dyn CheckpointStore> {
    let store: Arc<dyn CheckpointStore> = Arc::new(MemoryStore::new());
    let mut first = step(None, 0, 1, "c0");
    first.expect = Expect::New;
    let row = ThreadRow { uid: THREAD, scope: String::new(), name: "t".into(), head: id(1), created_at: 0 };
    first.new_thread = Some(row);
    first.runs = vec![RunWrite::Begin(run(1, RunStatus::Open))];
    assert_eq!(store.commit(first).await.expect("the first input"), Outcome::Applied);
    store
}

fn flush(epoch: u64, value: ValueRow) -> Records {
    let reference = ValueRef { address: value.address, packed: false };
    let row = PendingRow {
        base: tip(0, "c0").id,
        lane: id(1).lane(),
        kind: PendingKind::Results,
        task: NO_TASK,
        ordinal: 0,
        values: vec![reference],
        body: encode_flush(&[]),
    };
    let fence = Fence::Owner { tip: Some(tip(0, "c0")), epoch };
    Records { fence, pending: vec![row], values: vec![value], ..Records::from_outside(THREAD, id(1)) }
}

fn claim(epoch: u64) -> Commit {
    Commit::new(THREAD, Expect::At { tip: Some(tip(0, "c0")), epoch: epoch - 1 }, branch(1, epoch, Some(tip(0, "c0"))))
}

/// A run flushes a value between another writer's load and its claiming commit: a lost race, not damage.
#[tokio::test]
async fn value_flushed_meanwhile_is_a_conflict() {
    let store = store().await;
    let mut update = step(Some(tip(0, "c0")), 1, 2, "c1");
    update.values = vec![value(1, 0, 8)];
    store.append(flush(1, value(1, 0, 7))).await.expect("the run's own flush");
    let refusal = store.commit(update.clone()).await.expect_err("its value address is taken");
    assert!(refusal.is(ErrorKind::Conflict, Subject::Branch), "{refusal}");
    update.values = vec![value(1, 1, 8)];
    assert_eq!(store.commit(update).await.expect("a later ordinal"), Outcome::Applied);
}

#[tokio::test]
async fn run_record_alone_is_repeatable() {
    let store = store().await;
    let mut end = flush(1, value(1, 0, 7));
    (end.pending, end.values) = (Vec::new(), Vec::new());
    end.run = Some(run(1, RunStatus::Interrupted));
    store.append(end.clone()).await.expect("written");
    store.commit(claim(2)).await.expect("a take-over");
    store.append(end.clone()).await.expect("the same record is there");
    end.run = Some(run(1, RunStatus::Done));
    let refusal = store.append(end).await.expect_err("another record is not");
    assert_eq!(refusal.kind(), ErrorKind::Fenced);
}

/// The outcome of a unit that neither claims nor commits could not be told, so there is none.
#[tokio::test]
async fn commit_that_writes_nothing_of_its_own_is_invalid() {
    let store = store().await;
    let mut rename = claim(2);
    rename.branch = branch(1, 1, Some(tip(0, "c0")));
    rename.expect = Expect::At { tip: Some(tip(0, "c0")), epoch: 1 };
    rename.name = Some("again".into());
    assert_eq!(store.commit(rename).await.expect_err("no claim").kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn fork_is_found_after_another_claim_of_it() {
    let store = store().await;
    let mut forked = branch(2, 1, Some(tip(0, "c0")));
    forked.fork = Some(ForkPoint { branch: id(1), height: 0 });
    let mut fork = Commit::new(THREAD, Expect::New, forked.clone());
    fork.name = Some("f".into());
    assert_eq!(store.commit(fork.clone()).await.expect("forked"), Outcome::Applied);
    (forked.epoch, forked.claim) = (2, ClaimToken([9; 16]));
    let expect = Expect::At { tip: Some(tip(0, "c0")), epoch: 1 };
    store.commit(Commit::new(THREAD, expect, forked)).await.expect("somebody resumes it");
    assert_eq!(store.commit(fork).await.expect("it was made"), Outcome::Repeated);
}

/// A fork that continues an unfinished tip must not end the run of the branch that it left.
#[tokio::test]
async fn run_of_another_branch_is_not_moved() {
    let store = store().await;
    let mut forked = branch(2, 1, Some(tip(0, "c0")));
    forked.fork = Some(ForkPoint { branch: id(1), height: 0 });
    let mut fork = Commit::new(THREAD, Expect::New, forked);
    fork.runs = vec![RunWrite::Update(run(1, RunStatus::Done))];
    assert!(store.commit(fork).await.expect_err("not its run").is(ErrorKind::Invalid, Subject::Run));
}

#[tokio::test]
async fn same_id_with_other_packed_values_is_corrupt() {
    let store = store().await;
    let commit = step(Some(tip(0, "c0")), 1, 1, "c1");
    store.commit(commit.clone()).await.expect("written");
    assert_eq!(store.commit(commit.clone()).await.expect("repeated"), Outcome::Repeated);
    let mut other = commit;
    let row = other.checkpoint.take().expect("a checkpoint");
    other.checkpoint = Some(CheckpointRow { packed: vec![1], ..row }.sealed(THREAD, ""));
    assert_eq!(store.commit(other).await.expect_err("other values").kind(), ErrorKind::Corrupt);
}
