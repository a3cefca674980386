//! How did one list become another? Pure.
//!
//! Items that have ids are found again by them, wherever they stand. Others are aligned: a longest run of equal items
//! stays, and what stands in the same gap on both sides is compared in pairs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use similar::{Algorithm, DiffTag, capture_diff_slices};

use super::compare::values;
use super::{ALIGNED_MAX, Change, ItemDiff, ListDiff};
use crate::dynamic::Value;

/// How many fields of an item are looked at for an id.
const ID_FIELDS_MAX: usize = 64;

/// Where the items of a list have their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    /// In a field `id`, if each has one of its own.
    InIdField,
    /// There, else in the field that tells them apart and finds most of them again: they are known to have ids, not where.
    InSomeField,
}

impl Ids {
    pub(super) fn of_reducer(reducer: &str) -> Self {
        if reducer == "by_id" { Self::InSomeField } else { Self::InIdField }
    }
}

/// What is left of two lists after `first` equal items.
pub(super) struct Stretch<'a> {
    pub(super) first: usize,
    pub(super) old: &'a [Value],
    pub(super) new: &'a [Value],
}

/// How a list became another; `None` if they are equal.
pub(super) fn lists(list: &Stretch<'_>, ids: Ids) -> Option<Change> {
    let (items, is_coarse) = match id_field(list.old, list.new, ids) {
        Some(field) => (by_id(list, &field), false),
        None => by_index(list),
    };
    (!items.is_empty()).then_some(Change::Items(ListDiff { items, is_coarse }))
}

/// The field in which every item has an id of its own, on both sides.
fn id_field(old: &[Value], new: &[Value], ids: Ids) -> Option<Value> {
    let is_id = |field: &&Value| tells_apart(field, old) && tells_apart(field, new);
    let usual = Value::from("id");
    if is_id(&&usual) {
        return Some(usual);
    }
    let Some(Value::Map(fields)) = new.first().or(old.first()).filter(|_| ids == Ids::InSomeField) else { return None };
    let found_again = |field: &&Value| {
        let known: BTreeSet<_> = old.iter().map(|item| id(item, field)).collect();
        new.iter().filter(|item| known.contains(&id(item, field))).count()
    };
    let candidates = fields.keys().take(ID_FIELDS_MAX).filter(is_id);
    candidates.min_by_key(|field| Reverse(found_again(field))).cloned()
}

fn tells_apart(field: &Value, items: &[Value]) -> bool {
    let mut seen = BTreeSet::new();
    items.iter().all(|item| id(item, field).is_some_and(|id| *id != Value::Null && seen.insert(id)))
}

fn id<'a>(item: &'a Value, field: &Value) -> Option<&'a Value> {
    match item {
        Value::Map(fields) => fields.get(field),
        _ => None,
    }
}

fn by_id(list: &Stretch<'_>, field: &Value) -> Vec<ItemDiff> {
    let place = |(at, item)| id(item, field).map(|id| (id, at));
    let old_places: BTreeMap<&Value, usize> = list.old.iter().enumerate().filter_map(place).collect();
    let new_places: BTreeMap<&Value, usize> = list.new.iter().enumerate().filter_map(place).collect();
    let stayed: Vec<usize> = list.new.iter().filter_map(|item| old_places.get(id(item, field)?)).copied().collect();
    let steady = longest_rise(&stayed);
    let mut items = Vec::new();
    for (at, item) in list.old.iter().enumerate() {
        let id = id(item, field);
        if id.is_some_and(|id| !new_places.contains_key(id)) {
            items.push(list.item(Some(at), None, id, Change::Removed(item.clone())));
        }
    }
    for (at, item) in list.new.iter().enumerate() {
        let id = id(item, field);
        let old = id.and_then(|id| old_places.get(id)).copied();
        let change = match old {
            None => Some(Change::Added(item.clone())),
            Some(old) => values(&list.old[old], item).or((!steady.contains(&old)).then_some(Change::Moved)),
        };
        items.extend(change.map(|change| list.item(old, Some(at), id, change)));
    }
    items.sort_by_key(|item| (item.new.or(item.old), item.new.is_some()));
    items
}

/// The members of a longest rising selection of distinct numbers.
fn longest_rise(numbers: &[usize]) -> BTreeSet<usize> {
    // By length: where a rise of that length with the smallest end so far ends.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(numbers.len());
    for (at, number) in numbers.iter().enumerate() {
        let length = ends.partition_point(|end| numbers[*end] < *number);
        before.push(length.checked_sub(1).map(|shorter| ends[shorter]));
        ends.truncate(ends.len().max(length + 1));
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    std::iter::successors(ends.last().copied(), |at| before[*at]).map(|at| numbers[at]).collect()
}

fn by_index(list: &Stretch<'_>) -> (Vec<ItemDiff>, bool) {
    let Stretch { old, new, .. } = *list;
    let (gaps, is_coarse) = align(old, new);
    let mut items = Vec::new();
    for Gap { old: olds, new: news } in gaps {
        for place in 0..olds.len().max(news.len()) {
            let (from, to) = (olds.clone().nth(place), news.clone().nth(place));
            let change = match (from, to) {
                (Some(from), Some(to)) => values(&old[from], &new[to]),
                (Some(from), None) => Some(Change::Removed(old[from].clone())),
                (None, to) => to.map(|to| Change::Added(new[to].clone())),
            };
            items.extend(change.map(|change| list.item(from, to, None, change)));
        }
    }
    (items, is_coarse)
}

impl Stretch<'_> {
    fn item(&self, old: Option<usize>, new: Option<usize>, id: Option<&Value>, change: Change) -> ItemDiff {
        let place = |at: Option<usize>| at.map(|at| self.first + at);
        ItemDiff { old: place(old), new: place(new), id: id.cloned(), change }
    }
}

/// Where two sequences differ; what lies between two gaps is equal on both sides.
pub(super) struct Gap {
    pub(super) old: Range<usize>,
    pub(super) new: Range<usize>,
}

/// The gaps of two sequences, and whether there was too much between their equal ends to look for more than one.
pub(super) fn align<T: Ord>(old: &[T], new: &[T]) -> (Vec<Gap>, bool) {
    let first = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[first..], &new[first..]);
    let last = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[..old.len() - last], &new[..new.len() - last]);
    let gap = |old: Range<usize>, new: Range<usize>| Gap {
        old: old.start + first..old.end + first,
        new: new.start + first..new.end + first,
    };
    if old.len() + new.len() > ALIGNED_MAX {
        return (vec![gap(0..old.len(), 0..new.len())], true);
    }
    // Equal items get equal numbers: they are compared a few times each, not in every turn of the search.
    let mut numbers: BTreeMap<&T, usize> = BTreeMap::new();
    let mut number = |item| {
        let next = numbers.len();
        *numbers.entry(item).or_insert(next)
    };
    let old: Vec<usize> = old.iter().map(&mut number).collect();
    let new: Vec<usize> = new.iter().map(&mut number).collect();
    let runs = capture_diff_slices(Algorithm::Myers, &old, &new);
    let gaps = runs.into_iter().filter(|run| run.tag() != DiffTag::Equal);
    (gaps.map(|run| gap(run.old_range(), run.new_range())).collect(), false)
}
