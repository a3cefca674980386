//! Who writes? A few workers, each with a connection; callers queue up and wait for their answers.
//!
//! A worker is a task that lives while there is work. It takes what may go together and writes it; what comes meanwhile
//! waits and is the next group. Members of one thread keep their order: while one of them is being written, those behind
//! it wait. This file is the queue; what a worker does with a group is in `desk`.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stepmark_core::capability::{Restore, Row};
use stepmark_core::effect::{EffectEnd, EffectOutcome, EffectWrite};
use stepmark_core::error::Result;
use stepmark_core::id::{BlobHash, ThreadUid};
use stepmark_core::meter;
use stepmark_core::store::{Appended, Commit, Outcome, Records};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::cache::CacheWork;
use crate::connect::Place;
use crate::desk;
use crate::direct::birth_of;
use crate::error::closed;
use crate::items::{ItemDone, ItemWork};
use crate::search::SearchWork;
use crate::step::step_of;
use crate::sweep::{Sweep, Swept};

/// Members that may wait; more make their callers wait.
const QUEUE_MAX: usize = 4096;
/// A member of more bytes than this goes alone, and a group ends when it holds as many.
const GROUP_BYTES_MAX: usize = 1024 * 1024;

/// What a member asks for.
pub(crate) enum Work {
    Commit(Box<Commit>),
    Records(Box<Records>),
    PutBlob { scope: String, bytes: Vec<u8> },
    DeleteThread(ThreadUid),
    Cache(CacheWork),
    Restore(Box<Restore>),
    Sweep(Box<Sweep>),
    Item(ItemWork),
    Search(SearchWork),
}

/// A member's answer.
pub(crate) enum Done {
    Committed(Outcome),
    Appended(Appended),
    Kept(BlobHash),
    Deleted,
    Cached,
    Restored(Outcome),
    Swept(Swept),
    Item(ItemDone),
    Described,
}

/// With what a member goes together: with its like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A plain step.
    Step,
    /// A new thread.
    Birth,
    /// Nothing else.
    Alone,
}

/// A queued call.
pub(crate) struct Member {
    pub(crate) work: Work,
    pub(crate) kind: Kind,
    bytes: usize,
    answer: oneshot::Sender<Result<Done>>,
    _room: OwnedSemaphorePermit,
}

impl Member {
    /// Answers the caller; one that has gone away needs no answer.
    pub(crate) fn reply(self, answer: Result<Done>) {
        drop(self.answer.send(answer));
    }
}

/// Counts since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) members: AtomicU64,
    pub(crate) groups: AtomicU64,
    pub(crate) alone: AtomicU64,
    pub(crate) repeats: AtomicU64,
}

/// How groups are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) group_max: usize,
    pub(crate) workers_max: usize,
}

/// The queue, which callers and workers share.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) place: Arc<Place>,
    pub(crate) counters: Counters,
    limits: Limits,
    room: Arc<Semaphore>,
    // A std mutex: held to take from the lists or to add to them, never across an await.
    lists: Mutex<Lists>,
}

#[derive(Default)]
struct Lists {
    waiting: VecDeque<Member>,
    /// Threads of members that are being written.
    busy: HashSet<ThreadUid>,
    workers: usize,
    /// Workers that write several members at once.
    grouping: usize,
}

impl Lists {
    /// Whether one more worker may write several members at once.
    fn may_group(&self, limits: Limits) -> bool {
        self.grouping < limits.workers_max.div_ceil(2)
    }
}

impl std::fmt::Debug for Lists {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lists")
            .field("waiting", &self.waiting.len())
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

impl Writer {
    pub(crate) fn new(place: Arc<Place>, limits: Limits) -> Self {
        let room = Arc::new(Semaphore::new(QUEUE_MAX));
        Self { place, counters: Counters::default(), limits, room, lists: Mutex::default() }
    }

    /// Queues a member and waits for its answer. Once queued it is written even if the caller goes away.
    pub(crate) async fn submit(self: &Arc<Self>, work: Work) -> Result<Done> {
        let gone = || closed(&self.place.voice.name);
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| gone())?;
        let (answer, answered) = oneshot::channel();
        let (kind, bytes) = (work.kind(), work.bytes());
        let starts = {
            let mut lists = self.lists();
            lists.waiting.push_back(Member { work, kind, bytes, answer, _room: room });
            let starts =
                lists.workers < self.limits.workers_max && (kind == Kind::Alone || lists.may_group(self.limits));
            lists.workers += usize::from(starts);
            starts
        };
        if starts {
            self.start();
        }
        answered.await.map_err(|_| gone())?
    }

