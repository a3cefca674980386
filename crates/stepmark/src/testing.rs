//! Tests of your own graphs: does a run recover from a crash at every write, and from every way in which a store can fail?
//!
//! [`assert_recovers`] runs a graph, kills it at every write to its store, before it and right after it, lets a new
//! application go on from what was stored, and compares the end with that of a run that nobody killed:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use stepmark::testing::assert_recovers;
//! use stepmark::{App, Append, Graph, Snap, State, Update};
//!
//! #[derive(State, Clone, Default, Serialize, Deserialize)]
//! struct Report {
//!     topic: String,
//!     #[reduce(Append)]
//!     notes: Vec<String>,
//! }
//!
//! async fn research(report: Snap<Report>) -> Update<Report> {
//!     let mut update = report.update();
//!     update.notes.push(format!("read about {}", report.topic));
//!     update
//! }
//!
//! fn app() -> App<Report> {
//!     let mut graph = Graph::new("report");
//!     let research = graph.node("research", research);
//!     graph.start(research);
//!     graph.build().expect("a sound graph")
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let recovery = assert_recovers(app, |report| report.topic.set("rust".into())).await;
//! assert_eq!((recovery.writes, recovery.kills), (2, 4));
//! # }
//! ```
//!
//! [`crash_after`] and [`faulty`] are for tests of your own making: a store that fails where it is told, around any store.
//!
//! ```
//! use stepmark::store::CheckpointStore;
//! use stepmark::testing::{crash_after, faulty};
//! use stepmark::MemoryStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let store = MemoryStore::new();
//! let dying = crash_after(store.clone(), 1);
//! assert!(dying.info().await.is_ok());
//! assert!(dying.info().await.is_err(), "its process is gone");
//! assert!(store.info().await.is_ok(), "what it had stored is there");
//!
//! let shaky = faulty(store).error_after(0);
//! assert!(shaky.info().await.is_err() && shaky.info().await.is_ok());
//! # }
//! ```
//!
//! What a crash in the same process cannot show: effects of a node on the outside world, and what another process does in
//! the meantime. This module changes more freely between versions than the rest.

mod difference;
mod faults;
mod kill;
mod recovery;
mod run;

pub use faults::{Faulty, crash_after, faulty};
pub use recovery::{Recovers, Recovery, assert_recovers};
pub use stepmark_conformance::call::CallKind;
pub use stepmark_conformance::fault::{Counted, Fault, FaultPlan, FaultStore, When};
