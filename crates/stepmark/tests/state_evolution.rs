//! Does the example of a changing state print what its head says?

use std::path::Path;
use std::process::Command;

#[test]
fn the_example_prints_what_its_head_says() {
    let test = std::env::current_exe().expect("a path");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps/<test>");
    let program = profile.join(format!("examples/state_evolution{}", std::env::consts::EXE_SUFFIX));
    assert!(program.exists(), "build it first: cargo build -p stepmark --examples");
    let output = Command::new(program).output().expect("starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/state_evolution.rs");
    let source = std::fs::read_to_string(source).expect("readable");
    let block = source.lines().skip_while(|line| *line != "//! ```text").skip(1);
    let promised: Vec<&str> = block.take_while(|line| *line != "//! ```").map(|line| &line["//! ".len()..]).collect();
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().collect::<Vec<_>>(), promised);
}
