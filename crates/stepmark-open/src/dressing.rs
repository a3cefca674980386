//! What stands between an application and its store, whichever store it is? Compression, keys and what is told of calls.

#[cfg(any(feature = "compression", feature = "encryption"))]
mod codec;
#[cfg(not(any(feature = "compression", feature = "encryption")))]
#[path = "dressing/absent.rs"]
mod codec;

mod metering;

use std::sync::Arc;

use serde::Deserialize;
use stepmark_core::store::CheckpointStore;

use crate::error::{Error, Result};
use crate::given::{self, Given};

/// Options of every store.
pub(crate) const OPTIONS: [&str; 4] = ["compression", "keys", "key_directory", "metrics"];

/// What every store may be given.
#[cfg_attr(not(feature = "encryption"), allow(dead_code, reason = "keys are refused where nothing seals"))]
#[derive(Clone, Default)]
pub(crate) struct Dressing {
    pub(crate) compression: Option<Compression>,
    pub(crate) keys: Option<Keys>,
    pub(crate) key_directory: Option<String>,
    pub(crate) metrics: bool,
}

/// How large values are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// As they are; what was compressed is read.
    None,
    /// Smaller, at this level or zstd's own.
    Zstd(Option<i32>),
}

/// Where master keys are.
#[cfg_attr(not(feature = "encryption"), allow(dead_code, reason = "keys are refused where nothing seals"))]
#[derive(Clone)]
pub(crate) enum Keys {
    Env(String),
    File(String),
}

#[derive(Deserialize)]
struct Options {
    compression: Option<String>,
    keys: Option<String>,
    key_directory: Option<String>,
    metrics: Option<bool>,
}

impl Dressing {
    /// Reads options that are of every store alone.
    pub(crate) fn read(given: &Given) -> Result<Self> {
        let options: Options = given::read(given, "a store", &[])?;
        let compression = options.compression.as_deref().map(parse_compression).transpose()?;
        let keys = options.keys.as_deref().map(parse_keys).transpose()?;
        if keys.is_none() && options.key_directory.is_some() {
            return Err(Error::option("key_directory", "the keys in it are wrapped: say by which in keys"));
        }
        if matches!(compression, Some(Compression::Zstd(_))) && !cfg!(feature = "compression") {
            return Err(Error::feature("compression=zstd", "compression"));
        }
        if keys.is_some() && !cfg!(feature = "encryption") {
            return Err(Error::feature("keys", "encryption"));
        }
        let metrics = options.metrics == Some(true);
        if metrics && !cfg!(feature = "metrics") {
            return Err(Error::feature("metrics=true", "metrics"));
        }
        Ok(Self { compression, keys, key_directory: options.key_directory, metrics })
    }

    /// The store of this kind with all of it in front.
    pub(crate) fn around(
        &self,
        backend: &'static str,
        store: Arc<dyn CheckpointStore>,
    ) -> Result<Arc<dyn CheckpointStore>> {
        let store = if self.metrics { metering::of_stored_bytes(backend, store) } else { store };
        let has_codec = self.compression.is_some() || self.keys.is_some();
        let store = if has_codec { codec::around(self, store)? } else { store };
        Ok(if self.metrics { metering::of_calls(backend, store) } else { store })
    }
}

fn parse_compression(text: &str) -> Result<Compression> {
    let level = |text: &str| text.parse().ok().filter(|level| (-7..=22).contains(level));
    match text.split_once(':') {
        None if text == "none" => Some(Compression::None),
        None if text == "zstd" => Some(Compression::Zstd(None)),
        Some(("zstd", text)) => level(text).map(|level| Compression::Zstd(Some(level))),
        _ => None,
    }
    .ok_or_else(|| Error::option("compression", "it must be zstd, zstd:LEVEL with a level up to 22, or none"))
}

fn parse_keys(text: &str) -> Result<Keys> {
    match text.split_once(':') {
        Some(("env", name)) if !name.is_empty() => Ok(Keys::Env(name.to_owned())),
        Some(("file", path)) if !path.is_empty() => Ok(Keys::File(path.to_owned())),
        // What stands there may be the key itself.
        _ => Err(Error::option("keys", "it must be env:NAME or file:PATH, which say where keys are")),
    }
}
