//! Is anything lost, repeated or mixed up when processes die, stop, or share a file, and when store calls fail?
//!
//! What each test relies on lies outside the store: a journal that the processes write and sync themselves.
#![cfg(unix)]

mod child;
mod graphs;
mod journal;
mod orders;
mod promises;
mod seed;

mod kill;
