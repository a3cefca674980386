//! Rule: every test that `docs/checklist.md` names is there.

use std::collections::HashSet;

use super::Finding;
use super::tree::SourceFile;

const CHECKLIST: &str = "docs/checklist.md";

pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let Some(list) = files.iter().find(|file| file.path == CHECKLIST) else { return Vec::new() };
    let known = functions(files);
    let mut findings = Vec::new();
    for (line, text) in list.lines().filter(|(_, text)| is_row(text)) {
        let names = tests_of(text);
        if names.is_empty() {
            findings.push(list.finding(line, "a row names no test"));
        }
        for name in names.into_iter().filter(|name| !known.contains(name)) {
            findings.push(list.finding(line, format!("there is no test `{name}`")));
        }
    }
    findings
}

/// A row of a table, but its head.
fn is_row(line: &str) -> bool {
    line.strip_prefix("| ").is_some_and(|row| row.starts_with(|first: char| first.is_ascii_uppercase()))
}

/// What stands between backticks in the last column.
fn tests_of(row: &str) -> Vec<&str> {
    let last = row.trim_end_matches(['|', ' ']).rsplit(" | ").next().unwrap_or("");
    last.split('`').skip(1).step_by(2).collect()
}

/// The names of all functions, also of those that a macro is handed.
fn functions(files: &[SourceFile]) -> HashSet<&str> {
    let words = files
        .iter()
        .filter(|file| file.is_rust())
        .flat_map(|file| file.text.split(|character: char| !character.is_alphanumeric() && character != '_'));
    let mut known = HashSet::new();
    let mut before = "";
    for word in words.filter(|word| !word.is_empty()) {
        if before == "fn" {
            known.insert(word);
        }
        before = word;
    }
    known
}

#[cfg(test)]
mod tests {
    use super::{CHECKLIST, SourceFile, check};

    fn messages(rows: &str) -> Vec<String> {
        let rust = SourceFile::new("a.rs", "#[test]\nfn a_promise_is_kept() {}");
        let list = SourceFile::new(CHECKLIST, &format!("| # | what | tests |\n| --- | --- | --- |\n{rows}"));
        check(&[rust, list]).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_row_whose_tests_are_there_passes() {
        assert!(messages("| P1 | uses `words` | `a_promise_is_kept` |").is_empty());
    }

    #[test]
    fn a_test_that_is_not_there_is_named() {
        assert_eq!(messages("| P1 | what | `a_promise_is_kept`, `gone` |"), ["there is no test `gone`"]);
    }

    #[test]
    fn a_row_without_tests_is_refused() {
        assert_eq!(messages("| P1 | what |  |"), ["a row names no test"]);
    }
}
