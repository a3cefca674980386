//! Does the dependency audit survive `kill -9`? Runs the example as users do, on this workspace.
#![cfg(unix)]
#![expect(clippy::print_stdout, reason = "a random test says what it drew")]

mod forks;
mod people;
mod place;
#[cfg(target_os = "linux")]
mod terminal;

use std::hash::{BuildHasher, RandomState};

use place::{Place, Ran, write};

/// Repeats a run: `STEPMARK_SEED=… cargo test -p stepmark --test dependency_audit`.
const SEED_VARIABLE: &str = "STEPMARK_SEED";
const CRASHES: usize = 3;

/// Numbers that look random and are the same for the same seed (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = std::env::var(SEED_VARIABLE).ok().map(|text| text.parse().expect("a number"));
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        println!("{SEED_VARIABLE}={seed}");
        Self(seed)
    }

    /// One of `1..=most`.
    fn roll(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        1 + (mixed ^ (mixed >> 31)) as usize % most
    }
}

#[test]
fn kill_three_times_and_the_report_is_the_same() {
    let place = Place::new();
    let clean = place.finish("--db clean.db --out clean");
    assert_eq!((clean.reused, clean.inspected), (0, clean.total));

    let mut dice = Dice::new();
    let concurrency = dice.roll(8);
    let mut durable_min = 0;
    for _ in 0..CRASHES {
        // Three times a fifth, and what runs beside it, leaves something for the last run.
        let count = concurrency + dice.roll(clean.total / 5);
        println!("crash after {count}, {concurrency} at a time");
        place.crash(&format!("--crash-after {count} --concurrency {concurrency}"));
        durable_min += count - concurrency;
        let history = place.answer("--history");
        assert!(history.contains(&format!("next   inspect ×{}\n", clean.total)), "{history}");
        assert!(!place.path("audit-report").exists(), "an unfinished audit has no report");
    }
    let resumed = place.finish("");
    assert!(resumed.reused >= durable_min, "{} of at least {durable_min}", resumed.reused);
    assert_eq!((resumed.reused + resumed.inspected, resumed.total), (clean.total, clean.total));
    assert_eq!(place.report("audit-report"), place.report("clean"));
}

#[test]
fn what_one_crash_leaves_is_reused() {
    let place = Place::new();
    place.crash("--crash-after 40 --concurrency 2");
    let resumed = place.finish("");
    assert!((38..=42).contains(&resumed.reused), "{}", resumed.text);
}

#[test]
fn a_finished_audit_writes_its_report_again_and_inspects_nothing() {
    let place = Place::new();
    let first = place.finish("");
    let again = place.finish("--out again");
    assert_eq!((again.reused, again.inspected), (first.total, 0));
    assert_eq!(place.report("again"), place.report("audit-report"));

    let fresh = place.finish("--fresh --out fresh");
    assert_eq!((fresh.reused, fresh.inspected), (0, first.total));
    assert_eq!(place.report("fresh"), place.report("audit-report"));
    let thread = |ran: &Ran| ran.text.lines().next().expect("a line").to_owned();
    assert_eq!(thread(&fresh), format!("{}-2", thread(&first)));
    assert_eq!(thread(&again), thread(&first));
    assert_eq!(thread(&first).len(), "thread audit-".len() + 8);
}

#[test]
fn the_history_is_a_tree_of_checkpoints() {
    let place = Place::of_package(&["ant", "bee"]);
    place.finish("--thread mine");
    let history = place.answer("--thread mine --history");
    let lines: Vec<&str> = history.lines().collect();
    assert_eq!(lines[..3], ["thread mine", "", "main (head)"]);
    let expected = [
        "├─ 0  input  ",
        "├─ 1  step   discover    ",
        "├─ 2  step   inspect ×2  ",
        "├─ 3  step   assess      ",
        "└─ 4  step   report      ",
    ];
    assert_eq!(lines.len(), 3 + expected.len(), "{history}");
    for (line, start) in lines[3..].iter().zip(expected) {
        assert!(line.starts_with(start) && line.ends_with('Z'), "{history}");
        assert_eq!(line.chars().count(), lines[3].chars().count(), "{history}");
    }
}

#[test]
fn a_package_whose_files_are_gone_is_listed() {
    let place = Place::of_package(&["ant", "bee"]);
    let ran = place.finish("");
    assert_eq!((ran.inspected, ran.total), (2, 2));
    assert!(ran.text.contains("2 packages (2 not available): 0 allowed, 2 undecided, 0 denied"), "{}", ran.text);
    assert!(place.report("audit-report").contains("its file `gone.rs` is not on disk"));
}

#[test]
fn a_workspace_without_dependencies_has_a_report() {
    let place = Place::of_package(&[]);
    let ran = place.finish("");
    assert_eq!((ran.reused, ran.inspected, ran.total), (0, 0, 0));
    assert!(place.report("audit-report").contains("\"packages\": []"));
}

#[test]
fn what_cannot_be_done_is_refused_in_a_sentence() {
    let place = Place::of_package(&["ant"]);
    let check = |options: &str, parts: &[&str]| {
        let message = place.refusal(options);
        assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} in {message}");
    };
    check("--history --db none.db", &["no audit has run", "none.db"]);
    assert!(!place.path("none.db").exists(), "looking made a database");
    check("--policy none.toml", &["cannot read none.toml"]);

    place.finish("--thread mine");
    check("--history --thread other", &["no audit has run in thread `other` of audit.db"]);
    let policy = place.answer("--print-policy").replace("prebuilt_files_max = 0", "prebuilt_files_max = 1");
    write(&place.path("policy.toml"), &policy);
    check("--thread mine --policy policy.toml", &["thread `mine` began under another policy", "--fresh"]);

    write(&place.path("text.db"), &"no database, ".repeat(1000));
    check("--db text.db", &["cannot open text.db"]);
}

#[test]
fn an_audit_that_failed_goes_on_when_the_cause_is_gone() {
    let place = Place::of_package(&["ant"]);
    write(&place.path("taken"), "");
    let message = place.refusal("--out taken");
    assert!(message.contains("cannot write taken") && message.contains("stopped in `report`"), "{message}");
    let mended = place.finish("--out free");
    assert_eq!((mended.reused, mended.inspected), (1, 0));
    assert!(place.report("free").contains("ant"));
}
