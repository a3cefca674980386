//! `cargo xtask tidy`: the rules of STYLE.md that a program can judge.
//!
//! The tree is read once; every rule is a pure function from what was read to findings, so each has
//! tests that hand it an offending snippet. Nothing is ever rewritten. Rules, one module each:
//! `edges`, `limits`, `headers`, `ignored`, `todo`, `words`, `migrations`, `checklist`.

mod checklist;
mod edges;
mod headers;
mod ignored;
mod limits;
mod migrations;
mod todo;
mod words;

mod allow;
mod measure;
mod tree;

use std::fmt;

use crate::Outcome;
use crate::printer::talk;
use crate::workspace::{self, Package};
use allow::AllowList;
use tree::SourceFile;

const ALLOW_FILE: &str = "xtask/tidy-allow.txt";

/// One remark about one place.
#[derive(Debug)]
struct Finding {
    path: String,
    /// Counted from 1; `None` where the remark is about the whole file.
    line: Option<usize>,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{}:{line}: {}", self.path, self.message),
            None => write!(formatter, "{}: {}", self.path, self.message),
        }
    }
}

/// What the rules have to say.
#[derive(Debug, Default)]
struct Report {
    /// Broken rules.
    findings: Vec<Finding>,
    /// Sizes near a limit: nobody has to act, a reviewer should look twice.
    notes: Vec<Finding>,
}

/// Judges this tree; returns `Ok` when no rule is broken.
pub(crate) fn run() -> Outcome {
    let files = tree::read(&workspace::root()?)?;
    let report = judge(&files, &workspace::packages()?);
    for note in &report.notes {
        talk(&format!("look twice: {note}"));
    }
    for finding in &report.findings {
        talk(&format!("{finding}"));
    }
    match report.findings.len() {
        0 => Ok(()),
        1 => Err("1 rule is broken".into()),
        count => Err(format!("{count} rules are broken").into()),
    }
}

fn judge(files: &[SourceFile], packages: &[Package]) -> Report {
    let mut report = Report::default();
    report.findings.extend(edges::check(packages));
    report.findings.extend(migrations::check(files));
    report.findings.extend(checklist::check(files));
    let mut sizes = Vec::new();
    for file in files {
        report.findings.extend(words::check(file));
        report.findings.extend(todo::check(file));
        if !file.is_rust() {
            continue;
        }
        report.findings.extend(headers::check(file));
        match syn::parse_file(&file.text) {
            Ok(syntax) => {
                report.findings.extend(ignored::check(file, &syntax));
                sizes.extend(measure::measure(file, &syntax));
            }
            Err(error) => report.findings.push(unreadable(file, &error)),
        }
    }
    let allowed = files.iter().find(|file| file.path == ALLOW_FILE);
    match AllowList::parse(allowed.map_or("", |file| &file.text)) {
        Ok(allowed) => limits::judge(&sizes, &allowed, &mut report),
        Err(finding) => report.findings.push(finding),
    }
    report
}

fn unreadable(file: &SourceFile, error: &syn::Error) -> Finding {
    file.finding(error.span().start().line, format!("does not parse: {error}"))
}

#[cfg(test)]
mod tests {
    use super::{SourceFile, judge};

    #[test]
    fn every_rule_is_asked() {
        let long = "let _ = 0;\n".repeat(71);
        let text = format!(
            "#[ignore]\nfn long() {{\n{long}}}\n// {}\n// {}\n",
            "TO".to_owned() + "DO",
            "/ro".to_owned() + "ot/x"
        );
        let files = [
            SourceFile::new("src/lib.rs", &text),
            SourceFile::new("src/broken.rs", "//! Docs.\nfn {"),
            SourceFile::new("a/sql/migrations/CHECKSUMS", "00  0001_init.sql\n"),
        ];
        let report = judge(&files, &[]);
        let lines: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        for expected in [
            "CHECKSUMS:1:",
            "lib.rs:1: the file must begin",
            "lib.rs:1: `#[ignore]`",
            "lib.rs:2: function",
            "lib.rs:75:",
            "lib.rs:76:",
            "broken.rs:2: does not parse",
        ] {
            assert!(lines.iter().any(|line| line.contains(expected)), "{expected} in {lines:#?}");
        }
    }
}
