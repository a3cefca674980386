//! How does a place become one of this program's layout?
//!
//! Ten processes may open an empty place at once: one creates the manifest, and all read it. There is one layout so far; a
//! later one brings its steps here.

use stepmark_core::error::{Error, Result, Subject};

use crate::bucket::Bucket;
use crate::manifest;
use crate::paths::Paths;

/// Makes an empty place a store; refuses one of a newer layout.
pub(crate) async fn migrate(bucket: &Bucket, paths: &Paths) -> Result<()> {
    let path = paths.manifest();
    if bucket.get(&path).await?.is_none() {
        bucket.create(&path, manifest::encode(manifest::LAYOUT)).await?;
    }
    let gone = || Error::unavailable(Subject::Store, &path, "its manifest was written but is not there");
    let stored = bucket.get(&path).await?.ok_or_else(gone)?;
    manifest::decode(path.as_ref(), &stored).map(|_| ())
}
