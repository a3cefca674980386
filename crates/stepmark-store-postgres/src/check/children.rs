//! May this write grow a sub-graph, and is there what it says of others?

use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::shape::check_root;
use stepmark_core::store::{Commit, Expect};

use super::check_pending;
use crate::queries;
use crate::read::{branch, known_branch};
use crate::records::{Space, place_name};
use crate::session::{Session, params};

/// The root's branch must be what a sub-graph's commit knows of it.
pub(super) async fn check_parent(session: Session<'_>, space: Space<'_>, commit: &Commit) -> Result<()> {
    let Some(parent) = &commit.parent else { return Ok(()) };
    let of_root = Space { namespace: "", ..space };
    let root = known_branch(session, of_root, parent.root).await?;
    let own = match commit.expect {
        Expect::New => None,
        Expect::At { .. } => branch(session, space, commit.branch.id).await?,
    };
    check_root(&root, own.as_ref(), parent)?;
    check_pending(session, of_root, std::slice::from_ref(&parent.row)).await
}

/// Every checkpoint at which a commit of the root says that a sub-graph stands must be there.
pub(super) async fn check_children(session: Session<'_>, space: Space<'_>, commit: &Commit) -> Result<()> {
    for child in &commit.children {
        let key = params![space.thread, child.namespace, child.branch.get() as i64, child.height as i64];
        if !session.exists(queries::CHECK_FORK_POINT, key).await? {
            let place = place_name(child.branch, child.height);
            return Err(Error::missing(Subject::Checkpoint, place, "no sub-graph stands there"));
        }
    }
    Ok(())
}
