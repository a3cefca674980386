//! `Merge`: entries are set in and removed from a map.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{BuildHasher, Hash},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    change::Change,
    encode::{self, Body, DecodeError, EncodeError, Entries},
    reducer::Reducer,
    slot::slot_of,
    state::Shape,
};

/// Sets and removes entries of a `BTreeMap` or `HashMap`; of several writes to one key the last in plan order wins.
///
/// The map is stored entry by entry.
#[derive(Debug)]
pub struct Merge;

/// A write to a [`Merge`] field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeWrite<K, V> {
    /// Whether to drop what is there first.
    overwrite: bool,
    /// Set the key, or remove it; later entries win.
    entries: Vec<(K, Edit<V>)>,
}

/// Not an `Option`: a value may be one, and `Some(None)` has no encoding of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Edit<V> {
    Set(V),
    Remove,
}

/// The slot of [`Merge`].
#[derive(Clone, Debug)]
pub struct MergeSlot<K, V>(Option<MergeWrite<K, V>>);

impl<K, V> MergeSlot<K, V> {
    /// Sets an entry.
    pub fn insert(&mut self, key: K, value: V) {
        self.entries().push((key, Edit::Set(value)));
    }

    /// Removes an entry; a key that is not there is no mistake.
    pub fn remove(&mut self, key: K) {
        self.entries().push((key, Edit::Remove));
    }

    /// Sets entries. No entries, no write.
    pub fn extend(&mut self, entries: impl IntoIterator<Item = (K, V)>) {
        entries.into_iter().for_each(|(key, value)| self.insert(key, value));
    }

    /// Drops what the field holds and what this slot held; the field becomes `entries`. Two tasks that overwrite in one
    /// step are a conflict.
    pub fn overwrite(&mut self, entries: impl IntoIterator<Item = (K, V)>) {
        self.0 = Some(MergeWrite { overwrite: true, entries: Vec::new() });
        self.extend(entries);
    }

    fn entries(&mut self) -> &mut Vec<(K, Edit<V>)> {
        &mut self.0.get_or_insert_with(|| MergeWrite { overwrite: false, entries: Vec::new() }).entries
    }
}

slot_of!([K: Clone + Send + Sync + 'static, V: Clone + Send + Sync + 'static] MergeSlot<K, V>, MergeWrite<K, V>);

impl<K, V> Reducer<BTreeMap<K, V>> for Merge
where
    K: Ord + Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    V: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    type Write = MergeWrite<K, V>;
    type Slot = MergeSlot<K, V>;
    const NAME: &'static str = "merge";
    const SHAPE: Shape = Shape::Map;

    fn apply(value: &mut BTreeMap<K, V>, write: Self::Write) -> Change {
        let change = write.change();
        if write.overwrite {
            value.clear();
        }
        for (key, edit) in write.entries {
            match edit {
                Edit::Set(new) => value.insert(key, new),
                Edit::Remove => value.remove(&key),
            };
        }
        change
    }

    fn difference(before: &BTreeMap<K, V>, after: &BTreeMap<K, V>) -> Result<Self::Write, EncodeError> {
        let removed = before.keys().filter(|key| !after.contains_key(key));
        MergeWrite::of((after, |key| before.get(key)), removed)
    }

    fn is_exclusive(write: &Self::Write) -> bool {
        write.overwrite
    }

    fn encode_full(value: &BTreeMap<K, V>, out: &mut Body) -> Result<(), EncodeError> {
        write_sorted(value, out)
    }

    fn encode_entries(value: &BTreeMap<K, V>, keys: &BTreeSet<Vec<u8>>, out: &mut Entries) -> Result<(), EncodeError> {
        add_entries(|key| value.get(key), keys, out)
    }

    fn encode_write(write: &Self::Write) -> Result<Vec<u8>, EncodeError> {
        write.encode_sorted()
    }
}

