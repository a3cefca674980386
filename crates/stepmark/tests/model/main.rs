//! Does the whole engine do what a simple model of it says?
//!
//! A random graph, and a random sequence of verbs with faults, crashes and processes that are overtaken. After every
//! operation everything that is stored is compared with a model that knows neither the engine nor a store. A sequence that
//! fails is cut down and printed with the command that repeats it; what the sequences met is printed, and nothing of it
//! may be missing.

mod answering;
mod answers;
mod asking;
mod bench;
mod board;
mod choice;
mod command;
mod compare;
mod coverage;
mod drawn;
mod faults;
mod ids;
mod judge;
mod look;
mod loose;
mod machine;
mod nodes;
mod process;
mod reading;
mod running;
mod sequence;
mod settling;
mod stopping;
mod story;
mod trouble;
mod world;
mod writing;

use sequence::{Place, run_all};

/// How many sequences the normal run makes.
const MEMORY_SEEDS: u64 = 100;
const SQLITE_SEEDS: u64 = 10;

#[test]
fn random_sequences_in_memory_do_what_the_model_says() {
    run_all(Place::Memory, MEMORY_SEEDS);
}

#[test]
fn random_sequences_on_sqlite_do_what_the_model_says() {
    run_all(Place::Sqlite, SQLITE_SEEDS);
}
