//! How did the channels of a state change in one step?
//!
//! A [`Change`] says which part of a value differs from before, so that storing a step costs what changed and not what
//! is there. It never says what the new part is: that is read from the new value.

use std::collections::BTreeSet;

/// Which part of a channel's value a write changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Anything may differ.
    Whole,
    /// A list: `old[at..at + remove]` became `new[at..at + insert]`; the rest is as before.
    Edit {
        /// Index of the first element that differs.
        at: usize,
        /// How many old elements are gone.
        remove: usize,
        /// How many new elements stand in their place.
        insert: usize,
    },
    /// A map: the encoded keys that were set or removed.
    Keys(BTreeSet<Vec<u8>>),
}

impl Change {
    /// The change of appending `count` elements to a list of `old_len`.
    pub fn append(old_len: usize, count: usize) -> Self {
        Self::Edit { at: old_len, remove: 0, insert: count }
    }

    /// Whether the value is the same as before.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Whole => false,
            Self::Edit { remove, insert, .. } => *remove == 0 && *insert == 0,
            Self::Keys(keys) => keys.is_empty(),
        }
    }

    /// One change that covers `self` followed by `next`.
    ///
    /// Two edits become the smallest single edit that spans both.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        if self.is_empty() {
            return next;
        }
        if next.is_empty() {
            return self;
        }
        match (self, next) {
            (
                Self::Edit { at, remove, insert },
                Self::Edit { at: next_at, remove: next_remove, insert: next_insert },
            ) => {
                let start = at.min(next_at);
                // Both ends are positions in the list between the two edits.
                let end = (at + insert).max(next_at + next_remove);
                Self::Edit {
                    at: start,
                    remove: end - insert + remove - start,
                    insert: end - next_remove + next_insert - start,
                }
            }
            (Self::Keys(mut keys), Self::Keys(next)) => {
                keys.extend(next);
                Self::Keys(keys)
            }
            _ => Self::Whole,
        }
    }
}

/// The changes of one step, by channel number.
///
/// Made once per run and reused: a step that replaces or adds allocates nothing here.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    by_channel: Vec<Option<Change>>,
}

impl Changes {
    /// No changes yet, for a state of this many channels.
    pub fn new(channels: usize) -> Self {
        Self { by_channel: vec![None; channels] }
    }

    /// Adds `change` to what is known of `channel`. An empty change leaves the channel unchanged.
    ///
    /// # Panics
    /// If `channel` is not a channel of the state this was made for.
    pub fn record(&mut self, channel: usize, change: Change) {
        if change.is_empty() {
            return;
        }
        let known = &mut self.by_channel[channel];
        *known = Some(match known.take() {
            Some(earlier) => earlier.then(change),
            None => change,
        });
    }

    /// How many channels the state has.
    pub fn len(&self) -> usize {
        self.by_channel.len()
    }

    /// Whether the state has no channels.
    pub fn is_empty(&self) -> bool {
        self.by_channel.is_empty()
    }

    /// How `channel` changed; `None` if it did not.
    pub fn get(&self, channel: usize) -> Option<&Change> {
        self.by_channel.get(channel)?.as_ref()
    }

    /// How `channel` changed; it counts as unchanged afterwards.
    pub fn take(&mut self, channel: usize) -> Option<Change> {
        self.by_channel.get_mut(channel)?.take()
    }

    /// Whether `channel` changed.
    pub fn is_changed(&self, channel: usize) -> bool {
        self.get(channel).is_some()
    }

    /// Every changed channel, in channel order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Change)> {
        self.by_channel.iter().enumerate().filter_map(|(channel, change)| Some((channel, change.as_ref()?)))
    }

    /// Nothing is changed afterwards; the memory is kept.
    pub fn clear(&mut self) {
        self.by_channel.iter_mut().for_each(|change| *change = None);
    }
}
