//! Small packages for the tests of several modules.

use cargo_metadata::semver::Version;

use crate::package::{Package, PackageId};
use crate::policy::{Policy, PolicyText};

pub fn id(name: &str) -> PackageId {
    PackageId { name: name.to_owned(), version: Version::new(1, 0, 0), source: "path".to_owned() }
}

/// A package whose files are nowhere.
pub fn package(name: &str) -> Package {
    Package {
        id: id(name),
        directory: format!("/nowhere/{name}"),
        description: None,
        licence: Some("MIT".to_owned()),
        licence_file: None,
        readme: None,
        build_script: None,
        roots: Vec::new(),
    }
}

/// A policy that has to be well-formed.
pub fn policy(text: &str) -> Policy {
    let policy = PolicyText { file: "test".to_owned(), text: text.to_owned() };
    policy.parse().expect("a policy")
}
