//! Does a run with graphs in graphs come to the same end, wherever it is killed?
//!
//! Chance draws a graph; it is run once without a crash and then again and again, killed at one store call each time. What
//! goes on must end as the clean run did. No durable step runs more than twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use stepmark::store::CheckpointStore;
use stepmark::{App, Durability, Ending, ErrorKind, Result};
use stepmark_conformance::{Fault, FaultPlan, FaultStore};

use crate::drawn::{Drawn, HowMany, Lab, Trail};
use crate::stores::{On, shared};

/// More than any run has questions and inputs.
const VERBS_MAX: u32 = 500;

#[tokio::test(start_paused = true)]
async fn crashes_in_memory() {
    every_seed(On::Memory, 12, 24).await;
}

#[tokio::test(start_paused = true)]
async fn crashes_on_sqlite() {
    every_seed(On::Sqlite, 4, 12).await;
}

#[tokio::test(start_paused = true)]
async fn slow_crashes_at_every_call() {
    every_seed(On::Memory, 60, u64::MAX).await;
}

/// Tries so many seeds, each with at most so many crashes.
async fn every_seed(on: On, seeds: u64, crashes_max: u64) {
    let first = std::env::var("STEPMARK_SEED").ok().map(|seed| seed.parse().expect("STEPMARK_SEED is a number"));
    let seeds = if first.is_some() { 1 } else { seeds };
    let first = first.unwrap_or_else(|| fastrand::u64(..));
    let mut crashes = 0;
    for seed in (0..seeds).map(|seed| first.wrapping_add(seed)) {
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        eprintln!("{test}: repeat with STEPMARK_SEED={seed} cargo test -p stepmark --test subgraphs -- {test}");
        crashes += Trial::new(on, seed).crash(crashes_max).await;
    }
    eprintln!("{seeds} graphs, {crashes} crashes");
}

/// A graph and how it is run.
struct Trial {
    on: On,
    seed: u64,
    graph: App<Trail>,
    durability: Durability,
    linger: Duration,
    /// Whether all open questions are answered before the run goes on.
    answers_all: bool,
}

impl Trial {
    fn new(on: On, seed: u64) -> Self {
        let mut chance = Rng::with_seed(seed);
        let drawn = Drawn::by(&mut chance);
        let durability = match chance.u8(..3) {
            0 => Durability::Sync,
            1 => Durability::Async { behind_max: 3 },
            _ => Durability::Exit,
        };
        let linger = Duration::from_millis(if chance.bool() { 5 } else { 0 });
        let answers_all = chance.bool();
        eprintln!("{durability:?}, linger {linger:?}, answers all: {answers_all}, {drawn:?}");
        Self { on, seed, graph: drawn.build(), durability, linger, answers_all }
    }

    fn app(&self, store: impl CheckpointStore, lab: &Lab) -> App<Trail> {
        let app = self.graph.clone().with(store).provide(lab.clone());
        app.durability(self.durability).linger(self.linger)
    }

    /// Crashes at some calls, at all if there are no more than that; answers how often.
    async fn crash(&self, crashes_max: u64) -> u64 {
        let lab = Lab::default();
        let counting = FaultStore::new(Arc::new(self.on.store()), FaultPlan::nth(u64::MAX, Fault::ErrorBefore));
        let clean = self.drive(&self.app(counting.clone(), &lab)).await.expect("nothing fails");
        let (calls, starts) = (counting.counted(), lab.starts());
        assert!(starts.iter().all(|(what, count)| *count == 1 || !what.starts_with("step")), "{starts:?}");
        let mut chance = Rng::with_seed(self.seed);
        let every = calls.div_ceil(crashes_max).max(1);
        let mut crashes = 0;
        for number in (chance.u64(..every)..calls).step_by(usize::try_from(every).expect("few calls")) {
            let fault = if chance.bool() { Fault::CrashBefore } else { Fault::CrashAfter };
            crashes += u64::from(self.once((number, fault), &clean, &starts).await);
        }
        crashes
    }

    /// Crashes at one call; `false` if it never came.
    async fn once(&self, (number, fault): (u64, Fault), clean: &Trail, starts: &HashMap<String, u32>) -> bool {
        let what = format!("seed {}, {fault:?} {number}", self.seed);
        let (store, lab) = (Arc::new(self.on.store()), Lab::default());
        let faults = FaultStore::new(store.clone(), FaultPlan::nth(number, fault));
        let ended = faults.until_crash(self.drive(&self.app(faults.clone(), &lab))).await;
        let is_struck = ended.is_none();
        let end = match ended {
            Some(ended) => ended,
            None => self.drive(&self.app(shared(store), &lab)).await,
        };
        assert_eq!(&end.unwrap_or_else(|error| panic!("{what}: {error}")), clean, "{what}");
        for (began, count) in lab.starts() {
            let once = starts.get(&began).copied();
            let once = once.unwrap_or_else(|| panic!("{what}: {began} is no task of a clean run"));
            assert!(count <= once + 1 || !began.starts_with("step"), "{what}: {began} {count} times, {once} without");
        }
        is_struck
    }

    /// Gives two inputs and answers what is asked.
    async fn drive(&self, app: &App<Trail>) -> Result<Trail> {
        let thread = app.thread("t");
        for _ in 0..VERBS_MAX {
            let snapshot = match thread.state().await {
                Err(error) if error.kind() == ErrorKind::Missing => None,
                snapshot => Some(snapshot?),
            };
            let open = if snapshot.is_some() { thread.questions().await? } else { Vec::new() };
            let outcome = match (&snapshot, &open[..]) {
                (Some(snapshot), _) if snapshot.next().is_empty() && snapshot.state().inputs == 2 => {
                    return Ok(snapshot.state().clone());
                }
                (Some(snapshot), []) if !snapshot.next().is_empty() => thread.resume().run().await?,
                (Some(snapshot), _) if snapshot.next().is_empty() => {
                    thread.input(|trail| trail.inputs.add(1)).run().await?
                }
                (None, _) => thread.input(|trail| trail.inputs.add(1)).run().await?,
                (_, open) if self.answers_all => {
                    for question in open {
                        let whom = question.typed::<HowMany>()?.question().whom.clone();
                        thread.answer_open(question, &whom.len()).store().await?;
                    }
                    thread.resume().run().await?
                }
                (_, open) => {
                    let whom = open[0].typed::<HowMany>()?.question().whom.clone();
                    thread.answer_open(&open[0], &whom.len()).run().await?
                }
            };
            assert!(matches!(outcome.ending(), Ending::Done | Ending::Interrupted), "{outcome:?}");
        }
        panic!("seed {}: the driver does not come to its end", self.seed);
    }
}
