//! Which branch and which checkpoint does a load mean?
//!
//! One statement finds them with their thread and what lies there. Where something is not there, they are looked for one
//! after another, which tells what is missing.

use futures_util::future::try_join3;
use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BranchId, CheckpointId};
use stepmark_core::pending::PendingRow;
use stepmark_core::rows::{BranchRow, ThreadRow};
use stepmark_core::store::{Channels, Load, Place, ThreadAddress};
use tokio_postgres::Row;

use crate::read::{branch, checkpoint, find_thread, known_branch};
use crate::records::{self, Space, place_name};
use crate::session::{Cells, Columns, Param, Session, params};
use crate::{children, queries};

/// A thread's number and row, and a place in it.
pub(crate) struct Found {
    pub(crate) number: i64,
    pub(crate) thread: ThreadRow,
    pub(crate) branch: BranchRow,
    pub(crate) checkpoint: Option<CheckpointRow>,
    /// What lies at the place, where it came along.
    pub(crate) beside: Option<Beside>,
}

/// What a load brings beside its place.
pub(crate) struct Beside {
    /// The first name of the branch.
    pub(crate) name: Option<String>,
    /// The greatest ordinal of values that lie over the checkpoint.
    pub(crate) last_ordinal: Option<u32>,
    /// The rows that hang on the checkpoint, where they were asked for.
    pub(crate) pending: Vec<PendingRow>,
}

/// Whether a load is one statement, and one more for values that lie elsewhere: all of one moment without a transaction,
/// because values never change.
pub(crate) fn is_direct(load: &Load) -> bool {
    let rows = load.branches || load.tags || load.graph || load.children || load.effects || load.run.is_some();
    !rows && matches!(load.place, Place::Head | Place::Branch(_))
}

/// What a load means.
pub(crate) async fn find(session: Session<'_>, load: &Load) -> Result<Found> {
    if let Some(found) = find_at_once(session, load).await? {
        return Ok(found);
    }
    let (number, thread) = find_thread(session, &load.thread).await?;
    let space = Space { thread: number, uid: thread.uid, namespace: &load.namespace };
    let (branch, checkpoint) = place(session, space, &thread, load).await?;
    Ok(Found { number, thread, branch, checkpoint, beside: None })
}

/// The same, if one statement finds it.
pub(crate) async fn find_at_once(session: Session<'_>, load: &Load) -> Result<Option<Found>> {
    let (by, uid, scope, name) = match &load.thread {
        ThreadAddress::Uid(uid) => (0, Some(&uid.0[..]), None, None),
        ThreadAddress::Name { scope, name } => (1, None, Some(scope), Some(name)),
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
    let key: Vec<&dyn Param> = key.iter().copied().chain([&*what, &load.pending as &dyn Param]).collect();
    match (session.first(sql[by], &key, |row| whole(row, load, values)).await?, &load.thread) {
        (Some(found), _) => Ok(found),
        (None, ThreadAddress::Uid(_)) => Ok(None),
        (None, ThreadAddress::Name { name, .. }) => Err(Error::missing(Subject::Thread, name, "")),
    }
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
    let checkpoint =
        if checkpoint.is_there()? { Some(records::checkpoint(checkpoint, space, values)?.1) } else { None };
    let is_tip = matches!(load.place, Place::Head | Place::Branch(_) | Place::Named(_));
    if checkpoint.is_none() && !(is_tip && branch.tip.is_none()) {
        return Ok(None);
    }
    let beside = Some(beside(row, (space, branch.id), checkpoint.as_ref())?);
    Ok(Some(Found { number, thread, branch, checkpoint, beside }))
}

fn beside(row: &Row, (space, branch): (Space<'_>, BranchId), tip: Option<&CheckpointRow>) -> Result<Beside> {
    let name = Columns::from(row, 27);
    let name = if name.is_there()? { Some(records::branch_name(name, space.uid)?.0) } else { None };
    let cells = Cells::new(row, Subject::Value, branch);
    let last_ordinal = cells.get::<Option<i64>>(30)?.map(|_| cells.number32(30)).transpose()?;
    let pending = tip.map(|tip| records::pending_lists(Columns::from(row, 31), space, &tip.id));
    Ok(Beside { name, last_ordinal, pending: pending.transpose()?.unwrap_or_default() })
}

/// The rows that lie at a place that was found step by step.
pub(crate) async fn beside_of(
    session: Session<'_>,
    space: Space<'_>,
    (branch, tip): (BranchId, Option<&CheckpointRow>),
    pending: bool,
) -> Result<Beside> {
    let height = tip.map_or(0, |row| row.height + 1);
    let hanging = async {
        let Some(tip) = tip.filter(|_| pending) else { return Ok(Vec::new()) };
        let key = params![space.thread, space.namespace, tip.id.to_stored(), branch.lane().0 as i64];
        session.all(queries::LOAD_PENDING, key, |row| records::pending(row, space, &tip.id)).await
    };
    let values = params![space.thread, space.namespace, branch.get() as i64, height as i64];
    let last = session.first(queries::LOAD_ORDINAL_MAX, values, |row| {
        let cells = Cells::new(row, Subject::Value, place_name(branch, height));
        cells.get::<Option<i64>>(0)?.map(|_| cells.number32(0)).transpose()
    });
    let key = params![space.thread, branch.get() as i64];
    let name = session.first(queries::LOAD_REF_BY_BRANCH, key, |row| records::branch_name(row, space.uid));
    let (pending, last, name) = try_join3(hanging, last, name).await?;
    Ok(Beside { name: name.map(|(name, _)| name), last_ordinal: last.flatten(), pending })
}

/// Verifies rows that led to a place and are not part of the answer.
pub(crate) async fn check_led(
    session: Session<'_>,
    space: Space<'_>,
    found: (&ThreadRow, &BranchRow),
    place: &Place,
) -> Result<()> {
    let (thread, row) = found;
    match place {
        Place::Named(name) => match named(session, space, name).await? {
            id if id == row.id => Ok(()),
            id => Err(Error::corrupt(Subject::Branch, id, "its name led elsewhere")),
        },
        // It could have been the head's tip.
        Place::Checkpoint(_) if row.id != thread.head => branch(session, space, thread.head).await.map(drop),
        _ => Ok(()),
    }
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
