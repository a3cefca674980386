//! What is allowed: licences, limits and banned packages, read from TOML and checked before any use.

use std::fmt;
use std::path::Path;

use cargo_metadata::semver::VersionReq;
use serde::{Deserialize, Serialize};
use spdx::expression::{ExprNode, Operator};
use spdx::{Expression, LicenseReq, Licensee, ParseMode};

use crate::error::{Error, Result, read};
use crate::package::PackageId;

/// A policy as it was given, so that an audit goes on with the one it began with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyText {
    /// How messages call it.
    pub file: String,
    pub text: String,
}

impl PolicyText {
    /// The policy compiled in.
    pub fn built_in() -> Self {
        let (file, text) = ("the built-in policy", include_str!("policy.toml"));
        Self { file: file.to_owned(), text: text.to_owned() }
    }

    pub fn read(path: &Path) -> Result<Self> {
        let file = path.display().to_string();
        match String::from_utf8(read(path)?) {
            Ok(text) => Ok(Self { file, text }),
            Err(error) => Err(Error::PolicySyntax { file, reason: error.to_string() }),
        }
    }

    /// Reads every value of the policy, and refuses what it does not understand.
    pub fn parse(&self) -> Result<Policy> {
        let file: PolicyFile = toml::from_str(&self.text)
            .map_err(|error| Error::PolicySyntax { file: self.file.clone(), reason: error.to_string() })?;
        let Licences { allowed, denied } = file.licences;
        if let Some(at) = denied.iter().position(|licence| allowed.contains(licence)) {
            return Err(self.refuse(format!("licences.denied[{at}]"), "is allowed as well".to_owned()));
        }
        Ok(Policy {
            ask: file.ask,
            allowed: self.licensees("allowed", &allowed)?,
            denied: self.licensees("denied", &denied)?,
            banned: file.banned,
            limits: file.limits,
        })
    }

    fn licensees(&self, key: &str, names: &[String]) -> Result<Vec<Licensee>> {
        let parse = |(at, name): (usize, &String)| {
            Licensee::parse_mode(name, ParseMode::LAX).map_err(|error| {
                let reason = format!("is no SPDX licence: `{name}`: {}", error.reason);
                self.refuse(format!("licences.{key}[{at}]"), reason)
            })
        };
        names.iter().enumerate().map(parse).collect()
    }

    fn refuse(&self, key: String, reason: String) -> Error {
        Error::PolicyValue { file: self.file.clone(), key, reason }
    }
}

/// What the audit says of a package. `and` takes the larger of two verdicts, `or` the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Allowed,
    Undecided,
    Denied,
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Allowed => "allowed",
            Self::Undecided => "undecided",
            Self::Denied => "denied",
        })
    }
}

/// What a judgement is about. All but `Ban` may stand in `ask`: then a person is asked where it is undecided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A banned package is denied; there is nothing to ask.
    #[serde(skip_deserializing)]
    Ban,
    Licence,
    Limit,
    NotAvailable,
    BuildScript,
}

/// A verdict and the sentence that explains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    pub cause: Cause,
    pub reason: String,
}

/// A policy whose every value has been understood.
#[derive(Debug)]
pub struct Policy {
    ask: Vec<Cause>,
    allowed: Vec<Licensee>,
    denied: Vec<Licensee>,
    banned: Vec<Ban>,
    pub limits: Limits,
}

