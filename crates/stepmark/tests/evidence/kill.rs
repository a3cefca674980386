//! What does a process lose that is killed at any moment?
//!
//! Half of the kills come from the parent after a random time, half from the child itself at a chosen event of the
//! phase that was hit least. The journal, which lies outside the store, says which phase a kill hit.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use fastrand::Rng;
use stepmark::App;
use tempfile::TempDir;

use crate::child::Running;
use crate::database::Database;
use crate::graphs::{Mode, Setup, Shape, Trail};
use crate::journal::{Phase, Spring, Trap};
use crate::orders::{Drive, Orders, Work};
use crate::place::{Backend, on};
use crate::promises::{JournalFile, Promises, clean_states, is_one_by_one, states, unread_journal};
use crate::{block_on, seed};

const KILLS_MAX: u32 = 600;
/// A trap that is not met is not waited for longer than this.
const TRAP_TIMEOUT: Duration = Duration::from_secs(2);

/// The phases of a graph whose steps are one task each: nothing is flushed.
const WITHOUT_FLUSH: [Phase; 4] = [Phase::TaskRunning, Phase::CommitSent, Phase::CommitAcknowledged, Phase::ClaimSent];
const ALL: [Phase; 5] =
    [Phase::TaskRunning, Phase::FlushSent, Phase::CommitSent, Phase::CommitAcknowledged, Phase::ClaimSent];

/// The phases of a graph that asks.
const ASKING: [Phase; 6] = [
    Phase::TaskRunning,
    Phase::FlushSent,
    Phase::CommitSent,
    Phase::CommitAcknowledged,
    Phase::ClaimSent,
    Phase::AnswerSent,
];

/// The phases of a graph whose commits overlap its steps.
const BESIDE: [Phase; 4] = [Phase::TaskBesideCommit, Phase::CommitSent, Phase::CommitAcknowledged, Phase::ClaimSent];
/// The phases of a graph whose inputs are stored at their end.
const AT_END: [Phase; 3] = [Phase::TaskRunning, Phase::CommitSent, Phase::ClaimSent];

const BEHIND_MAX: u32 = 3;
const ASYNC: Mode = Mode::Async { behind_max: BEHIND_MAX };

#[test]
fn killed_chain_loses_nothing() {
    check(Shape::Linear, Mode::Sync, &WITHOUT_FLUSH);
}

#[test]
fn killed_siblings_of_a_failing_task_lose_nothing() {
    check(Shape::FailingSibling, Mode::Sync, &ALL);
}

#[test]
fn killed_fan_out_loses_nothing() {
    check(Shape::FanOut, Mode::Sync, &ALL);
}

#[test]
fn killed_branches_lose_nothing() {
    check(Shape::Fork, Mode::Sync, &WITHOUT_FLUSH);
}

#[test]
fn killed_questions_and_answers_are_not_lost() {
    check(Shape::Asking, Mode::Sync, &ASKING);
}

#[test]
fn killed_async_chain_loses_at_most_as_many_steps_as_it_may() {
    check(Shape::Linear, ASYNC, &BESIDE);
}

#[test]
fn killed_async_siblings_of_a_failing_task_lose_nothing_that_was_flushed() {
    check(Shape::FailingSibling, ASYNC, &ALL);
}

#[test]
fn killed_async_branches_lose_at_most_as_many_steps_as_they_may() {
    check(Shape::Fork, ASYNC, &BESIDE);
}

#[test]
fn killed_exit_chain_is_there_whole_or_not_at_all() {
    check(Shape::Linear, Mode::Exit, &AT_END);
}

#[test]
fn killed_exit_siblings_of_a_failing_task_lose_nothing_that_was_stored() {
    check(Shape::FailingSibling, Mode::Exit, &AT_END);
}

#[test]
fn killed_exit_branches_are_there_whole_or_not_at_all() {
    check(Shape::Fork, Mode::Exit, &AT_END);
}

#[test]
fn killed_chain_on_postgres_loses_nothing() {
    check_on(Backend::Postgres, (Shape::Linear, Mode::Sync), &WITHOUT_FLUSH);
}

#[test]
fn killed_siblings_on_postgres_lose_nothing() {
    check_on(Backend::Postgres, (Shape::FailingSibling, Mode::Sync), &ALL);
}

