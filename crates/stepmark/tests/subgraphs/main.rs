//! Does a graph inside a node keep what a graph keeps?

mod bench;
mod stores;

mod answers;
mod common_state;
mod lifetimes;
mod past;
mod drawn;
mod nestings;
mod seen;
