//! What is a state to the engine?
//!
//! A list of channels, one per field, each with a reducer. `#[derive(State)]` writes both traits; nobody implements
//! them by hand.

use std::{collections::BTreeSet, ops::Range};

use crate::{
    change::Changes,
    encode::{Body, DecodeError, EncodeError, Entries},
    node_error::NodeError,
    raw::RawState,
};

/// The update type of a state: one slot per field.
pub type Update<S> = <S as State>::Update;

/// The shared state of a graph. Derive it.
///
/// Equal values are stored as equal bytes: the entries of a map, at any depth, are written in order of their encoded keys.
/// So a map type that keeps an order loses it; what needs its order is a `Vec`. serde does not tell sets from lists: a
/// `HashSet` is sorted only as the value of an [`Append`](crate::Append) field; elsewhere use a `BTreeSet`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a graph state",
    note = "put `#[derive(State, Clone, Default)]` on the struct"
)]
pub trait State: Default + Clone + Send + Sync + 'static {
    /// What a node returns to change this state.
    type Update: StateUpdate;
    /// The name of the struct.
    const NAME: &'static str;
    /// `#[state(version = N)]`, 1 if absent.
    const VERSION: u32;

    /// One per field, in declaration order; a channel's number is its index here.
    fn channels() -> &'static [ChannelSpec];

    /// The state as it begins: `Self::default()` but for the fields with `#[state(default = ..)]`.
    fn initial() -> Self;

    /// `#[state(migrate(..))]`: one for each older version that can still be read, ascending without a gap, the last one to
    /// `VERSION`.
    fn migrations() -> &'static [Migration];

    /// `#[state(migrate_writes(..))]`: the same for the writes of a task that was finished but not applied.
    fn write_migrations() -> &'static [Migration];

    /// Applies every write of `update` through its channel's reducer, and records in `changes` how the channels changed.
    fn apply(&mut self, update: Self::Update, changes: &mut Changes);

    /// Appends the channel's value to `out`.
    fn encode_full(&self, channel: usize, out: &mut Body) -> Result<(), EncodeError>;

    /// Appends some elements of a [`Shape::List`] channel to `out`, without an array header.
    fn encode_items(&self, channel: usize, range: Range<usize>, out: &mut Body) -> Result<(), EncodeError>;

    /// Adds the entries of a [`Shape::Map`] channel that have these encoded keys to `out`.
    fn encode_entries(&self, channel: usize, keys: &BTreeSet<Vec<u8>>, out: &mut Entries) -> Result<(), EncodeError>;

    /// How many elements a [`Shape::List`] channel holds; 0 for other shapes.
    fn list_len(&self, channel: usize) -> usize;

    /// Puts into `update` the write that makes the channel's value in `after` of its value here, which differs.
    fn difference(&self, after: &Self, channel: usize, update: &mut Self::Update) -> Result<(), EncodeError> {
        let _ = (after, channel, update);
        Err(EncodeError::new("a state of this kind does not say what differs between two values"))
    }

    /// Replaces the channel's value by the decoded one. After an error the value is as before.
    fn decode(&mut self, channel: usize, value: &[u8]) -> Result<(), DecodeError>;

    /// The JSON schema of a channel's value: `#[state(schema)]`, with the feature `schemars`.
    fn channel_schema(_channel: usize) -> Option<String> {
        None
    }

    /// The channel has the value it has in `Self::initial()`.
    fn reset(&mut self, channel: usize);
}

/// Writes to the channels of a state. Derived with [`State`].
pub trait StateUpdate: Default + Clone + Send + Sync + 'static {
    /// Visits every channel that is written, in channel order, with its number and whether the write is exclusive: a
    /// second exclusive write to that channel in one step is a conflict.
    fn writes(&self, visit: &mut dyn FnMut(usize, bool));

    /// The encoded write to a channel. An error if the channel is not written.
    fn encode(&self, channel: usize) -> Result<Vec<u8>, EncodeError>;

    /// Puts a decoded write into the channel's slot, in place of one that is there.
    fn decode(&mut self, channel: usize, write: &[u8]) -> Result<(), DecodeError>;
}

/// What is fixed about a channel at compile time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelSpec {
    /// The field's name.
    pub name: &'static str,
    /// `#[state(rename_from = "..")]`: names under which older programs stored it.
    pub renamed_from: &'static [&'static str],
    /// The reducer's stored name.
    pub reducer: &'static str,
    /// The field's type as written, with normalised spacing.
    pub value_type: &'static str,
    /// How the value is stored.
    pub shape: Shape,
    /// How long the value lives.
    pub keep: Keep,
    /// Whether nodes alone write it: run input may not.
    pub is_private: bool,
    /// Whether the new value is exactly the write, so that storing one is storing the other.
    pub names_flushed: bool,
}

/// The step from one version of a state to the next.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// The version that it starts from.
    pub from: u32,
    /// Makes a stored state of that version one of the next.
    pub run: fn(&mut RawState) -> Result<(), NodeError>,
}

/// How a channel's value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As one piece.
    Whole,
    /// Element by element.
    List,
    /// Entry by entry.
    Map,
}

/// How long a channel's value lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Until it is written again.
    Stored,
    /// For one step: `#[state(ephemeral)]`.
    Ephemeral,
    /// While the process holds the state, never stored: `#[state(untracked)]`.
    Untracked,
}

impl Keep {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Ephemeral => "ephemeral",
            Self::Untracked => "untracked",
        }
    }
}
