//! How did one value become another? Pure.

use std::collections::BTreeMap;

use stepmark_core::materialise::{ChainError, take_value};

use super::list::{Ids, Stretch, lists};
use super::text::texts;
use super::{COMPARED_BYTES_MAX, COMPARED_ITEMS_MAX, Change, EntryDiff};
use crate::dynamic::Value;
use crate::encode::{self, DecodeError};

/// Texts of at most this many bytes are shown whole: old, then new.
const SHORT_TEXT_BYTES: usize = 64;

/// How a channel's encoded value became another; `None` if they are equal.
pub(super) fn channel(old: Option<&[u8]>, new: Option<&[u8]>, ids: Ids) -> Result<Option<Change>, DecodeError> {
    if old == new {
        return Ok(None);
    }
    let bytes = |value: Option<&[u8]>| value.map(|value| value.len() as u64);
    let too_large = Change::TooLarge { old_bytes: bytes(old), new_bytes: bytes(new) };
    if let (Some(Ok(old)), Some(Ok(new))) = (old.map(items_of), new.map(items_of)) {
        let Some((first, old, new)) = cut_ends(old, new).map_err(DecodeError::new)? else { return Ok(Some(too_large)) };
        let read = |items: Vec<&[u8]>| items.into_iter().map(encode::from_bytes).collect::<Result<Vec<Value>, _>>();
        return Ok(lists(&Stretch { first, old: &read(old)?, new: &read(new)? }, ids));
    }
    if bytes(old).max(bytes(new)) > Some(COMPARED_BYTES_MAX as u64) {
        return Ok(Some(too_large));
    }
    let read = |value: Option<&[u8]>| value.map(encode::from_bytes::<Value>).transpose();
    Ok(match (read(old)?, read(new)?) {
        (None, None) => None,
        (None, Some(new)) => Some(Change::Added(new)),
        (Some(old), None) => Some(Change::Removed(old)),
        (Some(old), Some(new)) => values(&old, &new),
    })
}

/// How a value became another; `None` if they are equal.
pub(super) fn values(old: &Value, new: &Value) -> Option<Change> {
    match (old, new) {
        (Value::Map(old), Value::Map(new)) => entries(old, new),
        (Value::List(old), Value::List(new)) => lists(&Stretch { first: 0, old, new }, Ids::InIdField),
        _ if old == new => None,
        (Value::Text(old), Value::Text(new)) if old.len().max(new.len()) > SHORT_TEXT_BYTES => {
            Some(Change::Text(texts(old, new)))
        }
        _ => Some(Change::Replaced { old: old.clone(), new: new.clone() }),
    }
}

fn entries(old: &BTreeMap<Value, Value>, new: &BTreeMap<Value, Value>) -> Option<Change> {
    let kept = old.iter().filter_map(|(key, old)| match new.get(key) {
        Some(new) => Some((key, values(old, new)?)),
        None => Some((key, Change::Removed(old.clone()))),
    });
    let added = new.iter().filter(|(key, _)| !old.contains_key(key));
    let added = added.map(|(key, new)| (key, Change::Added(new.clone())));
    let mut entries: Vec<EntryDiff> =
        kept.chain(added).map(|(key, change)| EntryDiff { key: key.clone(), change }).collect();
    entries.sort_by(|one, other| one.key.cmp(&other.key));
    (!entries.is_empty()).then_some(Change::Entries(entries))
}

/// The encoded items of a list, one after another; an error for anything else.
fn items_of(value: &[u8]) -> Result<&[u8], rmp::decode::ValueReadError> {
    let mut items = value;
    rmp::decode::read_array_len(&mut items).map(|_| items)
}

type Items<'a> = Vec<&'a [u8]>;

/// What lies between the equal ends of two lists, and how many items come before it; `None` if that is too much to compare.
/// Nothing is decoded for it: a long list that grew costs what it grew by.
fn cut_ends<'a>(mut old: &'a [u8], mut new: &'a [u8]) -> Result<Option<(usize, Items<'a>, Items<'a>)>, ChainError> {
    let mut first = 0;
    while !old.is_empty() && !new.is_empty() {
        let (mut old_rest, mut new_rest) = (old, new);
        if take_value(&mut old_rest)? != take_value(&mut new_rest)? {
            break;
        }
        (old, new) = (old_rest, new_rest);
        first += 1;
    }
    let (Some(mut old), Some(mut new)) = (split(old)?, split(new)?) else { return Ok(None) };
    let last = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    old.truncate(old.len() - last);
    new.truncate(new.len() - last);
    let bytes = |items: &[&[u8]]| items.iter().map(|item| item.len()).sum::<usize>();
    let fits = bytes(&old).max(bytes(&new)) <= COMPARED_BYTES_MAX;
    Ok(fits.then_some((first, old, new)))
}

/// Each item's bytes; `None` if there are too many.
fn split(mut items: &[u8]) -> Result<Option<Items<'_>>, ChainError> {
    let mut found = Vec::new();
    while !items.is_empty() {
        if found.len() == COMPARED_ITEMS_MAX {
            return Ok(None);
        }
        found.push(take_value(&mut items)?);
    }
    Ok(Some(found))
}
