//! Do the wrapped stores fail, count and report as they say?

use std::sync::{Arc, Mutex};

use stepmark_conformance::call::{CallKind, Reply};
use stepmark_conformance::fault::{Counted, When};
use stepmark_conformance::make::{Line, value_of};
use stepmark_conformance::{CountingStore, Fault, FaultPlan, FaultStore, Sight, Witness, WitnessStore};
use stepmark_core::capability::{Attribute, AttributeChange, AttributeKind, Declaration};
use stepmark_core::error::{Error, ErrorKind, Result};
use stepmark_core::memory::MemoryStore;
use stepmark_core::store::{CheckpointStore, Commit, Records};

/// Calls sent again before a test gives up; faults here strike once.
const TRIES_MAX: usize = 3;

fn memory() -> Arc<dyn CheckpointStore> {
    Arc::new(MemoryStore::new())
}

async fn commit(store: &dyn CheckpointStore, commit: Commit) -> Result<()> {
    for _ in 0..TRIES_MAX {
        match store.commit(commit.clone()).await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {}
            answer => return answer.map(|_| ()),
        }
    }
    store.commit(commit).await.map(|_| ())
}

async fn append(store: &dyn CheckpointStore, append: Records) -> Result<()> {
    for _ in 0..TRIES_MAX {
        match store.append(append.clone()).await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {}
            answer => return answer.map(drop),
        }
    }
    store.append(append).await.map(drop)
}

/// A small run: a birth, then a claim, a flush and a step, three times. Every call is tried again when it fails.
async fn run(store: Arc<dyn CheckpointStore>) -> Result<Line> {
    let mut line = Line::unborn(&store, "", "t");
    let birth = line.birth().build();
    line.branch.clone_from(&birth.branch);
    commit(&*store, birth).await?;
    for _ in 0..3 {
        for moves in [Line::claim, |line: &Line| line.next().build()] {
            let next = moves(&line);
            line.branch.clone_from(&next.branch);
            commit(&*store, next).await?;
            append(&*store, line.flush(0, "result")).await?;
        }
    }
    Ok(line)
}

async fn assert_finished(store: &dyn CheckpointStore, line: &Line) {
    let loaded = store.load(line.whole()).await.expect("the tip loads");
    assert_eq!(loaded.branch.row, line.branch);
    assert_eq!((value_of::<u64>(&loaded, "height"), loaded.pending.len()), (3, 1));
}

#[tokio::test]
async fn every_fault_at_every_call_is_survived_by_sending_again() {
    for fault in [Fault::ErrorBefore, Fault::ErrorAfter, Fault::Delay(std::time::Duration::ZERO), Fault::Duplicate] {
        for number in 0.. {
            let store = memory();
            let faulty = Arc::new(FaultStore::new(Arc::clone(&store), FaultPlan::nth(number, fault)));
            let line = run(Arc::<FaultStore>::clone(&faulty)).await.expect("a single fault is survived");
            assert_finished(&*store, &line).await;
            if faulty.struck() == 0 {
                assert_eq!(number, 13, "one birth, and three times a claim and a step with a flush each");
                break;
            }
        }
    }
}

#[tokio::test]
async fn attributes_are_said_again_after_any_fault() {
    for fault in [Fault::ErrorBefore, Fault::ErrorAfter, Fault::Delay(std::time::Duration::ZERO), Fault::Duplicate] {
        for number in 0..2 {
            let store = memory();
            let line = Line::born(&store, "t").await;
            let plan = FaultPlan { of: Counted::Kind(CallKind::Describe), when: When::Nth(number, fault) };
            let faulty = FaultStore::new(Arc::clone(&store), plan);
            let search = faulty.search().expect("it searches");
            let declared = || vec![Declaration { name: "size".into(), kind: AttributeKind::Integer }];
            let said = || vec![AttributeChange { name: "size".into(), value: Some(1.into()) }];
            if search.declare("", declared()).await.is_err() {
                search.declare("", declared()).await.expect("a single fault is survived");
            }
            if search.set_attributes(line.thread.uid, said()).await.is_err() {
                search.set_attributes(line.thread.uid, said()).await.expect("a single fault is survived");
            }
            assert_eq!(faulty.struck(), 1);
            let expected = [Attribute { name: "size".into(), value: 1.into() }];
            assert_eq!(search.attributes(line.thread.uid).await.expect("it is read"), expected);
        }
    }
}

#[tokio::test]
async fn a_crash_stops_every_later_call() {
    for (fault, height) in [(Fault::CrashBefore, 0), (Fault::CrashAfter, 1)] {
        let store = memory();
        // Writes: birth, claim, flush, step.
        let faulty = Arc::new(FaultStore::new(Arc::clone(&store), FaultPlan::nth_write(3, fault)));
        let refusal = run(Arc::<FaultStore>::clone(&faulty)).await.expect_err("the process is dead");
        assert_eq!(refusal.kind(), ErrorKind::Unavailable);
        assert!(faulty.info().await.is_err(), "reads of a dead process end, too");
        let query = stepmark_core::store::ThreadQuery { scope: String::new(), after: None, limit: 1, waiting: false };
        let entry = store.threads(query).await.expect("the store lives").threads.remove(0);
        assert_eq!(entry.tip.map(|tip| tip.height), Some(height), "{fault:?}");
    }
}

