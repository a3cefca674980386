//! Does a graph inside a node keep what a graph keeps?

mod bench;

mod answers;
mod lifetimes;
mod past;
