//! Does each reducer do what its slot says, and can the result be stored by its change alone?

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    fmt::Debug,
    io::Cursor,
};

use proptest::{collection::vec, prelude::*};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use stepmark_engine::{Add, Append, Body, ById, Change, Entries, HasId, Last, Merge, Reducer, Replace, Shape, Slot};

/// What one task does to a slot, and the same done to a plain value.
struct Verbs<T, S, O> {
    slot: fn(&mut S, O),
    model: fn(&mut T, O),
}

/// Runs each task's operations through a slot and the reducer, and checks everything that the engine relies on.
fn check<R, T, O>(verbs: &Verbs<T, R::Slot, O>, tasks: &[Vec<O>])
where
    R: Reducer<T>,
    T: Default + Clone + PartialEq + Debug + Serialize + DeserializeOwned,
    O: Clone,
{
    let (mut value, mut model) = (T::default(), T::default());
    for task in tasks {
        let mut slot = R::Slot::default();
        for operation in task {
            (verbs.slot)(&mut slot, operation.clone());
            (verbs.model)(&mut model, operation.clone());
        }
        let Some(write) = slot.take() else { continue };
        value = apply_and_store::<R, T>(&value, write);
        assert_eq!(value, model);
    }
}

/// The value after `write`; checks that the write and the value read back, and that the change leads from the old bytes
/// to the new ones.
fn apply_and_store<R, T>(old: &T, write: R::Write) -> T
where
    R: Reducer<T>,
    T: Clone + PartialEq + Debug + Serialize + DeserializeOwned,
{
    let encoded_write = R::encode_write(&write).expect("encode a write");
    let same_write = R::decode_write(&encoded_write).expect("decode a write");
    assert_eq!(R::encode_write(&same_write).expect("encode it again"), encoded_write);

    let mut new = old.clone();
    let change = R::apply(&mut new, write);
    let mut same = old.clone();
    assert_eq!(R::apply(&mut same, same_write), change);
    assert_eq!(new, same);

    let (old_bytes, new_bytes) = (full::<R, T>(old), full::<R, T>(&new));
    let decoded = R::decode(&new_bytes.bytes).expect("decode the value");
    assert_eq!(decoded, new);
    assert_eq!(full::<R, T>(&decoded), new_bytes, "equal values are equal bytes");
    match change {
        Change::Whole => {}
        Change::Edit { at, remove, insert } => {
            assert_eq!(R::SHAPE, Shape::List);
            let mut elements = elements(&old_bytes);
            let mut inserted = Body::default();
            R::encode_items(&new, at..at + insert, &mut inserted).expect("encode items");
            elements.splice(at..at + remove, split(&inserted, 0));
            assert_eq!(elements, self::elements(&new_bytes));
            assert_eq!(elements.len(), R::list_len(&new));
        }
        Change::Keys(keys) => {
            assert_eq!(R::SHAPE, Shape::Map);
            let mut changed = Entries::default();
            R::encode_entries(&new, &keys, &mut changed).expect("encode entries");
            assert!(changed.set.is_sorted() && changed.removed.is_sorted());
            let mut entries = self::entries(&old_bytes);
            changed.removed.iter().for_each(|key| _ = entries.remove(key));
            entries.extend(changed.set);
            assert_eq!(entries, self::entries(&new_bytes));
        }
    }
    if R::NAMES_FLUSHED {
        assert_eq!(encoded_write, new_bytes.bytes);
    }
    new
}

fn full<R: Reducer<T>, T: Serialize + DeserializeOwned>(value: &T) -> Body {
    let mut body = Body::default();
    R::encode_full(value, &mut body).expect("encode the value");
    body
}

/// The elements of a whole list, which begins with a header.
fn elements(list: &Body) -> Vec<Vec<u8>> {
    let mut cursor = Cursor::new(&list.bytes);
    let len = rmpv::decode::read_value(&mut cursor).expect("a value").as_array().map_or(0, Vec::len);
    assert_eq!(list.ends.len(), len);
    split(list, if len < 16 { 1 } else { 3 })
}

