//! Does the engine keep its promises, whatever graph runs and whatever happens to it?
//!
//! A seed draws a graph with every feature of the engine and the mishaps that its runs meet. The graph runs once in peace;
//! then again and again, and each time processes die, stall, are drained, or see their store fail. What goes on must end
//! as the run in peace did, no promise about how often something runs may be broken, and nothing of a run that is over may
//! still run. Time is simulated: a seed does the same at every run.
//!
//! `tests/sim.rs` runs the seeds; `tests/model` has a judge of its own, and uses the tools here. Read `trial.rs` first: it
//! is the table of contents.

mod clock;
pub mod coverage;
mod drawn;
mod drive;
pub mod faults;
mod graphs;
pub mod ids;
mod judge;
mod lab;
mod mishap;
mod moving;
mod nodes;
mod payments;
mod process;
mod seeds;
mod smaller;
mod state;
mod still;
mod trace;
mod trial;
mod wanted;

pub use seeds::{On, simulate};
