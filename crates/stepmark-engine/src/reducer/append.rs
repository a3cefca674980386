//! `Append`: writes are added to the end of a list or text, or to a set.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    hash::{BuildHasher, Hash},
    ops::Range,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    change::Change,
    encode::{self, Body, EncodeError},
    reducer::Reducer,
    slot::slot_of,
    state::Shape,
};

/// Adds what is written to a `Vec`, `VecDeque`, `BTreeSet`, `HashSet` or `String`, in plan order of the tasks.
///
/// Only a `Vec` is stored element by element; the others are stored whole when they change.
#[derive(Debug)]
pub struct Append;

/// A write to an [`Append`] field: some items or a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppendWrite<C> {
    /// Add these.
    Extend(C),
    /// Drop what is there, then add these.
    Overwrite(C),
}

/// The slot of [`Append`] on lists and sets.
#[derive(Clone, Debug)]
pub struct AppendSlot<T>(Option<AppendWrite<Vec<T>>>);

/// The slot of [`Append`] on a `String`.
#[derive(Clone, Debug)]
pub struct TextSlot(Option<AppendWrite<String>>);

impl<T> AppendSlot<T> {
    /// Adds one item.
    pub fn push(&mut self, item: T) {
        addition(&mut self.0).push(item);
    }

    /// Adds items. No items, no write.
    pub fn extend(&mut self, items: impl IntoIterator<Item = T>) {
        let mut items = items.into_iter().peekable();
        if items.peek().is_some() {
            addition(&mut self.0).extend(items);
        }
    }

    /// Drops what the field holds and what this slot held; the field becomes `items`. Two tasks that overwrite in one
    /// step are a conflict.
    pub fn overwrite(&mut self, items: impl IntoIterator<Item = T>) {
        self.0 = Some(AppendWrite::Overwrite(items.into_iter().collect()));
    }
}

impl TextSlot {
    /// Adds one character.
    pub fn push(&mut self, character: char) {
        addition(&mut self.0).push(character);
    }

    /// Adds a text. An empty text is no write.
    pub fn push_str(&mut self, text: &str) {
        if !text.is_empty() {
            addition(&mut self.0).push_str(text);
        }
    }

    /// Drops what the field holds and what this slot held; the field becomes `text`. Two tasks that overwrite in one
    /// step are a conflict.
    pub fn overwrite(&mut self, text: impl Into<String>) {
        self.0 = Some(AppendWrite::Overwrite(text.into()));
    }
}

