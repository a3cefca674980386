//! How is a thread read at a place?
//!
//! Everything here runs inside one read transaction, so it is of one moment. What does not wait for each other is asked
//! at once. Rows are verified as they are read; a row that another row names and that is not there is `Corrupt`.

use std::collections::HashMap;

use futures_util::future::{try_join, try_join_all, try_join3, try_join4};
use stepmark_core::checkpoint::{CheckpointRow, Timestamp};
use stepmark_core::child::ChildRow;
use stepmark_core::effect::EffectEntry;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BlobHash, BranchId, CheckpointId, RunId, ThreadUid};
use stepmark_core::load::{head_of, wanted_values};
use stepmark_core::pending::PendingRow;
use stepmark_core::rows::{BranchRow, GraphRow, RunRow, ThreadRow};
use stepmark_core::store::{Chain, Channels, Load, Loaded, NamedBranch, TagEntry, ThreadAddress};
use tokio_postgres::Row;

use crate::chains::Nodes;
use crate::place::{self, Beside, Found};
use crate::records::{self, Space};
use crate::session::{Cells, Columns, Session, params};
use crate::{children, ledger, queries};

/// Reads a thread at a place: where it is with what lies there, then all else at once.
pub(crate) async fn load(session: Session<'_>, load: &Load) -> Result<Loaded> {
    let found = place::find(session, load).await?;
    loaded(session, load, found).await
}

/// The same without a transaction, for a load that is direct ([`place::is_direct`]); none where one statement does not find
/// the place.
pub(crate) async fn load_at_once(session: Session<'_>, load: &Load) -> Result<Option<Loaded>> {
    match place::find_at_once(session, load).await? {
        Some(found) => loaded(session, load, found).await.map(Some),
        None => Ok(None),
    }
}

async fn loaded(session: Session<'_>, load: &Load, found: Found) -> Result<Loaded> {
    let Found { number, thread, branch, checkpoint, beside } = found;
    let space = Space { thread: number, uid: thread.uid, namespace: &load.namespace };
    let (tip, of_thread) = (checkpoint.as_ref(), OfThread { session, space, load });
    let of_tip = async {
        let Beside { name, last_ordinal, pending } = match beside {
            Some(beside) => beside,
            None => place::beside_of(session, space, (branch.id, tip), load.pending).await?,
        };
        let chains = chains(of_thread, &thread.scope, tip, &pending).await?;
        Ok((name, last_ordinal, pending, chains))
    };
    let of_tip = try_join(of_tip, place::check_led(session, space, (&thread, &branch), &load.place));
    let rows = try_join3(of_thread.branches(), of_thread.branch_numbers(), of_thread.tags());
    let others = try_join(of_thread.children(&branch, tip), of_thread.effects());
    let all = Box::pin(try_join4(of_tip, rows, of_thread.run_and_graph(tip), others)).await?;
    let (((name, last_ordinal, pending, chains), ()), rows, (run, graph), (children, effects)) = all;
    let (branches, branch_numbers, tags) = rows;
    let branch = NamedBranch { row: branch, name };
    let next_ordinal = last_ordinal.map_or(0, |last| last.saturating_add(1));
    Ok(Loaded {
        thread,
        branch,
        checkpoint,
        chains,
        pending,
        next_ordinal,
        branches,
        branch_numbers,
        tags,
        run,
        graph,
        children,
        effects,
    })
}

/// What a load may ask for beside its place.
#[derive(Clone, Copy)]
struct OfThread<'a> {
    session: Session<'a>,
    space: Space<'a>,
    load: &'a Load,
}

