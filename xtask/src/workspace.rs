//! What cargo says about this workspace: its root, its members and what they depend on.

use std::env;
use std::path::PathBuf;

use serde_json::Value;

use crate::Outcome;
use crate::process;

/// A member of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a member's manifest, below any of the `dependencies` tables.
#[derive(Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Below `[dev-dependencies]`: seen by tests, examples and benches only.
    pub(crate) dev: bool,
    /// The requirement, `*` where the manifest names a path alone.
    pub(crate) requirement: String,
}

/// The directory of the workspace's `Cargo.toml`.
pub(crate) fn root() -> Outcome<PathBuf> {
    let own = env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set; start this as `cargo xtask`")?;
    let parent = PathBuf::from(own).parent().map(PathBuf::from);
    Ok(parent.ok_or("the directory of xtask has no parent")?)
}

/// Every member with its direct dependencies, read without touching the network.
pub(crate) fn packages() -> Outcome<Vec<Package>> {
    let text = process::read_cargo(&["metadata", "--no-deps", "--format-version", "1"])?;
    let metadata: Value = serde_json::from_slice(&text)?;
    elements(&metadata["packages"]).iter().map(package).collect()
}

fn package(value: &Value) -> Outcome<Package> {
    let dependencies = elements(&value["dependencies"]).iter().map(dependency).collect::<Outcome<Vec<_>>>()?;
    Ok(Package { name: string(&value["name"])?, dependencies })
}

fn dependency(value: &Value) -> Outcome<Dependency> {
    Ok(Dependency { name: string(&value["name"])?, dev: value["kind"] == "dev", requirement: string(&value["req"])? })
}

fn elements(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn string(value: &Value) -> Outcome<String> {
    Ok(value.as_str().ok_or("cargo metadata has another shape than expected")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::packages;

    #[test]
    fn members_are_read_with_their_dependencies() {
        let packages = packages().expect("metadata");
        let own = packages.iter().find(|package| package.name == "xtask").expect("xtask is a member");
        assert!(own.dependencies.iter().any(|dependency| dependency.name == "syn" && !dependency.dev));
    }
}