slot_of!([T: Clone + Send + Sync + 'static] AppendSlot<T>, AppendWrite<Vec<T>>);
slot_of!([] TextSlot, AppendWrite<String>);

impl<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static> Reducer<Vec<T>> for Append {
    type Write = AppendWrite<Vec<T>>;
    type Slot = AppendSlot<T>;
    const NAME: &'static str = "append";
    const SHAPE: Shape = Shape::List;

    fn apply(value: &mut Vec<T>, write: Self::Write) -> Change {
        match write {
            AppendWrite::Extend(mut items) => {
                let change = Change::append(value.len(), items.len());
                value.append(&mut items);
                change
            }
            AppendWrite::Overwrite(items) => {
                *value = items;
                Change::Whole
            }
        }
    }

    fn is_exclusive(write: &Self::Write) -> bool {
        write.is_overwrite()
    }

    fn difference(before: &Vec<T>, after: &Vec<T>) -> Result<Self::Write, EncodeError> {
        items_added(before, after)
    }

    fn encode_full(value: &Vec<T>, out: &mut Body) -> Result<(), EncodeError> {
        encode::write_list(value, out)
    }

    fn encode_items(value: &Vec<T>, range: Range<usize>, out: &mut Body) -> Result<(), EncodeError> {
        encode::write_items(value, range, out)
    }

    fn list_len(value: &Vec<T>) -> usize {
        value.len()
    }
}

impl Reducer<String> for Append {
    type Write = AppendWrite<String>;
    type Slot = TextSlot;
    const NAME: &'static str = "append";

    fn apply(value: &mut String, write: Self::Write) -> Change {
        match write {
            AppendWrite::Extend(text) => value.push_str(&text),
            AppendWrite::Overwrite(text) => *value = text,
        }
        Change::Whole
    }

    fn difference(before: &String, after: &String) -> Result<Self::Write, EncodeError> {
        let added = after.strip_prefix(before.as_str());
        Ok(added.map_or_else(|| AppendWrite::Overwrite(after.clone()), |text| AppendWrite::Extend(text.to_owned())))
    }

    fn is_exclusive(write: &Self::Write) -> bool {
        write.is_overwrite()
    }
}

impl<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static> Reducer<VecDeque<T>> for Append {
    type Write = AppendWrite<Vec<T>>;
    type Slot = AppendSlot<T>;
    const NAME: &'static str = "append";

    fn apply(value: &mut VecDeque<T>, write: Self::Write) -> Change {
        extend(value, write);
        Change::Whole
    }

    fn difference(before: &VecDeque<T>, after: &VecDeque<T>) -> Result<Self::Write, EncodeError> {
        items_added(before, after)
    }

    fn is_exclusive(write: &Self::Write) -> bool {
        write.is_overwrite()
    }
}

impl<T: Ord + Clone + Serialize + DeserializeOwned + Send + Sync + 'static> Reducer<BTreeSet<T>> for Append {
    type Write = AppendWrite<Vec<T>>;
    type Slot = AppendSlot<T>;
    const NAME: &'static str = "append";

    fn apply(value: &mut BTreeSet<T>, write: Self::Write) -> Change {
        extend(value, write);
        Change::Whole
    }

    fn difference(before: &BTreeSet<T>, after: &BTreeSet<T>) -> Result<Self::Write, EncodeError> {
        Ok(if before.is_subset(after) {
            AppendWrite::Extend(after.difference(before).cloned().collect())
        } else {
            AppendWrite::Overwrite(after.iter().cloned().collect())
        })
    }

    fn is_exclusive(write: &Self::Write) -> bool {
        write.is_overwrite()
    }

    fn encode_full(value: &BTreeSet<T>, out: &mut Body) -> Result<(), EncodeError> {
        write_sorted(value, out)
    }
}

impl<T, H> Reducer<HashSet<T, H>> for Append
where
    T: Eq + Hash + Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    H: BuildHasher + Default,
{
    type Write = AppendWrite<Vec<T>>;
    type Slot = AppendSlot<T>;
    const NAME: &'static str = "append";

    fn apply(value: &mut HashSet<T, H>, write: Self::Write) -> Change {
        extend(value, write);
        Change::Whole
    }

    fn difference(before: &HashSet<T, H>, after: &HashSet<T, H>) -> Result<Self::Write, EncodeError> {
        Ok(if before.is_subset(after) {
            AppendWrite::Extend(after.difference(before).cloned().collect())
        } else {
            AppendWrite::Overwrite(after.iter().cloned().collect())
        })
    }

    fn is_exclusive(write: &Self::Write) -> bool {
        write.is_overwrite()
    }

    fn encode_full(value: &HashSet<T, H>, out: &mut Body) -> Result<(), EncodeError> {
        write_sorted(value, out)
    }

    fn encode_write(write: &Self::Write) -> Result<Vec<u8>, EncodeError> {
        // Items often come from another `HashSet`, whose order is another one in each process.
        encode::to_bytes(&match write {
            AppendWrite::Extend(items) => AppendWrite::Extend(sorted(items)?),
            AppendWrite::Overwrite(items) => AppendWrite::Overwrite(sorted(items)?),
        })
    }
}

impl<C> AppendWrite<C> {
    fn is_overwrite(&self) -> bool {
        matches!(self, Self::Overwrite(_))
    }
}

/// What a slot adds; an overwrite stays one.
fn addition<C: Default>(slot: &mut Option<AppendWrite<C>>) -> &mut C {
    match slot.get_or_insert_with(|| AppendWrite::Extend(C::default())) {
        AppendWrite::Extend(addition) | AppendWrite::Overwrite(addition) => addition,
    }
}

fn extend<C: Default + Extend<T>, T>(value: &mut C, write: AppendWrite<Vec<T>>) {
    match write {
        AppendWrite::Extend(items) => value.extend(items),
        AppendWrite::Overwrite(items) => {
            *value = C::default();
            value.extend(items);
        }
    }
}

/// What was added to a list, or all of one that lost something.
fn items_added<'a, C, T>(before: &'a C, after: &'a C) -> Result<AppendWrite<Vec<T>>, EncodeError>
where
    &'a C: IntoIterator<Item = &'a T>,
    T: Clone + Serialize + 'a,
{
    let mut rest = after.into_iter();
    for item in before {
        let is_kept = rest.next().map(encode::to_bytes).transpose()? == Some(encode::to_bytes(item)?);
        if !is_kept {
            return Ok(AppendWrite::Overwrite(after.into_iter().cloned().collect()));
        }
    }
    Ok(AppendWrite::Extend(rest.cloned().collect()))
}

/// Writes a set as an array in order of its encoded elements, so that equal sets are equal bytes.
fn write_sorted<'a, T: Serialize + 'a>(
    set: impl IntoIterator<Item = &'a T>,
    out: &mut Body,
) -> Result<(), EncodeError> {
    let mut elements = set.into_iter().map(encode::to_bytes).collect::<Result<Vec<_>, _>>()?;
    elements.sort_unstable();
    encode::write_array(&elements, &mut out.bytes)
}

/// The items in order of their encodings.
fn sorted<T: Serialize>(items: &[T]) -> Result<Vec<&T>, EncodeError> {
    let keyed = items.iter().map(|item| Ok((encode::to_bytes(item)?, item)));
    let mut keyed = keyed.collect::<Result<Vec<_>, EncodeError>>()?;
    keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(keyed.into_iter().map(|(_, item)| item).collect())
}
