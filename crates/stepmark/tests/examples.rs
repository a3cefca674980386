//! Do the examples print what they say they print?
//!
//! The head of each example shows its output in a `text` block; the program is run and must print exactly that.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Examples with tests of their own, because they take arguments or run long.
const ELSEWHERE: [&str; 2] = ["dependency_audit", "plain_checkpoints"];

/// What the head of an example says that it prints.
fn promised(source: &str) -> Option<String> {
    let mut lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    lines.find(|line| line.trim() == "```text")?;
    let block = lines.take_while(|line| line.trim() != "```").map(|line| line.strip_prefix(' ').unwrap_or(line));
    let lines: Vec<&str> = block.chain([""]).collect();
    Some(lines.join("\n"))
}

fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("a test runs from a file");
    let target = tests.parent().and_then(Path::parent).expect("tests lie in the target directory");
    target.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

fn check(name: &str, file: &Path) {
    let source = std::fs::read_to_string(file).expect("an example is readable");
    let promised = promised(&source).unwrap_or_else(|| panic!("the head of {name} has no `text` block"));
    let program = program(name);
    assert!(program.exists(), "{name} is not built: `cargo xtask test --only tests` builds it first");
    let output = Command::new(program).output().expect("an example starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed: {errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), promised, "{name} prints something else");
}

#[test]
fn every_example_prints_what_its_head_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).expect("the examples are there") {
        let file = entry.expect("a folder is readable").path();
        let name = file.file_stem().and_then(|name| name.to_str()).expect("a name in UTF-8").to_owned();
        if !ELSEWHERE.contains(&&*name) {
            check(&name, &file);
            checked += 1;
        }
    }
    assert!(checked >= 8, "only {checked} examples were found");
}

/// One program, and a store that its environment names, with keys that are there too.
#[test]
fn a_url_in_the_environment_chooses_the_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}?compression=zstd&keys=env:VISITOR_KEYS", folder.path().join("visits.db").display());
    let visit = |keys: &str| {
        let mut program = Command::new(program("any_store"));
        let output = program.env("STEPMARK_URL", &url).env("VISITOR_KEYS", keys).output().expect("it starts");
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned())
    };
    let key = "5e".repeat(32);
    assert_eq!([&key, &key].map(|key| visit(key)[0].clone()), ["visit 1\n", "visit 2\n"]);
    let [said, refusal] = visit("secret");
    assert!(said.is_empty() && refusal.contains("VISITOR_KEYS") && !refusal.contains("secret"), "{refusal}");
}
