//! Do packages that the policy leaves open wait for people, whoever dies meanwhile?

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Output};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::Value;

use crate::place::Place;

/// A place whose packages are all asked about under `ask.toml`.
fn place(packages: &[&str]) -> Place {
    let place = Place::of_package(packages);
    place.policy("ask.toml", "");
    place
}

fn with(options: &str) -> String {
    format!("--policy ask.toml {options}")
}

/// Package, verdict, who answered and the note, of each row of a report.
fn rows(place: &Place, directory: &str) -> Vec<String> {
    let report: Value = serde_json::from_str(&place.report(directory)).expect("json");
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let row = |row: &Value| {
        let answer = &row["answer"];
        [&row["name"], &row["verdict"], &answer["by"], &answer["note"]].map(text).join(" ")
    };
    report["packages"].as_array().expect("packages").iter().map(row).collect()
}

/// The packages that wait, in the order in which they are listed.
fn open(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| line.contains(" (no licence expression)"));
    lines.filter_map(|line| line.split(' ').next()).collect()
}

#[test]
fn the_default_policy_asks_nobody() {
    let place = Place::of_package(&["ant"]);
    let ran = place.finish("");
    assert!(ran.text.contains("0 allowed, 1 undecided, 0 denied"), "{}", ran.text);
    assert_eq!(rows(&place, "audit-report"), ["ant undecided - -"]);
}

#[test]
fn what_is_open_is_asked_about_and_waits() {
    let place = place(&["bee", "ant"]);
    let first = place.wait(&with(""));
    assert_eq!(open(&first), ["ant", "bee"], "{first}");
    assert!(first.contains("2 packages wait for an answer") && first.contains("--answer PACKAGE=yes|no"), "{first}");
    assert!(first.contains("not available: its file `gone.rs` is not on disk"), "{first}");
    assert!(!place.path("audit-report").exists(), "an audit that waits has no report");
    let history = place.answer(&with("--history"));
    assert!(history.contains("next   decide ×2\n"), "{history}");
    // Nobody answered, so nothing happens.
    let again = place.wait(&with(""));
    assert_eq!(again, first.replace("reused 0, inspected 2", "reused 2, inspected 0"));
    assert_eq!(place.answer(&with("--history")), history);
}

#[test]
fn answers_come_one_by_one_and_nothing_is_inspected_again() {
    let place = place(&["ant", "bee", "cow"]);
    place.wait(&with(""));
    let second = place.wait(&with("--answer bee=no --author ada --note too_old"));
    assert_eq!(open(&second), ["ant", "cow"], "{second}");
    let third = place.wait(&with("--answer ant=yes --author bob"));
    assert!(third.contains("1 package waits for an answer") && open(&third) == ["cow"], "{third}");
    let last = place.finish(&with("--answer cow@0.0.0=yes --author cid"));
    assert_eq!((last.reused, last.inspected), (3, 0));
    assert!(last.text.contains("2 allowed, 0 undecided, 1 denied; 3 of them by people"), "{}", last.text);
    assert_eq!(rows(&place, "audit-report"), ["ant allowed bob -", "bee denied ada too_old", "cow allowed cid -"]);
    let history = place.answer(&with("--history"));
    assert!(history.contains("step   inspect ×3") && history.contains("step   decide ×3"), "{history}");
}

#[test]
fn all_are_answered_in_the_command_that_inspects() {
    let place = place(&["ant", "bee"]);
    let ran = place.finish(&with("--answer-all yes --answer ant=no --author ada"));
    assert_eq!((ran.reused, ran.inspected), (0, 2));
    assert_eq!(rows(&place, "audit-report"), ["ant denied ada -", "bee allowed ada -"]);
    // Nothing is open, so there is nothing to answer.
    place.finish(&with("--answer-all no --out again"));
    assert_eq!(place.report("again"), place.report("audit-report"));
}

#[test]
fn the_same_answer_again_is_fine_and_another_is_refused() {
    let place = place(&["ant", "bee"]);
    place.wait(&with("--answer ant=yes --author ada"));
    let check = || {
        let refused = place.refusal(&with("--answer ant=no --author bob"));
        assert!(refused.contains("`ant 0.0.0` was answered yes by ada"), "{refused}");
    };
    check();
    assert_eq!(open(&place.wait(&with("--answer ant=yes --author bob"))), ["bee"]);
    // All that are open are answered, and those that have an answer keep it.
    place.finish(&with("--answer-all no --author bob"));
    assert_eq!(rows(&place, "audit-report"), ["ant allowed ada -", "bee denied bob -"]);
    check();
    place.finish(&with("--answer ant=yes --answer bee=no"));
}

