//! Can a process that was stopped, and whose thread another process finished, still write when it goes on?

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use stepmark::App;

use crate::block_on;
use crate::child::Running;
use crate::graphs::{Mode, Setup, Shape, Trail};
use crate::journal::{Event, Phase, Spring, Trap};
use crate::orders::{Drive, Orders, Work};
use crate::place::{Backend, on};
use crate::promises::{JournalFile, Promises, clean_states, states, unread_journal};

const THREAD: &str = "thread-0";

const ASYNC: Mode = Mode::Async { behind_max: 3 };

#[test]
fn zombie_stopped_inside_a_task_writes_nothing() {
    check(Shape::Linear, Mode::Sync, Phase::TaskRunning, 4);
}

#[test]
fn zombie_stopped_inside_a_fan_out_writes_nothing() {
    // The first leaf, before any other has ended: a stopped process that holds the file's lock would hold up everybody.
    check(Shape::FanOut, Mode::Sync, Phase::TaskRunning, 2);
}

#[test]
fn zombie_stopped_before_its_commit_took_effect_writes_nothing() {
    check(Shape::Linear, Mode::Sync, Phase::CommitSent, 4);
}

#[test]
fn zombie_stopped_before_its_commit_was_answered_writes_nothing() {
    check(Shape::Linear, Mode::Sync, Phase::CommitAcknowledged, 4);
}

#[test]
fn async_zombie_stopped_before_one_of_its_commits_writes_nothing() {
    check(Shape::Linear, ASYNC, Phase::CommitSent, 4);
}

#[test]
fn async_zombie_stopped_between_its_commits_writes_nothing() {
    check(Shape::Linear, ASYNC, Phase::CommitAcknowledged, 4);
}

#[test]
fn exit_zombie_stopped_inside_a_task_writes_nothing() {
    check(Shape::Linear, Mode::Exit, Phase::TaskRunning, 4);
}

#[test]
fn exit_zombie_stopped_before_its_commit_writes_nothing() {
    check(Shape::Linear, Mode::Exit, Phase::CommitSent, 1);
}

#[test]
fn zombies_on_postgres_write_nothing() {
    for phase in [Phase::TaskRunning, Phase::CommitSent, Phase::CommitAcknowledged] {
        check_on(Backend::Postgres, (Shape::Linear, Mode::Sync), (phase, 4));
    }
    check_on(Backend::Postgres, (Shape::FanOut, Mode::Sync), (Phase::TaskRunning, 2));
    check_on(Backend::Postgres, (Shape::FailingSibling, Mode::Sync), (Phase::FlushSent, 1));
}

#[test]
fn zombies_on_redis_write_nothing() {
    for phase in [Phase::TaskRunning, Phase::CommitAcknowledged] {
        check_on(Backend::Redis, (Shape::Linear, Mode::Sync), (phase, 4));
    }
    check_on(Backend::Redis, (Shape::Linear, ASYNC), (Phase::CommitSent, 4));
}

#[test]
fn zombies_on_objects_write_nothing() {
    for phase in [Phase::TaskRunning, Phase::CommitSent] {
        check_on(Backend::Objects, (Shape::Linear, Mode::Sync), (phase, 4));
    }
}

/// Stops a child at the `nth` event of a phase, finishes its thread here, and lets it go on.
fn check(shape: Shape, mode: Mode, phase: Phase, nth: u32) {
    check_on(Backend::Sqlite, (shape, mode), (phase, nth));
}

fn check_on(backend: Backend, (shape, mode): (Shape, Mode), (phase, nth): (Phase, u32)) {
    let setup = Setup { shape, mode, rounds: 2, linger_ms: 5, concurrency_max: 64 };
    let directory = tempfile::tempdir().expect("a directory");
    let (database, journal) = (backend.database(directory.path()), directory.path().join("journal"));
    let mut file = JournalFile::new(&journal);
    let trap = Some(Trap { phase, nth, spring: Spring::Stop });
    let drive = Drive { setup, journal, trap, from: 0, until: Some(1) };
    let child = Running::start(&Orders { database: database.clone(), work: Work::Drive(drive) });
    assert!(child.wait_until_ready(), "the child does not open its store");
    wait_until_stopped(child.pid());
    let mut promises = Promises::of(setup);
    file.read().into_iter().for_each(|event| promises.hear(event));

    let app = on(setup.app(unread_journal()), &database);
    block_on(setup.drive(&app, THREAD)).expect("the take-over comes to the end");
    let line = block_on(history(&app));
    assert!(file.read().is_empty(), "a stopped process does nothing");

    kill_process(child.pid(), Signal::CONT).expect("a child can be continued");
    let (status, _) = child.finish();
    assert_eq!(status.code(), Some(1), "the zombie ends with an error");
    let after = file.read();
    let refused = after.iter().filter(|event| matches!(event, Event::Refused { .. })).count();
    let fenced = after.iter().filter(|event| matches!(event, Event::Refused { reason, .. } if reason == "Fenced"));
    let accepted = after.iter().filter(|event| matches!(event, Event::Accepted { .. })).count();
    eprintln!(
        "{shape:?} in {mode:?} stopped at {phase:?}: {refused} writes of the zombie were refused, {accepted} accepted"
    );
    assert_eq!((fenced.count(), accepted), (refused, 0), "{after:?}");
    assert!(refused > 0, "the zombie never tried to write: {after:?}");
    assert_eq!(block_on(history(&app)), line, "the history is the take-over's");
    assert_eq!(block_on(states(setup, &app, THREAD)).expect("readable"), block_on(clean_states(setup)));
    block_on(promises.assert_checkpoints(&app, 0));
}

async fn history(app: &App<Trail>) -> Vec<String> {
    let thread = app.thread(THREAD);
    let history = thread.history().all_branches().await.expect("readable");
    history.iter().map(|checkpoint| checkpoint.id.to_string()).collect()
}

fn wait_until_stopped(child: Pid) {
    let (_, status) =
        waitpid(Some(child), WaitOptions::UNTRACED).expect("a child can be waited for").expect("it is ours");
    assert!(status.stopped(), "the child ended before it was stopped");
}