    /// Starts a worker, which the lists count already.
    fn start(self: &Arc<Self>) {
        let worker = Worker { writer: Arc::clone(self), threads: Vec::new(), is_grouping: false, is_over: false };
        #[expect(clippy::disallowed_methods, reason = "the one place that starts a worker, which ends with its work")]
        drop(tokio::spawn(worker.run()));
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that writes. It gives back what it holds also where its runtime drops it.
struct Worker {
    writer: Arc<Writer>,
    /// The threads of the members that it writes.
    threads: Vec<ThreadUid>,
    /// Whether those go together.
    is_grouping: bool,
    /// Whether it found nothing more to do.
    is_over: bool,
}

impl Worker {
    async fn run(mut self) {
        while let Some(group) = self.take() {
            let Writer { counters, place, .. } = &*self.writer;
            counters.groups.fetch_add(1, Ordering::Relaxed);
            counters.members.fetch_add(group.len() as u64, Ordering::Relaxed);
            meter::grouped("postgres", group.len());
            desk::write_group(place, counters, group).await;
        }
    }

    /// The next group, after the one before it was written.
    fn take(&mut self) -> Option<Vec<Member>> {
        let writer = Arc::clone(&self.writer);
        let mut lists = writer.lists();
        self.give_back(&mut lists);
        let group = gather(&mut lists, writer.limits);
        meter::queued("postgres", lists.waiting.len());
        self.threads = group.iter().filter_map(|member| member.work.thread()).collect();
        self.is_grouping = group.first().is_some_and(|member| member.kind != Kind::Alone);
        lists.busy.extend(&self.threads);
        lists.grouping += usize::from(self.is_grouping);
        if !group.is_empty() {
            // Members that came while groups could not be written started nobody: what this one takes alone may take long.
            let starts = !self.is_grouping
                && !lists.waiting.is_empty()
                && lists.workers < writer.limits.workers_max
                && lists.may_group(writer.limits);
            lists.workers += usize::from(starts);
            drop(lists);
            if starts {
                writer.start();
            }
            return Some(group);
        }
        // Under the same lock: who queues up now starts another worker.
        lists.workers -= 1;
        self.is_over = true;
        None
    }

    /// Nobody waits for the members that it wrote any more.
    fn give_back(&mut self, lists: &mut Lists) {
        for thread in self.threads.drain(..) {
            lists.busy.remove(&thread);
        }
        lists.grouping -= usize::from(std::mem::take(&mut self.is_grouping));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let writer = Arc::clone(&self.writer);
        let mut lists = writer.lists();
        self.give_back(&mut lists);
        lists.workers -= 1;
        // Nobody is left to write what waits: its callers hear so.
        if lists.workers == 0 {
            lists.waiting.clear();
        }
    }
}

/// Takes the members of the next group: a first one whose thread is free, and if it goes together with others, further
/// ones like it of other threads. What waits behind a member of its thread keeps waiting; and while half of the workers
/// write groups, so does what would be another one: fewer and larger groups cost the server less, and what takes long by
/// itself is in nobody's way.
fn gather(lists: &mut Lists, limits: Limits) -> Vec<Member> {
    let (mut group, mut bytes) = (Vec::<Member>::new(), 0);
    let may_group = lists.may_group(limits);
    let mut passed = HashSet::new();
    let mut left = Vec::new();
    while let Some(member) = lists.waiting.pop_front() {
        let thread = member.work.thread();
        let is_free = thread.is_none_or(|thread| !lists.busy.contains(&thread) && !passed.contains(&thread));
        let fits = match group.first() {
            None => may_group || member.kind == Kind::Alone,
            Some(first) => member.kind == first.kind && bytes + member.bytes <= GROUP_BYTES_MAX,
        };
        passed.extend(thread);
        if is_free && fits {
            bytes += member.bytes;
            let is_alone = member.kind == Kind::Alone;
            group.push(member);
            if is_alone || group.len() >= limits.group_max || bytes >= GROUP_BYTES_MAX {
                break;
            }
        } else {
            left.push(member);
        }
    }
    for member in left.into_iter().rev() {
        lists.waiting.push_front(member);
    }
    group
}

impl Work {
    fn kind(&self) -> Kind {
        match self {
            Self::Commit(commit) if step_of(commit).is_some() => Kind::Step,
            Self::Commit(commit) if birth_of(commit).is_some() => Kind::Birth,
            _ => Kind::Alone,
        }
    }

    /// The thread whose members keep their order.
    fn thread(&self) -> Option<ThreadUid> {
        match self {
            Self::Commit(commit) => Some(commit.thread),
            Self::Records(append) => Some(append.thread),
            Self::DeleteThread(uid) => Some(*uid),
            Self::Restore(restore) => Some(restore.thread.uid),
            Self::Search(SearchWork::Set { thread, .. }) => Some(*thread),
            Self::PutBlob { .. } | Self::Cache(_) | Self::Item(_) | Self::Search(SearchWork::Declare { .. }) => None,
            Self::Sweep(sweep) => sweep.thread(),
        }
    }

    /// About how many bytes it writes.
    fn bytes(&self) -> usize {
        match self {
            Self::Commit(commit) => {
                let rows = [&commit.root, &commit.checkpoint].into_iter().flatten();
                let row: usize = rows.map(|row| row.manifest.len() + row.packed.len()).sum();
                let values: usize = commit.values.iter().map(|row| row.node.body.len()).sum();
                let ledger = commit.effects.iter().filter_map(|entry| entry.row.result.as_ref());
                let results: usize = ledger.map(Vec::len).sum();
                row + values + results + commit.pending.iter().map(|row| row.body.len()).sum::<usize>()
            }
            Self::Records(append) => {
                let values: usize = append.values.iter().map(|row| row.node.body.len()).sum();
                let result = match &append.effect {
                    Some(EffectWrite::Outcome(EffectOutcome { end: EffectEnd::Done(result), .. })) => result.len(),
                    _ => 0,
                };
                values + result + append.pending.iter().map(|row| row.body.len()).sum::<usize>()
            }
            Self::PutBlob { bytes, .. } => bytes.len(),
            Self::DeleteThread(_) | Self::Search(_) | Self::Sweep(_) => 0,
            Self::Cache(work) => work.bytes(),
            Self::Restore(restore) => restore.rows.iter().map(Row::bytes).sum(),
            Self::Item(work) => work.bytes(),
        }
    }
}
