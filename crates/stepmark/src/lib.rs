//! Durable state graphs for AI agents: git for agent state, with crash recovery.

#[doc(hidden)]
pub use stepmark_engine::__private;
pub use stepmark_engine::{
    Cx, Dep, END, Goto, In, NodeError, NodeRef, NodeResult, Route, Snap, State, Update, to,
};
pub use stepmark_macros::{State, node};

pub use reducer::{Add, Append, ById, HasId, Last, Merge, Replace};

/// How writes combine with values, and what a reducer of your own needs.
pub mod reducer {
    pub use stepmark_engine::{
        Add, AddSlot, AddWrite, Append, AppendSlot, AppendWrite, ById, ByIdSlot, ByIdWrite, Change,
        HasId, Last, Merge, MergeSlot, MergeWrite, Number, PushSlot, Reducer, Replace, SetSlot,
        Slot, TextSlot,
    };
}
