//! What is kept, and for how long?

use std::time::Duration;

/// How young a checkpoint is that no policy takes: a writer that did not hear how its commit ended still asks for it.
const GRACE: Duration = Duration::from_mins(10);

/// What pruning keeps. Whatever it says, these stay: the newest checkpoint of every branch that stays, checkpoints with a
/// tag, what they need to be read, and the ledger of effects.
///
/// A checkpoint goes if it is older than [`max_age`](Self::max_age) and not among the [`keep_last`](Self::keep_last); where
/// one of the two is not said, the other decides alone, and where neither is, none goes. Ages are told by the store's
/// clock, to a minute.
///
/// ```
/// use std::time::Duration;
/// use stepmark_upkeep::Policy;
///
/// const DAY: Duration = Duration::from_hours(24);
/// let policy = Policy::new().keep_last(20).max_age(7 * DAY).drop_unnamed_after(DAY).delete_finished_after(90 * DAY);
/// # drop(policy);
/// ```
#[derive(Clone, Debug)]
pub struct Policy {
    pub(super) max_age: Option<Duration>,
    pub(super) keep_last: Option<usize>,
    pub(super) grace: Duration,
    pub(super) drop_unnamed_after: Option<Duration>,
    pub(super) delete_finished_after: Option<Duration>,
    pub(super) delete_idle_after: Option<Duration>,
    pub(super) keep_pending: bool,
    pub(super) keep_tagged: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_age: None,
            keep_last: None,
            grace: GRACE,
            drop_unnamed_after: None,
            delete_finished_after: None,
            delete_idle_after: None,
            keep_pending: true,
            keep_tagged: true,
        }
    }
}

impl Policy {
    /// Keeps everything; what nothing reaches is swept.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checkpoints may go when they are older.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// The last `count` checkpoints of each branch stay, those that it shares with the one that it leaves included.
    #[must_use]
    pub fn keep_last(mut self, count: usize) -> Self {
        self.keep_last = Some(count.max(1));
        self
    }

    /// Checkpoints that are younger never go (default: ten minutes). Shorter than what a writer may wait for an answer, it
    /// would let an input whose commit was answered by nobody be given twice.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Branches without a name, on which nothing came for so long, go with all that is on them; those that others leave do
    /// not, nor does the newest branch of a thread. Without this they stay.
    #[must_use]
    pub fn drop_unnamed_after(mut self, idle: Duration) -> Self {
        self.drop_unnamed_after = Some(idle);
        self
    }

    /// Threads whose last run is done or was given up, and on which nothing came for so long, are deleted.
    #[must_use]
    pub fn delete_finished_after(mut self, idle: Duration) -> Self {
        self.delete_finished_after = Some(idle);
        self
    }

    /// Threads on which nothing came for so long are deleted.
    #[must_use]
    pub fn delete_idle_after(mut self, idle: Duration) -> Self {
        self.delete_idle_after = Some(idle);
        self
    }

    /// Whether threads and unnamed branches with unfinished runs or open questions stay (default: yes).
    #[must_use]
    pub fn keep_pending(mut self, keep_pending: bool) -> Self {
        self.keep_pending = keep_pending;
        self
    }

    /// Whether threads with tags stay (default: yes); a checkpoint with a tag stays as long as its thread.
    #[must_use]
    pub fn keep_tagged(mut self, keep_tagged: bool) -> Self {
        self.keep_tagged = keep_tagged;
        self
    }
}
