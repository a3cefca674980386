//! Which store does somebody want, and how is it opened?

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use stepmark_core::store::CheckpointStore;

use crate::address::{Address, Shown};
use crate::backend::{self, Backend};
use crate::dressing::{Dressing, OPTIONS};
use crate::error::{Error, Result};
use crate::given::{Given, parted};

/// The environment variable that names a store where nobody says otherwise.
pub const URL_VARIABLE: &str = "STEPMARK_URL";

/// Opens the store that a URL names; see the [crate's documentation](crate) for URLs and options. What it opens, the store
/// opens as its own `open` does: files, tables and layouts are made, and brought to the newest version.
///
/// # Errors
/// What is wrong with the URL, or [`Error::Store`]: what the store answered.
pub async fn open(url: &str) -> Result<Arc<dyn CheckpointStore>> {
    Config::parse(url)?.open().await
}

/// Opens the store that the environment variable `STEPMARK_URL` names.
///
/// # Errors
/// Those of [`open`]; [`Error::NotSet`]: there is no such variable.
pub async fn open_from_env() -> Result<Arc<dyn CheckpointStore>> {
    Config::from_env(URL_VARIABLE)?.open().await
}

/// A store that is not opened yet: a URL that was read, and its options.
///
/// From a configuration file, in any format that `serde` reads, `url` is a field and every option may be one:
///
/// ```
/// let config: stepmark_open::Config = serde_json::from_str(r#"{ "url": "memory:", "compression": "none" }"#)?;
/// let refusal = serde_json::from_str::<stepmark_open::Config>(r#"{ "url": "memory:", "colour": "red" }"#);
/// assert!(refusal.expect_err("no such option").to_string().starts_with("memory has no option \"colour\""));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct Config {
    pub(crate) address: Address,
    pub(crate) given: Given,
    backend: Arc<dyn Backend>,
    dressing: Dressing,
}

impl Config {
    /// Reads a URL.
    ///
    /// # Errors
    /// All but [`Error::Store`] and [`Error::NotSet`].
    pub fn parse(url: &str) -> Result<Self> {
        let (address, given) = Address::parse(url)?;
        Self::of(address, given)
    }

    /// The same from an environment variable.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse); [`Error::NotSet`]: there is no such variable.
    pub fn from_env(variable: &str) -> Result<Self> {
        let url = std::env::var(variable).map_err(|_| Error::NotSet { variable: variable.to_owned() })?;
        Self::parse(&url)
    }

    /// The same with another option, in place of what was said of it before.
    ///
    /// # Errors
    /// [`Error::UnknownOption`], [`Error::InvalidOption`], [`Error::MissingFeature`].
    pub fn with(mut self, option: &str, value: impl fmt::Display) -> Result<Self> {
        self.given.insert(option.to_owned(), value.to_string());
        Self::of(self.address, self.given)
    }

    /// Opens it; see [`open`](crate::open).
    ///
    /// # Errors
    /// [`Error::Store`]: what the store or the provider of its keys answered; [`Error::InvalidOption`]: a file that an
    /// option names cannot be used.
    pub async fn open(&self) -> Result<Arc<dyn CheckpointStore>> {
        self.dressing.around(self.backend.name(), self.backend.open().await?)
    }

    /// The store of an application that opened it itself, with what the options say of every store:
    /// compression, keys and metrics.
    ///
    /// # Errors
    /// [`Error::Store`]: what the provider of the keys answered.
    pub fn dress(&self, store: Arc<dyn CheckpointStore>) -> Result<Arc<dyn CheckpointStore>> {
        self.dressing.around(self.backend.name(), store)
    }

    fn of(address: Address, given: Given) -> Result<Self> {
        let (of_every_store, own) = parted(&given, &OPTIONS);
        let dressing = Dressing::read(&of_every_store)?;
        let backend = backend::read(&address, &own)?.into();
        Ok(Self { address, given, backend, dressing })
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("address", &self.address)
            .field("options", &Shown(&self.given))
            .finish_non_exhaustive()
    }
}

/// A configuration as it is written in a file.
#[derive(Deserialize)]
struct Written {
    url: String,
    #[serde(flatten)]
    options: BTreeMap<String, Plain>,
}

/// A value as files write them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Plain {
    Flag(bool),
    Number(u64),
    Text(String),
}

impl TryFrom<Written> for Config {
    type Error = Error;

    fn try_from(written: Written) -> Result<Self> {
        let (address, mut given) = Address::parse(&written.url)?;
        for (name, value) in written.options {
            let value = match value {
                Plain::Flag(flag) => flag.to_string(),
                Plain::Number(number) => number.to_string(),
                Plain::Text(text) => text,
            };
            if given.contains_key(&name) {
                return Err(Error::option(name, "it is given in the url and beside it"));
            }
            given.insert(name, value);
        }
        Self::of(address, given)
    }
}
