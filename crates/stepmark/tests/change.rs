//! Does one change cover several?

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*, sample::Index};
use stepmark_engine::{Change, Changes};

/// One edit of a list: where, how many go, how many come.
type RandomEdit = (Index, Index, usize);

/// Does the edit, with elements that were never there before.
fn edit(list: &mut Vec<u32>, (at, remove, insert): &RandomEdit, next: &mut u32) -> Change {
    let at = at.index(list.len() + 1);
    let remove = remove.index(list.len() - at + 1);
    let first = *next;
    *next += u32::try_from(*insert).expect("a short insert");
    list.splice(at..at + remove, first..*next);
    Change::Edit { at, remove, insert: *insert }
}

proptest! {
    #[test]
    fn edits_of_a_list_are_covered_by_one(old_len in 0u32..12, edits in vec(any::<RandomEdit>(), 0..8)) {
        let old: Vec<u32> = (0..old_len).collect();
        let (mut list, mut next) = (old.clone(), old_len);
        let mut cover = Change::append(old.len(), 0);
        for random in &edits {
            let random = (random.0, random.1, random.2 % 4);
            cover = cover.then(edit(&mut list, &random, &mut next));
        }
        let Change::Edit { at, remove, insert } = cover else { panic!("{cover:?}") };
        let mut rebuilt = old;
        rebuilt.splice(at..at + remove, list[at..at + insert].iter().copied());
        prop_assert_eq!(rebuilt, list);
    }

    #[test]
    fn edits_of_a_map_are_covered_by_their_keys(steps in vec(vec((0u8..6, any::<Option<u8>>()), 0..4), 0..5)) {
        let old = BTreeMap::from([(0, 1), (1, 2), (2, 3)]);
        let mut map = old.clone();
        let mut cover = Change::Keys(BTreeSet::new());
        for step in steps {
            let keys = step.iter().map(|(key, _)| vec![*key]).collect();
            for (key, value) in step {
                match value {
                    Some(value) => map.insert(key, value),
                    None => map.remove(&key),
                };
            }
            cover = cover.then(Change::Keys(keys));
        }
        let Change::Keys(keys) = cover else { panic!("{cover:?}") };
        let changed = (0..6).filter(|key| old.get(key) != map.get(key));
        for key in changed {
            prop_assert!(keys.contains(&vec![key]));
        }
    }
}

#[test]
fn anything_after_a_whole_change_is_whole() {
    let edit = Change::append(3, 1);
    let keys = Change::Keys(BTreeSet::from([vec![1]]));
    for change in [edit, keys, Change::Whole] {
        assert_eq!(Change::Whole.then(change.clone()), Change::Whole);
        assert_eq!(change.then(Change::Whole), Change::Whole);
    }
}

#[test]
fn appending_twice_is_appending() {
    assert_eq!(Change::append(5, 2).then(Change::append(7, 3)), Change::append(5, 5));
}

#[test]
fn an_empty_change_is_no_change() {
    let mut changes = Changes::new(2);
    changes.record(0, Change::append(9, 0));
    changes.record(1, Change::Keys(BTreeSet::new()));
    assert_eq!(changes.iter().count(), 0);

    changes.record(1, Change::Whole);
    assert!(changes.is_changed(1) && !changes.is_changed(0));
    assert_eq!(changes.take(1), Some(Change::Whole));
    assert_eq!((changes.get(1), changes.get(7)), (None, None));
}
