//! Is an audit judged by another policy without inspecting anything again?

use crate::place::{Place, write};

const STRICT: &str = "[[banned]]\nname = 'bee'\nreason = 'it lies'\n";

/// A finished audit under the built-in policy; `strict.toml` bans one of its packages.
fn finished() -> Place {
    let place = Place::of_package(&["ant", "bee"]);
    write(&place.path("strict.toml"), &format!("[licences]\nallowed = ['MIT']\n{STRICT}"));
    place.finish("");
    place
}

/// The name of the branch, from the line that names it.
fn branch(text: &str) -> String {
    let line = text.lines().next().expect("a line");
    line.split_once(", branch ").expect("a branch").1.to_owned()
}

#[test]
fn another_policy_judges_what_was_inspected_and_the_difference_is_shown() {
    let place = finished();
    let first = place.report("audit-report");
    let fork = place.finish("--fork-policy strict.toml");
    assert_eq!((fork.reused, fork.inspected, fork.total), (2, 0, 2));
    let expected = "\nfrom the built-in policy to strict.toml:\n\
                    bee 0.0.0: undecided → denied\n\
                    \x20 - not available: its file `gone.rs` is not on disk\n\
                    \x20 + banned: it lies\n\
                    1 of 2 packages are judged differently\n";
    assert!(fork.text.ends_with(expected), "{}", fork.text);
    let branch = branch(&fork.text);
    assert!(branch.starts_with("strict-"), "{branch}");
    assert!(place.report(&format!("audit-report/{branch}")).contains("banned: it lies"));
    assert_eq!(place.report("audit-report"), first);

    let history = place.answer("--history");
    let column = |part: &str| history.lines().filter(|line| line.contains(part)).count();
    assert!(history.contains("main (head)") && history.contains(&branch), "{history}");
    assert_eq!((column("inspect ×2"), column("update  inspect"), column("assess"), column("report")), (1, 1, 2, 2));
    // The same policy is the same branch: it is finished, and says the same.
    assert_eq!(place.finish("--fork-policy strict.toml").text, fork.text);
    assert_eq!(place.answer("--history"), history);
}

#[test]
fn another_text_of_a_policy_is_another_branch() {
    let place = finished();
    let strict = place.finish("--fork-policy strict.toml").text;
    write(&place.path("strict.toml"), "[licences]\nallowed = ['MIT']\n");
    let mild = place.finish("--fork-policy strict.toml").text;
    assert_ne!(branch(&strict), branch(&mild));
    assert!(mild.ends_with("0 of 2 packages are judged differently\n"), "{mild}");
}

#[test]
fn a_fork_of_this_workspace_inspects_nothing_again() {
    let place = Place::new();
    let first = place.finish("");
    let policy = place.answer("--print-policy");
    write(&place.path("strict.toml"), &policy.replace("unsafe_count_max = 2000", "unsafe_count_max = 1"));
    let fork = place.finish("--fork-policy strict.toml");
    assert_eq!((fork.reused, fork.inspected, fork.total), (first.total, 0, first.total));
    assert!(fork.text.contains(": allowed → undecided\n"), "{}", fork.text);
}

#[test]
fn a_crash_anywhere_in_a_fork_is_resumed() {
    let clean = finished();
    clean.policy("strict.toml", STRICT);
    let whole = clean.finish("--fork-policy strict.toml --answer-all yes --author ada").text;

    let place = finished();
    place.policy("strict.toml", STRICT);
    for point in ["fork", "assess", "answer", "decide", "report"] {
        place.crash(&format!("--fork-policy strict.toml --answer-all yes --author ada --crash-at {point}"));
        assert!(!place.has_report(&format!("audit-report/{}", branch(&whole))), "{point}");
    }
    let resumed = place.finish("--fork-policy strict.toml").text;
    let without_thread = |text: &str| text.split_once('\n').expect("lines").1.to_owned();
    assert_eq!(without_thread(&resumed), without_thread(&whole));
    let directory = format!("audit-report/{}", branch(&whole));
    assert_eq!(place.report(&directory), clean.report(&directory));
}

#[test]
fn a_fork_has_questions_of_its_own_and_may_leave_an_audit_that_waits() {
    let place = Place::of_package(&["ant", "bee"]);
    place.policy("ask.toml", "");
    place.policy("strict.toml", STRICT);
    place.wait("--policy ask.toml");
    let asked = place.wait("--policy ask.toml --fork-policy strict.toml");
    assert!(asked.contains("1 package waits") && asked.contains("ant 0.0.0"), "{asked}");
    assert!(asked.contains("reused 2, inspected 0 of 2"), "{asked}");

    let fork = place.finish("--policy ask.toml --fork-policy strict.toml --answer ant=yes --author ada");
    assert!(fork.text.contains("ant 0.0.0: undecided → allowed\n  + allowed by ada\n"), "{}", fork.text);
    assert!(!place.has_report("audit-report"));
    // The first branch still asks, and takes another answer.
    let first = place.finish("--policy ask.toml --answer-all no --author bob");
    assert!(first.text.contains("0 allowed, 0 undecided, 2 denied; 2 of them by people"), "{}", first.text);
    let again = place.finish("--policy ask.toml --fork-policy strict.toml");
    assert!(
        again.text.contains("ant 0.0.0: denied → allowed\n  - denied by bob\n  + allowed by ada\n"),
        "{}",
        again.text
    );
}

#[test]
fn what_was_not_judged_cannot_be_judged_otherwise() {
    let place = Place::of_package(&["ant", "bee"]);
    write(&place.path("strict.toml"), "[licences]\nallowed = ['MIT']\n");
    let check = |options: &str, part: &str| {
        let message = place.refusal(options);
        assert!(message.contains(part), "{message}");
    };
    check("--fork-policy strict.toml", "no audit has run");
    assert!(!place.path("audit.db").exists(), "looking made a database");
    place.crash("--crash-after 1 --concurrency 1");
    check("--fork-policy strict.toml", "has judged nothing yet");
    place.crash("--crash-at assess");
    check("--fork-policy strict.toml", "has judged nothing yet");
    check("--fork-policy none.toml", "cannot read none.toml");
    write(&place.path("bad.toml"), "ask = ['all']\n[licences]\nallowed = []\n");
    check("--fork-policy bad.toml", "unknown variant `all`");
    assert_eq!(place.answer("--history").matches("strict").count(), 0);
}