fn split(body: &Body, start: usize) -> Vec<Vec<u8>> {
    let mut start = start;
    let mut element = |end: &u32| {
        let element = body.bytes[start..*end as usize].to_vec();
        start = *end as usize;
        element
    };
    let elements = body.ends.iter().map(&mut element).collect();
    assert_eq!(start, body.bytes.len());
    elements
}

/// The entries of a whole map of less than 16 entries, which are sorted by encoded key.
fn entries(map: &Body) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut cursor = Cursor::new(&map.bytes);
    cursor.set_position(1);
    let mut next = || {
        let start = usize::try_from(cursor.position()).expect("a position");
        rmpv::decode::read_value(&mut cursor).expect("a value");
        map.bytes[start..usize::try_from(cursor.position()).expect("a position")].to_vec()
    };
    let entries: Vec<_> = (0..map.bytes[0] & 15).map(|_| (next(), next())).collect();
    assert_eq!(cursor.position(), map.bytes.len() as u64);
    assert!(entries.is_sorted());
    entries.into_iter().collect()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    id: u8,
    text: Option<String>,
}

impl HasId for Item {
    type Id = u8;

    fn id(&self) -> &u8 {
        &self.id
    }
}

/// An operation on a slot that takes several values or several keys.
#[derive(Clone, Debug)]
enum Operation<T> {
    One(T),
    Many(Vec<T>),
    Remove(u8),
    Overwrite(Vec<T>),
}
use Operation::{Many, One, Overwrite, Remove};

fn tasks<T: Clone + Debug + 'static>(item: BoxedStrategy<T>) -> impl Strategy<Value = Vec<Vec<Operation<T>>>> {
    let operation = prop_oneof![
        4 => item.clone().prop_map(One),
        2 => vec(item.clone(), 0..20).prop_map(Many),
        2 => (0u8..10).prop_map(Remove),
        1 => vec(item, 0..3).prop_map(Overwrite),
    ];
    vec(vec(operation, 0..5), 0..5)
}

fn item() -> BoxedStrategy<Item> {
    (0u8..10, any::<Option<u8>>()).prop_map(|(id, text)| Item { id, text: text.map(|text| text.to_string()) }).boxed()
}

fn entry() -> BoxedStrategy<(u8, Option<String>)> {
    (0u8..10, any::<Option<u8>>()).prop_map(|(key, text)| (key, text.map(|text| text.to_string()))).boxed()
}

/// The verbs of `Append` on a collection that can be extended. It cannot remove.
macro_rules! append_verbs {
    ($collection:ty) => {
        Verbs {
            slot: |slot: &mut <Append as Reducer<$collection>>::Slot, operation| match operation {
                One(item) => slot.push(item),
                Many(items) => slot.extend(items),
                Remove(_) => {}
                Overwrite(items) => slot.overwrite(items),
            },
            model: |model: &mut $collection, operation| match operation {
                One(item) => model.extend([item]),
                Many(items) => model.extend(items),
                Remove(_) => {}
                Overwrite(items) => *model = items.into_iter().collect(),
            },
        }
    };
}

macro_rules! merge_verbs {
    ($map:ty) => {
        Verbs {
            slot: |slot: &mut <Merge as Reducer<$map>>::Slot, operation| match operation {
                One((key, value)) => slot.insert(key, value),
                Many(entries) => slot.extend(entries),
                Remove(key) => slot.remove(key),
                Overwrite(entries) => slot.overwrite(entries),
            },
            model: |model: &mut $map, operation| match operation {
                One(entry) => model.extend([entry]),
                Many(entries) => model.extend(entries),
                Remove(key) => _ = model.remove(&key),
                Overwrite(entries) => *model = entries.into_iter().collect(),
            },
        }
    };
}

