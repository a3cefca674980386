//! Who has a name, and which names are there?
//!
//! A name's holders are numbered. Each is an object that holds the thread's whole first entry: creating it is what creates
//! the thread, and whoever finds it can finish the creation. When the thread is deleted its object is emptied and stays,
//! so that no number is ever taken twice.

use bytes::Bytes;
use stepmark_core::error::Result;
use stepmark_core::error::Subject;
use stepmark_core::id::ThreadUid;
use stepmark_core::load::damaged;
use stepmark_core::wire::{Reader, WireError, Writer};

use crate::bucket::{Bucket, Listed};
use crate::paths::{self, Paths};

/// Who has a name.
#[derive(Debug)]
pub(crate) enum Holder {
    /// Nobody; the next one has this number.
    Free(u64),
    /// This thread, if it was not deleted.
    Thread(Born),
}

/// A thread as the object of its name has it.
#[derive(Clone, Debug)]
pub(crate) struct Born {
    pub(crate) holder: u64,
    pub(crate) uid: ThreadUid,
    /// The entry that it began with, and that entry's number: 0, but where its uid was given up before.
    pub(crate) entry: Bytes,
    pub(crate) number: u64,
}

/// Before the number of an entry that is not its log's first.
const NUMBER_MAGIC: [u8; 4] = *b"smkn";

/// Writes the object of a name, with the entry that begins the thread and its number.
pub(crate) fn encode(uid: ThreadUid, number: u64, entry: &[u8]) -> Vec<u8> {
    let mut object = Writer::with_capacity(entry.len() + 28);
    object.raw(&uid.0);
    if number > 0 {
        object.raw(&NUMBER_MAGIC).u64(number);
    }
    object.raw(entry);
    object.into_vec()
}

fn decode(path: &str, holder: u64, object: &Bytes) -> Result<Born> {
    let read = || {
        let mut reader = Reader::new(object);
        let uid = ThreadUid(reader.array()?);
        let mut number = 0;
        if reader.rest().starts_with(&NUMBER_MAGIC) {
            reader.raw(NUMBER_MAGIC.len())?;
            number = reader.u64()?;
        }
        Ok((uid, number, object.len() - reader.rest().len()))
    };
    let (uid, number, start) = read().map_err(|error: WireError| damaged(Subject::Thread, path, error))?;
    Ok(Born { holder, uid, number, entry: object.slice(start..) })
}

/// Who has a name now. `dead` is a holder that is known to be deleted.
pub(crate) async fn find(
    bucket: &Bucket,
    paths: &Paths,
    (scope, name): (&str, &str),
    dead: Option<u64>,
) -> Result<Holder> {
    if dead.is_none() {
        let path = paths.name(scope, name, 0);
        match bucket.get(&path).await? {
            None => return Ok(Holder::Free(0)),
            Some(object) if !object.is_empty() => return Ok(Holder::Thread(decode(path.as_ref(), 0, &object)?)),
            Some(_) => {}
        }
    }
    let holders = bucket.list(&paths.holders(scope, name), None).await?;
    let newest = holders.iter().filter_map(|listed| paths::number(&listed.path)).max().unwrap_or(0);
    if dead == Some(newest) {
        return Ok(Holder::Free(newest + 1));
    }
    let path = paths.name(scope, name, newest);
    match bucket.get(&path).await? {
        Some(object) if !object.is_empty() => Ok(Holder::Thread(decode(path.as_ref(), newest, &object)?)),
        _ => Ok(Holder::Free(newest + 1)),
    }
}

/// The newest holder of each name of a scope behind a name, in the order of names; those that are deleted are left out.
/// Names that are cut in their paths are told apart by whoever reads them.
pub(crate) async fn list(bucket: &Bucket, paths: &Paths, scope: &str, after: Option<&str>) -> Result<Vec<Listed>> {
    let after = after.map(|name| paths.after_name(scope, name));
    let listed = bucket.list(&paths.names(scope), after.as_ref()).await?;
    let mut newest: Vec<Listed> = Vec::new();
    for found in listed {
        let name = |path: &str| path.rsplit_once('/').map(|(name, _)| name.to_owned());
        match newest.last_mut() {
            Some(before) if name(&before.path) == name(&found.path) => *before = found,
            _ => newest.push(found),
        }
    }
    newest.retain(|found| found.size > 0);
    Ok(newest)
}

/// The thread that a listed object is about, if it still is about one.
pub(crate) async fn uid_of(bucket: &Bucket, listed: &Listed) -> Result<Option<ThreadUid>> {
    let bytes = bucket.get_range(&listed.path.as_str().into(), 0..16).await?;
    Ok(bytes.and_then(|bytes| <[u8; 16]>::try_from(&bytes[..]).ok()).map(ThreadUid))
}

/// The whole of it.
pub(crate) async fn read(bucket: &Bucket, listed: &Listed) -> Result<Option<Born>> {
    let object = bucket.get(&listed.path.as_str().into()).await?;
    let holder = paths::number(&listed.path).unwrap_or(0);
    object.filter(|object| !object.is_empty()).map(|object| decode(&listed.path, holder, &object)).transpose()
}

/// Empties the object of a name that a deleted thread had.
pub(crate) async fn release(bucket: &Bucket, paths: &Paths, (scope, name): (&str, &str), uid: ThreadUid) -> Result<()> {
    for listed in bucket.list(&paths.holders(scope, name), None).await? {
        if listed.size > 0 && uid_of(bucket, &listed).await? == Some(uid) {
            bucket.overwrite(&listed.path.as_str().into(), Bytes::new()).await?;
        }
    }
    Ok(())
}