impl OfThread<'_> {
    async fn branches(self) -> Result<Vec<NamedBranch>> {
        if self.load.branches { branches(self.session, self.space).await } else { Ok(Vec::new()) }
    }

    async fn branch_numbers(self) -> Result<Vec<u64>> {
        if self.load.branches { branch_numbers(self.session, self.space).await } else { Ok(Vec::new()) }
    }

    async fn tags(self) -> Result<Vec<TagEntry>> {
        if self.load.tags { tags(self.session, self.space).await } else { Ok(Vec::new()) }
    }

    async fn effects(self) -> Result<Vec<EffectEntry>> {
        if self.load.effects { ledger::entries(self.session, self.space).await } else { Ok(Vec::new()) }
    }

    async fn children(self, branch: &BranchRow, tip: Option<&CheckpointRow>) -> Result<Vec<ChildRow>> {
        match tip.filter(|_| self.load.children && self.load.namespace.is_empty()) {
            Some(row) => children::of_moment(self.session, self.space, branch, row).await,
            None => Ok(Vec::new()),
        }
    }

    /// The run that was asked for, and the graph record of that run, else of the checkpoint's.
    async fn run_and_graph(self, tip: Option<&CheckpointRow>) -> Result<(Option<RunRow>, Option<GraphRow>)> {
        let asked = self.load.run.clone();
        let id = match (&asked, tip) {
            (None, Some(row)) if self.load.graph => Some(head_of(row)?.run),
            _ => asked.clone(),
        };
        let Some(id) = id else { return Ok((None, None)) };
        let key = params![self.space.thread, id.to_stored()];
        let found = self.session.first(queries::LOAD_RUN_WITH_GRAPH, key, |row| {
            let run = records::run(row, self.space.uid)?;
            let record = Columns::from(row, 11);
            let graph = match run.graph_signature {
                Some(signature) if self.load.graph && record.is_there()? => {
                    Some(records::graph(record, &run.graph, signature)?)
                }
                _ => None,
            };
            Ok((run, graph))
        });
        let (run, graph) = found.await?.unzip();
        Ok((run.filter(|_| asked.is_some()), graph.flatten()))
    }
}

/// The thread at an address.
pub(crate) async fn find_thread(session: Session<'_>, address: &ThreadAddress) -> Result<(i64, ThreadRow)> {
    let found = match address {
        ThreadAddress::Uid(uid) => {
            session.first(queries::LOAD_THREAD_BY_UID, params![&uid.0[..]], |row| records::thread(row)).await?
        }
        ThreadAddress::Name { scope, name } => {
            session.first(queries::LOAD_THREAD_BY_NAME, params![scope, name], |row| records::thread(row)).await?
        }
    };
    match (found, address) {
        (Some(found), _) => Ok(found),
        (None, ThreadAddress::Uid(uid)) => Err(missing_thread(session, *uid).await?),
        (None, ThreadAddress::Name { name, .. }) => Err(Error::missing(Subject::Thread, name, "")),
    }
}

/// Why there is no thread with this uid.
pub(crate) async fn missing_thread(session: Session<'_>, uid: ThreadUid) -> Result<Error> {
    let deleted = session.exists(queries::CHECK_TOMBSTONE, params![&uid.0[..]]).await?;
    Ok(if deleted { Error::deleted(Subject::Thread, uid, "") } else { Error::missing(Subject::Thread, uid, "") })
}

/// A branch row.
pub(crate) async fn branch(session: Session<'_>, space: Space<'_>, id: BranchId) -> Result<Option<BranchRow>> {
    let key = params![space.thread, space.namespace, id.get() as i64];
    session.first(queries::LOAD_BRANCH, key, |row| records::branch(row, space)).await
}

/// A branch that the caller names.
pub(crate) async fn known_branch(session: Session<'_>, space: Space<'_>, id: BranchId) -> Result<BranchRow> {
    branch(session, space, id).await?.ok_or_else(|| Error::missing(Subject::Branch, id, ""))
}

/// A checkpoint that exists.
pub(crate) async fn checkpoint(
    session: Session<'_>,
    space: Space<'_>,
    id: &CheckpointId,
    values: bool,
) -> Result<Option<CheckpointRow>> {
    let sql = if values { queries::LOAD_CHECKPOINT_WITH_VALUES } else { queries::LOAD_CHECKPOINT };
    let key = params![space.thread, space.namespace, id.to_stored()];
    Ok(session.first(sql, key, |row| records::checkpoint(row, space, values)).await?.map(|(_, row)| row))
}

/// All branches of a namespace, in order of creation, with their names.
pub(crate) async fn branches(session: Session<'_>, space: Space<'_>) -> Result<Vec<NamedBranch>> {
    let (of_thread, key) = (params![space.thread], params![space.thread, space.namespace]);
    let refs = session.all(queries::LOAD_REFS, of_thread, |row| records::branch_name(row, space.uid));
    let rows = session.all(queries::LOAD_BRANCHES, key, |row| records::branch(row, space));
    let (refs, rows) = try_join(refs, rows).await?;
    // Refs come in falling order: of several names the first one stays.
    let mut names: HashMap<BranchId, String> = refs.into_iter().map(|(name, branch)| (branch, name)).collect();
    Ok(rows.into_iter().map(|row| NamedBranch { name: names.remove(&row.id), row }).collect())
}

