//! Which threads are there, and what is said of them?
//!
//! `attributes.rs` is what callers say of threads, `effects.rs` which actions nobody knows the end of, `sizes.rs` what a
//! thread takes. Nothing here loads a state.

mod attributes;
mod effects;
mod sizes;

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::ops::RangeBounds;

use futures_util::future::BoxFuture;
use stepmark_core::capability::{AttributeValue, Condition, Cursor, FoundThread, Order, Search, SearchQuery, Test};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error as StoreError, Subject};
use stepmark_core::id::CheckpointId;
use stepmark_core::rows::RunStatus;

use crate::app::App;
use crate::decide::store_of;
use crate::error::Result;
use crate::run::Host;
use crate::state::State;

pub use effects::{EffectPage, ThreadEffect, UnknownEffects};
pub use sizes::{ChannelSize, ThreadSizes};

/// How many threads are found at a time.
const PAGE_SIZE: u32 = 100;

/// The threads of a store: see [`App::threads`]. `.await` finds all, [`page`](Self::page) some.
#[derive(Debug)]
#[must_use = "nothing is read before `.await`"]
pub struct Threads<'a, S> {
    app: &'a App<S>,
    query: SearchQuery,
}

/// A thread that was found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ThreadInfo {
    /// Its name.
    pub name: String,
    /// The status of the run that last began on it.
    pub status: Option<RunStatus>,
    /// The graph of that run.
    pub graph: Option<String>,
    /// When it was made, in microseconds since the Unix epoch.
    pub created_at: Timestamp,
    /// When the last checkpoint of its head was made, or the thread, where that has none.
    pub updated_at: Timestamp,
    /// The last checkpoint of its head: step and id.
    pub tip: Option<(u64, CheckpointId)>,
    /// What is said of it, by name.
    pub attributes: BTreeMap<String, AttributeValue>,
}

impl ThreadInfo {
    fn of(found: FoundThread) -> Self {
        let FoundThread { entry, graph, updated_at, attributes } = found;
        Self {
            name: entry.thread.name,
            status: entry.status,
            graph,
            created_at: entry.thread.created_at,
            updated_at,
            tip: entry.tip.map(|tip| (tip.height, tip.id)),
            attributes: attributes.into_iter().map(|attribute| (attribute.name, attribute.value)).collect(),
        }
    }
}

/// Some of the threads that a search finds.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadPage {
    /// In the order of the search.
    pub threads: Vec<ThreadInfo>,
    /// Where to go on [`after`](Threads::after); absent at the end.
    pub next: Option<Cursor>,
}

impl<S: State> App<S> {
    /// The threads of the store, whichever graphs run on them, by name: those for which all conditions hold.
    ///
    /// A condition on an attribute, exact or a range, is answered from an index; of the threads that it leaves, and of all
    /// threads where there is none, every other condition looks at a few rows each. In an order other than by name a page
    /// looks at all of them.
    pub fn threads(&self) -> Threads<'_, S> {
        Threads { app: self, query: SearchQuery::new("", PAGE_SIZE) }
    }
}

impl<S: State> Threads<'_, S> {
    fn which(mut self, condition: Condition) -> Self {
        self.query.conditions.push(condition);
        self
    }

    fn with_test(self, name: &str, test: Test) -> Self {
        self.which(Condition::Attribute { name: name.to_owned(), test })
    }

    /// Whose attribute has this value.
    pub fn attribute(self, name: &str, value: impl Into<AttributeValue>) -> Self {
        self.with_test(name, Test::Is(value.into()))
    }

    /// Whose attribute lies in this range: `.attribute_in("priority", 3..)`.
    pub fn attribute_in<V: Into<AttributeValue> + Clone>(self, name: &str, range: impl RangeBounds<V>) -> Self {
        let end = |bound: std::ops::Bound<&V>| bound.cloned().map(Into::into);
        self.with_test(name, Test::Between(end(range.start_bound()), end(range.end_bound())))
    }

    /// Whose attribute, a text, has this text in it. No letter of it means anything but itself.
    pub fn attribute_contains(self, name: &str, part: impl Into<String>) -> Self {
        self.with_test(name, Test::Contains(part.into()))
    }

    /// Whose last run has this status.
    pub fn status(self, status: RunStatus) -> Self {
        self.which(Condition::Status(status))
    }

    /// Whose last run is of this graph.
    pub fn graph(self, graph: impl Into<String>) -> Self {
        self.which(Condition::Graph(graph.into()))
    }

    /// Which were made in this range of time.
    pub fn created(self, times: impl RangeBounds<Timestamp>) -> Self {
        self.which(Condition::Created(times.start_bound().cloned(), times.end_bound().cloned()))
    }

    /// Which were updated last in this range of time.
    pub fn updated(self, times: impl RangeBounds<Timestamp>) -> Self {
        self.which(Condition::Updated(times.start_bound().cloned(), times.end_bound().cloned()))
    }

    /// On which somebody was asked: [`App::questions`] lists what.
    pub fn waiting(self) -> Self {
        self.which(Condition::Waiting)
    }

    /// In another order than by name.
    pub fn order(mut self, order: Order) -> Self {
        self.query.order = order;
        self
    }

    /// In the order turned around.
    pub fn descending(mut self) -> Self {
        self.query.descending = true;
        self
    }

    /// Only those after this place, which a page of the same search ended with.
    pub fn after(mut self, place: Cursor) -> Self {
        self.query.after = Some(place);
        self
    }

    /// How many a page has at most; 100 at first, at least 1.
    pub fn limit(mut self, threads: u32) -> Self {
        self.query.limit = threads;
        self
    }

    /// One page. A thread that exists, and does not move in the order, while pages are read is on one of them.
    ///
    /// # Errors
    /// `Missing` names an attribute that is not declared; `Invalid` one of another kind. `Store`: the store cannot search.
    pub async fn page(&self) -> Result<ThreadPage> {
        let page = search_of(self.app.host())?.find(self.query.clone()).await?;
        Ok(ThreadPage { threads: page.threads.into_iter().map(ThreadInfo::of).collect(), next: page.next })
    }

    async fn all(mut self) -> Result<Vec<ThreadInfo>> {
        let mut threads = Vec::new();
        loop {
            let page = self.page().await?;
            threads.extend(page.threads);
            match page.next {
                None => return Ok(threads),
                next => self.query.after = next,
            }
        }
    }
}

impl<'a, S: State> IntoFuture for Threads<'a, S> {
    type Output = Result<Vec<ThreadInfo>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.all())
    }
}

/// The store's search.
fn search_of(host: &Host) -> Result<&dyn Search> {
    let none = || StoreError::unsupported(Subject::Store, "search", "this store cannot look for threads");
    Ok(store_of(host)?.search().ok_or_else(none)?)
}
