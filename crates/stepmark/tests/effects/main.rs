//! Is what must not be repeated done once, whatever happens to the run that does it?

mod bench;
mod done;
#[path = "../subgraphs/stores.rs"]
mod stores;
mod together;
mod unknown;
