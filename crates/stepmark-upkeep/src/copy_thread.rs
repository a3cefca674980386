//! How does a whole thread become another one: a copy under another name, or an archived thread that was deleted?
//!
//! Everything in it keeps its place – branches, checkpoints, values, what is pending – so a copy costs no translation of
//! addresses. What names the thread is made anew: hashes, and the ids of questions.

use std::collections::HashMap;

use async_trait::async_trait;
use stepmark_core::capability::{Carried, Resealed, Row};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::coding::{ManifestParts, Seal};
use stepmark_core::effect::AttemptStatus;
use stepmark_core::error::{Error as StoreError, ErrorKind, Subject};
use stepmark_core::id::{InterruptId, TaskHash, ThreadUid, check_name, hash16};
use stepmark_core::interrupt::{Answer, Asker, Question};
use stepmark_core::load::damaged;
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::ThreadRow;
use stepmark_core::store::{CheckpointStore, Load, ThreadAddress};
use stepmark_core::value::decode_packed;
use stepmark_core::wire::Writer;

use crate::error::{Error, Result};
use crate::import::{Target, receive};
use crate::send::{Part, Sink, send};

/// How many copies of one thread under one name may have been deleted before.
const COPIES_MAX: u64 = 1000;

/// Copies a thread of the store, as it is at one moment, to a new one of the same scope under `name`, and returns its uid.
///
/// The copy has all attributes, the time when it may go, branches, tags, runs, unfinished tasks with what they stored, questions and sub-graphs, and
/// shares nothing with the original; a sealed one is sealed anew, with keys of its own. Its ledger comes along under its
/// origin, so that receivers know its actions by the same keys; an attempt that was running is unknown in the copy, where
/// nobody runs it. Blobs are shared, as always within a scope, but those that are sealed.
///
/// Nobody sees the copy before all its rows are there; right after that it gets its attributes. After a crash or an error the
/// same call goes on, or begins anew where the original has moved meanwhile.
///
/// # Errors
/// [`Error::Store`]: `Exists` (thread): the name is taken. `Unsupported`: the thread is sealed, and the store has no keys.
pub async fn copy_thread(store: &dyn CheckpointStore, from: &ThreadAddress, name: &str) -> Result<ThreadUid> {
    bring_anew(store, Original::Stored(from), Some(name)).await
}

/// What becomes another thread.
#[derive(Clone, Copy)]
pub(crate) enum Original<'a> {
    /// A thread of the store.
    Stored(&'a ThreadAddress),
    /// The file of one, as it was at a time.
    Archived(&'a [u8], Timestamp),
}

/// Makes a new thread of one, under a name or its own.
pub(crate) async fn bring_anew(
    store: &dyn CheckpointStore,
    original: Original<'_>,
    name: Option<&str>,
) -> Result<ThreadUid> {
    name.map_or(Ok(()), |name| check_name(Subject::Thread, name))?;
    let mut called = String::new();
    for copies in 0..COPIES_MAX {
        let mut copy = Copy {
            store,
            target: Target::new(store)?,
            original,
            name: name.unwrap_or_default().to_owned(),
            scope: String::new(),
            copies,
            from: None,
            uid: None,
            questions: HashMap::new(),
        };
        match copy.run().await {
            // A uid that was deleted is refused for ever: an earlier copy had it.
            Err(Error::Store(error)) if is_of(&error, ErrorKind::Deleted, copy.uid) => called = copy.name,
            // Half a copy of what the original was before it moved.
            Err(Error::Store(error)) if error.kind() == ErrorKind::Exists && copy.is_half(&error) => {
                if copy.take_back().await? {
                    copy.run().await?;
                    return copy.copied();
                }
                return match original {
                    Original::Stored(_) => Err(Error::Store(error)),
                    // A file never moves: it was brought back before, and has gone on since.
                    Original::Archived(..) => copy.copied(),
                };
            }
            // So does one that was pruned since, or has another head.
            Err(Error::Store(error)) if error.kind() == ErrorKind::Exists => {
                return match (original, copy.uid) {
                    (Original::Archived(..), Some(uid)) if is_there(store, uid).await? => Ok(uid),
                    _ => Err(Error::Store(error)),
                };
            }
            Err(Error::Store(error)) if error.kind() == ErrorKind::Unsupported => {
                copy.take_back().await?;
                return Err(Error::Store(error));
            }
            answer => return answer.and_then(|()| copy.copied()),
        }
    }
    Err(StoreError::exists(Subject::Thread, called, "too many copies of this name were deleted; choose another").into())
}

/// Whether a thread is there for everybody.
pub(crate) async fn is_there(store: &dyn CheckpointStore, thread: ThreadUid) -> Result<bool> {
    match store.load(Load::head(ThreadAddress::Uid(thread))).await {
        Ok(_) => Ok(true),
        Err(error) if error.is(ErrorKind::Missing, Subject::Thread) => Ok(false),
        Err(error) if error.is(ErrorKind::Deleted, Subject::Thread) => Ok(false),
        Err(error) => Err(Error::Store(error)),
    }
}

fn is_of(error: &StoreError, kind: ErrorKind, thread: Option<ThreadUid>) -> bool {
    error.is(kind, Subject::Thread) && thread.is_some_and(|thread| error.id() == thread.to_string())
}

/// Brings a thread into its own store as another one.
struct Copy<'a> {
    store: &'a dyn CheckpointStore,
    target: Target<'a>,
    original: Original<'a>,
    /// Its name; until it is known empty, if it is the original's.
    name: String,
    /// How many copies under this name were deleted before.
    copies: u64,
    scope: String,
    from: Option<ThreadUid>,
    uid: Option<ThreadUid>,
    /// What ids of questions became.
    questions: HashMap<InterruptId, InterruptId>,
}

