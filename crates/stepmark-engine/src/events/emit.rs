//! How do a run's events reach whoever watches it?
//!
//! Through a bounded channel: where it is full, whoever has something to tell waits, so a run is never further ahead of its
//! watcher than the channel holds. A run that nobody watches has no emitter.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::id::{BranchId, RunId};
use tokio::sync::mpsc::Sender;

use super::session::Session;
use super::stored::{Committed, LiveValues, checkpoint_place, is_question};
use super::{DebugEvent, EventData, Kind, Kinds, NestedPlace, Place, Position};
use crate::compile::Program;
use crate::position::Line;
use crate::schema::AnyState;

/// The place before all events of a thread.
pub(crate) const NOTHING: Place = Place { height: 0, ordinal: 0 };

/// Whose events these are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) thread: Arc<str>,
    pub(crate) branch: BranchId,
    /// Absent where what is stored does not tell it: for questions.
    pub(crate) run: Option<RunId>,
}

/// An event on its way to the watcher.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) origin: Arc<Origin>,
    pub(crate) namespace: Arc<str>,
    pub(crate) step: u64,
    pub(crate) at: At,
    pub(crate) data: EventData<AnyState>,
}

/// Where an event stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At {
    Stored(Place),
    /// On a sub-graph's own line, while the root's run was at this checkpoint.
    Nested(BranchId, Place, NestedPlace),
    /// Behind the last stored event of its time.
    Live(Place),
}

impl Told {
    pub(crate) fn place(&self) -> Place {
        match self.at {
            At::Stored(place) | At::Nested(_, place, _) | At::Live(place) => place,
        }
    }

    /// The position of a stored event; that of a live one without its number.
    pub(crate) fn position(&self) -> Position {
        match self.at {
            At::Stored(place) | At::Live(place) => Position::at(self.origin.branch, place),
            At::Nested(root, place, nested) => Position { nested: Some(nested), ..Position::at(root, place) },
        }
    }
}

/// What is told once a write is durable.
pub(crate) struct Batch {
    pub(crate) events: Vec<Told>,
    /// Where the last stored event stands that could have been asked for.
    pub(crate) passed: Option<Place>,
}

impl Batch {
    /// This and, before it, what a write below it tells.
    pub(crate) fn on(mut self, below: Self) -> Self {
        self.events.splice(0..0, below.events);
        self
    }
}

/// What a run tells its events to.
pub(crate) struct Emitter {
    shared: Arc<Shared>,
    /// Whose step it is: empty for the root graph.
    namespace: Arc<str>,
    /// The step in progress.
    step: AtomicU64,
}

struct Shared {
    kinds: Kinds,
    sender: Sender<Told>,
    session: Arc<Session>,
    thread: Arc<str>,
    // A std mutex: held to read or write two words, never across an await.
    standing: Mutex<Standing>,
}

/// Where the root's run stands.
#[derive(Default)]
struct Standing {
    origin: Option<Arc<Origin>>,
    /// The last stored event that was sent, or would have been if it had been asked for.
    passed: Option<Place>,
    /// The checkpoint that the run is at.
    at: Option<Place>,
}

impl Emitter {
    pub(crate) fn new(session: &Arc<Session>, thread: &str, sender: Sender<Told>) -> Arc<Self> {
        let session = Arc::clone(session);
        let shared =
            Shared { kinds: session.kinds, sender, session, thread: thread.into(), standing: Mutex::default() };
        Arc::new(Self { shared: Arc::new(shared), namespace: "".into(), step: AtomicU64::new(0) })
    }

    /// The emitter of a sub-graph's run: to the same watcher, under a namespace of its own.
    pub(crate) fn nested(&self, namespace: &str) -> Arc<Self> {
        Arc::new(Self { shared: Arc::clone(&self.shared), namespace: namespace.into(), step: AtomicU64::new(0) })
    }

