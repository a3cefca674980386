//! How do others follow a run that is watched in this process?
//!
//! Each watched run has a session with a bounded history of its live events; the application's hub knows the session of each
//! branch. Stored events are not kept here: who follows reads them from the store when the session says that there are new
//! ones.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use stepmark_core::id::{BranchId, ThreadUid};
use tokio::sync::{Notify, watch};

use super::emit::Told;
use super::{EventData, Kind, Kinds, Place};

/// How many live events of a run are kept for those who come later.
const HISTORY_MAX: usize = 1024;

/// A branch of a thread.
type Branch = (ThreadUid, BranchId);

/// The sessions of an application, by branch, and who waits for those that begin.
#[derive(Default)]
pub(crate) struct Hub {
    // A std mutex: held for a look at small maps, never across an await.
    inner: Mutex<HubInner>,
}

#[derive(Default)]
struct HubInner {
    sessions: HashMap<Branch, Arc<Session>>,
    inboxes: HashMap<Branch, Vec<Weak<Inbox>>>,
}

impl Hub {
    fn inner(&self) -> MutexGuard<'_, HubInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn session(&self, branch: Branch) -> Option<Arc<Session>> {
        self.inner().sessions.get(&branch).cloned()
    }

    /// Where the sessions of a branch are put that begin from now on.
    pub(crate) fn inbox(&self, branch: Branch) -> Arc<Inbox> {
        let inbox = Arc::default();
        self.inner().inboxes.entry(branch).or_default().push(Arc::downgrade(&inbox));
        inbox
    }

    fn add(&self, branch: Branch, session: &Arc<Session>) {
        let mut inner = self.inner();
        let earlier = inner.sessions.insert(branch, Arc::clone(session));
        if earlier.is_some_and(|earlier| earlier.id == session.id) {
            return;
        }
        if let Some(inboxes) = inner.inboxes.get_mut(&branch) {
            inboxes.retain(|inbox| inbox.upgrade().is_some_and(|inbox| inbox.put(session)));
        }
        inner.inboxes.retain(|_, inboxes| {
            inboxes.retain(|inbox| inbox.strong_count() > 0);
            !inboxes.is_empty()
        });
    }

    fn remove(&self, session: &Session) {
        self.inner().sessions.retain(|_, other| other.id != session.id);
    }
}

/// How many runs may begin and end before somebody who follows looks.
const INBOX_MAX: usize = 8;

/// The sessions that somebody who follows has not joined yet.
#[derive(Default)]
pub(crate) struct Inbox {
    // A std mutex: held for a look at a queue, never across an await.
    inner: Mutex<InboxInner>,
    changed: Notify,
}

#[derive(Default)]
struct InboxInner {
    sessions: VecDeque<Arc<Session>>,
    has_missed: bool,
}

impl Inbox {
    fn inner(&self) -> MutexGuard<'_, InboxInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a session in; the oldest goes where there are too many. It stays open.
    fn put(&self, session: &Arc<Session>) -> bool {
        let mut inner = self.inner();
        inner.sessions.push_back(Arc::clone(session));
        if inner.sessions.len() > INBOX_MAX {
            inner.sessions.pop_front();
            inner.has_missed = true;
        }
        self.changed.notify_one();
        true
    }

    /// The oldest session, and whether others were missed before it.
    pub(crate) fn take(&self) -> Option<(Arc<Session>, bool)> {
        let mut inner = self.inner();
        let session = inner.sessions.pop_front()?;
        Some((session, std::mem::take(&mut inner.has_missed)))
    }

    /// Ends when a session was put in.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("sessions", &self.inner().sessions.len()).finish_non_exhaustive()
    }
}

/// A watched run, for those who follow it.
pub(crate) struct Session {
    /// What numbers its live events apart from those of other runs.
    pub(crate) id: u64,
    pub(crate) kinds: Kinds,
    hub: Arc<Hub>,
    // A std mutex: held for a look at a queue, never across an await.
    history: Mutex<History>,
    changed: watch::Sender<()>,
}

/// A live event, as it was numbered.
#[derive(Clone)]
pub(crate) struct LiveEvent {
    pub(crate) number: u64,
    pub(crate) behind: Place,
    pub(crate) told: Told,
}

#[derive(Default)]
struct History {
    /// By number.
    events: VecDeque<LiveEvent>,
    /// Where the thread stood when the session began; it tells everything that is behind it.
    from: Option<Place>,
    /// The newest event that is not kept any more.
    lost: Option<(u64, Place)>,
    /// The number of the last state, if it is kept. Older ones are not.
    state: Option<u64>,
    /// The last state, if it was let go.
    let_go: Option<(u64, Place)>,
    has_ended: bool,
}

