//! Is the file of stored forms written only when that is asked for, and by one writer at a time?

use std::path::Path;
use std::process::{Child, Command, Stdio};

use stepmark::{Append, State, check_schema};

#[derive(State, Clone, Default)]
struct Report {
    topic: String,
    #[reduce(Append)]
    notes: Vec<(u32, String)>,
    #[state(ephemeral)]
    hint: Option<u8>,
    #[state(untracked)]
    cache: u8,
}

mod changed {
    use stepmark::State;

    #[derive(State, Clone, Default)]
    pub(crate) struct Report {
        topic: Vec<String>,
    }
}

#[derive(State, Clone, Default)]
struct Order {}

/// Not a test of its own: the process in which `updated` runs, as the variable of a process cannot be set from within.
#[test]
fn as_child() {
    let Some(path) = std::env::var_os("SCHEMA_LOCK_OF_PARENT") else { return };
    check_schema::<Report>(&path).unwrap();
    check_schema::<Order>(&path).unwrap();
    check_schema::<changed::Report>(&path).unwrap_err();
}

fn update(path: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.args(["--exact", "as_child"]).env("STEPMARK_UPDATE_SCHEMA", "1").env("SCHEMA_LOCK_OF_PARENT", path);
    command.stdout(Stdio::null()).spawn().expect("starts")
}

const RECORDED: &str = "
[Order 1]

[Report 1]
topic: stored replace String
notes: stored append Vec<(u32,String)>
hint: ephemeral replace Option<u8>
cache: untracked replace u8
";

#[test]
fn a_file_is_written_only_when_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("schema.lock");
    let error = check_schema::<Report>(&path).expect_err("there is none");
    assert!(error.to_string().contains("version 1 of state \"Report\" is not recorded"), "{error}");
    assert!(format!("{error:?}").ends_with("run this test once with STEPMARK_UPDATE_SCHEMA=1 and commit the file"));
    assert!(!path.exists());

    // All at once: the file is locked while one of them looks and writes.
    let children: Vec<Child> = (0..4).map(|_| update(&path)).collect();
    for mut child in children {
        assert!(child.wait().expect("ends").success());
    }
    let text = std::fs::read_to_string(&path).expect("written");
    assert!(text.starts_with('#') && text.ends_with(RECORDED), "{text}");

    check_schema::<Report>(&path).expect("recorded");
    check_schema::<Order>(&path).expect("recorded");
    let error = check_schema::<changed::Report>(&path).expect_err("another type");
    assert!(error.to_string().contains("- stored replace String\n    + stored replace Vec<String>"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).expect("there"), text);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = check_schema::<Order>(folder.path()).expect_err("a directory");
    assert!(error.to_string().starts_with(&folder.path().display().to_string()), "{error}");
}
