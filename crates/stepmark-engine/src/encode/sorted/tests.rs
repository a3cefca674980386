//! Is every map in order, and all else as without it?

use std::collections::{BTreeMap, HashMap};

use proptest::{
    collection::{btree_map, hash_map, vec},
    prelude::*,
};
use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned, ser, ser::SerializeMap};

use super::super::{Body, from_bytes, to_bytes, write_list, write_value};

/// Calls that a derived implementation never makes.
#[derive(Clone, Debug)]
enum Call {
    Bytes(Vec<u8>),
    Uncounted(Vec<Plain>),
}

impl Serialize for Call {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::Uncounted(items) => serializer.collect_seq(items.iter().filter(|_| true)),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename = "_ExtStruct")]
struct Extension((i8, Call));

#[derive(Clone, Debug, Serialize)]
struct Unit;

#[derive(Clone, Debug, Serialize)]
struct Pair(i16, Option<Box<Plain>>);

#[derive(Clone, Debug, Serialize)]
struct Fields {
    z: Vec<Plain>,
    a: Pair,
}

/// A value of every kind, but without maps.
#[derive(Clone, Debug, Serialize)]
enum Plain {
    Nothing,
    Scalars(bool, i8, i32, i64, u8, u16, u32, u64),
    Wide(i128, u128),
    Real { single: f32, double: f64 },
    Text(char, String, Unit, ()),
    Called(Call),
    Extension(Extension),
    List(Vec<Plain>),
    Fields(Box<Fields>),
    Variant { z: Box<Plain>, a: Pair },
}

fn plain_value() -> impl Strategy<Value = Plain> {
    let leaf = prop_oneof![
        Just(Plain::Nothing),
        any::<(bool, i8, i32, i64, u8, u16, u32, u64)>()
            .prop_map(|s| Plain::Scalars(s.0, s.1, s.2, s.3, s.4, s.5, s.6, s.7)),
        any::<(i128, u128)>().prop_map(|(signed, unsigned)| Plain::Wide(signed, unsigned)),
        any::<(f32, f64)>().prop_map(|(single, double)| Plain::Real { single, double }),
        any::<(char, String)>().prop_map(|(letter, text)| Plain::Text(letter, text, Unit, ())),
        any::<Vec<u8>>().prop_map(|bytes| Plain::Called(Call::Bytes(bytes))),
        any::<(i8, Vec<u8>)>().prop_map(|(tag, bytes)| Plain::Extension(Extension((tag, Call::Bytes(bytes))))),
    ];
    leaf.prop_recursive(4, 64, 20, |inner| {
        let list = vec(inner.clone(), 0..20);
        let pair = (any::<i16>(), proptest::option::of(inner.clone().prop_map(Box::new)));
        let pair = pair.prop_map(|(number, value)| Pair(number, value));
        prop_oneof![
            list.clone().prop_map(Plain::List),
            list.clone().prop_map(|items| Plain::Called(Call::Uncounted(items))),
            (list, pair.clone()).prop_map(|(z, a)| Plain::Fields(Box::new(Fields { z, a }))),
            (inner, pair).prop_map(|(z, a)| Plain::Variant { z: Box::new(z), a }),
        ]
    })
}

/// Entries that are written as a map, in this order.
#[derive(Clone, Debug, PartialEq)]
struct Entries<K, V> {
    counted: bool,
    entries: Vec<(K, V)>,
}

impl<K: Serialize, V: Serialize> Serialize for Entries<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(self.counted.then_some(self.entries.len()))?;
        for (key, value) in &self.entries {
            map.serialize_key(key)?;
            map.serialize_value(value)?;
        }
        map.end()
    }
}

#[derive(Clone, Debug, Serialize)]
enum Tree {
    Leaf(String),
    Branch { sub: Vec<Tree> },
    Map(Option<Entries<u16, Tree>>),
}

