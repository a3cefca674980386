//! How do writes combine with a field's value?
//!
//! A reducer is a type. `#[reduce(Append)]` on a field of type `T` asks for `Append: Reducer<T>`. A reducer of your own
//! needs four items:
//!
//! ```
//! use stepmark_engine::{Change, PushSlot, Reducer};
//!
//! /// Keeps the largest value ever written.
//! struct Max;
//!
//! impl Reducer<u64> for Max {
//!     type Write = Vec<u64>;
//!     type Slot = PushSlot<u64>;
//!     const NAME: &'static str = "max";
//!
//!     fn apply(value: &mut u64, write: Vec<u64>) -> Change {
//!         *value = write.into_iter().fold(*value, u64::max);
//!         Change::Whole
//!     }
//! }
//! ```

use std::{collections::BTreeSet, ops::Range};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    change::Change,
    encode::{self, Body, DecodeError, EncodeError, Entries},
    slot::Slot,
    state::Shape,
};

mod add;
mod append;
mod by_id;
mod merge;
mod replace;

pub use add::{Add, AddSlot, AddWrite, Number};
pub use append::{Append, AppendSlot, AppendWrite, TextSlot};
pub use by_id::{ById, ByIdSlot, ByIdWrite, HasId};
pub use merge::{Merge, MergeSlot, MergeWrite};
pub use replace::{Last, Replace};

/// How writes combine with a value of type `T`.
///
/// Applying must not panic: a panic unwinds through the run, and what was not stored by then runs again. And it must be
/// deterministic: the same value and the same writes in the same order give the same value, on any
/// machine.
#[diagnostic::on_unimplemented(
    message = "reducer `{Self}` cannot merge writes into a field of type `{T}`",
    label = "this reducer does not support the field's type",
    note = "`Append` needs a Vec, String, VecDeque or set, `Add` a number, `Merge` a map, `ById` a Vec of `HasId`; write `impl Reducer<{T}> for MyReducer` for anything else"
)]
pub trait Reducer<T: Serialize + DeserializeOwned> {
    /// What one task writes to the field in one step.
    type Write: Clone + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What the field is in an update.
    type Slot: Slot<Self::Write>;
    /// Stored with every value of the channel: never change it.
    const NAME: &'static str;
    /// How the value is stored. Custom reducers leave it.
    const SHAPE: Shape = Shape::Whole;
    /// Whether the new value is exactly the write.
    const NAMES_FLUSHED: bool = false;

    /// Applies `write` and says what changed. Custom reducers return [`Change::Whole`].
    fn apply(value: &mut T, write: Self::Write) -> Change;

    /// The write that makes `after` of `before`: how a sub-graph that shares its parent's state says what it did. Asked
    /// only where they differ. A reducer that does not say it cannot be written to by such a sub-graph.
    fn difference(before: &T, after: &T) -> Result<Self::Write, EncodeError> {
        let _ = (before, after);
        Err(EncodeError::new(format_args!(
            "reducer {:?} does not say what differs between two values: implement `Reducer::difference`, or give the \
             sub-graph a state of its own with `mapped`",
            Self::NAME
        )))
    }

    /// Whether a second exclusive write in the same step is a conflict.
    fn is_exclusive(write: &Self::Write) -> bool {
        let _ = write;
        false
    }

    /// Appends the whole value to `out`.
    fn encode_full(value: &T, out: &mut Body) -> Result<(), EncodeError> {
        encode::write_value(value, &mut out.bytes)
    }

    /// Appends some elements to `out`, without a header. [`Shape::List`] only.
    fn encode_items(value: &T, range: Range<usize>, out: &mut Body) -> Result<(), EncodeError> {
        let _ = (value, range, out);
        Err(EncodeError::new("the value is not stored element by element"))
    }

    /// Adds the entries with these encoded keys to `out`. [`Shape::Map`] only.
    fn encode_entries(value: &T, keys: &BTreeSet<Vec<u8>>, out: &mut Entries) -> Result<(), EncodeError> {
        let _ = (value, keys, out);
        Err(EncodeError::new("the value is not stored entry by entry"))
    }

    /// How many elements the value has; 0 unless [`Shape::List`].
    fn list_len(value: &T) -> usize {
        let _ = value;
        0
    }

    /// The value of these bytes, which must hold nothing else.
    fn decode(bytes: &[u8]) -> Result<T, DecodeError> {
        encode::from_bytes(bytes)
    }

    /// The encoded form of a write: equal writes give equal bytes.
    fn encode_write(write: &Self::Write) -> Result<Vec<u8>, EncodeError> {
        encode::to_bytes(write)
    }

    /// The write of these bytes.
    fn decode_write(bytes: &[u8]) -> Result<Self::Write, DecodeError> {
        encode::from_bytes(bytes)
    }
}
