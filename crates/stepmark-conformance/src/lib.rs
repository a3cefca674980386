//! Loosely versioned conformance kit for Stepmark stores: what must every backend do, and how is that proved?
//!
//! `docs/store-guide.md` of the repository leads through it. A backend implements [`StoreEnv`] and calls [`suite!`], which makes one test of every case, and
//! [`model::check_model`], which compares random sequences of calls with a small model. [`FaultStore`],
//! [`CountingStore`] and [`WitnessStore`] wrap any store for tests of recovery. [`mutants`] are broken stores that the
//! kit is known to catch.
//!
//! ```
//! mod memory {
//!     stepmark_conformance::suite!(stepmark_conformance::MemoryEnv::new(), skip = [
//!         flipped_byte_is_named => "memory has no stored bytes to flip",
//!         damaged_row_does_not_end_the_walk => "memory has no stored bytes to flip",
//!     ]);
//! }
//! ```
#![allow(clippy::missing_panics_doc, reason = "a case answers by panicking")]

mod env;
mod run;

pub mod cases;
pub mod damage;
pub mod make;
pub mod model;
pub mod mutants;

pub mod call;
pub mod count;
pub mod fault;
pub mod witness;

pub use count::CountingStore;
pub use env::{MemoryEnv, Record, StoreEnv};
pub use fault::{Fault, FaultPlan, FaultStore};
pub use run::{Case, CaseFuture, check_skips, find_case, run_case, try_case};
pub use witness::{Sight, Witness, WitnessStore};

#[cfg(doctest)]
#[doc = include_str!("../../../docs/store-guide.md")]
struct StoreGuide;
