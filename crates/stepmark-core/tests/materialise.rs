//! Does a chain of value nodes give the value that a list or map edited step by step has?

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use stepmark_core::id::BranchId;
use stepmark_core::materialise::{element_ends, materialise};
use stepmark_core::value::{ListMark, Structure, ValueAddress, ValueHead, ValueNode, ValueRef};
use stepmark_core::wire::Writer;

fn encoded(value: &impl serde::Serialize) -> Vec<u8> {
    rmp_serde::to_vec(value).expect("plain data encodes")
}

fn elements(items: &[String]) -> Vec<u8> {
    items.iter().flat_map(encoded).collect()
}

/// A base that nobody looks up: chains are given whole.
fn base() -> ValueRef {
    let branch = BranchId::new(1).expect("not zero");
    ValueRef { address: ValueAddress { branch, height: 1, ordinal: 0 }, packed: true }
}

fn node(structure: Structure, length: Option<usize>, body: Vec<u8>) -> ValueNode {
    let list = length.map(|length| ListMark { length: length as u64, chain: None });
    ValueNode { head: ValueHead { list, ..ValueHead::new(structure, 1) }, body }
}

/// An edit of a list; places are taken modulo what is there.
#[derive(Clone, Debug)]
enum Edit {
    Append { cut: usize, items: Vec<String> },
    Splice { at: usize, remove: usize, items: Vec<String> },
}

fn any_items() -> impl Strategy<Value = Vec<String>> {
    // Up to more than sixteen elements, and strings beyond 31 bytes, so that every short and long header occurs.
    vec("[a-z]{0,3}|[a-z]{40}", 0..20)
}

fn any_edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (0..4usize, any_items()).prop_map(|(cut, items)| Edit::Append { cut, items }),
        (any::<usize>(), 0..6usize, any_items()).prop_map(|(at, remove, items)| Edit::Splice { at, remove, items }),
    ]
}

fn apply(list: &mut Vec<String>, edit: &Edit, marked: bool) -> ValueNode {
    let (structure, items) = match edit {
        Edit::Append { cut, items } => {
            list.truncate(list.len().saturating_sub(*cut));
            let keep = list.len() as u64;
            list.extend(items.iter().cloned());
            (Structure::List { base: base(), keep, items: items.len() as u64 }, items)
        }
        Edit::Splice { at, remove, items } => {
            let at = at % (list.len() + 1);
            let remove = (*remove).min(list.len() - at);
            list.splice(at..at + remove, items.iter().cloned());
            let (at, remove) = (at as u64, remove as u64);
            (Structure::Splice { base: base(), at, remove, items: items.len() as u64 }, items)
        }
    };
    node(structure, marked.then_some(list.len()), elements(items))
}

/// Keys to set and keys to remove.
type MapEdit = (BTreeMap<u8, String>, Vec<u8>);

fn apply_to_map(map: &mut BTreeMap<u8, String>, (set, removed): &MapEdit) -> ValueNode {
    let mut gone: Vec<u8> =
        removed.iter().filter(|key| map.contains_key(key) && !set.contains_key(key)).copied().collect();
    gone.sort_unstable();
    gone.dedup();
    let mut body = Writer::new();
    for (key, value) in set {
        body.bytes(&encoded(key)).bytes(&encoded(value));
    }
    for key in &gone {
        body.bytes(&encoded(key));
        map.remove(key);
    }
    map.extend(set.iter().map(|(key, value)| (*key, value.clone())));
    let structure = Structure::Map { base: base(), set: set.len() as u64, removed: gone.len() as u64 };
    node(structure, None, body.into_vec())
}

fn any_map() -> impl Strategy<Value = BTreeMap<u8, String>> {
    prop::collection::btree_map(0..40u8, "[a-z]{0,5}", 0..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn edited_lists_materialise(first in any_items(), edits in vec((any_edit(), any::<bool>()), 0..12)) {
        let mut list = first;
        let mut chain = vec![node(Structure::Full, Some(list.len()), encoded(&list))];
        for (edit, marked) in &edits {
            chain.insert(0, apply(&mut list, edit, *marked));
            let value = materialise(&chain).expect("a sound chain is a value");
            prop_assert_eq!(&value, &encoded(&list), "byte for byte what encoding the list gives");
        }
        let ends = element_ends(&elements(&list)).expect("elements are found");
        prop_assert_eq!(ends.len(), list.len());
    }

    #[test]
    fn edited_maps_materialise(first in any_map(), edits in vec((any_map(), vec(0..40u8, 0..8)), 0..8)) {
        let mut map = first;
        let mut chain = vec![node(Structure::Full, None, encoded(&map))];
        for edit in &edits {
            chain.insert(0, apply_to_map(&mut map, edit));
            prop_assert_eq!(materialise(&chain).expect("a sound chain is a value"), encoded(&map));
        }
    }

    #[test]
    fn damaged_chains_never_panic(
        first in any_items(),
        edits in vec(any_edit(), 0..5),
        numbers in vec((any::<prop::sample::Index>(), any::<[u64; 3]>(), 0..3u8), 0..4),
        flips in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut list = first;
        let mut chain = vec![node(Structure::Full, None, encoded(&list))];
        for edit in &edits {
            chain.insert(0, apply(&mut list, edit, false));
        }
        let length = chain.len();
        for (place, [a, b, c], kind) in numbers {
            chain[place.index(length)].head.structure = match kind {
                0 => Structure::List { base: base(), keep: a, items: b },
                1 => Structure::Splice { base: base(), at: a, remove: b, items: c },
                _ => Structure::Map { base: base(), set: a, removed: b },
            };
        }
        for (place, byte, bit) in flips {
            let body = &mut chain[place.index(length)].body;
            if !body.is_empty() {
                let byte = byte.index(body.len());
                body[byte] ^= 1 << (bit % 8);
            }
        }
        let _ = materialise(&chain);
    }
}

#[test]
fn chains_that_are_no_value_are_refused() {
    let whole = node(Structure::Full, None, encoded(&["a", "b"]));
    let list = |keep, items| node(Structure::List { base: base(), keep, items }, None, encoded(&"c"));
    let splice = |at, remove| node(Structure::Splice { base: base(), at, remove, items: 1 }, None, encoded(&"c"));
    let removes = |key: &str| {
        let mut body = Writer::new();
        body.bytes(&encoded(&key));
        node(Structure::Map { base: base(), set: 0, removed: 1 }, None, body.into_vec())
    };
    let map = node(Structure::Full, None, encoded(&BTreeMap::from([("a", 1)])));
    let miscounted = node(Structure::List { base: base(), keep: 2, items: 1 }, Some(7), encoded(&"c"));
    let refused: [Vec<ValueNode>; 10] = [
        vec![],
        vec![list(2, 1)],
        vec![list(3, 1), whole.clone()],
        vec![list(2, u64::MAX), whole.clone()],
        vec![splice(2, 1), whole.clone()],
        vec![splice(u64::MAX, 2), whole.clone()],
        vec![miscounted, whole.clone()],
        vec![whole.clone(), whole.clone()],
        vec![list(0, 1), map],
        vec![removes("a"), whole],
    ];
    for chain in refused {
        assert!(materialise(&chain).is_err(), "{chain:?}");
    }
}
