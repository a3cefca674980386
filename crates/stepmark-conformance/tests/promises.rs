//! Does every promise that the seam's documentation makes name a case that exists?

use stepmark_conformance::cases::CASES;

const SEAM: &str = concat!(
    include_str!("../../stepmark-core/src/store.rs"),
    include_str!("../../stepmark-core/src/store/commit.rs"),
    include_str!("../../stepmark-core/src/store/records.rs"),
    include_str!("../../stepmark-core/src/store/read.rs"),
    include_str!("../../stepmark-core/src/store/list.rs"),
    include_str!("../../stepmark-core/src/capability/cache.rs"),
    include_str!("../../stepmark-core/src/capability/items.rs"),
    include_str!("../../stepmark-core/src/capability/rows.rs"),
    include_str!("../../stepmark-core/src/capability/search.rs"),
    include_str!("../../stepmark-core/src/capability/retention.rs"),
);

/// Words between backticks in doc comments that stand in parentheses: that is how a promise names its proof.
fn promised_cases() -> Vec<&'static str> {
    let docs = SEAM.lines().map(str::trim_start).filter(|line| line.starts_with("///"));
    let quoted = docs.flat_map(|line| line.split('`').skip(1).step_by(2));
    let is_case =
        |word: &&str| word.matches('_').count() >= 2 && !word.contains(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    quoted.filter(is_case).collect()
}

#[test]
fn every_promise_names_a_case() {
    let promised = promised_cases();
    assert!(promised.len() >= 25, "the seam's documentation names only {promised:?}");
    for name in promised {
        assert!(CASES.iter().any(|case| case.name == name), "the seam promises {name}, but there is no such case");
    }
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let mut names: Vec<_> = CASES.iter().map(|case| case.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}
