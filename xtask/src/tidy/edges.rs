//! Rule: which crate of the workspace may depend on which. `RULES` is the whole answer.

use super::Finding;
use crate::workspace::{Dependency, Package};

/// What one crate may use, of the crates of this workspace.
struct Rule {
    /// A name, or with `*` at the end the beginning of several.
    name: &'static str,
    /// In any table of its manifest.
    uses: &'static [&'static str],
    /// Below `[dev-dependencies]` in addition.
    tests_use: &'static [&'static str],
}

const RULES: [Rule; 14] = [
    Rule { name: "stepmark-core", uses: &[], tests_use: &["stepmark-conformance"] },
    Rule { name: "stepmark-macros", uses: &[], tests_use: &[] },
    Rule { name: "stepmark-messages", uses: &[], tests_use: &["stepmark"] },
    Rule {
        name: "stepmark-engine",
        uses: &["stepmark-core"],
        tests_use: &["stepmark-macros", "stepmark-conformance", "stepmark-store-sqlite"],
    },
    Rule {
        name: "stepmark-store-*",
        uses: &["stepmark-core"],
        tests_use: &["stepmark-conformance", "stepmark-testbed"],
    },
    Rule {
        name: "stepmark-codec",
        uses: &["stepmark-core"],
        tests_use: &["stepmark-conformance", "stepmark-store-sqlite"],
    },
    Rule { name: "stepmark-conformance", uses: &["stepmark-core"], tests_use: &[] },
    Rule {
        name: "stepmark-upkeep",
        uses: &["stepmark-core"],
        tests_use: &["stepmark-codec", "stepmark-conformance", "stepmark-store-*", "stepmark-testbed"],
    },
    // Opens stores without an engine, for programs that have none.
    Rule {
        name: "stepmark-open",
        uses: &["stepmark-codec", "stepmark-core", "stepmark-store-*"],
        tests_use: &["stepmark-conformance", "stepmark-testbed"],
    },
    Rule {
        name: "stepmark",
        uses: &[
            "stepmark-codec",
            "stepmark-conformance",
            "stepmark-core",
            "stepmark-engine",
            "stepmark-macros",
            "stepmark-open",
            "stepmark-store-*",
            "stepmark-upkeep",
        ],
        tests_use: &["stepmark-testbed"],
    },
    // Starts servers for tests and knows nothing of this workspace.
    Rule { name: "stepmark-testbed", uses: &[], tests_use: &[] },
    // Programs nobody depends on.
    Rule {
        name: "stepmark-bench",
        uses: &[
            "stepmark",
            "stepmark-core",
            "stepmark-engine",
            "stepmark-store-*",
            "stepmark-codec",
            "stepmark-conformance",
            "stepmark-open",
            "stepmark-testbed",
        ],
        tests_use: &[],
    },
    Rule { name: "stepmark-sim", uses: &["stepmark", "stepmark-core", "stepmark-conformance"], tests_use: &[] },
    Rule { name: "xtask", uses: &["stepmark-testbed"], tests_use: &[] },
];

pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    packages.iter().flat_map(|package| check_package(package, packages)).collect()
}

fn check_package(package: &Package, members: &[Package]) -> Vec<Finding> {
    let Some(rule) = rule_of(&package.name) else {
        return vec![finding(package, "has no line in the table of allowed edges")];
    };
    let is_ours = |name: &str| members.iter().any(|member| member.name == name);
    let ours = package.dependencies.iter().filter(|dependency| is_ours(&dependency.name));
    ours.filter_map(|dependency| remark(rule, &package.name, dependency))
        .map(|message| finding(package, &message))
        .collect()
}

fn remark(rule: &Rule, from: &str, dependency: &Dependency) -> Option<String> {
    let to = &dependency.name;
    if !dependency.dev {
        return (!names(rule.uses, to)).then(|| format!("may not depend on {to}"));
    }
    if !names(rule.uses, to) && !names(rule.tests_use, to) {
        return Some(format!("may not depend on {to}, not even in tests"));
    }
    // cargo publishes such a pair only when the edge back has no version to look up.
    let closes_cycle = rule_of(to).is_some_and(|back| names(back.uses, from));
    (closes_cycle && dependency.requirement != "*")
        .then(|| format!("depends in tests on {to}, which depends on it: name it by path alone, no version"))
}

