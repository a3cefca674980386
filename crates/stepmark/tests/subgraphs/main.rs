//! Does a graph inside a node keep what a graph keeps?

mod bench;
mod stores;

mod answers;
mod lifetimes;
mod past;
mod drawn;
mod nestings;
mod seen;