/// What comes next for somebody who follows.
pub(crate) enum Next {
    Event(Box<LiveEvent>),
    /// Events before this number are not kept any more.
    Lost(u64),
    /// Nothing, for now.
    Nothing,
    /// Nothing any more.
    Ended,
}

impl Session {
    pub(crate) fn new(id: u64, kinds: Kinds, hub: Arc<Hub>) -> Arc<Self> {
        let (history, changed) = (Mutex::default(), watch::Sender::new(()));
        Arc::new(Self { id, kinds, hub, history, changed })
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes it the session of a branch, whose run stands at this place.
    pub(crate) fn attend(self: &Arc<Self>, branch: Branch, at: Place) {
        self.history().from.get_or_insert(at);
        self.hub.add(branch, self);
    }

    /// Keeps a live event, in place of the oldest where there are too many.
    pub(crate) fn keep(&self, event: LiveEvent) {
        let mut history = self.history();
        if matches!(event.told.data, EventData::Values(_)) {
            // States are large, and an older one is of no use to who comes later.
            history.take_state();
            (history.state, history.let_go) = (Some(event.number), None);
        }
        if history.events.len() == HISTORY_MAX
            && let Some(oldest) = history.events.pop_front()
        {
            history.lost = Some((oldest.number, oldest.behind));
        }
        history.events.push_back(event);
        drop(history);
        self.changed.send_replace(());
    }

    /// Lets the last state go where nobody follows: the run is about to change it, and would have to copy it.
    pub(crate) fn let_go(&self) {
        if self.changed.receiver_count() == 0 {
            let mut history = self.history();
            history.let_go = history.take_state().or(history.let_go);
        }
    }

    /// Tells of events.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The number from which on live events come behind this place; `None` if not all of them are kept.
    pub(crate) fn all_behind(&self, place: Place, kinds: Kinds) -> Option<u64> {
        let history = self.history();
        let is_covered = history.from.is_some_and(|from| from <= place);
        let is_kept = history.missing(kinds).all(|(_, behind)| behind < place);
        (is_covered && is_kept).then(|| history.first_behind(place))
    }

    /// The number from which on live events come behind this place, of those that are kept.
    pub(crate) fn kept_behind(&self, place: Place) -> u64 {
        self.history().first_behind(place)
    }

    /// Whether every event of these kinds from this number on is kept; of states the last.
    pub(crate) fn keeps(&self, number: u64, kinds: Kinds) -> bool {
        self.history().missing(kinds).all(|(missing, _)| missing < number)
    }

    /// The first event from this number on.
    pub(crate) fn next(&self, number: u64) -> Next {
        let history = self.history();
        if let Some((lost, _)) = history.lost.filter(|(lost, _)| *lost >= number) {
            return Next::Lost(lost + 1);
        }
        let at = history.events.partition_point(|event| event.number < number);
        match history.events.get(at) {
            Some(event) => Next::Event(Box::new(event.clone())),
            None if history.has_ended => Next::Ended,
            None => Next::Nothing,
        }
    }

    /// The run is over, or was dropped. What is kept stays for those who follow already.
    pub(crate) fn end(&self) {
        self.hub.remove(self);
        self.history().has_ended = true;
        self.changed.send_replace(());
    }

    /// Whether its run tells all live events of these kinds.
    pub(crate) fn tells(&self, kinds: Kinds) -> bool {
        Kind::LIVE.iter().all(|kind| !kinds.has(*kind) || self.kinds.has(*kind))
    }
}

impl History {
    /// The newest events of these kinds that are not kept any more.
    fn missing(&self, kinds: Kinds) -> impl Iterator<Item = (u64, Place)> {
        self.lost.into_iter().chain(self.let_go.filter(|_| kinds.has(Kind::Values)))
    }

    fn take_state(&mut self) -> Option<(u64, Place)> {
        let number = self.state.take()?;
        let at = self.events.binary_search_by_key(&number, |event| event.number).ok()?;
        self.events.remove(at).map(|event| (event.number, event.behind))
    }

    fn first_behind(&self, place: Place) -> u64 {
        let first = self.events.iter().find(|event| event.behind >= place);
        let next = self.events.back().map_or(1, |last| last.number + 1);
        first.map_or(next, |event| event.number)
    }
}
