//! Is what must not be repeated done once, whatever happens to the run that does it?

mod asks;
mod bench;
mod done;
mod dropped;
mod durable;
mod forks;
mod kills;
#[path = "../subgraphs/stores.rs"]
mod stores;
mod together;
mod unknown;