#[test]
fn an_answer_that_fits_nothing_is_named_and_the_command_answers_nothing() {
    let place = place(&["ant", "bee"]);
    place.policy("banned.toml", "[[banned]]\nname = 'bee'\nreason = 'it lies'");
    let check = |options: &str, parts: &[&str]| {
        let message = place.refusal(options);
        assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} in {message}");
    };
    check(&with("--answer ant=yes --answer dog=yes"), &["`dog` is no package of this audit"]);
    check(&with("--answer ant=yes --answer ant=no"), &["`ant 0.0.0` is answered twice"]);
    check(&with("--answer ant@2.0.0=yes"), &["`ant@2.0.0`"]);
    assert_eq!(open(&place.wait(&with(""))), ["ant", "bee"]);
    check("--policy banned.toml --answer bee=yes", &["`bee 0.0.0` was not asked about", "denied"]);
    assert_eq!(place.run("--answer ant=perhaps").status.code(), Some(2));
}

#[test]
fn a_kill_between_answers_loses_none() {
    let clean = place(&["ant", "bee"]);
    clean.finish(&with("--answer ant=yes --answer bee=no --author ada"));

    let place = place(&["ant", "bee"]);
    place.crash(&with("--crash-at answer --answer ant=yes --answer bee=no --author ada"));
    let left = place.wait(&with(""));
    assert_eq!(open(&left), ["bee"], "the first answer was stored before the kill");
    assert!(left.contains("reused 2, inspected 0 of 2"), "{left}");

    // The node that has the answer is killed before it ends.
    place.crash(&with("--crash-at decide --answer bee=no --author ada"));
    place.crash(&with("--crash-at report"));
    assert!(!place.has_report("audit-report"));
    let resumed = place.finish(&with(""));
    assert_eq!((resumed.reused, resumed.inspected), (2, 0));
    assert_eq!(place.report("audit-report"), clean.report("audit-report"));
}

#[test]
fn an_answer_takes_over_from_a_process_that_still_inspects() {
    let place = place(&["ant", "bee", "cow"]);
    let first = place.start(&with("--stop-after 2 --concurrency 1 --author zoe"));
    await_stop(&first);
    // It stands still in its second inspection, with the first one durable.
    let second = place.finish(&with("--answer-all yes --author ada"));
    assert_eq!((second.reused, second.inspected), (1, 2));
    kill_process(pid(&first), Signal::CONT).expect("it is there");
    let errors = failure(first);
    assert!(errors.contains("another run took over"), "{errors}");
    assert_eq!(rows(&place, "audit-report"), ["ant allowed ada -", "bee allowed ada -", "cow allowed ada -"]);
    place.finish(&with("--out again"));
    assert_eq!(place.report("again"), place.report("audit-report"));
}

#[test]
fn of_two_different_answers_at_once_one_stays() {
    let place = place(&["ant"]);
    place.wait(&with(""));
    let commands = [with("--answer ant=yes --author ada"), with("--answer ant=no --author bob")];
    let started = commands.map(|options| place.start(&options));
    let outputs = started.map(|child| child.wait_with_output().expect("it ends"));
    place.finish(&with(""));
    let rows = rows(&place, "audit-report");
    assert!(rows == ["ant allowed ada -"] || rows == ["ant denied bob -"], "{rows:?}");
    let loser = &outputs[usize::from(rows[0].contains("ada"))];
    // The other one may be told so, or may be fenced when it goes on with what was said.
    assert_eq!(loser.status.code(), Some(1), "{}", text(loser));
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed()).expect("a process id")
}

/// Waits until the process stands still.
fn await_stop(child: &Child) {
    let (_, status) = waitpid(Some(pid(child)), WaitOptions::UNTRACED).expect("it is a child").expect("it stopped");
    assert!(status.stopped(), "{status:?}");
}

/// What a process says that fails.
fn failure(mut child: Child) -> String {
    let mut errors = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut errors).expect("text");
    let status = child.wait().expect("it ends");
    assert_eq!((status.code(), status.signal()), (Some(1), None), "{errors}");
    errors
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
