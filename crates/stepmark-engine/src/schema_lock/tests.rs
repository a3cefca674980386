//! Which changes of a state are free, and which need a new version?

use super::*;
use crate::node_error::NodeError;
use crate::raw::RawState;
use crate::state::{Keep, Shape};

const fn field(name: &'static str, value_type: &'static str) -> ChannelSpec {
    let (reducer, shape, keep) = ("replace", Shape::Whole, Keep::Stored);
    ChannelSpec { name, renamed_from: &[], reducer, value_type, shape, keep, is_private: false, names_flushed: true }
}

const A: ChannelSpec = field("a", "u32");
const B: ChannelSpec = field("b", "Vec<u8>");
const LOCKED: &str =
    "[Other 1]\nx: stored append String\n[State 2]\na: stored replace u32\nb: stored replace Vec<u8>\n";

fn step(_: &mut RawState) -> Result<(), NodeError> {
    Err(NodeError::new("never run"))
}

fn verdict(locked: &str, version: u32, channels: &[ChannelSpec]) -> Verdict {
    let migrations = &[Migration { from: 2, run: step }];
    let form = Form { state: "State", version, migrations, channels };
    compare(&form, LockFile::parse(locked).expect("a schema file"))
}

/// The changes of a version 2 that must be recorded, and the section afterwards.
fn check_free(locked: &str, channels: &[ChannelSpec], changes: &[&str]) -> String {
    let Verdict::Behind { message, updated } = verdict(locked, 2, channels) else { panic!("not behind") };
    let found: Vec<&str> = message.lines().skip(1).map(str::trim).collect();
    assert_eq!(found, changes);
    let text = updated.to_string();
    assert_eq!(LockFile::parse(&text), Ok(updated));
    assert_eq!(verdict(&text, 2, channels), Verdict::Same, "what was recorded is the same");
    assert!(text.contains("[Other 1]\nx: stored append String\n"), "{text}");
    text
}

fn check_broken(locked: &str, version: u32, channels: &[ChannelSpec], part: &str) {
    match verdict(locked, version, channels) {
        Verdict::Broken(message) => assert!(message.contains(part), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_same_in_another_order_is_the_same() {
    assert_eq!(verdict(LOCKED, 2, &[A, B]), Verdict::Same);
    assert_eq!(verdict(LOCKED, 2, &[B, A]), Verdict::Same);
}

#[test]
fn adding_removing_and_renaming_is_free_and_recorded() {
    const C: ChannelSpec = ChannelSpec { renamed_from: &["a"], ..field("c", "u32") };
    check_free(LOCKED, &[A, B, field("c", "u8")], &["+ c: stored replace u8"]);
    check_free(LOCKED, &[A], &["- b: stored replace Vec<u8>", "+ b => (removed): stored replace Vec<u8>"]);
    let renamed = ["- a: stored replace u32", "+ c: stored replace u32", "+ a => c: stored replace u32"];
    let locked = check_free(LOCKED, &[B, C], &renamed);
    let forgotten = ["- a => c: stored replace u32", "+ a => (removed): stored replace u32"];
    check_free(&locked, &[B, field("c", "u32")], &forgotten);
}

#[test]
fn another_form_needs_a_new_version() {
    let last = ChannelSpec { reducer: "last", ..A };
    let ephemeral = ChannelSpec { keep: Keep::Ephemeral, ..A };
    let renamed = ChannelSpec { renamed_from: &["a"], ..field("c", "u64") };
    check_broken(LOCKED, 2, &[field("a", "u64"), B], "  a\n    - stored replace u32\n    + stored replace u64\n");
    check_broken(LOCKED, 2, &[last, B], "+ stored last u32");
    check_broken(LOCKED, 2, &[ephemeral, B], "+ ephemeral replace u32\ngive the state a new version");
    check_broken(LOCKED, 2, &[B, renamed], "  a\n    - stored replace u32\n    + stored replace u64\n");
}

#[test]
fn a_removed_name_does_not_come_back_as_something_else() {
    let removed =
        check_free(LOCKED, &[A], &["- b: stored replace Vec<u8>", "+ b => (removed): stored replace Vec<u8>"]);
    check_broken(&removed, 2, &[A, field("b", "u8")], "- stored replace Vec<u8>");
    check_free(&removed, &[A, B], &["- b => (removed): stored replace Vec<u8>", "+ b: stored replace Vec<u8>"]);
}

#[test]
fn what_looks_like_a_renamed_field_is_asked_about() {
    check_broken(LOCKED, 2, &[field("c", "u32"), B], "a is gone and c of the same form is new: say");
}

#[test]
fn an_untracked_field_may_have_any_form() {
    const UNTRACKED: ChannelSpec = ChannelSpec { keep: Keep::Untracked, ..field("c", "u8") };
    let locked = LOCKED.replace("b: stored replace", "c: untracked replace");
    check_free(&locked, &[A, UNTRACKED], &["- c: untracked replace Vec<u8>", "+ c: untracked replace u8"]);
}

#[test]
fn a_new_version_is_recorded_beside_the_old() {
    let Verdict::Behind { message, updated } = verdict(LOCKED, 3, &[field("a", "u64")]) else { panic!("not behind") };
    let gone = "b => (removed): stored replace Vec<u8>";
    let expected = format!("version 3 of state \"State\" is not recorded:\n  + a: stored replace u64\n  + {gone}");
    assert_eq!(message, expected);
    let text = updated.to_string();
    let old = "[State 2]\na: stored replace u32\nb: stored replace Vec<u8>\n";
    assert!(text.ends_with(&format!("\n{old}\n[State 3]\na: stored replace u64\n{gone}\n")), "{text}");
    check_broken(&text, 2, &[A, B], "state \"State\" has version 3 here and only 2 in the program");
}

#[test]
fn a_new_version_needs_a_migration_from_the_last_recorded_one() {
    check_broken(&LOCKED.replace("State 2", "State 1"), 3, &[A, B], "no migration from version 1 to 3: add `migrate(1");
}

#[test]
fn other_files_are_refused() {
    let refused = |text: &str| LockFile::parse(text).expect_err("none of ours");
    assert_eq!(refused("a: stored replace u8"), "line 1 is none of a schema file: a: stored replace u8");
    assert_eq!(refused("# x\n\n[State 1]\nnonsense"), "line 4 is none of a schema file: nonsense");
    assert_eq!(refused("[S 1]\n[S 2]\n[S 1]"), "version 1 of state \"S\" stands in it twice");
}