#[test]
fn killed_questions_on_postgres_are_not_lost() {
    check_on(Backend::Postgres, (Shape::Asking, Mode::Sync), &ASKING);
}

#[test]
fn killed_async_chain_on_postgres_loses_at_most_as_many_steps_as_it_may() {
    check_on(Backend::Postgres, (Shape::Linear, ASYNC), &BESIDE);
}

#[test]
fn killed_chain_on_redis_loses_nothing() {
    check_on(Backend::Redis, (Shape::Linear, Mode::Sync), &WITHOUT_FLUSH);
}

#[test]
fn killed_siblings_on_redis_lose_nothing() {
    check_on(Backend::Redis, (Shape::FailingSibling, Mode::Sync), &ALL);
}

#[test]
fn killed_questions_on_redis_are_not_lost() {
    check_on(Backend::Redis, (Shape::Asking, Mode::Sync), &ASKING);
}

#[test]
fn killed_async_branches_on_redis_lose_at_most_as_many_steps_as_they_may() {
    check_on(Backend::Redis, (Shape::Fork, ASYNC), &BESIDE);
}

#[test]
fn killed_siblings_on_objects_lose_nothing() {
    check_on(Backend::Objects, (Shape::FailingSibling, Mode::Sync), &ALL);
}

/// How many kills are enough.
#[derive(Clone, Copy)]
struct Enough {
    kills: u32,
    /// Of each phase that the graph has.
    of_phase: u32,
    /// Steps that commits have overlapped once, where they may.
    behind: usize,
}

impl Enough {
    /// A file is what a kill leaves of it. A server outlives its clients: there each phase is about what the client was told,
    /// and fewer kills show it. It commits sooner than a disk does, so that steps seldom come as far ahead as they may.
    fn on(backend: Backend) -> Self {
        match backend {
            Backend::Sqlite | Backend::Objects => Self { kills: 60, of_phase: 15, behind: BEHIND_MAX as usize },
            Backend::Postgres | Backend::Redis => Self { kills: 20, of_phase: 4, behind: 2 },
        }
    }
}

/// A series of kills on one store.
struct Loop {
    rng: Rng,
    setup: Setup,
    database: Database,
    directory: TempDir,
    journal: JournalFile,
    promises: Promises,
    /// By phase that the graph has.
    hits: BTreeMap<Phase, u32>,
    kills: u32,
    checked: usize,
}

fn check(shape: Shape, mode: Mode, phases: &[Phase]) {
    check_on(Backend::Sqlite, (shape, mode), phases);
}

fn check_on(backend: Backend, (shape, mode): (Shape, Mode), phases: &[Phase]) {
    let seed = seed::of_test();
    let mut rng = Rng::with_seed(seed);
    let (linger_ms, concurrency_max) = if rng.bool() { (0, 8) } else { (5, 1024) };
    let setup = Setup { shape, mode, rounds: 2, linger_ms, concurrency_max };
    let directory = tempfile::tempdir().expect("a directory");
    let mut kills = Loop {
        rng,
        setup,
        journal: JournalFile::new(&directory.path().join("journal")),
        database: backend.database(directory.path()),
        directory,
        promises: Promises::of(setup),
        hits: phases.iter().map(|phase| (*phase, 0)).collect(),
        kills: 0,
        checked: 0,
    };
    let enough = Enough::on(backend);
    while !kills.are(enough) {
        let (hits, behind) = (&kills.hits, kills.promises.behind_max);
        assert!(kills.kills < KILLS_MAX, "something is hardly ever hit: {hits:?}, {behind} steps overlapped");
        kills.kill_once();
    }
    kills.finish();
}

impl Loop {
    /// Whether every phase was hit, and commits overlapped steps, as often as it is to be.
    fn are(&self, enough: Enough) -> bool {
        let overlapped = self.setup.mode != ASYNC || self.promises.behind_max >= enough.behind;
        overlapped && self.kills >= enough.kills && self.hits.values().all(|hits| *hits >= enough.of_phase)
    }

