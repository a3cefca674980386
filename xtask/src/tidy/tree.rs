//! What tidy reads: every text file of the tree, but not what builds and runs leave behind.

use std::fs;
use std::io;
use std::path::Path;

use super::Finding;

/// Left by git, by builds and by runs of the main job; `.gitignore` has them too.
const SKIPPED: [&str; 4] = [".git", "target", "audit-report", "mutants.out"];
const SKIPPED_PREFIXES: [&str; 2] = ["audit.db", "bench-"];

/// A text file, by its path from the root with `/` between the parts.
#[derive(Debug)]
pub(super) struct SourceFile {
    pub(super) path: String,
    pub(super) text: String,
}

impl SourceFile {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    pub(super) fn is_rust(&self) -> bool {
        self.has_extension("rs")
    }

    pub(super) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|own| own == extension)
    }

    /// The file's lines, counted from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    pub(super) fn finding(&self, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line: Some(line), message: message.into() }
    }
}

/// Reads every text file below `root`, sorted by path.
pub(super) fn read(root: &Path) -> io::Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    read_directory(root, "", &mut files)?;
    files.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(files)
}

fn read_directory(directory: &Path, prefix: &str, files: &mut Vec<SourceFile>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_skipped(&name) {
            continue;
        }
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            read_directory(&entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file() {
            // What is not UTF-8 is a fixture, such as a database of an old version.
            if let Ok(text) = String::from_utf8(fs::read(entry.path())?) {
                files.push(SourceFile::new(&path, &text));
            }
        }
    }
    Ok(())
}

fn is_skipped(name: &str) -> bool {
    SKIPPED.contains(&name) || SKIPPED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::workspace;

    #[test]
    fn own_sources_are_read_and_build_output_is_not() {
        let files = read(&workspace::root().expect("root")).expect("tree");
        let has = |path: &str| files.iter().any(|file| file.path == path);
        assert!(has("xtask/src/tidy/tree.rs") && has(".ci/run") && has("Cargo.lock"));
        assert!(!files.iter().any(|file| file.path.starts_with("target/") || file.path.starts_with(".git/")));
    }
}
