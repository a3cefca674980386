//! How the reports of two branches of one audit differ: package by package, as far as their states do. The branches have
//! the same packages, because they leave each other after the last inspection.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use stepmark::diff::{Change, Diff, ItemDiff};

use super::{answers, verdict};
use crate::approve::plain;
use crate::assess::Finding;
use crate::graph::Audit;
use crate::package::PackageId;
use crate::policy::Verdict;

/// What a report says of one package.
#[derive(Debug, PartialEq, Eq)]
struct Judged {
    verdict: Verdict,
    /// The reasons, then what a person said.
    why: Vec<String>,
}

/// One paragraph per package that the reports judge differently, and a last line that counts them.
pub fn difference(old: &Audit, new: &Audit, diff: &Diff) -> String {
    let (before, after) = (judged(old), judged(new));
    let mut out = String::new();
    let mut count = 0;
    for package in touched(old, new, diff) {
        if let (Some(old), Some(new)) = (before.get(package), after.get(package))
            && old != new
        {
            count += 1;
            paragraph(&mut out, package, old, new);
        }
    }
    let _ = writeln!(out, "{count} of {} packages are judged differently", new.findings.len());
    out
}

/// The packages whose findings or decisions differ.
fn touched<'a>(old: &'a Audit, new: &'a Audit, diff: &Diff) -> BTreeSet<&'a PackageId> {
    let findings = [old, new].map(|audit| audit.findings.iter().map(|it| &it.package).collect());
    let decisions = [old, new].map(|audit| audit.decisions.iter().map(|it| &it.package).collect());
    let mut touched = changed(diff.channel("findings"), findings);
    touched.extend(changed(diff.channel("decisions"), decisions));
    touched
}

/// Those whose items differ, of the packages of an old and a new list.
fn changed<'a>(change: Option<&Change>, [old, new]: [Vec<&'a PackageId>; 2]) -> BTreeSet<&'a PackageId> {
    match change {
        None => BTreeSet::new(),
        Some(Change::Items(list)) => {
            let of = |item: &ItemDiff| [item.old.and_then(|at| old.get(at)), item.new.and_then(|at| new.get(at))];
            list.items.iter().flat_map(of).flatten().copied().collect()
        }
        // Too much to say where.
        Some(_) => old.into_iter().chain(new).collect(),
    }
}

fn judged(audit: &Audit) -> BTreeMap<&PackageId, Judged> {
    let answers = answers(audit);
    let judge = |finding: &Finding| {
        let answer = answers.get(&finding.package).copied();
        let said = answer.map(ToString::to_string);
        let why = finding.reasons.iter().cloned().chain(said).map(|line| plain(&line)).collect();
        Judged { verdict: verdict(finding, answer), why }
    };
    audit.findings.iter().map(|finding| (&finding.package, judge(finding))).collect()
}

/// What is in both reports is left out.
fn paragraph(out: &mut String, package: &PackageId, old: &Judged, new: &Judged) {
    let verdict = if old.verdict == new.verdict {
        format!("{} for other reasons", new.verdict)
    } else {
        format!("{} → {}", old.verdict, new.verdict)
    };
    let _ = writeln!(out, "{package}: {verdict}");
    for (sign, side, other) in [('-', old, new), ('+', new, old)] {
        for line in side.why.iter().filter(|line| !other.why.contains(line)) {
            let _ = writeln!(out, "  {sign} {line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approve::{Decision, Reply};
    use crate::samples;

    fn finding(name: &str, verdict: Verdict, reason: &str) -> Finding {
        Finding { package: samples::id(name), verdict, reasons: vec![reason.into()], is_open: false }
    }

    fn audit(findings: [Finding; 3]) -> Audit {
        Audit { findings: findings.into(), ..Audit::default() }
    }

    /// The states as a store would compare them.
    async fn rendered(old: Audit, new: Audit) -> String {
        let app = crate::graph::draw().expect("a graph").with(stepmark::MemoryStore::new());
        let mut snapshots = Vec::new();
        for (name, audit) in [("old", &old), ("new", &new)] {
            let (findings, decisions) = (audit.findings.clone(), audit.decisions.clone());
            let thread = app.thread(name);
            let written = thread.update(|update| {
                update.findings.set(findings);
                update.decisions.extend(decisions);
            });
            snapshots.push(written.as_node(stepmark::END).await.expect("written"));
        }
        difference(&old, &new, &snapshots[0].diff(&snapshots[1]).expect("a difference"))
    }

    #[tokio::test]
    async fn only_what_is_judged_differently_is_shown() {
        let ant = |verdict| finding("ant", verdict, "licence `MPL-2.0` needs `MPL-2.0`");
        let bee = |reason| finding("bee", Verdict::Undecided, reason);
        let cow = || finding("cow", Verdict::Allowed, "licence `MIT` is allowed");
        let old = audit([ant(Verdict::Undecided), bee("9 uses of `unsafe`"), cow()]);
        let mut new = audit([ant(Verdict::Undecided), bee("9 uses of `unsafe`, \u{1b}the limit is 2"), cow()]);
        let reply = Reply { allow: true, by: "ada".into(), note: Some("I read it".into()) };
        new.decisions.push(Decision { package: samples::id("ant"), reply });
        let expected = "ant 1.0.0: undecided → allowed\n  + allowed by ada (I read it)\n\
                        bee 1.0.0: undecided for other reasons\n  - 9 uses of `unsafe`\n  + 9 uses of `unsafe`,  the limit is 2\n\
                        2 of 3 packages are judged differently\n";
        assert_eq!(rendered(old.clone(), new).await, expected);
        assert_eq!(rendered(old.clone(), old).await, "0 of 3 packages are judged differently\n");
    }
}
