//! Rule: nothing in the tree names the machine it was written on: no absolute path of one, no
//! registry but the public.

use super::Finding;
use super::tree::SourceFile;

// Spelled in two parts, so that this file passes its own rule.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
const REGISTRY_SETTINGS: [&str; 3] =
    [concat!("replace", "-with"), concat!("[regis", "tries"), concat!("sparse", "+http")];
const PUBLIC_REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(super) fn check(file: &SourceFile) -> Vec<Finding> {
    let is_lock = file.path == "Cargo.lock";
    let remark = |line: &str| {
        machine_path(line).or_else(|| registry_setting(line)).or_else(|| foreign_source(line).filter(|_| is_lock))
    };
    file.lines().filter_map(|(number, line)| Some(file.finding(number, remark(line)?))).collect()
}

fn machine_path(line: &str) -> Option<String> {
    // After a word, `.`, `~` or `}` it is a part of a longer, relative path.
    let is_inside = |before: char| is_word_part(before) || ".-~}".contains(before);
    let hit = MACHINE_PATHS
        .into_iter()
        .find(|path| occurrences(line, path).any(|(before, _)| !before.is_some_and(is_inside)))?;
    Some(format!("`{hit}` is a path of one machine"))
}

fn registry_setting(line: &str) -> Option<String> {
    let hit = REGISTRY_SETTINGS.into_iter().find(|setting| line.contains(setting))?;
    Some(format!("`{hit}` points at another registry than the public one"))
}

fn foreign_source(line: &str) -> Option<String> {
    let source = line.strip_prefix("source = \"")?.trim_end_matches('"');
    (source != PUBLIC_REGISTRY).then(|| format!("`{source}` is not the public registry"))
}

/// Where `word` stands in `line`: the character before it and the text behind it.
pub(super) fn occurrences<'line>(
    line: &'line str,
    word: &'static str,
) -> impl Iterator<Item = (Option<char>, &'line str)> {
    line.match_indices(word).map(move |(at, _)| (line[..at].chars().next_back(), &line[at + word.len()..]))
}

pub(super) fn is_word_part(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::{MACHINE_PATHS, PUBLIC_REGISTRY, REGISTRY_SETTINGS, SourceFile, check};

    fn is_refused(path: &str, line: &str) -> bool {
        !check(&SourceFile::new(path, line)).is_empty()
    }

    #[test]
    fn every_machine_path_is_refused() {
        for path in MACHINE_PATHS {
            assert!(is_refused("README.md", &format!("see {path}x")), "{path}");
            assert!(is_refused("a.rs", &format!("open(\"file://{path}x\")")), "{path}");
        }
    }

    #[test]
    fn part_of_a_relative_path_passes() {
        for path in MACHINE_PATHS {
            assert!(!is_refused("a.rs", &format!("docs{path}x")), "{path}");
            assert!(!is_refused("a.rs", &format!("{{directory}}{path}x")), "{path}");
        }
    }

    #[test]
    fn other_registry_is_refused() {
        for setting in REGISTRY_SETTINGS {
            assert!(is_refused(".cargo/config.toml", setting), "{setting}");
        }
        assert!(is_refused("Cargo.lock", "source = \"registry+https://mirror.example/index\""));
    }

    #[test]
    fn public_registry_passes() {
        assert!(!is_refused("Cargo.lock", &format!("source = \"{PUBLIC_REGISTRY}\"")));
    }
}
