//! Does a graph come to the same end, wherever it is killed?

use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;

use stepmark_conformance::fault::FaultStore;
use stepmark_core::memory::MemoryStore;
use stepmark_core::store::CheckpointStore;
use stepmark_engine::{App, Result, State};

use super::kill::{Kill, VARIABLE};
use super::run::{End, Store, Subject};

/// A run with more store writes than this takes too long to be killed at each.
const WRITES_MAX: u64 = 10_000;

/// Asserts that a run comes to the same end wherever its process is killed.
///
/// `build` makes the application as a starting process does; its store is replaced. The run of `input` is done without a
/// kill first, twice: a graph that does not come to the same end by itself cannot recover. Then it is killed at every
/// write to its store: before the write, and again when the store has it but has not answered. Each time a new
/// application goes on from what the store holds. At last it is killed before every step's commit, so that each task runs
/// twice. Ending, state, the steps of the history with their nodes, and the next tasks must be those of the run that was
/// not killed. States are compared as they are stored: `PartialEq` is not needed, and `untracked` channels do not count.
///
/// Every kill is a run of its own, so nodes that wait make a long test; `#[tokio::test(start_paused = true)]` does not
/// wait. The run may end in any way but with an error.
///
/// # Panics
/// When awaited, if an end differs: with the kill, what differs, and how to repeat that kill alone. Also if the run fails
/// without a kill, or takes no step.
pub fn assert_recovers<S, B, I>(build: B, input: I) -> Recovers<S>
where
    S: State,
    B: Fn() -> App<S> + Send + Sync + 'static,
    I: Fn(&mut S::Update) + Send + Sync + 'static,
{
    let make_store = Box::new(|| -> Store { Arc::new(MemoryStore::new()) });
    Recovers(Subject { build: Box::new(build), input: Box::new(input), make_store, ignored: Vec::new() })
}

/// An [`assert_recovers`] that has not begun; `.await` does it.
#[must_use = "nothing is asserted until it is awaited"]
pub struct Recovers<S: State>(Subject<S>);

/// What [`assert_recovers`] has tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Super-steps of the run.
    pub steps: u64,
    /// Writes to the store of the run that was not killed.
    pub writes: u64,
    /// Processes that were killed: two per write, without those of `repeated`.
    pub kills: u64,
    /// Tasks that ran after a kill.
    pub executed: u64,
    /// Tasks that did not run again after a kill, because their results were stored although their step was not.
    pub reused: u64,
    /// Steps whose tasks were run twice.
    pub repeated: u64,
}

impl<S: State> Recovers<S> {
    /// Makes a new, empty store for every run; memory stores are used otherwise.
    pub fn on<C: CheckpointStore>(mut self, make_store: impl Fn() -> C + Send + Sync + 'static) -> Self {
        self.0.make_store = Box::new(move || Arc::new(make_store()));
        self
    }

    /// Does not compare this channel: a time, or an id that is drawn anew.
    ///
    /// # Panics
    /// If the state has no channel of this name.
    pub fn ignore(mut self, channel: &str) -> Self {
        let names: Vec<&str> = S::channels().iter().map(|spec| spec.name).collect();
        assert!(names.contains(&channel), "{} has no channel `{channel}`; it has {}", S::NAME, names.join(", "));
        self.0.ignored.push(channel.to_owned());
        self
    }

    async fn run(self) -> Recovery {
        let trial = Trial::new(self.0).await;
        let mut recovery = Recovery { steps: trial.clean.steps(), writes: trial.writes, ..Recovery::default() };
        match Kill::asked() {
            Some(Kill::Never) => {}
            Some(Kill::EveryStep) => recovery.repeated = trial.every_step().await,
            Some(kill) => {
                let struck = trial.once(kill, &mut recovery).await;
                assert!(struck, "{VARIABLE}={kill}: the run has no such write");
            }
            None => {
                trial.every_write(&mut recovery).await;
                recovery.repeated = trial.every_step().await;
            }
        }
        recovery
    }
}

/// A run that was not killed, and others to compare with it.
struct Trial<S: State> {
    subject: Subject<S>,
    clean: End<S>,
    writes: u64,
}