impl Tree {
    /// The same value, but for the order of its entries and whether they were counted.
    fn reversed(&self) -> Self {
        match self {
            Self::Leaf(text) => Self::Leaf(text.clone()),
            Self::Branch { sub } => Self::Branch { sub: sub.iter().map(Self::reversed).collect() },
            Self::Map(map) => Self::Map(map.as_ref().map(|Entries { counted, entries }| Entries {
                counted: !counted,
                entries: entries.iter().rev().map(|(key, value)| (*key, value.reversed())).collect(),
            })),
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    any::<String>().prop_map(Tree::Leaf).prop_recursive(5, 64, 6, |inner| {
        let entries = hash_map(any::<u16>(), inner.clone(), 0..6);
        let map = (any::<bool>(), entries)
            .prop_map(|(counted, entries)| Entries { counted, entries: entries.into_iter().collect() });
        prop_oneof![
            vec(inner, 0..4).prop_map(|sub| Tree::Branch { sub }),
            proptest::option::weighted(0.9, map).prop_map(Tree::Map),
        ]
    })
}

/// Maps in a map, in lists, in enums and in options.
type Ordered = BTreeMap<String, Vec<Result<BTreeMap<i32, String>, Option<BTreeMap<String, u8>>>>>;
type Hashed = HashMap<String, Vec<Result<HashMap<i32, String>, Option<HashMap<String, u8>>>>>;

fn ordered() -> impl Strategy<Value = Ordered> {
    let small = btree_map(any::<i32>(), any::<String>(), 0..5);
    let optional = proptest::option::of(btree_map(any::<String>(), any::<u8>(), 0..5));
    btree_map(any::<String>(), vec(prop_oneof![small.prop_map(Ok), optional.prop_map(Err)], 0..4), 0..5)
}

fn hashed(ordered: Ordered) -> Hashed {
    let entries = ordered.into_iter().map(|(key, list)| {
        let list = list.into_iter().map(|item| match item {
            Ok(map) => Ok(map.into_iter().collect()),
            Err(map) => Err(map.map(|map| map.into_iter().collect())),
        });
        (key, list.collect())
    });
    entries.collect()
}

proptest! {
    #[test]
    fn values_without_maps_are_written_as_without_sorting(value in plain_value()) {
        prop_assert_eq!(to_bytes(&value).expect("an encoding"), rmp_serde::to_vec_named(&value).expect("an encoding"));
    }

    #[test]
    fn equal_maps_of_any_kind_are_equal_bytes(ordered in ordered()) {
        let hashed = hashed(ordered.clone());
        let bytes = to_bytes(&ordered).expect("an encoding");
        prop_assert_eq!(to_bytes(&hashed), Ok(bytes.clone()));
        prop_assert_eq!(from_bytes(&bytes), Ok(ordered));
        prop_assert_eq!(from_bytes(&bytes), Ok(hashed));
    }

    #[test]
    fn the_order_of_entries_does_not_show_at_any_depth(tree in tree()) {
        prop_assert_eq!(to_bytes(&tree), to_bytes(&tree.reversed()));
    }
}

fn entries<K: Clone, V: Clone>(counted: bool, entries: &[(K, V)]) -> Entries<K, V> {
    Entries { counted, entries: entries.to_vec() }
}

#[test]
fn entries_are_in_order_of_their_encoded_keys() {
    let unordered = entries(true, &[("aa", 1), ("b", 2), ("", 3), ("a", 4)]);
    assert_eq!(to_bytes(&unordered), Ok(b"\x84\xa0\x03\xa1a\x04\xa1b\x02\xa2aa\x01".to_vec()));
    let maps_as_keys = entries(true, &[(unordered.clone(), 1), (entries(true, &[("b", 0), ("a", 0)]), 2)]);
    let expected = b"\x82\x82\xa1a\x00\xa1b\x00\x02\x84\xa0\x03\xa1a\x04\xa1b\x02\xa2aa\x01\x01";
    assert_eq!(to_bytes(&maps_as_keys), Ok(expected.to_vec()));
    let repeated = entries(true, &[("b", 0), ("a", 2), ("a", 1)]);
    assert_eq!(to_bytes(&repeated), Ok(b"\x83\xa1a\x02\xa1a\x01\xa1b\x00".to_vec()), "the last still wins");
}

#[test]
fn a_map_or_list_that_was_not_counted_has_the_right_length() {
    for len in [0u32, 15, 16, 70_000] {
        let map: BTreeMap<u32, u32> = (0..len).map(|number| (number, number)).collect();
        let pairs: Vec<(u32, u32)> = map.clone().into_iter().rev().collect();
        let bytes = to_bytes(&entries(false, &pairs)).expect("an encoding");
        assert_eq!(Ok(&bytes), to_bytes(&map).as_ref());
        assert_eq!(from_bytes(&bytes), Ok(map));
        let list = Call::Uncounted(vec![Plain::Nothing; len as usize]);
        assert_eq!(to_bytes(&list), to_bytes(&vec!["Nothing"; len as usize]));
    }
}

#[test]
fn fields_keep_their_order_unless_flattened() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Inner {
        c: u8,
        b: u8,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Outer {
        d: u8,
        #[serde(flatten)]
        inner: Inner,
    }
    assert_eq!(to_bytes(&Inner { c: 1, b: 2 }), Ok(b"\x82\xa1c\x01\xa1b\x02".to_vec()));
    let outer = Outer { d: 0, inner: Inner { c: 1, b: 2 } };
    let bytes = b"\x83\xa1b\x02\xa1c\x01\xa1d\x00";
    assert_eq!(to_bytes(&outer), Ok(bytes.to_vec()));
    assert_eq!(from_bytes(bytes), Ok(outer));
}

/// What an implementation may get wrong about a map.
#[derive(Clone, Copy)]
enum Wrong {
    ValueFirst,
    TwoKeys,
    KeyLast,
    Failing,
}

impl Serialize for Wrong {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(usize::MAX))?;
        map.serialize_entry("b", &[1, 2])?;
        match self {
            Self::ValueFirst => map.serialize_value("value")?,
            Self::TwoKeys => map.serialize_key("a").and_then(|()| map.serialize_key("c"))?,
            Self::KeyLast => map.serialize_key("a")?,
            Self::Failing => return Err(ser::Error::custom("no such value")),
        }
        map.end()
    }
}

