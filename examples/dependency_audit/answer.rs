//! Which open packages the answers of a command line are for. Nothing is stored here: either every answer fits, or the
//! first that does not is named.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use cargo_metadata::semver::Version;

use crate::approve::Reply;
use crate::error::{Error, Result};
use crate::graph::Audit;
use crate::package::PackageId;

/// `NAME=yes`, `NAME@VERSION=no`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub package: Named,
    pub allow: bool,
}

/// A package as people name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    name: String,
    version: Option<Version>,
}

/// A package that was asked about, with its reply if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub package: PackageId,
    pub reply: Option<Reply>,
}

/// What to answer, by package; what has the same answer already is left out.
pub fn choose(asked: &[Asked], audit: &Audit, answers: &[Answer]) -> Result<BTreeMap<PackageId, bool>> {
    let mut chosen = BTreeMap::new();
    for answer in answers {
        for found in find(asked, audit, &answer.package)? {
            if chosen.insert(found.package.clone(), answer.allow).is_some_and(|before| before != answer.allow) {
                return Err(Error::TwoAnswers { package: found.package.to_string() });
            }
            check_same(&found.package, found.reply.as_ref(), answer.allow)?;
        }
    }
    chosen.retain(|package, _| asked.iter().any(|it| it.package == *package && it.reply.is_none()));
    Ok(chosen)
}

/// Refuses another answer than the one that is there.
pub fn check_same(package: &PackageId, reply: Option<&Reply>, allow: bool) -> Result<()> {
    match reply {
        Some(reply) if reply.allow != allow => {
            let (package, answer) = (package.to_string(), if reply.allow { "yes" } else { "no" });
            Err(Error::OtherAnswer { package, answer, by: reply.by.clone() })
        }
        _ => Ok(()),
    }
}

/// All of one version: two sources of it are one decision.
fn find<'a>(asked: &'a [Asked], audit: &Audit, named: &Named) -> Result<Vec<&'a Asked>> {
    let found: Vec<&Asked> = asked.iter().filter(|it| named.is(&it.package)).collect();
    let Some(first) = found.first() else {
        let finding = audit.findings.iter().find(|finding| named.is(&finding.package));
        return Err(match finding {
            Some(finding) => Error::NotAsked { package: finding.package.to_string(), verdict: finding.verdict },
            None => Error::UnknownPackage { package: named.to_string() },
        });
    };
    if found.iter().any(|it| it.package.version != first.package.version) {
        let versions = found.iter().map(|it| it.package.version.to_string()).collect::<Vec<_>>().join(", ");
        return Err(Error::SeveralVersions { package: named.to_string(), versions });
    }
    Ok(found)
}

/// Reads `yes` and `no`.
pub fn yes_or_no(text: &str) -> std::result::Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(format!("`{text}` is neither yes nor no")),
    }
}

impl FromStr for Answer {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (package, answer) = text.rsplit_once('=').ok_or("it has the form PACKAGE=yes or PACKAGE=no")?;
        let (name, version) = match package.split_once('@') {
            Some((name, version)) => (name, Some(Version::parse(version).map_err(|error| error.to_string())?)),
            None => (package, None),
        };
        if name.is_empty() {
            return Err("it names no package".to_owned());
        }
        Ok(Self { package: Named { name: name.to_owned(), version }, allow: yes_or_no(answer)? })
    }
}

impl Named {
    fn is(&self, package: &PackageId) -> bool {
        self.name == package.name && self.version.as_ref().is_none_or(|version| *version == package.version)
    }
}

impl fmt::Display for Named {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(out, "{}@{version}", self.name),
            None => out.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assess::Finding;
    use crate::policy::Verdict;
    use crate::samples;

    fn open(name: &str, version: &str) -> Asked {
        let version = Version::parse(version).expect("a version");
        Asked { package: PackageId { version, ..samples::id(name) }, reply: None }
    }

    /// Two versions of `ant` and one `bee` are asked about; `cow` is allowed.
    fn choose(answers: &[&str]) -> std::result::Result<Vec<(String, bool)>, String> {
        let said = Reply { allow: true, by: "ada".into(), note: None };
        let bee = Asked { reply: Some(said), ..open("bee", "1.0.0") };
        let asked = [open("ant", "1.0.0"), open("ant", "2.0.0"), bee];
        let cow = Finding { package: samples::id("cow"), verdict: Verdict::Allowed, reasons: vec![], is_open: false };
        let audit = Audit { findings: vec![cow], ..Audit::default() };
        let answers: Vec<Answer> = answers.iter().map(|text| text.parse().expect("an answer")).collect();
        let chosen = super::choose(&asked, &audit, &answers).map_err(|error| error.to_string())?;
        Ok(chosen.into_iter().map(|(package, allow)| (package.to_string(), allow)).collect())
    }

    #[test]
    fn an_answer_reaches_the_package_that_it_names() {
        let chosen = choose(&["ant@1.0.0=yes", "ant@2.0.0=no"]);
        assert_eq!(chosen, Ok(vec![("ant 1.0.0".into(), true), ("ant 2.0.0".into(), false)]));
        assert_eq!(choose(&[]), Ok(vec![]));
    }

    #[test]
    fn the_same_answer_again_is_fine_and_another_is_refused() {
        assert_eq!(choose(&["bee=yes", "bee@1.0.0=yes"]), Ok(vec![]));
        let refused = choose(&["bee=no"]).expect_err("another answer");
        assert!(refused.contains("bee 1.0.0") && refused.contains("yes by ada"), "{refused}");
        let refused = choose(&["ant@1.0.0=yes", "ant@1.0.0=no"]).expect_err("two answers");
        assert!(refused.contains("ant 1.0.0"), "{refused}");
    }

    #[test]
    fn what_was_not_asked_is_refused_by_name() {
        let check = |answer: &str, part: &str| {
            let refused = choose(&["ant@1.0.0=yes", answer]).expect_err("refused");
            assert!(refused.contains(part), "{refused}");
        };
        check("dog=yes", "`dog`");
        check("ant@3.0.0=yes", "`ant@3.0.0`");
        check("cow=no", "`cow 1.0.0`");
        check("cow=no", "allowed");
        check("ant=yes", "1.0.0, 2.0.0");
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for text in ["ant", "ant=", "ant=maybe", "=yes", "ant@new=yes"] {
            assert!(text.parse::<Answer>().is_err(), "{text}");
        }
    }
}