impl Copy<'_> {
    async fn run(&mut self) -> Result<()> {
        match self.original {
            Original::Stored(from) => {
                send(self.store, std::slice::from_ref(from), self, &mut |_, _| {}).await.map(drop)
            }
            Original::Archived(mut file, _) => receive(&mut file, self, &mut |_, _| {}).await.map(drop),
        }
    }

    fn copied(&self) -> Result<ThreadUid> {
        Ok(self.uid.ok_or_else(|| StoreError::missing(Subject::Thread, &self.name, ""))?)
    }

    /// Whether a refusal is about a row of the copy, not about its name.
    fn is_half(&self, error: &StoreError) -> bool {
        error.subject() != Subject::Thread || error.id() != self.name
    }

    /// The same for the same thread, name and number, so that what a crash left is found again.
    fn uid_of(&self, thread: &ThreadRow) -> ThreadUid {
        let mut writer = Writer::new();
        match self.original {
            Original::Stored(_) => writer.str("copy of a thread"),
            Original::Archived(_, as_of) => writer.str("archived thread").u64(as_of as u64),
        };
        writer.raw(&thread.uid.0).str(&thread.scope).str(&self.name).varint(self.copies);
        ThreadUid(hash16(writer.as_slice()))
    }

    async fn renamed(&mut self, row: Row) -> Result<Row> {
        let (Some(from), Some(to)) = (self.from, self.uid) else { return Ok(row) };
        if let Some(secrets) = self.store.secrets() {
            let scope = self.scope.clone();
            let threads = Resealed { from, to, scope: &scope };
            return Ok(secrets.resealed(row, threads, &mut |row| self.changed(row, (from, to))).await?);
        }
        if is_sealed(&row)? {
            let reason = "it is sealed for its thread; copy it through the store that opens it";
            return Err(StoreError::unsupported(row.subject(), row, reason).into());
        }
        Ok(self.changed(row, (from, to))?)
    }

    /// What names the thread, made anew.
    fn changed(&mut self, row: Row, (from, uid): (ThreadUid, ThreadUid)) -> Result<Row, StoreError> {
        Ok(match row {
            Row::Checkpoint { namespace, row } => Row::Checkpoint { row: row.sealed(uid, &namespace), namespace },
            Row::Pending { namespace, row } => Row::Pending { row: self.asked_anew(row, (from, uid))?, namespace },
            Row::Effect(mut entry) => {
                for attempt in entry.attempts.iter_mut().filter(|attempt| attempt.status == AttemptStatus::Open) {
                    attempt.status = AttemptStatus::Lost;
                }
                Row::Effect(entry)
            }
            row => row,
        })
    }

    /// Questions come before their answers: in key order, and under the same base, lane and task.
    fn asked_anew(&mut self, mut row: PendingRow, threads: (ThreadUid, ThreadUid)) -> Result<PendingRow, StoreError> {
        let unread = |error| damaged(Subject::Pending, &row.base, error);
        match row.kind {
            PendingKind::Interrupt => {
                let mut question = Question::decode(&row.body).map_err(unread)?;
                let id = id_of(&question, row.task, threads);
                self.questions.insert(question.id, id);
                question.id = id;
                row.body = question.encode();
            }
            PendingKind::Answer => {
                let mut answer = Answer::decode(&row.body).map_err(unread)?;
                answer.id = self.questions.get(&answer.id).copied().unwrap_or(answer.id);
                row.body = answer.encode();
            }
            PendingKind::Results | PendingKind::Memo | PendingKind::Child => {}
        }
        Ok(row)
    }
}

