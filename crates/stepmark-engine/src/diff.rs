//! What differs between two states?
//!
//! Channel by channel, as deep as values go: entries of maps by key, items of lists by id or index, long texts by words or
//! lines. No user type is asked; a difference holds everything that is needed to make the new value from the old one,
//! but where [`Change::TooLarge`] says otherwise. `compare.rs` is pure, `sides.rs` reads checkpoints, `show.rs` prints.

use serde::Serialize;

use crate::dynamic::Value;
use crate::encode::Body;
use crate::error::{Error, Result};
use crate::state::{Keep, State};

mod compare;
mod list;
mod show;
mod sides;
mod text;

/// A channel's value is compared if it has at most this many bytes; of a list, what lies between its equal ends.
/// Comparing takes a few dozen times as much memory.
pub const COMPARED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// As for bytes: how many items of a list.
pub const COMPARED_ITEMS_MAX: usize = 1024 * 1024;
/// How many items or words are aligned with each other; longer stretches are compared place by place.
pub const ALIGNED_MAX: usize = 64 * 1024;

/// What differs between an old and a new state: nothing, if it has no channels. `Display` prints a line per difference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// The channels that differ, in the order of the state's fields; then those that the state has no field for, by name.
    pub channels: Vec<ChannelDiff>,
}

/// What differs in a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChannelDiff {
    /// Its name.
    pub channel: String,
    /// The difference. `Added` and `Removed` are for channels that the state has no field for: a field that was never
    /// written has its default value.
    pub change: Change,
}

/// How a value became another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was not there.
    Added(Value),
    /// It is not there any more.
    Removed(Value),
    /// A scalar, a short text, or a value of another kind.
    Replaced {
        /// What it was.
        old: Value,
        /// What it is.
        new: Value,
    },
    /// The entries of a map, or fields of a struct, that differ, by key.
    Entries(Vec<EntryDiff>),
    /// The items of a list that differ.
    Items(ListDiff),
    /// A text with its parts.
    Text(TextDiff),
    /// An item that stands elsewhere among those that stayed, and is otherwise the same.
    Moved,
    /// Only that it differs: there are more than [`COMPARED_BYTES_MAX`] bytes or [`COMPARED_ITEMS_MAX`] items to compare.
    /// A side without a value has no length.
    TooLarge {
        /// How many bytes it had.
        old_bytes: Option<u64>,
        /// How many bytes it has.
        new_bytes: Option<u64>,
    },
}

/// What differs under a key of a map, or in a field of a struct.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EntryDiff {
    /// The key or the field's name.
    pub key: Value,
    /// The difference.
    pub change: Change,
}

/// What differs in a list. Items that are not mentioned are the same on both sides, in the same order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListDiff {
    /// The items, in order of the new list; removed ones where they were.
    pub items: Vec<ItemDiff>,
    /// Whether there were more than [`ALIGNED_MAX`] items to align, so that they were compared place by place.
    pub is_coarse: bool,
}

/// What differs in an item of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ItemDiff {
    /// Its index in the old list; absent if it was added.
    pub old: Option<usize>,
    /// Its index in the new list; absent if it was removed.
    pub new: Option<usize>,
    /// Its id, in a list whose items have one.
    pub id: Option<Value>,
    /// The difference.
    pub change: Change,
}

/// What differs in a text. Without the added parts it is the old text, without the removed ones the new text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TextDiff {
    /// What was compared.
    pub unit: TextUnit,
    /// The whole text, in order.
    pub parts: Vec<TextPart>,
    /// Whether there were more than [`ALIGNED_MAX`] words or lines to align, so that all between the equal ends was
    /// replaced.
    pub is_coarse: bool,
}

/// In what a text is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TextUnit {
    /// Words, with the space that follows them: texts of one line.
    Words,
    /// Lines.
    Lines,
}

/// A part of a text that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TextPart {
    /// In both.
    Same(String),
    /// In the old text alone.
    Removed(String),
    /// In the new text alone.
    Added(String),
}

impl Diff {
    /// Whether the states are equal.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// What differs in a channel, if anything does.
    pub fn channel(&self, name: &str) -> Option<&Change> {
        self.channels.iter().find(|diff| diff.channel == name).map(|diff| &diff.change)
    }

    fn push(&mut self, channel: impl Into<String>, change: Option<Change>) {
        self.channels.extend(change.map(|change| ChannelDiff { channel: channel.into(), change }));
    }

    /// What differs between two states in memory.
    pub(crate) fn of_states<S: State>(old: &S, new: &S) -> Result<Self> {
        let mut diff = Self::default();
        for (channel, spec) in S::channels().iter().enumerate().filter(|(_, spec)| spec.keep != Keep::Untracked) {
            let encode = |state: &S| {
                let mut body = Body::default();
                state.encode_full(channel, &mut body).map(|()| body.bytes).map_err(Error::invalid)
            };
            let ids = list::Ids::of_reducer(spec.reducer);
            let (old, new) = (encode(old)?, encode(new)?);
            let change = compare::channel(Some(&old), Some(&new), ids);
            diff.push(spec.name, change.map_err(|error| Error::invalid(error.in_channel(spec.name)))?);
        }
        Ok(diff)
    }
}

#[cfg(test)]
mod tests;
