//! In which order are the members that wait written?
//!
//! In rounds: all that waits when a round begins is written before anything that comes later. Within a round the threads
//! that lie beside each other in the file come after each other, so that a group changes few pages of its indexes; what
//! one thread sent stays in its order. A round that is one group has no order to choose.

use std::collections::{HashMap, VecDeque};

use stepmark_core::id::ThreadUid;
use tokio::sync::mpsc;

use crate::writer::Member;

/// Threads whose places are remembered, in some 2 MiB; then it begins anew.
const PLACES_MAX: usize = 32 * 1024;

/// How often an idle thread looks for the next member before it sleeps: some 20 µs, less than waking it would cost a run
/// whose next commit follows at once.
const LOOKS_MAX: u32 = 1000;

/// The writer thread's end of the queue.
pub(crate) struct Waiting {
    queue: mpsc::Receiver<Member>,
    round: VecDeque<Member>,
    places: Places,
    group_max: usize,
}

impl Waiting {
    pub(crate) fn new(queue: mpsc::Receiver<Member>, group_max: usize) -> Self {
        Self { queue, round: VecDeque::new(), places: Places::default(), group_max }
    }

    /// The first member of a group; waits for it. Nothing once every handle is gone and the queue is empty.
    pub(crate) fn first(&mut self, number: impl Fn(ThreadUid) -> Option<i64>) -> Option<Member> {
        if self.round.is_empty() {
            let first = self.wait()?;
            self.begin_round(first, number);
        }
        self.round.pop_front()
    }

    /// The next member of a group, if one waits.
    pub(crate) fn next(&mut self) -> Option<Member> {
        self.round.pop_front().or_else(|| self.queue.try_recv().ok())
    }

    /// Gives a member back that has to wait for the next group.
    pub(crate) fn put_back(&mut self, member: Member) {
        self.round.push_front(member);
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.round.len() + self.queue.len()
    }

    fn wait(&mut self) -> Option<Member> {
        for _ in 0..LOOKS_MAX {
            match self.queue.try_recv() {
                Ok(member) => return Some(member),
                Err(mpsc::error::TryRecvError::Empty) => std::hint::spin_loop(),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
            }
        }
        self.queue.blocking_recv()
    }

    fn begin_round(&mut self, first: Member, number: impl Fn(ThreadUid) -> Option<i64>) {
        self.round.push_back(first);
        // No more than the queue held: what its senders add meanwhile is for the next round.
        for _ in 0..self.queue.len() {
            self.round.extend(self.queue.try_recv().ok());
        }
        if self.round.len() > self.group_max {
            self.places.begin_round();
            self.round.make_contiguous().sort_by_cached_key(|member| self.places.of(member, &number));
        }
    }
}

/// Where the rows of threads lie in the file.
#[derive(Default)]
struct Places {
    known: HashMap<ThreadUid, i64>,
    /// Threads that were not there when this round asked; all their members share one place.
    new: Vec<ThreadUid>,
}

impl Places {
    fn begin_round(&mut self) {
        for thread in self.new.drain(..) {
            self.known.remove(&thread);
        }
        if self.known.len() > PLACES_MAX {
            self.known.clear();
        }
    }

    /// A thread that is not there yet comes last, where it is going to lie; what belongs to no thread comes first.
    fn of(&mut self, member: &Member, number: impl Fn(ThreadUid) -> Option<i64>) -> i64 {
        let Some(thread) = member.work.thread() else { return i64::MIN };
        *self.known.entry(thread).or_insert_with(|| {
            number(thread).unwrap_or_else(|| {
                self.new.push(thread);
                i64::MAX
            })
        })
    }
}
