//! What the policy makes of every package. A package without a verdict is undecided, never passed over; of those, the
//! policy says which a person is asked about.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::inspect::{Facts, Inspected, Inspection};
use crate::package::{Package, PackageId};
use crate::policy::{Cause, Judgement, Policy, Verdict};

/// The verdict on one package, and its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub package: PackageId,
    pub verdict: Verdict,
    /// Only the reasons that lead to this verdict.
    pub reasons: Vec<String>,
    /// Whether a person decides: the policy leaves it open, and asks for one of the reasons.
    #[serde(default)]
    pub is_open: bool,
}

/// Judges each of `packages`, in their order.
pub fn assess(packages: &[Package], inspections: &[Inspection], policy: &Policy) -> Vec<Finding> {
    let by_package: BTreeMap<_, _> = inspections.iter().map(|it| (&it.package, &it.result)).collect();
    packages.iter().map(|package| judge(&package.id, by_package.get(&package.id).copied(), policy)).collect()
}

fn judge(package: &PackageId, inspected: Option<&Inspected>, policy: &Policy) -> Finding {
    let ban = policy.ban(package).map(|reason| format!("banned: {reason}"));
    let ban = ban.map(|reason| Judgement { verdict: Verdict::Denied, cause: Cause::Ban, reason });
    let mut judgements: Vec<Judgement> = ban.into_iter().collect();
    match inspected {
        None => judgements.push(undecided(Cause::NotAvailable, "not inspected".to_owned())),
        Some(Inspected::NotAvailable { reason }) => {
            judgements.push(undecided(Cause::NotAvailable, format!("not available: {reason}")));
        }
        Some(Inspected::Facts(facts)) => {
            judgements.push(licence(facts, policy));
            judgements.extend(limits(facts, policy));
            judgements.extend(build_script(facts, policy));
        }
    }
    let verdict = judgements.iter().map(|it| it.verdict).max().unwrap_or(Verdict::Undecided);
    judgements.retain(|it| it.verdict == verdict);
    let is_open = verdict == Verdict::Undecided && judgements.iter().any(|it| policy.asks(it.cause));
    let reasons = judgements.into_iter().map(|it| it.reason).collect();
    Finding { package: package.clone(), verdict, reasons, is_open }
}

fn licence(facts: &Facts, policy: &Policy) -> Judgement {
    let missing = "no licence expression";
    match (&facts.licence, facts.licence_files.as_slice()) {
        (Some(expression), _) => policy.judge_licence(expression),
        (None, []) => undecided(Cause::Licence, format!("{missing} and no licence file")),
        (None, files) => undecided(Cause::Licence, format!("{missing}, only {}", files.join(", "))),
    }
}

fn limits(facts: &Facts, policy: &Policy) -> Vec<Judgement> {
    let limits = &policy.limits;
    let measured = [
        (facts.rust.unsafe_count, limits.unsafe_count_max, "uses of `unsafe`"),
        (facts.native.lines, limits.native_lines_max, "lines of bundled C, C++ or assembly"),
        (facts.prebuilt.len() as u64, limits.prebuilt_files_max, "prebuilt binaries"),
        // A file that was not read may hold more of anything, so no limit vouches for it.
        (facts.unread.len() as u64, Some(0), "files not read"),
    ];
    let over = measured.into_iter().filter(|(count, limit, _)| limit.is_some_and(|limit| *count > limit));
    over.map(|(count, limit, what)| {
        let limit = limit.filter(|&limit| limit > 0).map(|limit| format!(", the limit is {limit}"));
        undecided(Cause::Limit, format!("{count} {what}{}", limit.unwrap_or_default()))
    })
    .collect()
}

/// A build script is no fault, so it is in the way only where the policy wants a person to look at it.
fn build_script(facts: &Facts, policy: &Policy) -> Option<Judgement> {
    let script = facts.build_script.as_ref().filter(|_| policy.asks(Cause::BuildScript))?;
    Some(undecided(Cause::BuildScript, format!("`{script}` runs when it is built")))
}

