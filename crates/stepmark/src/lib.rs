//! Durable state graphs for AI agents: git for agent state, with crash recovery.

#[doc(hidden)]
pub use stepmark_engine::__private;
pub use stepmark_engine::{
    Append, Cx, Dep, END, Goto, In, Last, NodeError, NodeRef, NodeResult, Replace, Route, Snap,
    State, Update, to,
};
pub use stepmark_macros::{State, node};

/// How writes combine with values, and how to write a reducer of your own.
pub mod reducer {
    pub use stepmark_engine::{
        Append, AppendSlot, AppendWrite, Change, Last, PushSlot, Reducer, Replace, SetSlot, Slot,
        TextSlot,
    };
}
