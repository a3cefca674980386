//! How does a store without tables keep declarations and attributes? All of a scope, or of a thread, as one record.

use super::attribute::{AttributeKind, Declaration, StoredAttribute, check_stored};
use crate::error::{Error, Result, Subject};
use crate::id::{RecordHash, ThreadUid};
use crate::load::{check_hash, damaged};
use crate::wire::{Reader, WireError, Writer};

/// The record of a thread's attributes.
pub fn encode_attributes(thread: ThreadUid, attributes: &[StoredAttribute]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64 * attributes.len() + 1);
    writer.varint(attributes.len() as u64);
    for attribute in attributes {
        writer.str(&attribute.name).bytes(&attribute.value).raw(&attribute.hash(thread).0);
    }
    writer.into_vec()
}

/// Reads the record of a thread's attributes; none where there is no record.
///
/// # Errors
/// `Corrupt` (attribute): it cannot be read, or a hash does not match.
pub fn decode_attributes(thread: ThreadUid, record: &[u8]) -> Result<Vec<StoredAttribute>> {
    let read = |reader: &mut Reader<'_>| {
        let attribute = StoredAttribute { name: reader.str()?.to_owned(), value: reader.bytes()?.to_vec() };
        Ok((attribute, RecordHash(reader.array()?)))
    };
    let found = list(record, read).map_err(|error| damaged(Subject::Attribute, thread, error))?;
    let checked = |(attribute, hash)| check_stored(&attribute, thread, hash).map(|()| attribute);
    found.into_iter().map(checked).collect()
}

/// The record of a scope's declarations.
pub fn encode_declarations(scope: &str, declarations: &[Declaration]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64 * declarations.len() + 1);
    writer.varint(declarations.len() as u64);
    for declaration in declarations {
        writer.str(&declaration.name).u8(declaration.kind.number()).raw(&declaration.hash(scope).0);
    }
    writer.into_vec()
}

/// Reads the record of a scope's declarations; none where there is no record.
///
/// # Errors
/// `Corrupt` (attribute): it cannot be read, or a hash does not match.
pub fn decode_declarations(scope: &str, record: &[u8]) -> Result<Vec<Declaration>> {
    let read = |reader: &mut Reader<'_>| {
        let (name, kind) = (reader.str()?.to_owned(), AttributeKind::from_number(reader.u8()?)?);
        Ok((Declaration { name, kind }, RecordHash(reader.array()?)))
    };
    let name = || format!("any that is declared in scope {scope:?}");
    let found = list(record, read).map_err(|error| damaged(Subject::Attribute, name(), error))?;
    let checked = |(declaration, hash): (Declaration, _)| {
        check_hash(hash, declaration.hash(scope), Subject::Attribute, &declaration.name).map(|()| declaration)
    };
    found.into_iter().map(checked).collect()
}

fn list<T>(record: &[u8], read: impl Fn(&mut Reader<'_>) -> Result<T, WireError>) -> Result<Vec<T>, WireError> {
    if record.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = Reader::new(record);
    let found = (0..reader.count()?).map(|_| read(&mut reader)).collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok(found)
}

/// A thread's attributes after changes that were checked, by name.
pub fn changed_attributes(
    stored: Vec<StoredAttribute>,
    changes: Vec<(String, Option<StoredAttribute>)>,
) -> Vec<StoredAttribute> {
    let is_changed = |name: &str| changes.iter().any(|(changed, _)| changed == name);
    let mut left: Vec<_> = stored.into_iter().filter(|attribute| !is_changed(&attribute.name)).collect();
    left.extend(changes.into_iter().filter_map(|(_, attribute)| attribute));
    left.sort_by(|a, b| a.name.cmp(&b.name));
    left
}

/// A scope's declarations with new ones, by name; nothing where all of them are there.
///
/// # Errors
/// `Exists` (attribute): one is declared with another kind.
pub fn with_declarations(mut declared: Vec<Declaration>, new: &[Declaration]) -> Result<Option<Vec<Declaration>>> {
    let before = declared.len();
    for declaration in new {
        match declared.iter().find(|known| known.name == declaration.name) {
            Some(known) if known.kind != declaration.kind => return Err::<_, Error>(known.taken()),
            Some(_) => {}
            None => declared.push(declaration.clone()),
        }
    }
    declared.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((declared.len() > before).then_some(declared))
}
