//! Rule: every Rust file begins with `//!`, saying which question it answers.

use super::Finding;
use super::tree::SourceFile;

pub(super) fn check(file: &SourceFile) -> Option<Finding> {
    let says_something =
        file.text.lines().next().and_then(|line| line.strip_prefix("//!")).is_some_and(|docs| !docs.trim().is_empty());
    (!says_something).then(|| file.finding(1, "the file must begin with `//!` and what it answers"))
}

#[cfg(test)]
mod tests {
    use super::{SourceFile, check};

    fn is_refused(text: &str) -> bool {
        check(&SourceFile::new("build.rs", text)).is_some()
    }

    #[test]
    fn file_without_docs_on_top_is_refused() {
        assert!(is_refused("fn main() {}\n"));
        assert!(is_refused("// Not docs.\nfn main() {}\n"));
        assert!(is_refused("use std::fs;\n//! Too late.\n"));
        assert!(is_refused("//!\n//! Nothing on the first line.\n"));
        assert!(is_refused(""));
    }

    #[test]
    fn file_that_begins_with_docs_passes() {
        assert!(!is_refused("//! Builds the parser.\n\nfn main() {}\n"));
    }
}
