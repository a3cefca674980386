//! How a person at a terminal is asked about one package.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::approve::Approve;

/// What a person said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Answer {
        allow: bool,
        note: Option<String>,
    },
    Skip,
    /// The input has ended: nobody is there for any further question.
    Gone,
}

/// Whether somebody is there to ask.
pub fn is_there() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Asks until it understands the answer.
pub fn ask(question: &Approve, input: &mut impl BufRead, output: &mut impl Write) -> io::Result<Said> {
    writeln!(output, "{question}")?;
    loop {
        write!(output, "may it stay? yes, no or skip; a note may follow: ")?;
        output.flush()?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            writeln!(output)?;
            return Ok(Said::Gone);
        }
        if let Some(said) = understood(&line) {
            return Ok(said);
        }
    }
}

fn understood(line: &str) -> Option<Said> {
    let line = line.trim();
    let (word, note) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let note = Some(note.trim()).filter(|note| !note.is_empty()).map(str::to_owned);
    match word.to_ascii_lowercase().as_str() {
        "y" | "yes" => Some(Said::Answer { allow: true, note }),
        "n" | "no" => Some(Said::Answer { allow: false, note }),
        "s" | "skip" => Some(Said::Skip),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    /// What is understood of `typed`, and what the person saw.
    fn asked(typed: &str) -> (Said, String) {
        let question = Approve {
            package: samples::id("ant"),
            licence: Some("MPL-2.0".into()),
            reasons: vec!["licence `\u{1b}[2JMPL-2.0` needs `MPL-2.0`".into()],
        };
        let mut shown = Vec::new();
        let said = ask(&question, &mut typed.as_bytes(), &mut shown).expect("asked");
        (said, String::from_utf8(shown).expect("text"))
    }

    fn answer(allow: bool, note: Option<&str>) -> Said {
        Said::Answer { allow, note: note.map(str::to_owned) }
    }

    #[test]
    fn a_word_is_an_answer_and_the_rest_is_its_note() {
        assert_eq!(asked("yes\n").0, answer(true, None));
        assert_eq!(asked(" Y  I have read it \r\n").0, answer(true, Some("I have read it")));
        assert_eq!(asked("no").0, answer(false, None));
        assert_eq!(asked("n no need\n").0, answer(false, Some("no need")));
        assert_eq!(asked("skip\n").0, Said::Skip);
    }

    #[test]
    fn what_is_not_understood_is_asked_again() {
        let (said, shown) = asked("\nyesno\nperhaps later\nno\n");
        assert_eq!(said, answer(false, None));
        assert_eq!(shown.matches("may it stay?").count(), 4);
    }

    #[test]
    fn the_end_of_the_input_answers_nothing() {
        assert_eq!(asked("").0, Said::Gone);
        assert_eq!(asked("maybe\n").0, Said::Gone);
    }

    #[test]
    fn the_person_sees_the_package_and_nothing_that_moves_the_cursor() {
        let (_, shown) = asked("yes\n");
        assert!(shown.starts_with("ant 1.0.0 (MPL-2.0)\n  licence ` [2JMPL-2.0`"), "{shown}");
        assert!(!shown.contains('\u{1b}'));
    }
}