fn undecided(cause: Cause, reason: String) -> Judgement {
    Judgement { verdict: Verdict::Undecided, cause, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::{Native, Rust, Unread};
    use crate::samples;

    fn check(inspected: Option<&Inspected>, verdict: Verdict, reasons: &[&str]) {
        let text = "[licences]\nallowed = ['MIT']\ndenied = ['GPL-3.0-only']\n\
                    [limits]\nunsafe_count_max = 2\nnative_lines_max = 10\nprebuilt_files_max = 0\n\
                    [[banned]]\nname = 'bad'\nreason = 'it lies'\n";
        let policy = samples::policy(text);
        let finding = judge(&samples::id("sample"), inspected, &policy);
        assert_eq!((finding.verdict, finding.reasons), (verdict, reasons.iter().map(|&it| it.into()).collect()));
    }

    fn licensed(licence: &str) -> Facts {
        Facts { licence: Some(licence.into()), ..Facts::default() }
    }

    #[test]
    fn an_allowed_licence_within_the_limits_is_allowed() {
        check(Some(&Inspected::Facts(licensed("MIT"))), Verdict::Allowed, &["licence `MIT` is allowed"]);
    }

    #[test]
    fn a_denied_licence_outweighs_every_open_question() {
        let facts = Facts { rust: Rust { unsafe_count: 9, ..Rust::default() }, ..licensed("GPL-3.0-only") };
        let reason = "licence `GPL-3.0-only` is denied for `GPL-3.0-only`";
        check(Some(&Inspected::Facts(facts)), Verdict::Denied, &[reason]);
    }

    #[test]
    fn every_limit_that_is_passed_is_named() {
        let facts = Facts {
            rust: Rust { unsafe_count: 3, ..Rust::default() },
            native: Native { files: 1, lines: 11 },
            prebuilt: vec!["a.dll".into()],
            unread: vec![Unread { path: "b.rs".into(), reason: "permission denied".into() }],
            ..licensed("MIT")
        };
        let reasons = [
            "3 uses of `unsafe`, the limit is 2",
            "11 lines of bundled C, C++ or assembly, the limit is 10",
            "1 prebuilt binaries",
            "1 files not read",
        ];
        check(Some(&Inspected::Facts(facts)), Verdict::Undecided, &reasons);
    }

    #[test]
    fn a_package_without_a_licence_expression_is_undecided() {
        let none = Facts::default();
        check(Some(&Inspected::Facts(none)), Verdict::Undecided, &["no licence expression and no licence file"]);
        let file = Facts { licence_files: vec!["LICENSE".into()], ..Facts::default() };
        check(Some(&Inspected::Facts(file)), Verdict::Undecided, &["no licence expression, only LICENSE"]);
    }

    #[test]
    fn a_package_nobody_could_look_at_is_undecided() {
        let gone = Inspected::NotAvailable { reason: "gone".into() };
        check(Some(&gone), Verdict::Undecided, &["not available: gone"]);
        check(None, Verdict::Undecided, &["not inspected"]);
    }

    #[test]
    fn a_banned_package_is_denied_even_if_it_is_not_there() {
        let policy = samples::policy("[licences]\nallowed = []\n[[banned]]\nname = 'bad'\nreason = 'it lies'");
        let packages = [samples::package("bad"), samples::package("good")];
        let findings = assess(&packages, &[], &policy);
        assert_eq!(findings[0].reasons, ["banned: it lies"]);
        assert_eq!(findings[1].reasons, ["not inspected"]);
    }

    #[test]
    fn a_person_is_asked_only_about_what_is_open_for_a_named_cause() {
        let scripted = || Facts { build_script: Some("build.rs".into()), ..licensed("MIT") };
        let open = |ask: &str, facts: Facts| {
            let text = format!("ask = [{ask}]\n[licences]\nallowed = ['MIT']\ndenied = ['GPL-3.0-only']");
            let finding = judge(&samples::id("sample"), Some(&Inspected::Facts(facts)), &samples::policy(&text));
            (finding.verdict, finding.is_open)
        };
        assert_eq!(open("", licensed("MPL-2.0")), (Verdict::Undecided, false));
        assert_eq!(open("'licence'", licensed("MPL-2.0")), (Verdict::Undecided, true));
        assert_eq!(open("'limit'", licensed("MPL-2.0")), (Verdict::Undecided, false));
        assert_eq!(open("'licence'", licensed("GPL-3.0-only")), (Verdict::Denied, false));
        assert_eq!(open("'licence'", scripted()), (Verdict::Allowed, false));
        assert_eq!(open("'build_script'", scripted()), (Verdict::Undecided, true));
    }
}