#[test]
fn what_fails_half_way_leaves_nothing_behind() {
    let cases = [
        (Wrong::ValueFirst, "serialize data model is invalid: a value of a map without its key"),
        (Wrong::TwoKeys, "serialize data model is invalid: a key of a map without its value"),
        (Wrong::KeyLast, "serialize data model is invalid: a key of a map without its value"),
        (Wrong::Failing, "no such value"),
    ];
    for (wrong, message) in cases {
        let mut bytes = b"before".to_vec();
        let nested = (7, vec![BTreeMap::from([(1, wrong)])]);
        let error = write_value(&nested, &mut bytes).expect_err("a wrong map");
        assert_eq!(error.to_string(), format!("cannot encode the value: {message}"));
        assert_eq!(bytes, b"before");
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Nest(HashMap<u8, Nest>);

fn nest(levels: usize) -> Nest {
    (1..levels).fold(Nest::default(), |nest, _| Nest(HashMap::from([(0, nest)])))
}

fn read_back<T: Serialize + DeserializeOwned>(value: &T) -> Result<T, String> {
    let bytes = to_bytes(value).map_err(|error| error.to_string())?;
    from_bytes(&bytes).map_err(|error| error.to_string())
}

#[test]
fn maps_are_never_nested_too_deep_to_read() {
    for levels in [1, 2, 100, 255] {
        assert_eq!(read_back(&nest(levels)), Ok(nest(levels)));
    }
    for levels in [256, 1_000] {
        let error = "cannot encode the value: nested deeper than 256 levels";
        assert_eq!(read_back(&nest(levels)), Err(error.to_owned()));
    }
    for levels in [257, 100_000] {
        let foreign = [b"\x81\x00".repeat(levels - 1), b"\x80".to_vec()].concat();
        let error = from_bytes::<Nest>(&foreign).expect_err("too deep");
        assert_eq!(error.to_string(), "cannot decode the value: depth limit exceeded");
    }
}

#[test]
fn parts_of_the_greatest_depth_read_back_as_one_value() {
    let part = nest(255);
    let mut list = Body::default();
    write_list(std::slice::from_ref(&part), &mut list).expect("an encoding");
    assert_eq!(from_bytes(&list.bytes), Ok(vec![part]));
}
