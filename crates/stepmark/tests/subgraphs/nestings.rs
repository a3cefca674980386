//! Does a run with graphs in graphs come to the same end, wherever it is killed?
//!
//! Chance draws a graph; it is run once without a crash and then again and again, killed at one store call each time. What
//! goes on must end as the clean run did. It runs no task that the clean run did not, and no durable step more than twice:
//! the one that had not reached the store when the run was killed. And what is forked at a checkpoint of a sub-graph and
//! goes on from there comes to that end, too.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::BoxFuture;
use stepmark::store::CheckpointStore;
use stepmark::{App, Durability, Ending, ErrorKind, Result, Thread};
use stepmark_conformance::{Fault, FaultPlan, FaultStore};

use crate::drawn::{Drawn, HowMany, Lab, Trail};
use crate::stores::{On, shared};

/// More than any run has questions and inputs.
const VERBS_MAX: u32 = 500;

#[tokio::test(start_paused = true)]
async fn crashes_in_memory_change_no_end() {
    every_graph(On::Memory, 30, Tried::Crashes(8)).await;
}

#[tokio::test(start_paused = true)]
async fn crashes_on_sqlite_change_no_end() {
    every_graph(On::Sqlite, 6, Tried::Crashes(8)).await;
}

#[tokio::test(start_paused = true)]
async fn slow_crashes_at_many_calls_change_no_end() {
    every_graph(On::Memory, 20, Tried::Crashes(40)).await;
}

#[tokio::test(start_paused = true)]
async fn forks_inside_in_memory_change_no_end() {
    every_graph(On::Memory, 20, Tried::Forks(4)).await;
}

#[tokio::test(start_paused = true)]
async fn forks_inside_on_sqlite_change_no_end() {
    every_graph(On::Sqlite, 4, Tried::Forks(4)).await;
}

/// What is tried with a graph, and how often at most.
#[derive(Clone, Copy)]
enum Tried {
    Crashes(u64),
    Forks(u64),
}

/// Draws so many graphs.
async fn every_graph(on: On, seeds: u64, tried: Tried) {
    let first = std::env::var("STEPMARK_SEED").ok().map(|seed| seed.parse().expect("STEPMARK_SEED is a number"));
    let seeds = if first.is_some() { 1 } else { seeds };
    let first = first.unwrap_or_else(|| fastrand::u64(..));
    let mut times = 0;
    for seed in (0..seeds).map(|seed| first.wrapping_add(seed)) {
        let told = Told(seed);
        let trial = Trial::new(on, seed);
        times += match tried {
            Tried::Crashes(most) => trial.crash(most).await,
            Tried::Forks(most) => trial.fork(most).await,
        };
        drop(told);
    }
    eprintln!("{seeds} graphs from seed {first}, {times} crashes or forks");
}

