//! Is anything lost, repeated or mixed up when processes die, stop, or share a file, and when store calls fail?
//!
//! What each test relies on lies outside the store: a journal that the processes write and sync themselves.
#![cfg(unix)]

mod child;
mod database;
mod graphs;
mod journal;
mod letters;
mod orders;
mod place;
mod promises;
mod seed;

mod faults;
mod kill;
mod sim;
mod slow_processes;
mod takeover;
mod zombie;

thread_local! {
    /// One for each test: connections of a store live as long as their runtime.
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
}

/// Runs a future of a test that is not one itself.
fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.with(|runtime| runtime.block_on(future))
}
