//! How does somebody who was not there from the beginning see a thread's events?
//!
//! Stored events are read back, wherever they were made. Live ones come from the session of a run that is watched in this
//! process; where some are missing, one `Gap` says so. Nothing is spawned: the reader reads while it is polled.

use std::collections::VecDeque;
use std::fmt;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{BoxStream, unfold};
use futures_util::{Stream, StreamExt};
use tokio::sync::futures::OwnedNotified;
use tokio::sync::watch;

use crate::bell::{Bell, Rings};
use crate::error::Result;
use crate::events::emit::{NOTHING, Told};
use crate::events::reading::Reader;
use crate::events::session::{Inbox, LiveEvent, Next, Session};
use crate::events::{Event, EventData, Kind, Kinds, LivePosition, NestedPlace, Place, Position};
use crate::state::State;
use crate::thread::Thread;

/// How long to wait before looking at the store again, where nobody in this process tells of news: at first, and at most.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The events of a thread's branch: see [`Thread::events`].
#[derive(Debug)]
#[must_use = "nothing is read before `.start()`"]
pub struct EventsRequest<'a, S> {
    thread: &'a Thread<S>,
    kinds: Kinds,
    after: Option<Position>,
    follows: bool,
}

impl<S: State> Thread<S> {
    /// The events of the branch, of these kinds, from its beginning: also those of runs in other processes.
    ///
    /// Stored kinds are read back, and are the same, at the same positions, as the stream of their run had them. Live kinds
    /// come from a run that is watched ([`Request::stream`](crate::Request::stream)) through this application or a clone of
    /// it; what of them was told before, is not kept any more or belongs to another process is missing, and one
    /// [`Gap`](EventData::Gap) says where.
    pub fn events(&self, kinds: impl IntoIterator<Item = Kind>) -> EventsRequest<'_, S> {
        EventsRequest { thread: self, kinds: kinds.into_iter().collect(), after: None, follows: false }
    }
}

impl<'a, S: State> EventsRequest<'a, S> {
    /// Only what comes after this event. After a question, or an event of a sub-graph, other questions and sub-graphs over the
    /// same checkpoint may come again: they come in any order.
    pub fn after(mut self, position: Position) -> Self {
        self.after = Some(position);
        self
    }

    /// Does not end at the tip, but waits for what comes, for ever: in this process as it is told, else by looking at the
    /// store, at least once a second. Stays with the branch on which it began.
    pub fn follow(mut self) -> Self {
        self.follows = true;
        self
    }

    /// The events. Reading goes on while they are polled.
    pub fn start(self) -> Events<'a, S> {
        let Self { thread, kinds, after, follows } = self;
        let events = unfold(Stage::Closed, move |stage| async move {
            let mut follower = match stage {
                Stage::Closed => match Follower::open(thread, kinds, after).await {
                    Ok(follower) => Box::new(follower),
                    Err(error) => return Some((Err(error), Stage::Ended)),
                },
                Stage::Open(follower) => follower,
                Stage::Ended => return None,
            };
            match follower.next(follows).await.transpose()? {
                Ok(event) => Some((Ok(event), Stage::Open(follower))),
                Err(error) => Some((Err(error), Stage::Ended)),
            }
        });
        Events { events: events.boxed() }
    }
}

/// Events that are read back and followed. After an error they end.
pub struct Events<'a, S> {
    events: BoxStream<'a, Result<Event<S>>>,
}

impl<S: State> Events<'_, S> {
    /// The next event; `None` at the end, which somebody who follows does not reach.
    ///
    /// # Errors
    /// `Missing` names an unknown thread or branch, or a position that is not on the branch's line.
    pub async fn next(&mut self) -> Option<Result<Event<S>>> {
        self.events.next().await
    }
}

impl<S> Stream for Events<'_, S> {
    type Item = Result<Event<S>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Event<S>>>> {
        self.events.poll_next_unpin(cx)
    }
}

impl<S> fmt::Debug for Events<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

enum Stage<'a, S> {
    Closed,
    Open(Box<Follower<'a, S>>),
    Ended,
}

