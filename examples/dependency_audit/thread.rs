//! Which thread an audit runs in. The same workspace, lock file and policy lead to the same thread, so a second
//! run finds what the first has done, and a change of any of them starts anew.

use std::path::Path;

use crate::error::{Result, read};

/// Most names that are tried for a fresh thread.
const FRESH_NAMES_MAX: u32 = 10_000;

/// Returns `audit-` and eight hex digits of the hash of the manifest's path, its lock file and the policy.
pub fn default_name(workspace_manifest: &Path, policy: &str) -> Result<String> {
    let lock = read(&workspace_manifest.with_file_name("Cargo.lock"))?;
    let mut hasher = blake3::Hasher::new();
    for part in [workspace_manifest.as_os_str().as_encoded_bytes(), &lock, policy.as_bytes()] {
        // The length keeps a byte that moves from one part to the next from going unseen.
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    Ok(format!("audit-{}", &hasher.finalize().to_hex()[..8]))
}

/// The names a fresh audit may take, best first: the first one not in use is its thread.
pub fn fresh_names(base: &str) -> impl Iterator<Item = String> {
    let numbered = (2..FRESH_NAMES_MAX).map(move |number| format!("{base}-{number}"));
    std::iter::once(base.to_owned()).chain(numbered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(manifest: &Path, lock: &str, policy: &str) -> String {
        std::fs::write(manifest.with_file_name("Cargo.lock"), lock).expect("a lock file");
        default_name(manifest, policy).expect("a name")
    }

    #[test]
    fn the_name_changes_with_each_of_its_three_sources() {
        let directory = tempfile::tempdir().expect("a directory");
        let manifest = directory.path().join("Cargo.toml");
        let first = name(&manifest, "lock", "policy");
        assert_eq!(first.len(), "audit-".len() + 8);
        assert_eq!(first, name(&manifest, "lock", "policy"));
        assert_ne!(first, name(&manifest, "lockp", "olicy"));
        assert_ne!(first, name(&manifest, "lock", "another"));
        assert_ne!(first, name(&directory.path().join("Other.toml"), "lock", "policy"));
    }

    #[test]
    fn a_missing_lock_file_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let error = default_name(&directory.path().join("Cargo.toml"), "").expect_err("no lock file");
        assert!(error.to_string().contains("Cargo.lock"));
    }

    #[test]
    fn fresh_names_count_up() {
        let names: Vec<String> = fresh_names("audit").take(3).collect();
        assert_eq!(names, ["audit", "audit-2", "audit-3"]);
    }
}
