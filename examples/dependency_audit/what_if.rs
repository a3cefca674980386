//! The same audit under another policy, on a branch of its own: it leaves the first one where everything is inspected and
//! nothing is judged. Each step of it finds what an earlier process has done, so that a crash costs nothing.

use std::path::Path;

use stepmark::{ErrorKind, Thread};

use crate::error::Result;
use crate::graph::Audit;
use crate::meter::{Meter, Point};
use crate::policy::PolicyText;

/// How much of the file's name is part of the branch's.
const STEM_CHARS_MAX: usize = 40;

/// Returns the name of the policy's file and eight hex digits of the hash of its text: `strict-1a2b3c4d`.
pub fn branch_name(policy: &PolicyText) -> String {
    let stem = Path::new(&policy.file).file_stem().unwrap_or_default().to_string_lossy();
    let kept = stem.chars().map(|it| if it.is_alphanumeric() || "-_.".contains(it) { it } else { '-' });
    let stem: String = kept.take(STEM_CHARS_MAX).collect();
    format!("{stem}-{}", &blake3::hash(policy.text.as_bytes()).to_hex()[..8])
}

/// Returns the branch on which the other policy holds: nothing is judged there yet, unless an earlier process went on.
/// Nothing is inspected again on it. Absent while the first policy has judged nothing.
pub async fn branch(thread: &Thread<Audit>, policy: &PolicyText, meter: &Meter) -> Result<Option<Thread<Audit>>> {
    if thread.state().await?.state().findings.is_empty() {
        return Ok(None);
    }
    let inspected = thread.history().await?.into_iter().find(|checkpoint| checkpoint.next == ["assess"]);
    let Some(inspected) = inspected else { return Ok(None) };
    let name = branch_name(policy);
    match inspected.fork(&name).await {
        Ok(_) => meter.pass(Point::Fork),
        Err(error) if error.kind() == ErrorKind::Exists => {}
        Err(error) => return Err(error.into()),
    }
    let branch = thread.branch(name);
    if branch.state().await?.state().policy.text != policy.text {
        branch.update(|audit| audit.policy.set(policy.clone())).as_node("inspect").await?;
    }
    Ok(Some(branch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(file: &str, text: &str) -> String {
        branch_name(&PolicyText { file: file.into(), text: text.into() })
    }

    #[test]
    fn the_name_tells_the_file_and_the_text() {
        let strict = name("policies/strict.toml", "a");
        assert!(strict.starts_with("strict-") && strict.len() == "strict-".len() + 8, "{strict}");
        assert_eq!(strict, name("strict.toml", "a"));
        assert_ne!(strict, name("strict.toml", "b"));
        assert!(name("a/my policy\n.toml", "a").starts_with("my-policy--"));
        assert_eq!(name(&"x".repeat(300), "a").len(), STEM_CHARS_MAX + 9);
    }
}
