//! Is a person at a terminal asked about each open package, and is each answer kept at once?

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::Child;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::place::Place;

const PROMPT: &str = "may it stay?";

/// A run of the example at a terminal, and the person's end of it.
struct Session {
    child: Child,
    person: File,
    seen: String,
}

impl Session {
    fn start(place: &Place, options: &str) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let name = ptsname(&master, Vec::new()).expect("a name");
        let path = name.to_str().expect("text");
        let end = || OpenOptions::new().read(true).write(true).open(path).expect("the other end");
        // The command is dropped here and its ends with it: when the example dies, nobody else holds the terminal open.
        let child = place.command(options).stdin(end()).stdout(end()).spawn().expect("the example starts");
        Self { child, person: File::from(master), seen: String::new() }
    }

    /// Waits for the next prompt; returns what was shown before it.
    fn await_prompt(&mut self) -> String {
        loop {
            if let Some((shown, rest)) = self.seen.split_once(PROMPT) {
                let (shown, rest) = (shown.to_owned(), rest.to_owned());
                self.seen = rest;
                return shown;
            }
            let mut bytes = [0; 1024];
            let count = self.person.read(&mut bytes).expect("the example is at a prompt");
            self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.person, "{line}").expect("typed");
    }

    /// How the example ends by itself.
    fn end(mut self) -> Option<i32> {
        // On Linux the end is an error; the screen's content is of no interest.
        let mut rest = Vec::new();
        let _ = self.person.read_to_end(&mut rest);
        self.child.wait().expect("it ends").code()
    }
}

#[test]
fn what_a_person_said_at_a_terminal_outlives_a_kill_at_the_next_prompt() {
    let place = Place::of_package(&["ant", "bee", "cow"]);
    place.policy("ask.toml", "");

    let mut first = Session::start(&place, "--policy ask.toml --author ada");
    assert!(first.await_prompt().contains("ant 0.0.0 (no licence expression)"));
    first.say("perhaps");
    first.await_prompt();
    first.say("yes I have read it");
    assert!(first.await_prompt().contains("bee 0.0.0"));
    first.child.kill().expect("it is there");
    first.child.wait().expect("it is dead");

    let mut second = Session::start(&place, "--policy ask.toml --author bob");
    assert!(second.await_prompt().contains("bee 0.0.0"));
    second.say("skip");
    assert!(second.await_prompt().contains("cow 0.0.0"));
    second.say("no");
    assert_eq!(second.end(), Some(3), "one is still open");

    let last = place.finish("--policy ask.toml --answer-all no --author cid");
    assert_eq!((last.reused, last.inspected), (3, 0));
    let report = place.report("audit-report");
    let answers = ["\"by\": \"ada\"", "\"note\": \"I have read it\"", "\"by\": \"cid\"", "\"by\": \"bob\""];
    let places: Vec<usize> = answers.iter().map(|part| report.find(part).expect("an answer")).collect();
    assert!(places.is_sorted(), "{report}");
}
