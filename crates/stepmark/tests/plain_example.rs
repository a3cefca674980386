//! Does the example without a graph go on where it was killed? Runs it as users do.
#![cfg(unix)]

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const SIGKILL: i32 = 9;
const DOCUMENTS: usize = 47;

/// A directory of documents of which the sums are known.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for number in 0..DOCUMENTS {
            let text = "A river flows. ".repeat(number) + "The sea is calm, River!";
            write(&directory.path().join(format!("texts/{number:02}.txt")), &text);
        }
        write(&directory.path().join("texts/.hidden/x.txt"), "no word of this counts");
        write(&directory.path().join("texts/picture.png"), "no word of this counts");
        Self(directory)
    }

    fn run(&self, options: &str) -> Output {
        let mut command = Command::new(program());
        command.current_dir(self.0.path()).arg("texts").args(options.split_whitespace());
        command.output().expect("the example starts")
    }

    /// What a run prints that comes to its end.
    fn finish(&self, options: &str) -> String {
        let output = self.run(options);
        assert!(output.status.success(), "{options}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// What a run prints that kills itself after so many documents.
    fn crash(&self, documents: usize) -> String {
        let output = self.run(&format!("--crash-after {documents}"));
        assert_eq!(output.status.signal(), Some(SIGKILL), "{}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    std::fs::write(path, text).expect("a file");
}

/// Cargo puts examples beside the directory of its tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps/<test>");
    let program = profile.join("examples/plain_checkpoints");
    assert!(program.exists(), "build it first: cargo build -p stepmark --examples");
    program
}

/// 0 + 1 + … + 46 rivers of three words, and five words in each document.
const REPORT: &str = "47 documents, 3478 words
the longest is 46.txt: 143 words
3 longer words; most used: river 1128, flows 1081, calm 47
";

#[test]
fn it_counts_the_words_of_all_documents() {
    let place = Place::new();
    assert_eq!(place.finish(""), format!("beginning with 47 documents\n{REPORT}"));
    // Nothing is left behind.
    assert_eq!(place.finish(""), format!("beginning with 47 documents\n{REPORT}"));
}

#[test]
fn it_goes_on_after_its_last_save_wherever_it_is_killed() {
    let place = Place::new();
    for (documents, begins) in [
        (9, "beginning with 47 documents\n"),
        (25, "beginning with 47 documents\n"),
        (7, "going on at document 20 of 47\n"),
        (10, "going on at document 20 of 47\n"),
        (17, "going on at document 30 of 47\n"),
    ] {
        assert_eq!(place.crash(documents), begins);
    }
    assert_eq!(place.finish(""), format!("going on at document 40 of 47\n{REPORT}"));
    assert_eq!(place.finish(""), format!("beginning with 47 documents\n{REPORT}"), "its progress was deleted");
}

#[test]
fn other_documents_are_refused() {
    let place = Place::new();
    place.crash(25);
    std::fs::remove_file(place.0.path().join("texts/03.txt")).expect("it is there");
    let output = place.run("");
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).expect("text");
    assert!(message.contains("other documents than at the last save; delete word-count.db to begin anew"), "{message}");
}
