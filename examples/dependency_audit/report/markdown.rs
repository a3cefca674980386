//! The report for people: what needs an answer comes first, then every package, then what each one is.

use std::fmt::Write;

use super::{Report, Row};
use crate::approve::Reply;
use crate::inspect::{Facts, Inspected};
use crate::policy::Verdict;

/// Renders the whole report.
pub fn render(report: &Report<'_>) -> String {
    let mut out = format!("# Dependency audit\n\n{}\n", report.summary());
    section(&mut out, "Denied", report, Verdict::Denied);
    section(&mut out, "Undecided", report, Verdict::Undecided);
    approvals(&mut out, report);
    table(&mut out, report);
    digests(&mut out, report);
    out
}

/// Writing to a string cannot fail, so the results of `writeln!` are dropped here and below.
fn section(out: &mut String, title: &str, report: &Report<'_>, verdict: Verdict) {
    let rows: Vec<_> = report.packages.iter().filter(|row| row.verdict == verdict).collect();
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n## {title}\n");
    for row in rows {
        let answer = row.answer.map(|reply| format!("{}; asked because: ", said(reply))).unwrap_or_default();
        let _ = writeln!(out, "- **{} {}**: {answer}{}", row.name, row.version, reasons(row));
    }
}

/// Who allowed what: a policy speaks for itself, a person is named.
fn approvals(out: &mut String, report: &Report<'_>) {
    let allowed = report.packages.iter().filter_map(|row| Some((row, row.answer.filter(|reply| reply.allow)?)));
    for (place, (row, reply)) in allowed.enumerate() {
        if place == 0 {
            out.push_str("\n## Allowed by people\n\n");
        }
        let _ = writeln!(out, "- **{} {}**: {}; asked because: {}", row.name, row.version, said(reply), reasons(row));
    }
}

fn reasons(row: &Row<'_>) -> String {
    row.reasons.iter().map(|reason| escape(reason)).collect::<Vec<_>>().join("; ")
}

fn said(reply: &Reply) -> String {
    escape(&reply.to_string())
}

fn table(out: &mut String, report: &Report<'_>) {
    out.push_str("\n## All packages\n\n");
    out.push_str(
        "| package | version | verdict | licence | Rust lines | unsafe | native lines | build script | KiB |\n",
    );
    out.push_str("|---|---|---|---|--:|--:|--:|---|--:|\n");
    for row in &report.packages {
        let facts = facts(row).map_or_else(|| "not available | | | | |".to_owned(), columns);
        let _ = writeln!(out, "| {} | {} | {} | {facts} |", row.name, row.version, row.verdict);
    }
    let totals = &report.totals;
    let kib = totals.bytes.div_ceil(1024);
    let (rust, count, native) = (totals.rust_code_lines, totals.unsafe_count, totals.native_lines);
    let _ = writeln!(out, "| **total** | | | | {rust} | {count} | {native} | | {kib} |");
}

fn columns(facts: &Facts) -> String {
    let licence = facts.licence.as_deref().map_or_else(|| "none".to_owned(), escape);
    let build_script = if facts.build_script.is_some() { "yes" } else { "" };
    let (rust, native, kib) = (&facts.rust, &facts.native, facts.bytes.div_ceil(1024));
    format!("{licence} | {} | {} | {} | {build_script} | {kib}", rust.code_lines, rust.unsafe_count, native.lines)
}

fn digests(out: &mut String, report: &Report<'_>) {
    out.push_str("\n## What they are\n");
    for row in &report.packages {
        let description = row.description.unwrap_or("No description.");
        let _ = writeln!(out, "\n**{} {}**: {}", row.name, row.version, escape(description));
        let readme = facts(row).map(|facts| facts.readme.join(" ")).unwrap_or_default();
        if !readme.is_empty() {
            let _ = writeln!(out, "\n> {}", escape(&readme));
        }
    }
}

fn facts<'a>(row: &Row<'a>) -> Option<&'a Facts> {
    match row.inspected {
        Some(Inspected::Facts(facts)) => Some(facts),
        Some(Inspected::NotAvailable { .. }) | None => None,
    }
}

/// Text of other people is shown as they wrote it, and cannot become a link, a table or HTML of this report.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if "\\*_[]<>|#".contains(character) {
            escaped.push('\\');
        }
        escaped.push(if character.is_control() { ' ' } else { character });
    }
    escaped
}