    pub(crate) fn wants(&self, kind: Kind) -> bool {
        self.shared.kinds.has(kind)
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.shared.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes where the next step is taken.
    pub(crate) fn begin_step(&self, line: Option<&Line>) {
        let Some(line) = line else { return };
        self.step.store(line.next_height(), Ordering::Relaxed);
        if self.namespace.is_empty() {
            let durable = line.tip().filter(|tip| line.stored.as_ref() == Some(&tip.id));
            let tip = durable.map(|tip| checkpoint_place(tip.height, line.manifest.tasks.len()));
            let origin = self.origin(line);
            let passed = {
                let mut standing = self.standing();
                standing.origin = Some(origin);
                standing.at = tip.or(standing.at);
                standing.passed = standing.passed.or(tip);
                standing.passed.unwrap_or(NOTHING)
            };
            self.shared.session.attend((line.thread.uid, line.branch.id), passed);
        }
    }

    fn origin(&self, line: &Line) -> Arc<Origin> {
        let (branch, run) = (line.branch.id, Some(&line.manifest.run));
        let known = self.standing().origin.clone();
        known.filter(|known| known.branch == branch && known.run.as_ref() == run).unwrap_or_else(|| {
            let thread = Arc::clone(&self.shared.thread);
            Arc::new(Origin { thread, branch, run: run.cloned() })
        })
    }

    /// What is told of a checkpoint once it is durable: `line` is at it.
    pub(crate) fn committed(&self, line: &Line, row: &CheckpointRow, (program, state): (&Program, &AnyState)) -> Batch {
        let origin = self.origin(line);
        let root = self.root();
        let under = root.as_ref().map(|(root, at)| (root.branch, *at));
        let (namespace, manifest) = (&self.namespace, &line.manifest);
        let committed = Committed { origin: &origin, namespace, row, manifest, under };
        let mut values = LiveValues { program, state };
        // What was encoded just now can be read: nothing is left out.
        let mut events = committed.events(self.shared.kinds, &mut values).unwrap_or_default();
        let passed = committed.place();
        if self.wants(Kind::Debug) {
            let data = EventData::Debug(DebugEvent::Committed { checkpoint: row.id.clone() });
            let namespace = Arc::clone(&self.namespace);
            let (origin, behind) = root.unwrap_or((origin, passed));
            events.push(Told { origin, namespace, step: row.height, at: At::Live(behind), data });
        }
        Batch { events, passed: Some(passed) }
    }

    /// The root's run, and the checkpoint that it is at, if this is a sub-graph's.
    fn root(&self) -> Option<(Arc<Origin>, Place)> {
        let standing = self.standing();
        let root = standing.origin.clone().filter(|_| !self.namespace.is_empty())?;
        Some((root, standing.at.unwrap_or(NOTHING)))
    }

    /// Sends what a durable write tells. Waits while the watcher is too far behind.
    pub(crate) async fn send(&self, batch: Batch) {
        for event in batch.events {
            // Nobody watches any more: the run is about to be dropped.
            let _ = self.shared.sender.send(event).await;
        }
        if let Some(passed) = batch.passed.filter(|_| self.namespace.is_empty()) {
            let mut standing = self.standing();
            standing.passed = standing.passed.max(Some(passed));
            standing.at = if is_question(passed) { standing.at } else { Some(passed) };
        }
    }

    /// Sends a live event. Waits while the watcher is too far behind.
    pub(crate) async fn tell(&self, data: EventData<AnyState>) {
        let (origin, passed) = {
            let standing = self.standing();
            (standing.origin.clone(), standing.passed)
        };
        let Some(origin) = origin else { return };
        let at = At::Live(passed.unwrap_or(NOTHING));
        let step = self.step.load(Ordering::Relaxed);
        let told = Told { origin, namespace: Arc::clone(&self.namespace), step, at, data };
        let _ = self.shared.sender.send(told).await;
    }

    /// The state is about to change: nobody is to hold it for those who may come.
    pub(crate) fn let_state_go(&self) {
        if self.wants(Kind::Values) && self.namespace.is_empty() {
            self.shared.session.let_go();
        }
    }

    pub(crate) fn thread(&self) -> &Arc<str> {
        &self.shared.thread
    }

    pub(crate) fn namespace(&self) -> &Arc<str> {
        &self.namespace
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