impl<S: State> Trial<S> {
    async fn new(subject: Subject<S>) -> Self {
        let store = (subject.make_store)();
        let counting: FaultStore = FaultStore::new(store, Kill::Never.plan());
        let store: Store = Arc::new(counting.clone());
        let Some(ran) = subject.process(&store, Kill::Never, None).await else { unreachable!("nothing crashes") };
        let ran = ran.unwrap_or_else(|error| panic!("assert_recovers: the run fails without a kill: {error}"));
        let writes = counting.counted();
        let clean = read(subject.end(&store, ran).await);
        let ending = clean.ran.ending;
        assert!(
            clean.steps() > 0,
            "assert_recovers: the run takes no step ({ending:?}), so there is nothing to recover"
        );
        let trial = Self { subject, clean, writes };
        trial.again().await;
        trial
    }

    /// A second run without a kill comes to the same end.
    async fn again(&self) {
        let store = (self.subject.make_store)();
        self.finish(&store, Kill::Never, &mut Recovery::default()).await;
    }

    /// Kills at one write after the other, until a run ends before it could be killed.
    async fn every_write(&self, recovery: &mut Recovery) {
        for kind in [Kill::Before, Kill::Unacknowledged] {
            for write in 0.. {
                assert!(write < WRITES_MAX, "assert_recovers: more than {WRITES_MAX} writes; take a smaller input");
                if !self.once(kind(write), recovery).await {
                    break;
                }
            }
        }
        assert!(recovery.kills > 0, "assert_recovers: no run could be killed, so nothing was tested");
    }

    /// Kills one run and recovers it; answers whether it could be killed.
    async fn once(&self, kill: Kill, recovery: &mut Recovery) -> bool {
        let store = (self.subject.make_store)();
        if self.subject.process(&store, kill, None).await.is_some() {
            return false;
        }
        recovery.kills += 1;
        self.finish(&store, kill, recovery).await;
        true
    }

    /// Kills before the commit of every step; answers how many that were.
    async fn every_step(&self) -> u64 {
        let store = (self.subject.make_store)();
        for killed in 0..=self.clean.steps() {
            match self.subject.process(&store, Kill::EveryStep, self.clean.limit()).await {
                None => {}
                Some(Err(error)) => Self::fail(Kill::EveryStep, &[format!("the run fails: {error}")]),
                Some(Ok(_)) => {
                    self.finish(&store, Kill::EveryStep, &mut Recovery::default()).await;
                    return killed;
                }
            }
        }
        Self::fail(Kill::EveryStep, &["the run takes more steps after the kills than without them".to_owned()])
    }

    /// Lets a new process go on to the end, and compares it.
    async fn finish(&self, store: &Store, kill: Kill, recovery: &mut Recovery) {
        let limit = if kill == Kill::Never { None } else { self.clean.limit() };
        let Some(ran) = self.subject.process(store, Kill::Never, limit).await else { unreachable!("nothing crashes") };
        let ran = match ran {
            Ok(ran) => ran,
            Err(error) => Self::fail(kill, &[format!("the run fails: {error}")]),
        };
        recovery.executed += ran.stats.executed;
        recovery.reused += ran.stats.reused;
        let end = read(self.subject.end(store, ran).await);
        let found = read(self.subject.compare(&self.clean, &end).await);
        if !found.is_empty() {
            Self::fail(kill, &found);
        }
    }

    fn fail(kill: Kill, found: &[String]) -> ! {
        let advice = match kill {
            Kill::Never => {
                "a node is not deterministic: it reads a clock, draws randomness or keeps something between runs"
            }
            _ => "a task may run again after a crash: it may depend on nothing but the state and the input",
        };
        let thread = std::thread::current();
        // The test harness names threads after tests; workers of a runtime are named otherwise.
        let test = thread.name().filter(|name| *name != "main" && !name.starts_with("tokio")).unwrap_or_default();
        panic!(
            "assert_recovers: the run comes to another end\n  {}\n  {}\n  {advice}\n  repeat this kill alone: \
             {VARIABLE}={kill} cargo test {test}",
            kill.story(),
            found.join("\n  "),
        )
    }
}

fn read<T>(read: Result<T>) -> T {
    read.unwrap_or_else(|error| panic!("assert_recovers: the thread cannot be read: {error}"))
}

impl<S: State> IntoFuture for Recovers<S> {
    type Output = Recovery;
    type IntoFuture = Pin<Box<dyn Future<Output = Recovery> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<S: State> std::fmt::Debug for Recovers<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Recovers").field(&S::NAME).finish()
    }
}