/// Somebody who reads, and joins what is told.
struct Follower<'a, S> {
    thread: &'a Thread<S>,
    kinds: Kinds,
    reader: Reader<'a, S>,
    /// Of the checkpoint that was read last.
    read: VecDeque<Told>,
    /// Whether there may be more to read.
    is_stale: bool,
    /// The last stored event that was handed out, or passed.
    passed: Place,
    /// The last one of a sub-graph behind it.
    nested: Option<NestedPlace>,
    joined: Option<Joined>,
    /// The run that was joined last.
    last: Option<u64>,
    /// The runs that began since; absent where live events were not asked for.
    inbox: Option<Arc<Inbox>>,
    /// Whether a gap is to be told once the stored events are.
    owes_gap: bool,
    pause: Duration,
    /// Rings when the thread moves, or asks.
    bell: Bell,
    moved: Pin<Box<OwnedNotified>>,
}

/// A run that is told of in this process.
struct Joined {
    session: Arc<Session>,
    /// The number of the next live event.
    next: u64,
    /// How far the store was read when its live events came behind this.
    looked_at: Place,
    changes: watch::Receiver<()>,
}

impl Joined {
    fn new(session: Arc<Session>, next: u64) -> Self {
        Self { next, looked_at: NOTHING, changes: session.changes(), session }
    }
}

impl<'a, S: State> Follower<'a, S> {
    async fn open(thread: &'a Thread<S>, kinds: Kinds, after: Option<Position>) -> Result<Self> {
        let reader = Reader::open(thread, kinds, after).await?;
        let (uid, branch) = (reader.tip.thread.uid, reader.branch());
        let bell = Bell::hang(Rings::Thread(uid));
        let moved = Box::pin(bell.heard());
        let inbox = kinds.has_any(&Kind::LIVE).then(|| thread.host.hub.inbox((uid, branch)));
        let mut follower = Self {
            thread,
            kinds,
            passed: reader.cursor,
            nested: after.and_then(|after| after.nested),
            reader,
            read: VecDeque::new(),
            is_stale: true,
            joined: None,
            last: None,
            owes_gap: inbox.is_some(),
            inbox,
            // What moved before the bell hung is looked for soon.
            pause: PAUSE_MIN,
            bell,
            moved,
        };
        if let Some(joined) = after.and_then(|after| follower.continued(after)) {
            follower.owes_gap = false;
            follower.join(joined);
        }
        Ok(follower)
    }

    fn session(&self) -> Option<Arc<Session>> {
        self.thread.host.hub.session((self.reader.tip.thread.uid, self.reader.branch()))
    }

    /// The run that is told of, if every live event after this position is kept.
    fn continued(&self, after: Position) -> Option<Joined> {
        self.inbox.as_ref()?;
        let session = self.session().filter(|session| session.tells(self.kinds))?;
        let next = match after.live {
            Some(live) if live.session == session.id => {
                Some(live.number + 1).filter(|next| session.keeps(*next, self.kinds))
            }
            _ => session.all_behind(after.place(), self.kinds),
        };
        next.map(|next| Joined::new(session, next))
    }

    fn join(&mut self, joined: Joined) {
        self.last = Some(joined.session.id);
        self.joined = Some(joined);
    }

    /// Joins a run that began before: what it told before the events that were read is missing.
    fn join_present(&mut self) {
        if let Some(session) = self.session().filter(|_| self.joined.is_none()) {
            let next = session.kept_behind(self.passed);
            self.join(Joined::new(session, next));
        }
    }

    /// Joins the next run that began since.
    fn join_next(&mut self) -> bool {
        let Some(inbox) = self.inbox.as_ref().filter(|_| self.joined.is_none()) else { return false };
        let Some((session, has_missed)) = inbox.take() else { return false };
        self.owes_gap |= has_missed;
        if self.last != Some(session.id) {
            self.join(Joined::new(session, 1));
        }
        true
    }