fn rule_of(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| matches(rule.name, name))
}

fn names(patterns: &[&str], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

fn finding(package: &Package, message: &str) -> Finding {
    Finding { path: "Cargo.toml".to_owned(), line: None, message: format!("{} {message}", package.name) }
}

#[cfg(test)]
mod tests {
    use super::{Dependency, Package, check};

    const MEMBERS: [&str; 9] = [
        "stepmark-core",
        "stepmark-macros",
        "stepmark-messages",
        "stepmark-engine",
        "stepmark-store-sqlite",
        "stepmark-store-postgres",
        "stepmark-conformance",
        "stepmark",
        "xtask",
    ];

    /// Messages for a workspace of `MEMBERS` where one depends on another.
    fn messages(from: &str, to: &str, dev: bool, requirement: &str) -> Vec<String> {
        let edge = || Dependency { name: to.to_owned(), dev, requirement: requirement.to_owned() };
        let package = |name: &str| {
            let dependencies = if name == from { vec![edge()] } else { Vec::new() };
            Package { name: name.to_owned(), dependencies }
        };
        check(&MEMBERS.map(package)).into_iter().map(|finding| finding.message).collect()
    }

    fn is_refused(from: &str, to: &str) -> bool {
        !messages(from, to, false, "^0.1.0").is_empty()
    }

    fn is_refused_in_tests(from: &str, to: &str) -> bool {
        !messages(from, to, true, "*").is_empty()
    }

    #[test]
    fn only_the_listed_edges_pass() {
        let allowed = [
            ("stepmark-engine", "stepmark-core"),
            ("stepmark-store-sqlite", "stepmark-core"),
            ("stepmark-store-postgres", "stepmark-core"),
            ("stepmark-conformance", "stepmark-core"),
            ("stepmark", "stepmark-core"),
            ("stepmark", "stepmark-engine"),
            ("stepmark", "stepmark-macros"),
            ("stepmark", "stepmark-store-sqlite"),
            ("stepmark", "stepmark-store-postgres"),
            ("stepmark", "stepmark-conformance"),
        ];
        for from in MEMBERS {
            for to in MEMBERS {
                assert_eq!(is_refused(from, to), !allowed.contains(&(from, to)), "{from} on {to}");
            }
        }
    }

    #[test]
    fn tests_may_use_the_kit_but_the_kit_no_store() {
        assert!(!is_refused_in_tests("stepmark-core", "stepmark-conformance"));
        assert!(!is_refused_in_tests("stepmark-store-sqlite", "stepmark-conformance"));
        assert!(!is_refused_in_tests("stepmark-messages", "stepmark"));
        assert!(is_refused_in_tests("stepmark-conformance", "stepmark-store-sqlite"));
        assert!(is_refused_in_tests("stepmark-core", "stepmark-engine"));
    }

    #[test]
    fn message_names_both_ends() {
        assert_eq!(
            messages("stepmark-store-sqlite", "stepmark-engine", false, "^0.1.0"),
            ["stepmark-store-sqlite may not depend on stepmark-engine"]
        );
    }

    #[test]
    fn edge_that_closes_a_cycle_has_no_version() {
        assert_eq!(messages("stepmark-core", "stepmark-conformance", true, "^0.1.0").len(), 1);
        assert_eq!(messages("stepmark-engine", "stepmark-conformance", true, "^0.1.0").len(), 0);
    }

    #[test]
    fn crates_of_others_are_not_judged() {
        assert!(!is_refused("stepmark-core", "serde"));
    }

    #[test]
    fn unlisted_member_is_refused() {
        let stray = Package { name: "stepmark-common".to_owned(), dependencies: Vec::new() };
        assert_eq!(check(&[stray]).len(), 1);
    }
}