/// The most of something that a package may have and still pass; no value is no limit.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the names are the keys of the file")]
pub struct Limits {
    pub unsafe_count_max: Option<u64>,
    pub native_lines_max: Option<u64>,
    pub prebuilt_files_max: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ban {
    name: String,
    #[serde(default)]
    version: VersionReq,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    #[serde(default)]
    ask: Vec<Cause>,
    licences: Licences,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    banned: Vec<Ban>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Licences {
    allowed: Vec<String>,
    #[serde(default)]
    denied: Vec<String>,
}

impl Policy {
    /// Whether a person is asked about what is undecided for this cause.
    pub fn asks(&self, cause: Cause) -> bool {
        self.ask.contains(&cause)
    }

    /// Why a package is banned, if it is.
    pub fn ban(&self, package: &PackageId) -> Option<&str> {
        let matches = |ban: &&Ban| ban.name == package.name && ban.version.matches(&package.version);
        self.banned.iter().find(matches).map(|ban| ban.reason.as_str())
    }

    /// Judges a licence expression, in SPDX form or in the older one with `/` for `OR`.
    pub fn judge_licence(&self, expression: &str) -> Judgement {
        let parsed = match Expression::parse_mode(expression, ParseMode::LAX) {
            Ok(parsed) => parsed,
            Err(error) => {
                let reason = format!("licence `{expression}` is no SPDX expression: {}", error.reason);
                return Judgement { verdict: Verdict::Undecided, cause: Cause::Licence, reason };
            }
        };
        let verdict = self.evaluate(&parsed);
        let reason = match verdict {
            Verdict::Allowed => format!("licence `{expression}` is allowed"),
            Verdict::Undecided => format!("licence `{expression}` needs {}", self.named(&parsed, Verdict::Undecided)),
            Verdict::Denied => format!("licence `{expression}` is denied for {}", self.named(&parsed, Verdict::Denied)),
        };
        Judgement { verdict, cause: Cause::Licence, reason }
    }

    fn evaluate(&self, expression: &Expression) -> Verdict {
        let mut operands = Vec::new();
        // The nodes come in postfix order, and the parser has checked that each operator has its operands.
        for node in expression.iter() {
            let verdict = match node {
                ExprNode::Req(requirement) => self.judge_one(&requirement.req),
                ExprNode::Op(operator) => match (operator, operands.pop(), operands.pop()) {
                    (Operator::And, Some(right), Some(left)) => Verdict::max(left, right),
                    (Operator::Or, Some(right), Some(left)) => Verdict::min(left, right),
                    (Operator::And | Operator::Or, ..) => Verdict::Undecided,
                },
            };
            operands.push(verdict);
        }
        operands.pop().unwrap_or(Verdict::Undecided)
    }

    fn judge_one(&self, licence: &LicenseReq) -> Verdict {
        let named_in = |list: &[Licensee]| list.iter().any(|licensee| licensee.satisfies(licence));
        match (named_in(&self.allowed), named_in(&self.denied)) {
            (true, _) => Verdict::Allowed,
            (false, true) => Verdict::Denied,
            (false, false) => Verdict::Undecided,
        }
    }

    fn named(&self, expression: &Expression, verdict: Verdict) -> String {
        let requirements = expression.requirements().filter(|requirement| self.judge_one(&requirement.req) == verdict);
        let names: Vec<String> = requirements.map(|requirement| format!("`{}`", requirement.req)).collect();
        let tail = if verdict == Verdict::Undecided { ", of which the policy says nothing" } else { "" };
        format!("{}{tail}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use cargo_metadata::semver::Version;

    use super::*;

    fn policy() -> Policy {
        PolicyText::built_in().parse().expect("the built-in policy")
    }

    fn check(expression: &str, expected: Verdict) {
        let judgement = policy().judge_licence(expression);
        assert_eq!(judgement.verdict, expected, "{}", judgement.reason);
    }

    fn refused(text: &str) -> String {
        let policy = PolicyText { file: "my.toml".to_owned(), text: text.to_owned() };
        policy.parse().expect_err("a bad policy").to_string()
    }

    #[test]
    fn one_allowed_choice_is_enough() {
        check("MIT", Verdict::Allowed);
        check("MIT OR Apache-2.0", Verdict::Allowed);
        check("GPL-3.0-only OR MIT", Verdict::Allowed);
        check("LicenseRef-own OR ISC", Verdict::Allowed);
    }

    #[test]
    fn every_part_has_to_be_allowed() {
        check("(MIT OR Apache-2.0) AND Unicode-3.0", Verdict::Allowed);
        check("MIT AND GPL-3.0-only", Verdict::Denied);
        check("MIT AND LicenseRef-own", Verdict::Undecided);
        check("LicenseRef-own AND GPL-3.0-only", Verdict::Denied);
    }

    #[test]
    fn the_slash_is_read_as_or() {
        check("MIT/Apache-2.0", Verdict::Allowed);
        check("GPL-3.0-only / AGPL-3.0-only", Verdict::Denied);
    }

    #[test]
    fn an_exception_counts_as_part_of_the_licence() {
        check("Apache-2.0 WITH LLVM-exception OR MPL-2.0", Verdict::Allowed);
        check("GPL-2.0-only WITH Classpath-exception-2.0", Verdict::Undecided);
    }

    #[test]
    fn what_the_policy_does_not_name_is_undecided() {
        check("MPL-2.0", Verdict::Undecided);
        check("GPL-3.0-only OR MPL-2.0", Verdict::Undecided);
        check("My Own Licence", Verdict::Undecided);
        check("", Verdict::Undecided);
        check("MIT AND", Verdict::Undecided);
    }

    #[test]
    fn a_ban_holds_for_its_versions() {
        let package = |name: &str, version| PackageId {
            name: name.into(),
            version: Version::parse(version).expect("a version"),
            source: "path".into(),
        };
        assert!(policy().ban(&package("failure", "0.1.8")).is_some());
        assert!(policy().ban(&package("time", "0.1.45")).is_some());
        assert!(policy().ban(&package("time", "0.3.41")).is_none());
        assert!(policy().ban(&package("serde", "1.0.0")).is_none());
    }

    #[test]
    fn a_bad_policy_is_refused_by_file_and_key() {
        let licence = refused("[licences]\nallowed = ['MIT', 'Mitt']");
        assert!(licence.contains("my.toml") && licence.contains("licences.allowed[1]"), "{licence}");
        let both = refused("[licences]\nallowed = ['MIT']\ndenied = ['MIT']");
        assert!(both.contains("licences.denied[0]"), "{both}");
        let unknown = refused("[licences]\nallowed = []\nalowed = []");
        assert!(unknown.contains("my.toml") && unknown.contains("`alowed`"), "{unknown}");
        let kind = refused("[licences]\nallowed = []\n[limits]\nunsafe_count_max = 'many'");
        assert!(kind.contains("unsafe_count_max"), "{kind}");
        let ask = refused("ask = ['ban']\n[licences]\nallowed = []");
        assert!(ask.contains("unknown variant `ban`") && ask.contains("build_script"), "{ask}");
        let version = refused("[licences]\nallowed = []\n[[banned]]\nname = 'x'\nversion = 'new'\nreason = ''");
        assert!(version.contains("version = 'new'"), "{version}");
        assert!(refused("").contains("licences"));
    }
}