    fn kill_once(&mut self) {
        let (trap, time) = self.choose();
        let child = Running::start(&self.orders(self.promises.done, None, trap));
        let status = if child.wait_until_ready() { child.end_within(time) } else { child.finish().0 };
        assert_eq!(status.signal(), Some(9), "the child ended by itself: {status}");
        self.kills += 1;
        self.hear();
        if let Some(hits) = self.promises.phase().and_then(|phase| self.hits.get_mut(&phase)) {
            *hits += 1;
        }
        self.check();
    }

    /// Reads on in the journal.
    fn hear(&mut self) {
        self.journal.cut_torn();
        for event in self.journal.read() {
            self.promises.hear(event);
        }
    }

    /// The next kill: by time, or at an event of the phase that was hit least.
    fn choose(&mut self) -> (Option<Trap>, Duration) {
        if self.rng.bool() {
            return (None, Duration::from_micros(self.rng.u64(0..60_000)));
        }
        let (phase, _) = self.hits.iter().min_by_key(|(_, hits)| **hits).expect("there are phases");
        let nth = if *phase == Phase::ClaimSent { 1 } else { self.rng.u32(1..8) };
        // The moment at which such a task begins.
        let phase = if *phase == Phase::TaskBesideCommit { &Phase::TaskRunning } else { phase };
        let delay_us = if self.rng.bool() { 0 } else { self.rng.u64(0..300) };
        (Some(Trap { phase: *phase, nth, spring: Spring::Kill { delay_us } }), TRAP_TIMEOUT)
    }

    fn orders(&self, from: u32, until: Option<u32>, trap: Option<Trap>) -> Orders {
        let journal = self.directory.path().join("journal");
        let drive = Drive { setup: self.setup, journal, trap, from, until };
        Orders { database: self.database.clone(), work: Work::Drive(drive) }
    }

    /// A handle of this process. It is closed before the next child starts, so that each finds what a kill left.
    fn app(&self) -> App<Trail> {
        on(self.setup.app(unread_journal()), &self.database)
    }

    fn check(&mut self) {
        self.assert_not_further_behind();
        self.promises.assert_nothing_repeated();
        // Often the next child is the first to open what the kill left.
        if self.rng.u32(0..3) == 0 {
            let app = self.app();
            self.checked = block_on(self.promises.assert_checkpoints(&app, self.checked));
        }
    }

    /// Panics if more steps could have been lost than the mode says. Counted where a step is one task.
    fn assert_not_further_behind(&self) {
        let (promises, setup) = (&self.promises, &self.setup);
        if !is_one_by_one(setup.shape) {
            return;
        }
        assert_eq!(promises.behind_at_end, 0, "the end of a thread was told and not durable");
        match setup.mode {
            // A child that was killed before its first step was not behind at all.
            Mode::Sync => assert!(promises.behind_max <= 1, "{promises:?}"),
            Mode::Async { behind_max } => assert!(promises.behind_max <= behind_max as usize, "{promises:?}"),
            Mode::Exit => {}
        }
    }

    /// Lets the last threads end, and compares everything with a run that nobody killed.
    fn finish(mut self) {
        let threads = self.promises.turned + 1;
        let (status, _) = Running::start(&self.orders(0, Some(threads), None)).finish();
        assert!(status.success(), "the driver does not come to its end: {status}");
        self.hear();
        self.promises.assert_nothing_repeated();
        self.assert_not_further_behind();
        let starts = self.promises.starts;
        let (status, _) = Running::start(&self.orders(0, Some(threads), None)).finish();
        assert!(status.success(), "a finished driver does not begin anew: {status}");
        self.hear();
        assert_eq!(self.promises.starts, starts, "a driver that begins anew on finished threads runs nothing");
        let app = self.app();
        let checkpoints = block_on(self.promises.assert_checkpoints(&app, 0));
        block_on(assert_clean(self.setup, &app, threads));
        let Self { kills, hits, setup, .. } = &self;
        eprintln!(
            "{setup:?}: {kills} kills over {threads} threads, {checkpoints} checkpoints, {starts} tasks: {hits:?}"
        );
    }
}

/// Panics unless all threads are as if nobody had been killed.
async fn assert_clean(setup: Setup, app: &App<Trail>, threads: u32) {
    let clean = clean_states(setup).await;
    for number in 0..threads {
        let states = states(setup, app, &format!("thread-{number}")).await.expect("readable");
        assert_eq!(states, clean, "thread {number} differs from a clean run");
    }
}
