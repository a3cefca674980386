//! What a person is asked about a package, and what is known of the answers before their step ends.

use std::fmt;

use serde::{Deserialize, Serialize};
use stepmark::run::BranchId;
use stepmark::store::CheckpointStore;
use stepmark::{Checkpoints, Question};

use crate::graph::Audit;
use crate::package::PackageId;

/// May this package stay? The policy leaves it open.
#[derive(Question, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[question("approve", answer = Reply)]
pub struct Approve {
    pub package: PackageId,
    /// As its manifest declares it.
    pub licence: Option<String>,
    /// Why the policy leaves it open.
    pub reasons: Vec<String>,
}

/// What a person says of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    pub allow: bool,
    pub by: String,
    pub note: Option<String>,
}

impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} by {}", if self.allow { "allowed" } else { "denied" }, self.by)?;
        self.note.as_ref().map_or(Ok(()), |note| write!(out, " ({note})"))
    }
}

impl fmt::Display for Approve {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let licence = self.licence.as_deref().map_or_else(|| "no licence expression".to_owned(), plain);
        write!(out, "{} ({licence})", self.package)?;
        self.reasons.iter().try_for_each(|reason| write!(out, "\n  {}", plain(reason)))
    }
}

/// Text of other people as a terminal can show it: nothing in it moves the cursor.
pub fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// A reply and the package that it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub package: PackageId,
    pub reply: Reply,
}

/// The questions about the packages that the policy leaves open, in their order.
pub fn questions(audit: &Audit) -> Vec<Approve> {
    let licence = |id: &PackageId| audit.packages.iter().find(|package| package.id == *id)?.licence.clone();
    let open = audit.findings.iter().filter(|finding| finding.is_open);
    open.map(|finding| Approve {
        package: finding.package.clone(),
        licence: licence(&finding.package),
        reasons: finding.reasons.clone(),
    })
    .collect()
}

/// Replies that have arrived. They enter the state together, when the last one is there; here each can be looked up before,
/// from any process.
#[derive(Debug, Clone)]
pub struct Notebook(Checkpoints<Reply>);

impl Notebook {
    pub fn new(store: impl CheckpointStore) -> Self {
        Self(Checkpoints::new(store))
    }

    /// Notes a reply. Noting the same again changes nothing.
    pub async fn note(&self, page: Page<'_>, reply: &Reply) -> stepmark::Result<()> {
        self.0.save(&page.name(), reply).await.map(drop)
    }

    pub async fn find(&self, page: Page<'_>) -> stepmark::Result<Option<Reply>> {
        self.0.load(&page.name()).await
    }
}

/// Where a reply is noted: each branch of an audit has answers of its own.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    pub thread: &'a str,
    pub branch: BranchId,
    pub package: &'a PackageId,
}

impl Page<'_> {
    /// A hash, because names have a limit and three of them together may not keep it.
    fn name(self) -> String {
        let mut hasher = blake3::Hasher::new();
        let PackageId { name, version, source } = self.package;
        for part in [self.thread, &self.branch.to_string(), name, &version.to_string(), source] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        format!("reply-{}", &hasher.finalize().to_hex()[..32])
    }
}