/// Says how to repeat a seed that fails.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, thread) = (self.0, std::thread::current());
            let test = thread.name().unwrap_or_default();
            eprintln!("repeat with STEPMARK_SEED={seed} cargo test -p stepmark --test subgraphs -- {test}");
        }
    }
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
        if std::env::var_os("STEPMARK_SEED").is_some() {
            eprintln!("{durability:?}, linger {linger:?}, answers all: {answers_all}, {drawn:?}");
        }
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
        let end = self.drive(&self.app(counting.clone(), &lab).thread("t")).await.expect("nothing fails");
        let clean = Clean { end, counts: lab.counts() };
        if let Some((step, count)) = clean.counts.iter().find(|(what, count)| what.starts_with("step") && **count > 1) {
            panic!("{step} ran {count} times without a crash: a finished step is not run again");
        }
        let (calls, mut chance) = (counting.counted(), Rng::with_seed(self.seed));
        let every = calls.div_ceil(crashes_max).max(1);
        let mut crashes = 0;
        for number in (chance.u64(..every)..calls).step_by(usize::try_from(every).expect("few calls")) {
            let fault = if chance.bool() { Fault::CrashBefore } else { Fault::CrashAfter };
            crashes += u64::from(self.once((number, fault), &clean).await);
        }
        crashes
    }

    /// Forks at some checkpoints of sub-graphs: what goes on from there, given and answered the same, comes to the same end.
    async fn fork(&self, forks_max: u64) -> u64 {
        let app = self.app(self.on.store(), &Lab::default());
        let thread = app.thread("t");
        let clean = Clean { end: self.drive(&thread).await.expect("nothing fails"), counts: HashMap::new() };
        let mut chance = Rng::with_seed(self.seed);
        let known = thread.sub_graphs().await.expect("they are there");
        let forks = if known.is_empty() { 0 } else { forks_max };
        for number in 0..forks {
            let namespace = &*known[chance.usize(..known.len())].namespace;
            let standing = thread.nested(namespace, &self.graph);
            let history = standing.history().await.expect("it has one");
            let past = &history[chance.usize(..history.len())];
            let fork = standing.at(&past.id).fork(&format!("fork {number}")).await;
            let end = match fork {
                Ok(fork) => self.drive(&fork).await,
                Err(error) => Err(error),
            };
            let wrong = end.map_or_else(|error| Some(error.to_string()), |end| clean.differs(&end));
            if let Some(wrong) = wrong {
                panic!("seed {}, forked at step {} of {namespace}: {wrong}", self.seed, past.step);
            }
        }
        forks
    }

    /// Crashes at one call; `false` if it never came.
    async fn once(&self, (number, fault): (u64, Fault), clean: &Clean) -> bool {
        let (store, lab) = (Arc::new(self.on.store()), Lab::default());
        let faults = FaultStore::new(store.clone(), FaultPlan::nth(number, fault));
        let ended = faults.until_crash(self.drive(&self.app(faults.clone(), &lab).thread("t"))).await;
        let is_struck = ended.is_none();
        let end = match ended {
            Some(ended) => ended,
            None => self.drive(&self.app(shared(store), &lab).thread("t")).await,
        };
        let wrong = match end {
            Err(error) => Some(error.to_string()),
            Ok(end) => clean.differs(&end).or_else(|| clean.ran_too_often(&lab.counts())),
        };
        if let Some(wrong) = wrong {
            panic!("seed {}, {fault:?} {number}: {wrong}", self.seed);
        }
        is_struck
    }

    /// Gives two inputs and answers what is asked.
    fn drive<'a>(&'a self, thread: &'a Thread<Trail>) -> BoxFuture<'a, Result<Trail>> {
        Box::pin(self.driven(thread))
    }

    async fn driven(&self, thread: &Thread<Trail>) -> Result<Trail> {
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
            assert!(matches!(outcome.ending(), Ending::Done | Ending::Interrupted), "it ended {:?}", outcome.ending());
        }
        panic!("the driver does not come to its end");
    }
}

/// What a run without a crash came to.
struct Clean {
    end: Trail,
    /// How often each task began and each step ended.
    counts: HashMap<String, u32>,
}

impl Clean {
    /// Where another end differs first.
    fn differs(&self, end: &Trail) -> Option<String> {
        let lines = self.end.log.len().max(end.log.len());
        let line = (0..lines).find(|line| self.end.log.get(*line) != end.log.get(*line));
        if let Some(line) = line {
            return Some(format!("line {line} is {:?}, not {:?}", end.log.get(line), self.end.log.get(line)));
        }
        (*end != self.end).then(|| format!("{:?} turns of {} inputs", end.turns, end.inputs))
    }

    /// What ran in spite of its stored result.
    fn ran_too_often(&self, counts: &HashMap<String, u32>) -> Option<String> {
        counts.iter().find_map(|(what, count)| match self.counts.get(what) {
            None => Some(format!("{what} ran, which a run without a crash has not")),
            Some(_) if what.starts_with("step") && *count > 2 => {
                Some(format!("{what} ran {count} times: one crash repeats it at most once"))
            }
            Some(_) => None,
        })
    }
}
