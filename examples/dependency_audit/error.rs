//! What can go wrong in an audit as a whole. What is wrong with one package is a finding, not an error.

use std::io;
use std::path::{Path, PathBuf};

use stepmark::NodeError;

use crate::policy::Verdict;

/// Result of everything in the audit that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// An audit that cannot go on; each message names the file, the command or the thread.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot run `{command}`")]
    Spawn { command: &'static str, source: io::Error },
    #[error("`{command}` failed for {}: {reason}", manifest.display())]
    Cargo { command: &'static str, manifest: PathBuf, reason: String },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{file} is not a policy: {reason}")]
    PolicySyntax { file: String, reason: String },
    #[error("{file}: `{key}` {reason}")]
    PolicyValue { file: String, key: String, reason: String },
    #[error("no audit has run in thread `{thread}` of {}", db.display())]
    NoAudit { thread: String, db: PathBuf },
    #[error("thread `{thread}` holds the audit of {}: give another `--thread`, or `--fresh`", manifest.display())]
    OtherWorkspace { thread: String, manifest: PathBuf },
    #[error("thread `{thread}` began under another policy: give another `--thread`, or `--fresh`")]
    OtherPolicy { thread: String },
    #[error("every name like `{thread}` is taken: give another `--thread`")]
    NoFreshName { thread: String },
    #[error("`{package}` is no package of this audit")]
    UnknownPackage { package: String },
    #[error("`{package}` was not asked about: the policy says that it is {verdict}")]
    NotAsked { package: String, verdict: Verdict },
    #[error("`{package}` is open in versions {versions}: say {package}@VERSION")]
    SeveralVersions { package: String, versions: String },
    #[error("`{package}` is answered twice, yes and no")]
    TwoAnswers { package: String },
    #[error("`{package}` was answered {answer} by {by}, and that stays")]
    OtherAnswer { package: String, answer: &'static str, by: String },
    #[error("the audit in thread `{thread}` went on in another process meanwhile: run it again")]
    WentOn { thread: String },
    #[error("the audit in thread `{thread}` has judged nothing yet: run it first, without `--fork-policy`")]
    NotJudged { thread: String },
    #[error("cannot talk to the terminal")]
    Terminal { source: io::Error },
    #[error("{reason}\nthe audit stopped in `{node}`; run it again to go on from there")]
    Stopped { node: String, reason: NodeError },
    #[error("cannot open {}", path.display())]
    Open { path: PathBuf, source: stepmark::store::Error },
    #[error(transparent)]
    Engine(stepmark::Error),
}

impl From<stepmark::Error> for Error {
    fn from(error: stepmark::Error) -> Self {
        match error.failure() {
            Some(failure) => Self::Stopped { node: failure.node.clone(), reason: failure.error.clone() },
            None => Self::Engine(error),
        }
    }
}

/// Reads a file whole.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}
