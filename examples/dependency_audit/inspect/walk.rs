//! Which files belong to a package: a sorted walk that never leaves its directory.

use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::Unread;

/// Most files that are looked at; packages of generated code have some ten thousand.
const FILES_MAX: usize = 200_000;
/// Written by Cargo or by version control beside the package, and no part of it.
const NOT_PART: [&str; 4] = [".cargo-ok", ".cargo-checksum.json", ".git", ".cargo_vcs_info.json"];

/// What a walk met, both lists in the order of the paths.
pub struct Walk {
    pub files: Vec<FoundFile>,
    pub unread: Vec<Unread>,
}

/// A regular file of the package.
pub struct FoundFile {
    /// Relative to the package, with `/` between the parts.
    pub path: String,
    pub location: PathBuf,
    pub bytes: u64,
}

impl FoundFile {
    /// The extension in lower case, empty where there is none.
    pub fn extension(&self) -> String {
        let extension = self.location.extension().unwrap_or_default();
        extension.to_string_lossy().to_ascii_lowercase()
    }
}

/// Lists the files under `root`. Links are named, and not followed.
pub fn walk(root: &Path) -> Walk {
    let mut found = Walk { files: Vec::new(), unread: Vec::new() };
    let entries = WalkDir::new(root).min_depth(1).sort_by_file_name().into_iter();
    for entry in entries.filter_entry(is_part) {
        if found.files.len() == FILES_MAX {
            found.unread.push(unread("", format!("only the first {FILES_MAX} files were looked at")));
            break;
        }
        match entry {
            Ok(entry) => add(entry, root, &mut found),
            Err(error) => {
                let path = relative(error.path().unwrap_or(root), root);
                let reason = error.io_error().map_or_else(|| "unreadable".to_owned(), |error| error.kind().to_string());
                found.unread.push(unread(&path, reason));
            }
        }
    }
    found
}

fn add(entry: DirEntry, root: &Path, found: &mut Walk) {
    let kind = entry.file_type();
    if kind.is_dir() {
        return;
    }
    let path = relative(entry.path(), root);
    if kind.is_symlink() {
        found.unread.push(unread(&path, "a link, not followed"));
    } else if !kind.is_file() {
        found.unread.push(unread(&path, "not a regular file"));
    } else {
        let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
        found.files.push(FoundFile { path, bytes, location: entry.into_path() });
    }
}

/// Whether a file or directory is the package's own: not another package inside it, nor what Cargo built there.
fn is_part(entry: &DirEntry) -> bool {
    if entry.file_name().to_str().is_some_and(|name| NOT_PART.contains(&name)) {
        return false;
    }
    let holds = |name| entry.path().join(name).exists();
    !entry.file_type().is_dir() || !(holds("Cargo.toml") || holds("CACHEDIR.TAG"))
}

fn relative(path: &Path, root: &Path) -> String {
    let parts = path.strip_prefix(root).unwrap_or(Path::new("")).components();
    parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn unread(path: &str, reason: impl Into<String>) -> Unread {
    Unread { path: path.to_owned(), reason: reason.into() }
}
