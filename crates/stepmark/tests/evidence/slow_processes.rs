//! Do several processes that write to one store at once lose, repeat or interleave anything?

use std::collections::BTreeSet;

use stepmark::App;

use crate::block_on;
use crate::child::Running;
use crate::letters::{self, Letters};
use crate::orders::{Orders, Share, Work};
use crate::place::{Backend, on};

const PROCESSES: u32 = 4;
/// Threads of a process, of which most are its own, and inputs of each. A server that is waited for gets fewer.
const THREADS: u32 = 50;
const THREADS_ON_SERVER: u32 = 20;
/// Threads that all processes write to.
const SHARED_THREADS: u32 = 10;
const INPUTS: u32 = 20;
const INPUTS_ON_SERVER: u32 = 8;

#[test]
fn four_processes_apply_each_input_once_in_one_line() {
    apply_each_input_once(Backend::Sqlite, (THREADS, INPUTS));
}

#[test]
fn four_processes_on_postgres_apply_each_input_once_in_one_line() {
    apply_each_input_once(Backend::Postgres, (THREADS_ON_SERVER, INPUTS_ON_SERVER));
}

fn apply_each_input_once(backend: Backend, (threads, inputs): (u32, u32)) {
    let directory = tempfile::tempdir().expect("a directory");
    let database = backend.database(directory.path());
    let start = |writer: u32| {
        let threads = (0..threads).map(|number| thread_name(writer, number)).collect();
        let share = Share { writer, threads, inputs };
        Running::start(&Orders { database: database.clone(), work: Work::Share(share) })
    };
    let children: Vec<Running> = (0..PROCESSES).map(start).collect();
    for child in children {
        let (status, lines) = child.finish();
        assert!(lines.is_empty(), "a store refused what it should not: {lines:?}");
        assert!(status.success(), "a process failed: {status}");
    }
    let app = on(letters::app(), &database);
    for number in 0..SHARED_THREADS {
        block_on(check(&app, &thread_name(0, number), (&(0..PROCESSES).collect::<Vec<_>>(), inputs)));
    }
    for writer in 0..PROCESSES {
        for number in SHARED_THREADS..threads {
            block_on(check(&app, &thread_name(writer, number), (&[writer], inputs)));
        }
    }
}

fn thread_name(writer: u32, number: u32) -> String {
    if number < SHARED_THREADS { format!("shared {number}") } else { format!("own {number} of {writer}") }
}

async fn check(app: &App<Letters>, name: &str, (writers, each): (&[u32], u32)) {
    let thread = app.thread(name);
    let snapshot = thread.state().await.expect("readable");
    let inputs = &snapshot.state().inputs;
    for writer in writers {
        let own = inputs.iter().filter(|input| input.ends_with(&format!(" of {writer}")));
        let expected: Vec<String> = (0..each).map(|number| letters::input(*writer, number)).collect();
        assert!(own.eq(expected.iter()), "{name}: not each input of {writer} once, in its order: {inputs:?}");
    }
    let expected = writers.len() * each as usize;
    assert_eq!((inputs.len(), snapshot.state().counted), (expected, expected as u64), "{name}");
    let history = thread.history().all_branches().await.expect("readable");
    let steps: Vec<u64> = history.iter().rev().map(|checkpoint| checkpoint.step).collect();
    assert_eq!(steps, (0..2 * expected as u64).collect::<Vec<_>>(), "{name}: its history is not one line");
    let parents: BTreeSet<_> = history.iter().filter_map(|checkpoint| checkpoint.parent.as_ref()).collect();
    assert_eq!(parents.len(), history.len() - 1, "{name}: two checkpoints have one parent");
}
