//! Which branch and which checkpoint does a load mean?
//!
//! One statement finds them with their thread. Where something is not there, they are looked for one after another, which
//! tells what is missing.

use futures_util::future::try_join;
use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BranchId, CheckpointId};
use stepmark_core::rows::{BranchRow, ThreadRow};
use stepmark_core::store::{Channels, Load, Place, ThreadAddress};
use tokio_postgres::Row;

use crate::read::{branch, checkpoint, find_thread, known_branch};
use crate::records::{self, Space};
use crate::session::{Columns, Param, Session, params};
use crate::{children, queries};

/// A thread's number and row, and a place in it.
pub(crate) struct Found {
    pub(crate) number: i64,
    pub(crate) thread: ThreadRow,
    pub(crate) branch: BranchRow,
    pub(crate) checkpoint: Option<CheckpointRow>,
}

/// What a load means.
pub(crate) async fn find(session: Session<'_>, load: &Load) -> Result<Found> {
    if let Some(found) = find_at_once(session, load).await? {
        return Ok(found);
    }
    let (number, thread) = find_thread(session, &load.thread).await?;
    let space = Space { thread: number, uid: thread.uid, namespace: &load.namespace };
    let (branch, checkpoint) = place(session, space, &thread, load).await?;
    Ok(Found { number, thread, branch, checkpoint })
}

async fn find_at_once(session: Session<'_>, load: &Load) -> Result<Option<Found>> {
    let (uid, scope, name) = match &load.thread {
        ThreadAddress::Uid(uid) => (Some(&uid.0[..]), None, None),
        ThreadAddress::Name { scope, name } => (None, Some(scope), Some(name)),
    };
    let values = load.channels != Channels::None;
    let (sql, branch, what): (_, Option<BranchId>, Box<dyn Param + '_>) = match &load.place {
        Place::Head => (queries::LOAD_TIP, None, Box::new(None::<&str>)),
        Place::Branch(id) => (queries::LOAD_TIP, Some(*id), Box::new(None::<&str>)),
        Place::Named(name) => (queries::LOAD_TIP, None, Box::new(name)),
        Place::Checkpoint(id) => (queries::LOAD_MOMENT, None, Box::new(id.to_stored())),
        Place::Moment { branch, checkpoint } => (queries::LOAD_MOMENT, Some(*branch), Box::new(checkpoint.to_stored())),
        Place::Child { .. } => return Ok(None),
    };
    let branch = branch.map(|branch| branch.get() as i64);
    let key = params![uid, scope, name, load.namespace, values, branch];
    let key: Vec<&dyn Param> = key.iter().copied().chain([&*what as &dyn Param]).collect();
    Ok(session.first(sql, &key, |row| whole(row, load, values)).await?.flatten())
}

/// What a row holds side by side, if that is all that the load means.
fn whole(row: &Row, load: &Load, values: bool) -> Result<Option<Found>> {
    let (number, thread) = records::thread(row)?;
    let space = Space { thread: number, uid: thread.uid, namespace: &load.namespace };
    let (branch, checkpoint) = (Columns::from(row, 7), Columns::from(row, 17));
    if !branch.is_there()? {
        return Ok(None);
    }
    let branch = records::branch(branch, space)?;
    if checkpoint.is_there()? {
        let (_, checkpoint) = records::checkpoint(checkpoint, space, values)?;
        return Ok(Some(Found { number, thread, branch, checkpoint: Some(checkpoint) }));
    }
    let is_tip = matches!(load.place, Place::Head | Place::Branch(_) | Place::Named(_));
    let is_bare = is_tip && branch.tip.is_none();
    Ok(is_bare.then_some(Found { number, thread, branch, checkpoint: None }))
}

/// The first name of a branch. Rows that led to it and are not part of the answer are verified beside.
pub(crate) async fn name_of(
    session: Session<'_>,
    space: Space<'_>,
    (thread, row): (&ThreadRow, &BranchRow),
    place: &Place,
) -> Result<Option<String>> {
    let led = async {
        match place {
            Place::Named(name) => match named(session, space, name).await? {
                id if id == row.id => Ok(()),
                id => Err(Error::corrupt(Subject::Branch, id, "its name led elsewhere")),
            },
            // It could have been the head's tip.
            Place::Checkpoint(_) if row.id != thread.head => branch(session, space, thread.head).await.map(drop),
            _ => Ok(()),
        }
    };
    let key = params![space.thread, row.id.get() as i64];
    let name = session.first(queries::LOAD_REF_BY_BRANCH, key, |row| records::branch_name(row, space.uid));
    let ((), name) = try_join(led, name).await?;
    Ok(name.map(|(name, _)| name))
}

async fn named(session: Session<'_>, space: Space<'_>, name: &str) -> Result<BranchId> {
    let read = |row: &Row| records::branch_name(row, space.uid);
    let named = session.first(queries::LOAD_REF_BY_NAME, params![space.thread, name], read).await?;
    named.map(|(_, id)| id).ok_or_else(|| Error::missing(Subject::Branch, name, ""))
}

/// A branch that another row names. The head and the refs of a thread name branches of its root namespace.
async fn named_by_row(session: Session<'_>, space: Space<'_>, id: BranchId) -> Result<BranchRow> {
    let gone = || match space.namespace {
        "" => Error::corrupt(Subject::Branch, id, "its thread names it but it is gone"),
        _ => Error::missing(Subject::Branch, id, ""),
    };
    branch(session, space, id).await?.ok_or_else(gone)
}

type BranchAndTip = (BranchRow, Option<CheckpointRow>);

async fn place(session: Session<'_>, space: Space<'_>, thread: &ThreadRow, load: &Load) -> Result<BranchAndTip> {
    let values = load.channels != Channels::None;
    let branch = match &load.place {
        Place::Head => named_by_row(session, space, thread.head).await?,
        Place::Branch(id) => known_branch(session, space, *id).await?,
        Place::Named(name) => named_by_row(session, space, named(session, space, name).await?).await?,
        Place::Checkpoint(id) => return place_of_checkpoint(session, space, (thread.head, id), values).await,
        Place::Moment { branch, checkpoint: id } => {
            let row = checkpoint(session, space, id, values).await?;
            let row = row.ok_or_else(|| Error::missing(Subject::Checkpoint, id, ""))?;
            return Ok((known_branch(session, space, *branch).await?, Some(row)));
        }
        Place::Child { root, base } => {
            let (branch, row) = children::place(session, space, (*root, base), values).await?;
            return Ok((branch, Some(row)));
        }
    };
    let Some(tip) = &branch.tip else { return Ok((branch, None)) };
    let row = checkpoint(session, space, &tip.id, values).await?;
    let row = row.ok_or_else(|| Error::corrupt(Subject::Checkpoint, &tip.id, "a branch names it but it is gone"))?;
    Ok((branch, Some(row)))
}

async fn place_of_checkpoint(
    session: Session<'_>,
    space: Space<'_>,
    (head, id): (BranchId, &CheckpointId),
    values: bool,
) -> Result<BranchAndTip> {
    let row = checkpoint(session, space, id, values).await?;
    let row = row.ok_or_else(|| Error::missing(Subject::Checkpoint, id, ""))?;
    let head = branch(session, space, head).await?;
    if let Some(head) = head.filter(|head| head.tip.as_ref().is_some_and(|tip| tip.id == *id)) {
        return Ok((head, Some(row)));
    }
    let own = branch(session, space, row.branch).await?;
    let own = own.ok_or_else(|| Error::corrupt(Subject::Branch, row.branch, "a checkpoint names it but it is gone"))?;
    Ok((own, Some(row)))
}
