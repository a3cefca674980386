//! Rule: what is left to do names its class and its issue, as in `TODO-perf(#12)` written in a
//! comment.

use super::Finding;
use super::tree::SourceFile;
use super::words::{is_word_part, occurrences};

// Spelled in two parts, so that this file passes its own rule.
const MARK: &str = concat!("TO", "DO");
const OTHER_MARK: &str = concat!("FIX", "ME");

const CODE_EXTENSIONS: [&str; 4] = ["rs", "sql", "toml", "sh"];

pub(super) fn check(file: &SourceFile) -> Vec<Finding> {
    if !CODE_EXTENSIONS.into_iter().any(|extension| file.has_extension(extension)) {
        return Vec::new();
    }
    let offenders = file.lines().filter(|(_, line)| has_vague_mark(line));
    offenders.map(|(line, _)| file.finding(line, format!("write it as `{MARK}-class(#issue)`"))).collect()
}

fn has_vague_mark(line: &str) -> bool {
    whole_words(line, MARK).any(|rest| !names_class_and_issue(rest)) || whole_words(line, OTHER_MARK).next().is_some()
}

/// Where `word` stands for itself in `line`: the text behind it.
fn whole_words<'line>(line: &'line str, word: &'static str) -> impl Iterator<Item = &'line str> {
    occurrences(line, word)
        .filter(|(before, _)| !before.is_some_and(is_word_part))
        .filter(|(_, rest)| !rest.starts_with(is_word_part))
        .map(|(_, rest)| rest)
}

/// Whether the text after the mark is `-class(#number)`, and then anything.
fn names_class_and_issue(rest: &str) -> bool {
    let Some((class, rest)) = rest.strip_prefix('-').and_then(|rest| rest.split_once("(#")) else {
        return false;
    };
    let Some((issue, _)) = rest.split_once(')') else {
        return false;
    };
    let is_class = !class.is_empty() && class.bytes().all(|byte| byte.is_ascii_lowercase());
    is_class && !issue.is_empty() && issue.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::{MARK, OTHER_MARK, SourceFile, check};

    fn is_refused(comment: &str) -> bool {
        let comment = comment.replace("TD", MARK).replace("FM", OTHER_MARK);
        !check(&SourceFile::new("a.sql", &comment)).is_empty()
    }

    #[test]
    fn mark_without_class_or_issue_is_refused() {
        for comment in
            ["-- TD: faster", "-- TD", "-- TD(#12)", "-- TD-perf", "-- TD-perf(12)", "-- TD-perf(#)", "-- FM soon"]
        {
            assert!(is_refused(comment), "{comment}");
        }
    }

    #[test]
    fn mark_with_class_and_issue_passes() {
        assert!(!is_refused("-- TD-perf(#12): one round trip less"));
    }

    #[test]
    fn longer_word_is_another_word() {
        assert!(!is_refused("-- TD_LIST and AUTOTD"));
    }
}