    async fn next(&mut self, follows: bool) -> Result<Option<Event<S>>> {
        loop {
            if self.read.is_empty() && self.is_stale {
                self.read_on().await?;
                continue;
            }
            let live = self.live();
            if self.is_behind(live.as_deref()) {
                self.reader.refresh().await?;
                self.is_stale = true;
                continue;
            }
            match (live, self.read.front()) {
                (Some(live), read) if read.is_none_or(|read| live.behind < read.place()) => {
                    if let Some(event) = self.take_live(*live) {
                        return Ok(Some(event));
                    }
                }
                (_, Some(_)) => return Ok(self.take_read()),
                (_, None) if self.owes_gap => {
                    self.owes_gap = false;
                    self.join_present();
                    return Ok(Some(self.gap()));
                }
                (_, None) if !follows => return Ok(None),
                (_, None) => self.wait().await?,
            }
        }
    }

    /// Reads the next checkpoint's events.
    async fn read_on(&mut self) -> Result<()> {
        if let Some(events) = self.reader.next().await? {
            (self.read, self.pause) = (events, PAUSE_MIN);
        } else {
            self.is_stale = false;
            if self.reader.cursor > self.passed {
                (self.passed, self.nested) = (self.reader.cursor, None);
            }
        }
        Ok(())
    }

    /// Whether the store has events before this live one that were not looked for.
    fn is_behind(&mut self, live: Option<&LiveEvent>) -> bool {
        let (Some(joined), Some(live)) = (&mut self.joined, live) else { return false };
        let is_behind = self.read.is_empty() && live.behind > joined.looked_at.max(self.passed);
        if is_behind {
            joined.looked_at = live.behind;
        }
        is_behind
    }

    /// The next live event that is there.
    fn live(&mut self) -> Option<Box<LiveEvent>> {
        loop {
            let joined = self.joined.as_mut().filter(|_| !self.owes_gap)?;
            match joined.session.next(joined.next) {
                Next::Event(event) => return Some(event),
                Next::Lost(next) => {
                    (joined.next, self.owes_gap) = (next, true);
                }
                Next::Nothing => return None,
                Next::Ended => self.joined = None,
            }
        }
    }

    /// Takes a live event; `None` if its kind was not asked for.
    fn take_live(&mut self, LiveEvent { number, behind, told }: LiveEvent) -> Option<Event<S>> {
        let joined = self.joined.as_mut()?;
        joined.next = number + 1;
        let is_wanted = told.data.kind().is_none_or(|kind| self.kinds.has(kind));
        let live = Some(LivePosition { session: joined.session.id, number });
        let place = Position::at(told.origin.branch, behind.max(self.passed));
        let position = Position { nested: self.nested, live, ..place };
        is_wanted.then(|| Event::of_told(told, position)).flatten()
    }

    /// Takes a stored event.
    fn take_read(&mut self) -> Option<Event<S>> {
        let told = self.read.pop_front()?;
        let position = told.position();
        (self.passed, self.nested) = (told.place(), position.nested);
        Event::of_told(told, position)
    }

    /// Waits until there may be something new.
    async fn wait(&mut self) -> Result<()> {
        if self.join_next() {
            return Ok(());
        }
        let told = async {
            match (&mut self.joined, &self.inbox) {
                (Some(joined), _) => drop(joined.changes.changed().await),
                (None, Some(inbox)) => inbox.changed().await,
                (None, None) => pending().await,
            }
        };
        tokio::select! {
            () = told => return Ok(()),
            () = &mut self.moved => self.pause = PAUSE_MIN,
            () = self.thread.host.clock.sleep(self.pause) => self.pause = (self.pause * 2).min(PAUSE_MAX),
        }
        // Before the look: what comes after it is heard.
        self.moved = Box::pin(self.bell.heard());
        self.reader.refresh().await?;
        self.is_stale = true;
        Ok(())
    }

    fn gap(&self) -> Event<S> {
        let (branch, place) = (self.reader.branch(), self.passed);
        let position = Position { nested: self.nested, ..Position::at(branch, place) };
        let (namespace, thread) = ("".into(), self.thread.name.as_str().into());
        Event { position, step: place.height, namespace, thread, branch, run: None, data: EventData::Gap }
    }
}
