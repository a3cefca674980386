//! The Stepmark engine: graph to program to super-steps, over the store seam.
//!
//! Internal: use the `stepmark` crate.

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
// Macros generate paths into `stepmark`; in this crate's own tests that is this crate.
#[cfg(test)]
extern crate self as stepmark;

mod change;
mod deps;
mod encode;
mod handle;
mod node;
mod node_error;
mod reducer;
mod slot;
mod state;

pub use change::{Change, Changes};
pub use deps::Deps;
pub use encode::{Body, DecodeError, EncodeError, Entries};
pub use handle::{END, End, IntoRoutes, NodeRef, Route, TargetId};
pub use node::{Cx, Dep, FromCx, Goto, In, IntoNodeOutput, Node, NodeOutput, Snap};
pub use node_error::{NodeError, NodeResult};
pub use reducer::{
    Add, AddSlot, AddWrite, Append, AppendSlot, AppendWrite, ById, ByIdSlot, ByIdWrite, HasId,
    Last, Merge, MergeSlot, MergeWrite, Number, Reducer, Replace, TextSlot,
};
pub use slot::{PushSlot, SetSlot, Slot};
pub use state::{ChannelSpec, Keep, Shape, State, StateUpdate, Update};
