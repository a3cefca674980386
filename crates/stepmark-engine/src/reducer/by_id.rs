//! `ById`: a list whose elements have ids, edited by id.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
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

/// Edits a `Vec` of [`HasId`] by id: an element whose id is there takes the old one's place, another goes to the end.
///
/// The list is stored element by element.
#[derive(Debug)]
pub struct ById;

/// A value with an id that is unique in its list.
pub trait HasId {
    /// Usually `String` or a number.
    type Id: Clone + Eq + Hash + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The id. It never changes.
    fn id(&self) -> &Self::Id;
}

/// A write to a [`ById`] field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByIdWrite<T, I> {
    /// Whether to drop what is there first.
    overwrite: bool,
    /// In order.
    edits: Vec<Edit<T, I>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Edit<T, I> {
    Upsert(T),
    Remove(I),
}

/// The slot of [`ById`].
#[derive(Clone, Debug)]
pub struct ByIdSlot<T: HasId>(Option<ByIdWrite<T, T::Id>>);

/// From this many edits in one write, an index of the list costs less than looking for each.
const INDEXED_EDITS_MIN: usize = 16;

impl<T: HasId> ByIdSlot<T> {
    /// Puts `item` in the place of the element with its id, or at the end.
    pub fn upsert(&mut self, item: T) {
        self.edits().push(Edit::Upsert(item));
    }

    /// Removes the element with this id; an id that is not there is no mistake.
    pub fn remove(&mut self, id: T::Id) {
        self.edits().push(Edit::Remove(id));
    }

    /// Upserts each item. No items, no write.
    pub fn extend(&mut self, items: impl IntoIterator<Item = T>) {
        items.into_iter().for_each(|item| self.upsert(item));
    }

    /// Drops what the field holds and what this slot held, then upserts `items`. Two tasks that overwrite in one step are
    /// a conflict.
    pub fn overwrite(&mut self, items: impl IntoIterator<Item = T>) {
        self.0 = Some(ByIdWrite { overwrite: true, edits: Vec::new() });
        self.extend(items);
    }

    fn edits(&mut self) -> &mut Vec<Edit<T, T::Id>> {
        &mut self.0.get_or_insert_with(|| ByIdWrite { overwrite: false, edits: Vec::new() }).edits
    }
}

slot_of!([T: HasId + Clone + Send + Sync + 'static] ByIdSlot<T>, ByIdWrite<T, T::Id>);

impl<T: HasId + Clone + Serialize + DeserializeOwned + Send + Sync + 'static> Reducer<Vec<T>> for ById {
    type Write = ByIdWrite<T, T::Id>;
    type Slot = ByIdSlot<T>;
    const NAME: &'static str = "by_id";
    const SHAPE: Shape = Shape::List;

    fn apply(value: &mut Vec<T>, write: Self::Write) -> Change {
        if write.overwrite {
            value.clear();
        }
        let change = match write.edits.len() {
            0..INDEXED_EDITS_MIN => apply_few(value, write.edits),
            _ => apply_many(value, write.edits),
        };
        if write.overwrite { Change::Whole } else { change }
    }

    fn difference(before: &Vec<T>, after: &Vec<T>) -> Result<Self::Write, EncodeError> {
        let old: HashMap<&T::Id, &T> = before.iter().map(|item| (item.id(), item)).collect();
        let kept: HashSet<&T::Id> = after.iter().map(HasId::id).collect();
        let gone = old.keys().filter(|id| !kept.contains(*id)).map(|id| Edit::Remove((*id).clone()));
        let mut edits: Vec<Edit<T, T::Id>> = gone.collect();
        for item in after {
            if old.get(item.id()).map(encode::to_bytes).transpose()? != Some(encode::to_bytes(item)?) {
                edits.push(Edit::Upsert(item.clone()));
            }
        }
        // Where elements changed their order, or have one id, edits do not lead there.
        let mut edited = before.clone();
        apply_many(&mut edited, edits.clone());
        let is_led_to = encode::to_bytes(&edited)? == encode::to_bytes(after)?;
        let all = || after.iter().cloned().map(Edit::Upsert).collect();
        Ok(ByIdWrite { overwrite: !is_led_to, edits: if is_led_to { edits } else { all() } })
    }

    fn is_exclusive(write: &Self::Write) -> bool {
        write.overwrite
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

/// Looks for each id in the list, from its end: recent elements are edited most.
fn apply_few<T: HasId>(list: &mut Vec<T>, edits: Vec<Edit<T, T::Id>>) -> Change {
    edits.into_iter().fold(Change::append(list.len(), 0), |change, edit| change.then(apply_one(list, edit)))
}

fn apply_one<T: HasId>(list: &mut Vec<T>, edit: Edit<T, T::Id>) -> Change {
    let id = match &edit {
        Edit::Upsert(item) => item.id(),
        Edit::Remove(id) => id,
    };
    let position = list.iter().rposition(|item| item.id() == id);
    match (edit, position) {
        (Edit::Upsert(item), Some(at)) => {
            list[at] = item;
            Change::Edit { at, remove: 1, insert: 1 }
        }
        (Edit::Upsert(item), None) => {
            list.push(item);
            Change::append(list.len() - 1, 1)
        }
        (Edit::Remove(_), Some(at)) => {
            list.remove(at);
            Change::Edit { at, remove: 1, insert: 0 }
        }
        (Edit::Remove(_), None) => Change::append(list.len(), 0),
    }
}

/// The same through an index. A removed element leaves a hole until the end, so that positions stay.
fn apply_many<T: HasId>(list: &mut Vec<T>, edits: Vec<Edit<T, T::Id>>) -> Change {
    let old_len = list.len();
    let mut positions: HashMap<T::Id, usize> =
        list.iter().enumerate().map(|(at, item)| (item.id().clone(), at)).collect();
    let mut places: Vec<Option<T>> = std::mem::take(list).into_iter().map(Some).collect();
    let mut touched = old_len..0;
    for edit in edits {
        let at = match edit {
            Edit::Upsert(item) => {
                let at = *positions.entry(item.id().clone()).or_insert(places.len());
                match places.get_mut(at) {
                    Some(place) => *place = Some(item),
                    None => places.push(Some(item)),
                }
                at
            }
            Edit::Remove(id) => {
                let Some(at) = positions.remove(&id) else {
                    continue;
                };
                places[at] = None;
                at
            }
        };
        touched = touched.start.min(at)..touched.end.max(at + 1);
    }
    list.extend(places.into_iter().flatten());
    edit_between(touched, old_len, list.len())
}

/// The edit of a list in which only the places `touched` differ, where places from `old_len` on are new.
fn edit_between(touched: Range<usize>, old_len: usize, new_len: usize) -> Change {
    if touched.start >= touched.end {
        return Change::append(old_len, 0);
    }
    let kept_after = old_len.saturating_sub(touched.end);
    let at = touched.start.min(old_len);
    Change::Edit { at, remove: old_len - kept_after - at, insert: new_len - kept_after - at }
}
