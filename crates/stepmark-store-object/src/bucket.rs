//! What is asked of the place where objects lie?
//!
//! Six operations, and nothing else: whatever offers them and lets an object be created only where none is can hold a
//! store. Errors become the seam's here.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error, Result, Subject};

use crate::error::from_objects;

/// S3 refuses a create also because another one runs at the same moment; that one may fail.
const CREATES_MAX: usize = 16;

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Listed {
    pub(crate) path: String,
    pub(crate) size: u64,
    /// When it was written, by the place's clock.
    pub(crate) written_at: Timestamp,
}

/// A place with objects.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    objects: Arc<dyn ObjectStore>,
}

impl Bucket {
    pub(crate) fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects }
    }

    /// The object's bytes, if it is there.
    pub(crate) async fn get(&self, path: &Path) -> Result<Option<Bytes>> {
        let read = async { self.objects.get(path).await?.bytes().await };
        present(read.await).map_err(|error| from_objects(path, error))
    }

    /// Some of its bytes; fewer where it ends before.
    pub(crate) async fn get_range(&self, path: &Path, range: Range<u64>) -> Result<Option<Bytes>> {
        present(self.objects.get_range(path, range).await).map_err(|error| from_objects(path, error))
    }

    /// Whether it is there.
    pub(crate) async fn has(&self, path: &Path) -> Result<bool> {
        let head = present(self.objects.head(path).await).map_err(|error| from_objects(path, error))?;
        Ok(head.is_some())
    }

    /// When it was written, by the place's clock, if it is there.
    pub(crate) async fn written_at(&self, path: &Path) -> Result<Option<Timestamp>> {
        let head = present(self.objects.head(path).await).map_err(|error| from_objects(path, error))?;
        Ok(head.map(|head| head.last_modified.timestamp_micros()))
    }

    /// Makes an object whole, unless there is one: the one operation that decides anything. Answers whether it made it;
    /// after a lost answer it may say no to who did. In any case the object is there afterwards.
    pub(crate) async fn create(&self, path: &Path, bytes: impl Into<Bytes>) -> Result<bool> {
        let payload = PutPayload::from(bytes.into());
        for _ in 0..CREATES_MAX {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match self.objects.put_opts(path, payload.clone(), options).await {
                Ok(_) => return Ok(true),
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {}
                Err(error) => return Err(from_objects(path, error)),
            }
            if self.has(path).await? {
                return Ok(false);
            }
        }
        Err(Error::unavailable(Subject::Store, path, "it is neither there nor can it be created"))
    }

    /// Puts an object in the place of what is there.
    pub(crate) async fn overwrite(&self, path: &Path, bytes: impl Into<Bytes>) -> Result<()> {
        let put = self.objects.put(path, PutPayload::from(bytes.into())).await;
        put.map(|_| ()).map_err(|error| from_objects(path, error))
    }

    /// Removes an object, if it is there.
    pub(crate) async fn remove(&self, path: &Path) -> Result<()> {
        present(self.objects.delete(path).await).map(|_| ()).map_err(|error| from_objects(path, error))
    }

    /// What lies below a directory behind a path, in order. Not every place lists in order, so it is put in order here.
    pub(crate) async fn list(&self, directory: &Path, after: Option<&Path>) -> Result<Vec<Listed>> {
        let stream = match after {
            Some(after) => self.objects.list_with_offset(Some(directory), after),
            None => self.objects.list(Some(directory)),
        };
        let listed = stream.map_ok(|found| Listed {
            path: found.location.to_string(),
            size: found.size,
            written_at: found.last_modified.timestamp_micros(),
        });
        let mut listed: Vec<Listed> = listed.try_collect().await.map_err(|error| from_objects(directory, error))?;
        listed.sort_unstable();
        Ok(listed)
    }
}

/// What is not there is no error.
fn present<T>(answer: object_store::Result<T>) -> object_store::Result<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
