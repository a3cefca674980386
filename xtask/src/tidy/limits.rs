//! Rule: files, inline tests, functions and parameter lists have limits, and few exceptions that
//! never grow.

use super::allow::{AllowList, Entry};
use super::measure::{Kind, Measure};
use super::{Finding, Report};

impl Kind {
    /// Above this, a reviewer should look twice.
    fn look_twice(self) -> usize {
        match self {
            Self::File => 500,
            Self::InlineTests => 300,
            Self::Function => 50,
            Self::Parameters => 5,
        }
    }

    /// Above this, tidy fails.
    fn limit(self) -> usize {
        match self {
            Self::File => 800,
            Self::InlineTests => 300,
            Self::Function => 70,
            Self::Parameters => 7,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::InlineTests => "inline-tests",
            Self::Function => "function",
            Self::Parameters => "parameters",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::File | Self::InlineTests | Self::Function => "lines",
            Self::Parameters => "parameters",
        }
    }
}

impl Measure {
    /// How the allow-list names this.
    fn key(&self) -> String {
        let separator = if self.name.is_empty() { "" } else { "::" };
        format!("{} {}{separator}{}", self.kind.word(), self.path, self.name)
    }

    fn is_over(&self) -> bool {
        self.size > self.kind.limit()
    }

    fn finding(&self, limit: usize) -> Finding {
        let subject = format!("{} {}", self.kind.word(), self.name);
        let message = format!("{}: {} {}, limit {limit}", subject.trim_end(), self.size, self.kind.unit());
        Finding { path: self.path.clone(), line: Some(self.line), message }
    }
}

/// Adds what is over its limit to the findings and what is near it to the notes.
pub(super) fn judge(sizes: &[Measure], allowed: &AllowList, report: &mut Report) {
    for size in sizes {
        if size.is_over() {
            let key = size.key();
            let tolerated = allowed.entries.iter().find(|entry| entry.key == key);
            let limit = tolerated.map_or(size.kind.limit(), |entry| entry.size);
            report.findings.extend((size.size > limit).then(|| size.finding(limit)));
        } else if size.size > size.kind.look_twice() {
            report.notes.push(size.finding(size.kind.limit()));
        }
    }
    let stale = allowed.entries.iter().filter(|entry| !is_needed(entry, sizes));
    report.findings.extend(stale.map(|entry| entry.finding(format!("`{}` is within its limit; remove it", entry.key))));
}

fn is_needed(entry: &Entry, sizes: &[Measure]) -> bool {
    sizes.iter().any(|size| size.is_over() && size.key() == entry.key)
}

#[cfg(test)]
mod tests {
    use super::{AllowList, Kind, Measure, Report, judge};

    /// Findings and notes on one size, called `run` in `a.rs`, with an allow-list.
    fn check(kind: Kind, size: usize, allowed: &str) -> (Vec<String>, Vec<String>) {
        let size = Measure { kind, path: "a.rs".to_owned(), line: 4, name: "run".to_owned(), size };
        let mut report = Report::default();
        judge(&[size], &AllowList::parse(allowed).expect("list"), &mut report);
        let texts = |findings: Vec<super::Finding>| findings.iter().map(ToString::to_string).collect();
        (texts(report.findings), texts(report.notes))
    }

    #[test]
    fn over_the_limit_is_refused() {
        for (kind, limit) in [(Kind::File, 800), (Kind::InlineTests, 300), (Kind::Function, 70), (Kind::Parameters, 7)]
        {
            assert_eq!(check(kind, limit, "").0, [""; 0], "{kind:?}");
            assert_eq!(check(kind, limit + 1, "").0.len(), 1, "{kind:?}");
        }
    }

    #[test]
    fn message_names_place_size_and_limit() {
        assert_eq!(check(Kind::Function, 71, "").0, ["a.rs:4: function run: 71 lines, limit 70"]);
    }

    #[test]
    fn near_the_limit_is_a_note() {
        for (kind, near) in [(Kind::File, 500), (Kind::Function, 50), (Kind::Parameters, 5)] {
            assert_eq!(check(kind, near, "").1, [""; 0], "{kind:?}");
            let (findings, notes) = check(kind, near + 1, "");
            assert_eq!((findings.len(), notes.len()), (0, 1), "{kind:?}");
        }
    }

    #[test]
    fn allowed_offender_passes_until_it_grows() {
        let allowed = "function a.rs::run 84";
        assert_eq!(check(Kind::Function, 84, allowed).0, [""; 0]);
        assert_eq!(check(Kind::Function, 85, allowed).0, ["a.rs:4: function run: 85 lines, limit 84"]);
    }

    #[test]
    fn entry_that_no_longer_offends_is_refused() {
        let (findings, _) = check(Kind::Function, 70, "function a.rs::run 84");
        assert!(findings.len() == 1 && findings[0].contains("tidy-allow.txt:1: "), "{findings:?}");
        assert_eq!(check(Kind::Function, 70, "function gone.rs::run 84").0.len(), 1);
    }
}