#[tokio::test]
async fn a_crash_ends_the_work_around_it() {
    for (fault, reached) in [(Fault::ErrorAfter, true), (Fault::CrashBefore, false), (Fault::CrashAfter, false)] {
        let faulty = FaultStore::new(memory(), FaultPlan::nth_write(3, fault));
        let store: Arc<dyn CheckpointStore> = Arc::new(faulty.clone());
        let mut ended = false;
        let work = async {
            let end = run(store).await;
            // A process that is gone does not even learn that it is.
            ended = true;
            end.map(|_| ())
        };
        let answer = faulty.until_crash(work).await;
        assert_eq!((answer.is_some(), ended, faulty.struck()), (reached, reached, 1), "{fault:?}");
    }
}

#[tokio::test]
async fn a_plan_that_is_not_reached_lets_work_end() {
    let faulty = FaultStore::new(memory(), FaultPlan::nth(100, Fault::CrashBefore));
    let end = faulty.until_crash(run(Arc::new(faulty.clone()))).await;
    assert!(end.is_some_and(|end| end.is_ok()));
}

#[tokio::test]
async fn seeded_faults_are_equal_for_equal_seeds() {
    let struck = async |seed| {
        let faulty = Arc::new(FaultStore::new(memory(), FaultPlan::seeded(seed, 300)));
        // A run may end early: faults may strike all tries of one call.
        let _ = run(Arc::<FaultStore>::clone(&faulty)).await;
        (faulty.counted(), faulty.struck())
    };
    assert_eq!(struck(7).await, struck(7).await);
    let mut differ = false;
    for seed in 0..10 {
        differ |= struck(seed).await != struck(7).await;
    }
    assert!(differ);
}

#[tokio::test]
async fn a_plan_counts_only_what_it_names() {
    let plan = FaultPlan { of: Counted::Kind(CallKind::Claim), when: When::Nth(1, Fault::ErrorAfter) };
    let counting = Arc::new(CountingStore::new(memory()));
    let faulty = Arc::new(FaultStore::new(Arc::<CountingStore>::clone(&counting), plan));
    run(Arc::<FaultStore>::clone(&faulty)).await.expect("a single fault is survived");
    assert_eq!((faulty.counted(), faulty.struck()), (4, 1), "three claims, one of them twice");
    assert_eq!(counting.calls(CallKind::Claim), 4);
    assert_eq!((counting.calls(CallKind::Commit), counting.calls(CallKind::Flush)), (4, 6));
    assert_eq!((counting.total(), counting.refused(CallKind::Claim)), (14, 0));
}

#[derive(Debug, Default)]
struct Notes(Mutex<Vec<String>>);

impl Witness for Notes {
    fn sent(&self, sight: &Sight) {
        self.0.lock().expect("no witness panics").push(format!("{:?} sent", sight.kind));
    }

    fn answered(&self, sight: &Sight, answer: Result<&Reply, &Error>) {
        let word = if answer.is_ok() { "acknowledged" } else { "refused" };
        let height = sight.checkpoint.as_ref().map_or(String::new(), |(height, _)| format!(" {height}"));
        self.0.lock().expect("no witness panics").push(format!("{:?}{height} {word}", sight.kind));
    }
}

#[tokio::test]
async fn a_witness_sees_every_call_before_and_after() {
    let witnessed = Arc::new(WitnessStore::new(memory(), Notes::default()));
    let store: Arc<dyn CheckpointStore> = Arc::<WitnessStore<Notes>>::clone(&witnessed);
    let mut line = Line::born(&store, "t").await;
    let zombie = line.clone();
    line.apply(line.claim()).await;
    assert!(store.append(zombie.flush(0, "late")).await.is_err());
    let notes = witnessed.witness().0.lock().expect("no witness panics").join(", ");
    let expected = "Commit sent, Commit 0 acknowledged, Claim sent, Claim acknowledged, Flush sent, Flush refused";
    assert_eq!(notes, expected);
}

#[tokio::test]
async fn what_comes_from_outside_has_kinds_of_its_own() {
    let counting = Arc::new(CountingStore::new(memory()));
    let store: Arc<dyn CheckpointStore> = Arc::<CountingStore>::clone(&counting);
    let line = Line::born(&store, "t").await;
    let asked = line.ask(0, "go on?").await;
    store.append(line.answer(&asked, "yes")).await.expect("it is open");
    let mut side = line.forked(None).await;
    store.append(side.head_from(line.branch.id)).await.expect("the head is there");
    store.append(line.tag("good")).await.expect("the tip is there");
    let (mut new, mut reset) = side.reset(side.segment, side.branch.tip.clone().expect("a tip"), "main");
    reset.name = None;
    new.apply(reset).await;
    assert!(side.send(side.next().build()).await.is_err());
    let kinds = [CallKind::Flush, CallKind::Answer, CallKind::Fork, CallKind::Head, CallKind::Tag, CallKind::Reset];
    assert_eq!(kinds.map(|kind| counting.calls(kind)), [1; 6]);
    assert!(kinds.into_iter().all(CallKind::writes));
    assert_eq!((counting.calls(CallKind::Commit), counting.refused(CallKind::Commit)), (2, 1));
}