impl<K, V, H> Reducer<HashMap<K, V, H>> for Merge
where
    K: Eq + Hash + Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    V: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    H: BuildHasher + Default,
{
    type Write = MergeWrite<K, V>;
    type Slot = MergeSlot<K, V>;
    const NAME: &'static str = "merge";
    const SHAPE: Shape = Shape::Map;

    fn apply(value: &mut HashMap<K, V, H>, write: Self::Write) -> Change {
        let change = write.change();
        if write.overwrite {
            value.clear();
        }
        for (key, edit) in write.entries {
            match edit {
                Edit::Set(new) => value.insert(key, new),
                Edit::Remove => value.remove(&key),
            };
        }
        change
    }

    fn difference(before: &HashMap<K, V, H>, after: &HashMap<K, V, H>) -> Result<Self::Write, EncodeError> {
        let removed = before.keys().filter(|key| !after.contains_key(key));
        MergeWrite::of((after, |key| before.get(key)), removed)
    }

    fn is_exclusive(write: &Self::Write) -> bool {
        write.overwrite
    }

    fn encode_full(value: &HashMap<K, V, H>, out: &mut Body) -> Result<(), EncodeError> {
        write_sorted(value, out)
    }

    fn encode_entries(
        value: &HashMap<K, V, H>,
        keys: &BTreeSet<Vec<u8>>,
        out: &mut Entries,
    ) -> Result<(), EncodeError> {
        add_entries(|key| value.get(key), keys, out)
    }

    fn encode_write(write: &Self::Write) -> Result<Vec<u8>, EncodeError> {
        write.encode_sorted()
    }
}

impl<K: Serialize, V: Serialize> MergeWrite<K, V> {
    /// The keys that are written. A key that has no encoding makes it the whole map, whose encoding then says why.
    fn change(&self) -> Change {
        if self.overwrite {
            return Change::Whole;
        }
        let keys = self.entries.iter().map(|(key, _)| encode::to_bytes(key));
        keys.collect::<Result<_, _>>().map_or(Change::Whole, Change::Keys)
    }

    /// Entries in order of their encoded keys, so that the iteration order of a `HashMap` does not show.
    fn encode_sorted(&self) -> Result<Vec<u8>, EncodeError> {
        let mut keyed = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            keyed.push((encode::to_bytes(&entry.0)?, entry));
        }
        // Stable: of several edits of one key the last still wins.
        keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
        let entries: Vec<_> = keyed.into_iter().map(|(_, entry)| entry).collect();
        encode::to_bytes(&SortedWrite { overwrite: self.overwrite, entries })
    }
}

/// A [`MergeWrite`] by reference; the two have the same encoding.
impl<K: Clone, V: Clone + Serialize> MergeWrite<K, V> {
    /// Sets the entries whose values differ from those before, and removes keys.
    fn of<'a>(
        (after, before): (impl IntoIterator<Item = (&'a K, &'a V)>, impl Fn(&K) -> Option<&'a V>),
        removed: impl Iterator<Item = &'a K>,
    ) -> Result<Self, EncodeError>
    where
        K: 'a,
        V: 'a,
    {
        let mut entries: Vec<(K, Edit<V>)> = removed.map(|key| (key.clone(), Edit::Remove)).collect();
        for (key, value) in after {
            if before(key).map(encode::to_bytes).transpose()? != Some(encode::to_bytes(value)?) {
                entries.push((key.clone(), Edit::Set(value.clone())));
            }
        }
        Ok(Self { overwrite: false, entries })
    }
}

#[derive(Serialize)]
struct SortedWrite<'a, K, V> {
    overwrite: bool,
    entries: Vec<&'a (K, Edit<V>)>,
}

fn write_sorted<'a, K, V>(map: impl IntoIterator<Item = (&'a K, &'a V)>, out: &mut Body) -> Result<(), EncodeError>
where
    K: Serialize + 'a,
    V: Serialize + 'a,
{
    let entries = map.into_iter().map(|(key, value)| Ok((encode::to_bytes(key)?, encode::to_bytes(value)?)));
    let mut entries = entries.collect::<Result<Vec<_>, EncodeError>>()?;
    entries.sort_unstable();
    encode::write_map(&entries, &mut out.bytes)
}

fn add_entries<'a, K, V>(
    get: impl Fn(&K) -> Option<&'a V>,
    keys: &BTreeSet<Vec<u8>>,
    out: &mut Entries,
) -> Result<(), EncodeError>
where
    K: DeserializeOwned,
    V: Serialize + 'a,
{
    for bytes in keys {
        let key = encode::from_bytes(bytes).map_err(|error: DecodeError| {
            EncodeError::new(format_args!("a key of the map does not read back: {error}"))
        })?;
        match get(&key) {
            Some(value) => out.set.push((bytes.clone(), encode::to_bytes(value)?)),
            None => out.removed.push(bytes.clone()),
        }
    }
    Ok(())
}
