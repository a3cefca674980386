//! Which packages a workspace depends on: asked of Cargo, for this host, exactly as the lock file says.

use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{Metadata, MetadataCommand, Target, TargetKind};

use crate::error::{Error, Result};
use crate::package::{Package, PackageId};

/// Hint for the one failure that a correct workspace can meet.
const FETCH_HINT: &str = "\nfiles of some packages are missing and could not be fetched; \
    run `cargo fetch --locked` with a connection to the registry, then audit again";

/// Returns the absolute path of the manifest at the root of the workspace that `manifest` belongs to.
pub fn workspace_manifest(manifest: &Path) -> Result<PathBuf> {
    let mut command = Command::new(cargo());
    command.args(["locate-project", "--workspace", "--message-format=plain", "--manifest-path"]);
    let found = output(command.arg(manifest), "cargo locate-project", manifest)?;
    let path = PathBuf::from(found.trim_end());
    path.canonicalize().map_err(|source| Error::Read { path, source })
}

/// Returns every package that the workspace builds with on this host and that is not a member of it, in order.
///
/// Cargo fetches what is not on disk where it can.
pub fn discover(workspace_manifest: &Path) -> Result<Vec<Package>> {
    let metadata = metadata(workspace_manifest)?;
    let mut packages: Vec<Package> = metadata
        .packages
        .iter()
        .filter(|package| !metadata.workspace_members.contains(&package.id))
        .map(describe)
        .collect();
    packages.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(packages)
}

fn metadata(manifest: &Path) -> Result<Metadata> {
    let directory = manifest.parent().unwrap_or(Path::new("."));
    let host = host_triple(directory, manifest)?;
    let options = ["--locked", "--filter-platform", &host].map(String::from).to_vec();
    let failed = |reason| Error::Cargo { command: "cargo metadata --locked", manifest: manifest.to_owned(), reason };
    MetadataCommand::new()
        .manifest_path(manifest)
        // Cargo reads its configuration (vendored sources, other registries) from where it runs.
        .current_dir(directory)
        .other_options(options)
        .exec()
        .map_err(|error| match error {
            cargo_metadata::Error::CargoMetadata { stderr } => failed(explain(&stderr)),
            other => failed(other.to_string()),
        })
}

fn explain(stderr: &str) -> String {
    let unreachable = ["failed to download", "failed to get", "--offline", "network failure"];
    let hint = if unreachable.iter().any(|sign| stderr.contains(sign)) { FETCH_HINT } else { "" };
    format!("{}{hint}", stderr.trim())
}

fn describe(package: &cargo_metadata::Package) -> Package {
    let directory = package.manifest_path.parent().unwrap_or(&package.manifest_path);
    let relative = |path: &cargo_metadata::camino::Utf8Path| {
        path.strip_prefix(directory).unwrap_or(path).as_str().replace('\\', "/")
    };
    let build_script = package.targets.iter().find(|target| target.is_custom_build());
    Package {
        id: PackageId {
            name: package.name.to_string(),
            version: package.version.clone(),
            source: package.source.as_ref().map_or_else(|| "path".to_owned(), |source| source.repr.clone()),
        },
        directory: directory.to_string(),
        description: package.description.as_deref().map(one_line),
        licence: package.license.clone(),
        licence_file: package.license_file.as_deref().map(relative),
        readme: package.readme.as_deref().map(relative),
        build_script: build_script.map(|target| relative(&target.src_path)),
        roots: package.targets.iter().filter(|target| is_built(target)).map(|t| relative(&t.src_path)).collect(),
    }
}

/// Whether a dependent builds this target; tests and examples need not be in a published package at all.
fn is_built(target: &Target) -> bool {
    let left_out = [TargetKind::Bin, TargetKind::Example, TargetKind::Test, TargetKind::Bench];
    !target.kind.iter().any(|kind| left_out.contains(kind))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn host_triple(directory: &Path, manifest: &Path) -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = output(Command::new(rustc).arg("-vV").current_dir(directory), "rustc -vV", manifest)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Error::Cargo {
        command: "rustc -vV",
        manifest: manifest.to_owned(),
        reason: "it names no host".to_owned(),
    })
}

fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn output(command: &mut Command, name: &'static str, manifest: &Path) -> Result<String> {
    let output = command.output().map_err(|source| Error::Spawn { command: name, source })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let reason = text(&output.stderr).trim().to_owned();
    Err(Error::Cargo { command: name, manifest: manifest.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    /// A workspace `app` beside the packages it depends on, so that they are no members of it.
    fn workspace() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        let app = "[package]\nname = 'app'\nversion = '1.0.0'\nedition = '2021'\n\
                   [dependencies]\nzebra = { path = '../zebra' }\nant = { path = '../ant' }\n[workspace]\n";
        write(root.path(), "app/Cargo.toml", app);
        write(root.path(), "app/src/lib.rs", "");
        let ant =
            "[package]\nname = 'ant'\nversion = '0.2.0'\nlicense = 'MIT'\nbuild = 'make.rs'\n[lib]\npath = 'ant.rs'\n";
        write(root.path(), "ant/Cargo.toml", ant);
        write(root.path(), "ant/make.rs", "fn main() {}");
        write(root.path(), "ant/ant.rs", "");
        write(root.path(), "zebra/Cargo.toml", "[package]\nname = 'zebra'\nversion = '3.0.0'\n");
        write(root.path(), "zebra/src/lib.rs", "");
        root
    }

    fn lock(root: &Path) -> PathBuf {
        let manifest = root.join("app/Cargo.toml");
        let mut command = Command::new(cargo());
        command.args(["generate-lockfile", "--offline", "--manifest-path"]).arg(&manifest);
        output(&mut command, "cargo generate-lockfile", &manifest).expect("a lock file");
        manifest
    }

    #[test]
    fn dependencies_are_listed_in_order_without_members() {
        let root = workspace();
        let packages = discover(&lock(root.path())).expect("packages");
        let names: Vec<String> = packages.iter().map(|package| package.id.to_string()).collect();
        assert_eq!(names, ["ant 0.2.0", "zebra 3.0.0"]);
        assert_eq!(packages[0].id.source, "path");
        assert_eq!(packages[0].licence.as_deref(), Some("MIT"));
        assert_eq!(packages[0].build_script.as_deref(), Some("make.rs"));
        assert_eq!(packages[0].roots, ["ant.rs", "make.rs"]);
    }

    #[test]
    fn a_package_that_lost_its_files_is_still_listed() {
        let root = workspace();
        let manifest = lock(root.path());
        fs::remove_file(root.path().join("ant/ant.rs")).expect("removed");
        let packages = discover(&manifest).expect("packages");
        assert_eq!(packages.len(), 2);
    }

    #[test]
    fn a_stale_lock_file_is_refused_by_name() {
        let root = workspace();
        let error = discover(&root.path().join("app/Cargo.toml")).expect_err("no lock file");
        let text = error.to_string();
        assert!(text.contains("--locked") && text.contains("app/Cargo.toml"), "{text}");
    }

    #[test]
    fn the_workspace_is_found_from_a_member() {
        let root = workspace();
        write(root.path(), "app/member/Cargo.toml", "[package]\nname = 'member'\nversion = '1.0.0'\n");
        write(root.path(), "app/member/src/lib.rs", "");
        let app = fs::read_to_string(root.path().join("app/Cargo.toml")).expect("a manifest");
        write(root.path(), "app/Cargo.toml", &format!("{app}members = ['member']\n"));
        let found = workspace_manifest(&root.path().join("app/member/Cargo.toml")).expect("a workspace");
        assert!(found.is_absolute() && found.ends_with("app/Cargo.toml"));
    }

    #[test]
    fn a_failed_download_says_what_to_do() {
        assert!(explain("error: failed to download `x v1.0.0`").contains("cargo fetch --locked"));
        assert!(!explain("error: the lock file needs to be updated").contains("cargo fetch"));
    }
}