fn upsert(list: &mut Vec<Item>, item: Item) {
    match list.iter_mut().find(|old| old.id == item.id) {
        Some(old) => *old = item,
        None => list.push(item),
    }
}

proptest! {
    #[test]
    fn append_adds_to_lists(tasks in tasks(item())) {
        check::<Append, _, _>(&append_verbs!(Vec<Item>), &tasks);
        check::<Append, _, _>(&append_verbs!(VecDeque<Item>), &tasks);
    }

    #[test]
    fn append_adds_to_sets(tasks in tasks(any::<u16>().boxed())) {
        check::<Append, _, _>(&append_verbs!(BTreeSet<u16>), &tasks);
        check::<Append, _, _>(&append_verbs!(HashSet<u16>), &tasks);
    }

    #[test]
    fn append_adds_to_text(tasks in tasks(any::<char>().boxed())) {
        let verbs = Verbs {
            slot: |slot: &mut <Append as Reducer<String>>::Slot, operation| match operation {
                One(character) => slot.push(character),
                Many(text) => slot.push_str(&String::from_iter(text)),
                Remove(_) => {}
                Overwrite(text) => slot.overwrite(String::from_iter(text)),
            },
            model: |model: &mut String, operation| match operation {
                One(character) => model.push(character),
                Many(text) => model.extend(text),
                Remove(_) => {}
                Overwrite(text) => *model = text.into_iter().collect(),
            },
        };
        check::<Append, _, _>(&verbs, &tasks);
    }

    #[test]
    fn merge_edits_maps(tasks in tasks(entry())) {
        check::<Merge, _, _>(&merge_verbs!(BTreeMap<u8, Option<String>>), &tasks);
        check::<Merge, _, _>(&merge_verbs!(HashMap<u8, Option<String>>), &tasks);
    }

    #[test]
    fn by_id_edits_lists(tasks in tasks(item())) {
        let verbs = Verbs {
            slot: |slot: &mut <ById as Reducer<Vec<Item>>>::Slot, operation| match operation {
                One(item) => slot.upsert(item),
                Many(items) => slot.extend(items),
                Remove(id) => slot.remove(id),
                Overwrite(items) => slot.overwrite(items),
            },
            model: |model: &mut Vec<Item>, operation| match operation {
                One(item) => upsert(model, item),
                Many(items) => items.into_iter().for_each(|item| upsert(model, item)),
                Remove(id) => model.retain(|item| item.id != id),
                Overwrite(items) => {
                    model.clear();
                    for item in items {
                        upsert(model, item);
                    }
                }
            },
        };
        check::<ById, _, _>(&verbs, &tasks);
    }

    #[test]
    fn replace_and_last_take_the_write(tasks in vec(vec(item(), 0..3), 0..3)) {
        let verbs = Verbs {
            slot: |slot: &mut <Replace as Reducer<Option<Item>>>::Slot, item| slot.set(Some(item)),
            model: |model: &mut Option<Item>, item| *model = Some(item),
        };
        check::<Replace, _, _>(&verbs, &tasks);
        check::<Last, _, _>(&verbs, &tasks);
    }

    #[test]
    fn add_sums_numbers(tasks in vec(vec(any::<(bool, u32)>(), 0..4), 0..4)) {
        let verbs = Verbs {
            slot: |slot: &mut <Add as Reducer<u32>>::Slot, (overwrite, number)| {
                if overwrite { slot.overwrite(number) } else { slot.add(number) }
            },
            model: |model: &mut u32, (overwrite, number)| {
                *model = if overwrite { number } else { model.saturating_add(number) };
            },
        };
        check::<Add, _, _>(&verbs, &tasks);
    }
}

