//! Is anything lost, repeated or mixed up when processes die, stop, or share a file, and when store calls fail?
//!
//! What each test relies on lies outside the store: a journal that the processes write and sync themselves.
#![cfg(unix)]

mod backend;
mod child;
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
    /// One for all waits of a test: a connection lives in the runtime in which it was opened.
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
}

/// Runs a future of a test that is not one itself.
fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.with(|runtime| runtime.block_on(future))
}
