//! Where is a sub-graph found?
//!
//! Its checkpoints lie in a namespace of their own. Which of them is the sub-graph's state at a moment of the root is said
//! by rows of the root: pending ones over the tip of its branch, else those that its commits wrote along its lineage.

use std::collections::BTreeMap;

use futures_util::future::try_join;
use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::child::{ChildRow, newest_places};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BranchId, CheckpointId};
use stepmark_core::rows::BranchRow;
use tokio_postgres::Row;

use crate::history::Lineage;
use crate::queries;
use crate::read::{branch, checkpoint, known_branch};
use crate::records::{self, Space, place_name};
use crate::session::{Cells, Session, params};

/// The branch and the checkpoint at which the sub-graph of a namespace stood over `base` on the root's branch.
pub(crate) async fn place(
    session: Session<'_>,
    space: Space<'_>,
    (root, base): (BranchId, &CheckpointId),
    values: bool,
) -> Result<(BranchRow, CheckpointRow)> {
    if space.namespace.is_empty() {
        return Err(Error::invalid(Subject::Checkpoint, base, "the root is no sub-graph; name a namespace"));
    }
    let of_root = Space { namespace: "", ..space };
    let root = known_branch(session, of_root, root).await?;
    let base = checkpoint(session, of_root, base, false)
        .await?
        .ok_or_else(|| Error::missing(Subject::Checkpoint, base, ""))?;
    let own = Segments::of(session, of_root, &root, base.height).next().await?;
    if own.is_none_or(|(segment, _)| segment != base.branch) {
        return Err(Error::missing(Subject::Checkpoint, &base.id, format!("it is not on branch {}", root.id)));
    }
    let pending = pending(session, of_root, &root, &base).await?.remove(space.namespace);
    let found = match pending {
        Some(child) => Some(child),
        None => committed(session, space, &root, base.height).await?,
    };
    let none = || Error::missing(Subject::Checkpoint, space.namespace, "the sub-graph has no state there");
    standing(session, space, &found.ok_or_else(none)?, values).await
}

/// Where every sub-graph stood at a checkpoint of a root's branch, by namespace.
pub(crate) async fn of_moment(
    session: Session<'_>,
    space: Space<'_>,
    root: &BranchRow,
    base: &CheckpointRow,
) -> Result<Vec<ChildRow>> {
    let committed = async {
        let mut all = Vec::new();
        let mut segments = Segments::of(session, space, root, base.height);
        while let Some((segment, height)) = segments.next().await? {
            let key = params![space.thread, segment.get() as i64, height as i64];
            let read = |row: &Row| records::child(row, space.uid, segment);
            all.extend(session.all(queries::LOAD_CHILDREN, key, read).await?);
        }
        Ok(all)
    };
    let (mut found, committed) = try_join(pending(session, space, root, base), committed).await?;
    for child in committed {
        found.entry(child.namespace.clone()).or_insert(child);
    }
    Ok(found.into_values().collect())
}

/// What rows over the tip say; over an older checkpoint they are dead: the commit that followed says where they led.
async fn pending(
    session: Session<'_>,
    space: Space<'_>,
    root: &BranchRow,
    base: &CheckpointRow,
) -> Result<BTreeMap<String, ChildRow>> {
    if root.tip.as_ref().is_none_or(|tip| tip.id != base.id) {
        return Ok(BTreeMap::new());
    }
    let key = params![space.thread, space.namespace, base.id.to_stored(), root.id.lane().0 as i64];
    let rows = session.all(queries::LOAD_CHILD_ROWS, key, |row| records::pending(row, space, &base.id)).await?;
    Ok(newest_places(&rows)?.into_iter().map(|(namespace, place)| (namespace, place.into())).collect())
}

/// What the newest commit of the root's lineage that moved the sub-graph says.
async fn committed(session: Session<'_>, space: Space<'_>, root: &BranchRow, height: u64) -> Result<Option<ChildRow>> {
    let mut segments = Segments::of(session, Space { namespace: "", ..space }, root, height);
    while let Some((segment, height)) = segments.next().await? {
        let key = params![space.thread, segment.get() as i64, space.namespace, height as i64];
        let read = |row: &Row| records::child(row, space.uid, segment);
        let found = session.first(queries::LOAD_CHILD, key, read).await?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The checkpoint that a row names, with its branch.
async fn standing(
    session: Session<'_>,
    space: Space<'_>,
    child: &ChildRow,
    values: bool,
) -> Result<(BranchRow, CheckpointRow)> {
    let name = place_name(child.branch, child.height);
    let gone = || Error::corrupt(Subject::Checkpoint, &name, "a row names it but it is gone");
    let key = params![space.thread, space.namespace, child.branch.get() as i64, child.height as i64];
    let stored = session.first(queries::CHECK_FORK_POINT, key, |row| {
        let cells = Cells::new(row, Subject::Checkpoint, &name);
        cells.decoded(CheckpointId::from_stored(&cells.get::<Vec<u8>>(0)?))
    });
    let stored = stored.await?;
    let row = checkpoint(session, space, &stored.ok_or_else(gone)?, values).await?.ok_or_else(gone)?;
    Ok((branch(session, space, row.branch).await?.ok_or_else(gone)?, row))
}

/// The segments of a branch's lineage that have a height, or lie below it, newest first; each with the greatest height of
/// it that belongs to the lineage.
struct Segments<'a> {
    lineage: Option<Lineage<'a>>,
    height: u64,
}

impl<'a> Segments<'a> {
    fn of(session: Session<'a>, space: Space<'a>, branch: &BranchRow, height: u64) -> Self {
        Self { lineage: Some(Lineage::at(session, space, branch.clone())), height }
    }

    async fn next(&mut self) -> Result<Option<(BranchId, u64)>> {
        while let Some(walk) = &mut self.lineage {
            let (segment, fork, top) = (walk.segment.id, walk.segment.fork, self.height);
            match fork {
                None => self.lineage = None,
                Some(fork) => {
                    self.height = top.min(fork.height);
                    walk.climb(fork).await?;
                }
            }
            if fork.is_none_or(|fork| top > fork.height) {
                return Ok(Some((segment, top)));
            }
        }
        Ok(None)
    }
}
