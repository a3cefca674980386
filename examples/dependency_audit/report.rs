//! The two files an audit leaves behind. Equal audits give equal bytes: no times, no paths of this machine.

mod difference;
mod markdown;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

pub use difference::difference;
use serde::Serialize;

use crate::approve::Reply;
use crate::assess::Finding;
use crate::error::{Error, Result};
use crate::graph::Audit;
use crate::inspect::Inspected;
use crate::package::{Package, PackageId};
use crate::policy::Verdict;

/// Shape of `report.json`; a reader that knows another number should not guess.
const SCHEMA: u32 = 2;

/// The report as `report.json` shows it.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    schema: u32,
    totals: Totals,
    packages: Vec<Row<'a>>,
}

#[derive(Debug, Default, Serialize)]
struct Totals {
    packages: u64,
    allowed: u64,
    undecided: u64,
    denied: u64,
    /// Of the allowed and the denied: by people.
    answered: u64,
    not_available: u64,
    rust_code_lines: u64,
    unsafe_count: u64,
    native_lines: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a str,
    version: String,
    source: &'a str,
    description: Option<&'a str>,
    verdict: Verdict,
    /// Why the policy says so, or why it left the package to a person.
    reasons: &'a [String],
    answer: Option<&'a Reply>,
    inspected: Option<&'a Inspected>,
}

impl<'a> Report<'a> {
    /// Brings together what is known of each package that has a finding.
    pub fn of(audit: &'a Audit) -> Self {
        let inspected: BTreeMap<_, _> = audit.inspections.iter().map(|it| (&it.package, &it.result)).collect();
        let described: BTreeMap<_, _> = audit.packages.iter().map(|it| (&it.id, it)).collect();
        let answers = answers(audit);
        let row = |finding: &'a Finding| Row {
            name: &finding.package.name,
            version: finding.package.version.to_string(),
            source: &finding.package.source,
            description: described.get(&finding.package).and_then(|it: &&Package| it.description.as_deref()),
            verdict: verdict(finding, answers.get(&finding.package).copied()),
            reasons: &finding.reasons,
            answer: answers.get(&finding.package).copied(),
            inspected: inspected.get(&finding.package).copied(),
        };
        let packages: Vec<Row<'_>> = audit.findings.iter().map(row).collect();
        Self { schema: SCHEMA, totals: Totals::of(&packages), packages }
    }

    /// Writes `report.json` and `report.md` into `directory`, each whole or not at all.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let failed = |source| Error::Write { path: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(failed)?;
        let mut json = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))?;
        json.push('\n');
        write_whole(directory, "report.json", &json)?;
        write_whole(directory, "report.md", &markdown::render(self))
    }

    /// The totals in one line.
    pub fn summary(&self) -> String {
        let Totals { packages, allowed, undecided, denied, answered, not_available, .. } = self.totals;
        let gone = if not_available > 0 { format!(" ({not_available} not available)") } else { String::new() };
        let people = if answered > 0 { format!("; {answered} of them by people") } else { String::new() };
        format!("{packages} packages{gone}: {allowed} allowed, {undecided} undecided, {denied} denied{people}")
    }
}

/// What people said, by package.
fn answers(audit: &Audit) -> BTreeMap<&PackageId, &Reply> {
    audit.decisions.iter().map(|decision| (&decision.package, &decision.reply)).collect()
}

/// What holds of a package: what a person said, else what the policy says.
fn verdict(finding: &Finding, answer: Option<&Reply>) -> Verdict {
    match answer {
        Some(reply) if reply.allow => Verdict::Allowed,
        Some(_) => Verdict::Denied,
        None => finding.verdict,
    }
}

impl Totals {
    fn of(packages: &[Row<'_>]) -> Self {
        let mut totals = Self { packages: packages.len() as u64, ..Self::default() };
        for row in packages {
            match row.verdict {
                Verdict::Allowed => totals.allowed += 1,
                Verdict::Undecided => totals.undecided += 1,
                Verdict::Denied => totals.denied += 1,
            }
            totals.answered += u64::from(row.answer.is_some());
            match row.inspected {
                Some(Inspected::Facts(facts)) => {
                    totals.rust_code_lines += facts.rust.code_lines;
                    totals.unsafe_count += facts.rust.unsafe_count;
                    totals.native_lines += facts.native.lines;
                    totals.bytes += facts.bytes;
                }
                Some(Inspected::NotAvailable { .. }) | None => totals.not_available += 1,
            }
        }
        totals
    }
}

/// A reader sees the old file or the new one; a crash leaves at most a file with another name.
fn write_whole(directory: &Path, name: &str, text: &str) -> Result<()> {
    let unfinished = directory.join(format!(".{name}.{}", std::process::id()));
    let write = || -> io::Result<()> {
        let mut file = File::create(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, directory.join(name))
    };
    write().map_err(|source| {
        // The first failure is the one to report; a file that cannot be removed does no harm.
        let _ = fs::remove_file(&unfinished);
        Error::Write { path: directory.join(name), source }
    })
}

#[cfg(test)]
mod tests;