/// Their numbers.
async fn branch_numbers(session: Session<'_>, space: Space<'_>) -> Result<Vec<u64>> {
    let key = params![space.thread, space.namespace];
    session.all(queries::LOAD_BRANCH_NUMBERS, key, |row| Cells::new(row, Subject::Branch, space.uid).number(0)).await
}

/// A run record.
pub(crate) async fn run(session: Session<'_>, space: Space<'_>, id: &RunId) -> Result<Option<RunRow>> {
    let key = params![space.thread, id.to_stored()];
    session.first(queries::LOAD_RUN, key, |row| records::run(row, space.uid)).await
}

async fn tags(session: Session<'_>, space: Space<'_>) -> Result<Vec<TagEntry>> {
    let key = params![space.thread, space.namespace];
    let rows = session.all(queries::LOAD_TAGS, key, |row| records::tag(row, space.uid)).await?;
    let entries = rows.into_iter().map(async |(_, row)| {
        let key = params![space.thread, space.namespace, row.branch.get() as i64, row.height as i64];
        let read = |row: &Row| records::checkpoint(row, space, false);
        let named = session.first(queries::LOAD_CHECKPOINT_AT, key, read).await?;
        let gone = || Error::corrupt(Subject::Checkpoint, &row.name, "a tag names it but it is gone");
        let (_, named) = named.ok_or_else(gone)?;
        Ok(TagEntry { row, checkpoint: named.id })
    });
    try_join_all(entries).await
}

/// The chains that a load asks for, and those of values that rows on the tip name.
async fn chains(
    OfThread { session, space, load }: OfThread<'_>,
    scope: &str,
    tip: Option<&CheckpointRow>,
    pending: &[PendingRow],
) -> Result<Vec<Chain>> {
    let manifest = tip.map(head_of).transpose()?;
    let mut nodes = Nodes::new(session, space, scope);
    if let Some(row) = tip.filter(|_| load.channels != Channels::None) {
        nodes.bring(row);
    }
    nodes.chains(&wanted_values(&load.channels, manifest.as_ref(), pending)).await
}

/// The bytes of a blob, verified.
pub(crate) async fn blob(session: Session<'_>, scope: &str, hash: BlobHash) -> Result<Option<Vec<u8>>> {
    let read = |row: &Row| {
        let cells = Cells::new(row, Subject::Blob, hash);
        Ok((cells.number(0)?, cells.get::<Option<Vec<u8>>>(1)?))
    };
    let head = session.first(queries::BLOB_GET, params![scope, &hash.0[..]], read).await?;
    let Some((length, body)) = head else { return Ok(None) };
    let bytes = match body {
        Some(bytes) => bytes,
        None => chunks(session, scope, hash).await?,
    };
    if bytes.len() as u64 != length || BlobHash::of(&bytes) != hash {
        return Err(Error::corrupt(Subject::Blob, hash, "its bytes do not have its hash"));
    }
    Ok(Some(bytes))
}

async fn chunks(session: Session<'_>, scope: &str, hash: BlobHash) -> Result<Vec<u8>> {
    let mut parts = 0i32..;
    let read = |row: &Row| {
        let cells = Cells::new(row, Subject::Blob, hash);
        let (part, body) = (cells.get::<i32>(0)?, cells.get::<Vec<u8>>(1)?);
        let in_order = parts.next() == Some(part);
        if in_order { Ok(body) } else { Err(Error::corrupt(Subject::Blob, hash, "one of its chunks is gone")) }
    };
    Ok(session.all(queries::BLOB_GET_CHUNKS, params![scope, &hash.0[..]], read).await?.concat())
}

/// Whether a blob is there.
pub(crate) async fn has_blob(session: Session<'_>, scope: &str, hash: BlobHash) -> Result<bool> {
    session.exists(queries::BLOB_HAS, params![scope, &hash.0[..]]).await
}

/// The server's time.
pub(crate) async fn time(session: Session<'_>) -> Result<Timestamp> {
    let read = |row: &Row| Cells::new(row, Subject::Store, "time").get::<Timestamp>(0);
    let told = session.first(queries::TIME, params![], read).await?;
    told.ok_or_else(|| Error::corrupt(Subject::Store, "time", "the server told none"))
}
