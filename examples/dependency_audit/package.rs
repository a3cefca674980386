//! What one dependency is called and where its files are.

use std::fmt;

use cargo_metadata::semver::Version;
use serde::{Deserialize, Serialize};

/// Tells one package from every other; the order is the order of every list in the report.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PackageId {
    pub name: String,
    pub version: Version,
    /// A registry or a repository as Cargo writes it, or `path`.
    pub source: String,
}

impl fmt::Display for PackageId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.name, self.version)
    }
}

/// One dependency, as its manifest declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    pub id: PackageId,
    /// Directory of the manifest. The only path of this machine that is kept, and never reported.
    pub directory: String,
    pub description: Option<String>,
    /// Licence expression.
    pub licence: Option<String>,
    /// File with the licence text, relative to `directory`, as `readme` is.
    pub licence_file: Option<String>,
    pub readme: Option<String>,
    pub build_script: Option<String>,
    /// Root files of what a dependent builds, relative to `directory`. Without them the package is not there.
    pub roots: Vec<String>,
}
