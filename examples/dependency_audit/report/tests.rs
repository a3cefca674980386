//! Reports of a small audit, byte by byte.

use super::*;
use crate::inspect::{Facts, Inspection, Rust};
use crate::samples;

fn audit() -> Audit {
    let facts = Facts {
        licence: Some("MIT".into()),
        bytes: 2048,
        rust: Rust { files: 1, code_lines: 20, unsafe_count: 3 },
        readme: vec!["It parses <b>everything</b> | and [more](x).".into()],
        ..Facts::default()
    };
    let finding = |name: &str, verdict, reason: &str| Finding {
        package: samples::id(name),
        verdict,
        reasons: vec![reason.into()],
        is_open: false,
    };
    Audit {
        packages: vec![samples::package("ant"), samples::package("bee"), samples::package("cow")],
        inspections: vec![
            Inspection { package: samples::id("ant"), result: Inspected::Facts(facts) },
            Inspection { package: samples::id("bee"), result: Inspected::NotAvailable { reason: "gone".into() } },
        ],
        findings: vec![
            finding("ant", Verdict::Allowed, "licence `MIT` is allowed"),
            finding("bee", Verdict::Undecided, "not available: gone"),
            finding("cow", Verdict::Denied, "banned: it lies"),
        ],
        ..Audit::default()
    }
}

fn written(audit: &Audit) -> (String, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().join("new/report");
    Report::of(audit).write(&out).expect("written");
    let read = |name| fs::read_to_string(out.join(name)).expect("a report");
    assert_eq!(fs::read_dir(&out).expect("a directory").count(), 2, "only the two reports are left");
    (read("report.json"), read("report.md"))
}

#[test]
fn equal_audits_give_equal_bytes() {
    assert_eq!(written(&audit()), written(&audit()));
}

#[test]
fn inspections_may_arrive_in_any_order() {
    let mut other = audit();
    other.inspections.reverse();
    assert_eq!(written(&audit()), written(&other));
}

#[test]
fn the_json_lists_every_package_and_no_path_of_the_machine() {
    let (json, _) = written(&audit());
    let value: serde_json::Value = serde_json::from_str(&json).expect("json");
    assert_eq!(value["packages"].as_array().map(Vec::len), Some(3));
    assert_eq!(value["totals"]["not_available"], 2);
    assert_eq!(value["packages"][0]["inspected"]["facts"]["rust"]["unsafe_count"], 3);
    assert_eq!(value["packages"][1]["inspected"]["not_available"]["reason"], "gone");
    assert!(!json.contains("/nowhere"));
}

#[test]
fn the_text_puts_open_questions_first_and_escapes_what_others_wrote() {
    let (_, text) = written(&audit());
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} is missing in {text}"));
    assert!(at("**cow 1.0.0**: banned: it lies") < at("**bee 1.0.0**: not available: gone"));
    assert!(at("## Undecided") < at("| ant | 1.0.0 | allowed | MIT | 20 | 3 | 0 |  | 2 |"));
    at("It parses \\<b\\>everything\\</b\\> \\| and \\[more\\](x).");
    assert_eq!(Report::of(&audit()).summary(), "3 packages (2 not available): 1 allowed, 1 undecided, 1 denied");
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("taken");
    fs::write(&file, "").expect("a file");
    let error = Report::of(&audit()).write(&file).expect_err("a file is no directory");
    assert!(error.to_string().contains("taken"));
}