/// The first byte of what a codec sealed.
const ENVELOPE: u8 = 0xc1;

/// Whether a row can be read with its thread's key alone.
fn is_sealed(row: &Row) -> Result<bool> {
    let is_envelope = |bytes: &[u8]| bytes.first() == Some(&ENVELOPE);
    Ok(match row {
        Row::Value { row, .. } => row.node.head.coding.seal != Seal::Open,
        Row::Pending { row, .. } => row.kind != PendingKind::Child && is_envelope(&row.body),
        Row::Effect(entry) => entry.row.result.as_deref().is_some_and(is_envelope),
        Row::Checkpoint { row, .. } => {
            let unread = |error| damaged(Subject::Checkpoint, &row.id, error);
            let packed = decode_packed(&row.packed).map_err(unread)?;
            let is_manifest = row.is_linked() && ManifestParts::of(&row.manifest).map_err(unread)?.is_sealed();
            is_manifest || packed.iter().any(|value| value.node.head.coding.seal != Seal::Open)
        }
        _ => false,
    })
}

/// The id that the copy's task will ask under. One that nothing here explains stays, and is asked again.
fn id_of(question: &Question, task: TaskHash, (from, uid): (ThreadUid, ThreadUid)) -> InterruptId {
    let occurrence = match question.asker {
        Asker::Task => question.occurrence,
        asker => u32::from(asker.number()),
    };
    let tasks = [Some(task), question.inside.as_ref().map(|inside| inside.task)];
    let of = |thread, task| InterruptId::of(thread, task, &question.name, occurrence);
    let asker = tasks.into_iter().flatten().find(|task| of(from, *task) == question.id);
    asker.map_or(question.id, |task| of(uid, task))
}

#[async_trait]
impl Sink for Copy<'_> {
    async fn begin_thread(&mut self, thread: &ThreadRow, carried: &Carried) -> Result<()> {
        if self.name.is_empty() {
            self.name.clone_from(&thread.name);
        }
        let uid = self.uid_of(thread);
        (self.from, self.uid, self.scope) = (Some(thread.uid), Some(uid), thread.scope.clone());
        let copy = ThreadRow { uid, name: self.name.clone(), ..thread.clone() };
        self.target.begin_thread(&copy, carried).await
    }

    async fn take(&mut self, part: Part) -> Result<()> {
        let part = match part {
            Part::Rows(rows) => {
                let mut renamed = Vec::with_capacity(rows.len());
                for row in rows {
                    renamed.push(self.renamed(row).await?);
                }
                Part::Rows(renamed)
            }
            part => part,
        };
        self.target.take(part).await
    }

    async fn take_back(&mut self) -> Result<bool> {
        self.target.take_back().await
    }

    async fn end(&mut self, threads: u64) -> Result<()> {
        self.target.end(threads).await
    }
}
