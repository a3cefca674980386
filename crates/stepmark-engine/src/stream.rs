//! How is a run watched while it goes on?
//!
//! The stream is the run: polling it drives the run, and nothing is spawned. What the run tells goes through a bounded
//! buffer; where it is full, the run waits at its next event until the watcher has taken one.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;

use crate::error::{Error, Result};
use crate::events::emit::{At, Emitter, Told};
use crate::events::session::{LiveEvent, Session};
use crate::events::{Event, Kind, Kinds, LivePosition, NestedPlace, Place, Position};
use crate::outcome::Outcome;
use crate::request::Request;
use crate::run::Host;
use crate::state::State;

/// How many events a run may be ahead of whoever watches it.
pub const BUFFER_DEFAULT: usize = 256;

/// What is run once there is something that its events go to.
type Begin<'a, S> = Box<dyn FnOnce(Arc<Emitter>) -> BoxFuture<'a, Result<Outcome<S>>> + Send + 'a>;

/// A run that is to be watched: see [`Request::stream`].
#[must_use = "nothing runs before `.start()`"]
pub struct StreamRequest<'a, S> {
    thread: &'a str,
    host: &'a Host,
    begin: Begin<'a, S>,
    kinds: Kinds,
    buffer: usize,
}

impl<'a, S: State> Request<'a, S> {
    /// Runs as [`run`](Request::run) does, and tells what happens meanwhile: events of these kinds.
    pub fn stream(self, kinds: impl IntoIterator<Item = Kind>) -> StreamRequest<'a, S> {
        let thread = self.thread;
        let run = move |events| {
            let mut request = self;
            request.events = Some(events);
            Box::pin(request.run()) as BoxFuture<'a, _>
        };
        StreamRequest::new((&thread.name, &thread.host), Box::new(run), kinds)
    }
}

impl<'a, S: State> StreamRequest<'a, S> {
    pub(crate) fn new(
        (thread, host): (&'a str, &'a Host),
        begin: Begin<'a, S>,
        kinds: impl IntoIterator<Item = Kind>,
    ) -> Self {
        Self { thread, host, begin, kinds: kinds.into_iter().collect(), buffer: BUFFER_DEFAULT }
    }

    /// How many events the run may be ahead of the watcher; 256 at first, at least 1. Where so many wait, the run waits too:
    /// nothing is left out.
    pub fn buffer(mut self, events: usize) -> Self {
        self.buffer = events.max(1);
        self
    }

    /// Begins. The run goes on while the stream is polled; dropping the stream drops the run, as dropping the future of
    /// [`Request::run`] does.
    pub fn start(self) -> EventStream<'a, S> {
        let (sender, receiver) = mpsc::channel(self.buffer);
        let mut id = [0; 8];
        self.host.ids.fill(&mut id);
        let session = Session::new(u64::from_le_bytes(id), self.kinds, Arc::clone(&self.host.hub));
        let run = (self.begin)(Emitter::new(&session, self.thread, sender));
        EventStream { run: Some(run), outcome: None, receiver, session, number: 0, behind: None, nested: None }
    }
}

/// The events of a run, and the run itself.
///
/// Events of stored kinds come once they are durable, in the order of their positions, but for questions, which come as
/// they are asked. Live events come at once, those of one task in its order.
#[must_use = "the run goes on only while the stream is polled"]
pub struct EventStream<'a, S> {
    run: Option<BoxFuture<'a, Result<Outcome<S>>>>,
    outcome: Option<Result<Outcome<S>>>,
    receiver: mpsc::Receiver<Told>,
    session: Arc<Session>,
    /// Of the last live event.
    number: u64,
    /// The last stored event that was seen.
    behind: Option<Place>,
    /// The last of a sub-graph behind it.
    nested: Option<NestedPlace>,
}

impl<S: State> EventStream<'_, S> {
    /// The next event; `None` once the run has ended and everything was told.
    pub async fn next(&mut self) -> Option<Event<S>> {
        StreamExt::next(self).await
    }

    /// Runs to the end, without the events that are left.
    ///
    /// # Errors
    /// Those of [`Request::run`].
    pub async fn outcome(mut self) -> Result<Outcome<S>> {
        while self.next().await.is_some() {}
        self.outcome.take().unwrap_or_else(|| Err(Error::invalid("the run has ended without an outcome")))
    }

    fn event(&mut self, told: Told) -> Option<Event<S>> {
        let mut position = told.position();
        match told.at {
            At::Stored(place) => (self.behind, self.nested) = (Some(place), None),
            At::Nested(_, _, nested) => self.nested = Some(nested),
            At::Live(behind) => {
                self.number += 1;
                // What was told before the last stored event, but sent after it, comes behind it.
                let behind = self.behind.map_or(behind, |seen| seen.max(behind));
                self.session.keep(LiveEvent { number: self.number, behind, told: told.clone() });
                let live = Some(LivePosition { session: self.session.id, number: self.number });
                position = Position { nested: self.nested, live, ..Position::at(told.origin.branch, behind) };
            }
        }
        Event::of_told(told, position)
    }
}

impl<S> Drop for EventStream<'_, S> {
    fn drop(&mut self) {
        self.session.end();
    }
}

impl<S: State> Stream for EventStream<'_, S> {
    type Item = Event<S>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event<S>>> {
        let this = &mut *self;
        loop {
            // What is there first: the run goes on when the watcher has seen it.
            let told = match this.receiver.poll_recv(cx) {
                Poll::Ready(Some(told)) => told,
                Poll::Ready(None) => {
                    this.session.end();
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    let Some(run) = &mut this.run else { return Poll::Pending };
                    if let Poll::Ready(outcome) = run.as_mut().poll(cx) {
                        (this.run, this.outcome) = (None, Some(outcome));
                        // Nothing that belongs to it runs any more: what is there is all.
                        this.receiver.close();
                        continue;
                    }
                    // Not polled: the first look may have been refused because this task should yield.
                    let Ok(told) = this.receiver.try_recv() else { return Poll::Pending };
                    told
                }
            };
            if let Some(event) = this.event(told) {
                return Poll::Ready(Some(event));
            }
        }
    }
}

impl<S> fmt::Debug for StreamRequest<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamRequest").field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for EventStream<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("has_ended", &self.run.is_none()).finish_non_exhaustive()
    }
}