/// Adds both numbers to a zero and reads the sum back.
fn sum_of<N>(numbers: [N; 2]) -> N
where
    Add: Reducer<N>,
    N: Default + Clone + PartialEq + Debug + Serialize + DeserializeOwned + stepmark_engine::Number,
    <Add as Reducer<N>>::Slot: AddTo<N>,
{
    numbers.into_iter().fold(N::default(), |sum, number| {
        let mut slot = <Add as Reducer<N>>::Slot::default();
        slot.add_to(number);
        apply_and_store::<Add, N>(&sum, slot.take().expect("a write"))
    })
}

trait AddTo<N> {
    fn add_to(&mut self, number: N);
}

impl<N: stepmark_engine::Number> AddTo<N> for stepmark_engine::AddSlot<N> {
    fn add_to(&mut self, number: N) {
        self.add(number);
    }
}

#[test]
fn add_takes_every_number_and_stops_at_the_ends() {
    assert_eq!(sum_of([200u8, 100]), 255);
    assert_eq!(sum_of([-100i8, -100]), -128);
    assert_eq!(sum_of([u16::MAX, 1]), u16::MAX);
    assert_eq!(sum_of([i16::MAX, 1]), i16::MAX);
    assert_eq!(sum_of([i32::MIN, -1]), i32::MIN);
    assert_eq!(sum_of([u64::MAX, 1]), u64::MAX);
    assert_eq!(sum_of([i64::MIN, 5]), i64::MIN + 5);
    assert_eq!(sum_of([u128::MAX - 1, 1]), u128::MAX);
    assert_eq!(sum_of([i128::MIN, 1]), i128::MIN + 1);
    assert_eq!(sum_of([usize::MAX, 1]), usize::MAX);
    assert_eq!(sum_of([isize::MIN, -1]), isize::MIN);
    assert!((sum_of([0.5f32, 0.25]) - 0.75).abs() < f32::EPSILON);
    assert!(sum_of([1e308f64, 1e308]).is_infinite());
}

/// A long list takes the path through an index; both paths must agree on what changed.
#[test]
fn by_id_says_the_smallest_edit() {
    let item = |id| Item { id, text: None };
    let list: Vec<Item> = (0..100).map(item).collect();
    let upserts = |ids: &[u8]| {
        let mut slot = <ById as Reducer<Vec<Item>>>::Slot::default();
        slot.extend(ids.iter().copied().map(item));
        <ById as Reducer<Vec<Item>>>::apply(&mut list.clone(), slot.take().expect("a write"))
    };
    assert_eq!(upserts(&[40]), Change::Edit { at: 40, remove: 1, insert: 1 });
    assert_eq!(upserts(&[100]), Change::append(100, 1));
    assert_eq!(upserts(&[40, 42]), Change::Edit { at: 40, remove: 3, insert: 3 });
    assert_eq!(upserts(&(40..70).collect::<Vec<_>>()), Change::Edit { at: 40, remove: 30, insert: 30 });
    assert_eq!(upserts(&(100..150).collect::<Vec<_>>()), Change::append(100, 50));
    assert_eq!(upserts(&(90..110).collect::<Vec<_>>()), Change::Edit { at: 90, remove: 10, insert: 20 });
}

/// A `HashSet` or `HashMap` that is written from another one has its order, which is another one in each process.
#[test]
fn the_order_of_a_hash_table_does_not_show_in_a_write() {
    let set_write = |items: [u8; 3]| {
        let mut slot = <Append as Reducer<HashSet<u8>>>::Slot::default();
        slot.overwrite(items);
        <Append as Reducer<HashSet<u8>>>::encode_write(slot.pending().expect("a write")).expect("encode")
    };
    let map_write = |items: [u8; 3]| {
        let mut slot = <Merge as Reducer<HashMap<u8, u8>>>::Slot::default();
        slot.extend(items.map(|item| (item, item)));
        <Merge as Reducer<HashMap<u8, u8>>>::encode_write(slot.pending().expect("a write")).expect("encode")
    };
    assert_eq!(set_write([3, 1, 2]), set_write([2, 3, 1]));
    assert_eq!(map_write([3, 1, 2]), map_write([2, 3, 1]));
}
