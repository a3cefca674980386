//! What is the state of every random graph, and what does a write do to it?
//!
//! The derive gives the engine its reducers; [`Board::write`] says in plain code what the model expects of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stepmark::{Add, Append, ById, HasId, Last, Merge, State, Update};

/// One channel of every kind that is stored.
#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Board {
    /// How many tasks were applied; no way leads back once this has reached `bound`.
    #[reduce(Add)]
    pub(crate) turns: u64,
    pub(crate) bound: u64,
    #[reduce(Last)]
    pub(crate) last: u64,
    pub(crate) word: String,
    #[reduce(Append)]
    pub(crate) list: Vec<u64>,
    #[reduce(Append)]
    pub(crate) text: String,
    #[reduce(Merge)]
    pub(crate) map: BTreeMap<String, u64>,
    #[reduce(ById)]
    pub(crate) items: Vec<Item>,
    /// Large enough for a value row of its own, sometimes for a blob.
    #[reduce(Last)]
    pub(crate) page: String,
    #[state(ephemeral)]
    pub(crate) spark: u64,
    #[state(ephemeral)]
    #[reduce(Append)]
    pub(crate) sparks: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Item {
    id: u64,
    value: u64,
}

impl HasId for Item {
    type Id = u64;

    fn id(&self) -> &u64 {
        &self.id
    }
}

/// One write to one channel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Write {
    Turn,
    Bound(u64),
    Last(u64),
    Word(u64),
    Push(u64),
    Refill(Vec<u64>),
    Say(u64),
    Put(u64, u64),
    Drop(u64),
    Upsert(u64, u64),
    Remove(u64),
    /// A page of this many letters.
    Page(u64, usize),
    Spark(u64),
    Sparks(u64),
}

impl Write {
    /// How coverage calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Turn => "write add",
            Self::Bound(_) | Self::Word(_) => "write replace",
            Self::Last(_) => "write last",
            Self::Push(_) => "write append",
            Self::Refill(_) => "write overwrite",
            Self::Say(_) => "write append text",
            Self::Put(..) | Self::Drop(_) => "write merge",
            Self::Upsert(..) | Self::Remove(_) => "write by id",
            Self::Page(..) => "write page",
            Self::Spark(_) | Self::Sparks(_) => "write ephemeral",
        }
    }

    /// The channel of which a step takes only one such write.
    pub(crate) fn exclusive(&self) -> Option<&'static str> {
        match self {
            Self::Bound(_) => Some("bound"),
            Self::Word(_) => Some("word"),
            Self::Refill(_) => Some("list"),
            Self::Spark(_) => Some("spark"),
            Self::Turn | Self::Last(_) | Self::Push(_) | Self::Say(_) | Self::Put(..) | Self::Drop(_) => None,
            Self::Upsert(..) | Self::Remove(_) | Self::Page(..) | Self::Sparks(_) => None,
        }
    }
}

impl Board {
    /// Applies one write.
    pub(crate) fn write(&mut self, write: &Write) {
        match write {
            Write::Turn => self.turns += 1,
            Write::Bound(bound) => self.bound = *bound,
            Write::Last(value) => self.last = *value,
            Write::Word(value) => self.word = word(*value),
            Write::Push(value) => self.list.push(*value),
            Write::Refill(values) => self.list.clone_from(values),
            Write::Say(value) => self.text.push_str(&word(*value)),
            Write::Put(key, value) => {
                self.map.insert(word(*key), *value);
            }
            Write::Drop(key) => {
                self.map.remove(&word(*key));
            }
            Write::Upsert(id, value) => match self.items.iter_mut().find(|item| item.id == *id) {
                Some(item) => item.value = *value,
                None => self.items.push(Item { id: *id, value: *value }),
            },
            Write::Remove(id) => self.items.retain(|item| item.id != *id),
            Write::Page(value, length) => self.page = page(*value, *length),
            Write::Spark(value) => self.spark = *value,
            Write::Sparks(value) => self.sparks.push(*value),
        }
    }

    /// Forgets what lived one step.
    pub(crate) fn forget_ephemerals(&mut self) {
        (self.spark, self.sparks) = (0, Vec::new());
    }

    /// A number that depends on the state in many ways.
    pub(crate) fn mark(&self) -> u64 {
        let sum: u64 = self.list.iter().chain(self.map.values()).fold(self.last, |sum, value| mixed(sum ^ value));
        let items = self.items.iter().fold(sum, |sum, item| mixed(sum ^ item.id ^ item.value));
        mixed(items ^ self.turns ^ self.spark ^ self.text.len() as u64 ^ self.page.len() as u64)
    }
}

/// The same writes as an update of the engine.
pub(crate) fn fill(update: &mut Update<Board>, writes: &[Write]) {
    for write in writes {
        match write {
            Write::Turn => update.turns.add(1),
            Write::Bound(bound) => update.bound.set(*bound),
            Write::Last(value) => update.last.set(*value),
            Write::Word(value) => update.word.set(word(*value)),
            Write::Push(value) => update.list.push(*value),
            Write::Refill(values) => update.list.overwrite(values.iter().copied()),
            Write::Say(value) => update.text.push_str(&word(*value)),
            Write::Put(key, value) => update.map.insert(word(*key), *value),
            Write::Drop(key) => update.map.remove(word(*key)),
            Write::Upsert(id, value) => update.items.upsert(Item { id: *id, value: *value }),
            Write::Remove(id) => update.items.remove(*id),
            Write::Page(value, length) => update.page.set(page(*value, *length)),
            Write::Spark(value) => update.spark.set(*value),
            Write::Sparks(value) => update.sparks.push(*value),
        }
    }
}

fn word(value: u64) -> String {
    format!("w{}", value % 5)
}

fn page(value: u64, length: usize) -> String {
    format!("{value:020} ").chars().cycle().take(length).collect()
}

/// A number that another one decides (the mixer of `splitmix64`).
pub(crate) fn mixed(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
