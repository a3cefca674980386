//! How is a plain function a durable program?
//!
//! As a graph of one node. Its loops and conditions are Rust's; what it must not do twice are durable steps; everything
//! that is stored is what any graph stores.

use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::durable_step::DurableStep;
use crate::error::Result;
use crate::graph::Graph;
use crate::node::{Cx, NodeOutput, Snap};
use crate::node_error::{NodeError, NodeResult};
use crate::outcome::Outcome;
use crate::request::Request;
use crate::thread::Thread;

mod entry;

pub use entry::{Entry, EntryUpdate};

/// A value that a function takes or returns.
pub trait Stored: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static> Stored for T {}

/// What a function returns: a value, which is also what it saves for the next call on its thread, or [`Final`].
#[diagnostic::on_unimplemented(
    message = "a function cannot return `{Self}`",
    note = "return a value that serializes and can be cloned, or a `Final` of two such values, in a `NodeResult`"
)]
pub trait Returned: Send + 'static {
    /// What the caller gets.
    type Value: Stored;
    /// What the next call on the thread gets as `previous`.
    type Saved: Stored;

    /// What is returned where it is not what is saved, and what is saved.
    fn split(self) -> (Option<Self::Value>, Self::Saved);

    /// What was returned.
    fn value<I: Stored>(entry: &Entry<I, Self>) -> Option<&Self::Value>
    where
        Self: Sized;
}

/// Returns one value and saves another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Final<V, S> {
    /// What the caller gets.
    pub value: V,
    /// What the next call on the thread gets as `previous`.
    pub save: S,
}

impl<T: Stored> Returned for T {
    type Value = T;
    type Saved = T;

    fn split(self) -> (Option<T>, T) {
        (None, self)
    }

    fn value<I: Stored>(entry: &Entry<I, Self>) -> Option<&T> {
        entry.saved()
    }
}

impl<V: Stored, S: Stored> Returned for Final<V, S> {
    type Value = V;
    type Saved = S;

    fn split(self) -> (Option<V>, S) {
        (Some(self.value), self.save)
    }

    fn value<I: Stored>(entry: &Entry<I, Self>) -> Option<&V> {
        entry.value.as_ref()
    }
}

/// Makes a function a durable program: a graph of one node, whose name is the program's.
///
/// `run` takes a [`Call`] and the input of a call. It runs from its beginning at every attempt, and each
/// [`task`](Cx::task) that ended before returns what it returned then.
///
/// # Errors
/// `InvalidGraph`: a name that is empty or too long.
pub fn entrypoint<I, R, F, W>(name: &str, run: F) -> Result<App<Entry<I, R>>>
where
    I: Stored,
    R: Returned,
    F: Fn(Call<I, R>, I) -> W + Clone + Send + Sync + 'static,
    W: Future<Output = NodeResult<R>> + Send + 'static,
{
    let mut graph = Graph::<Entry<I, R>>::new(name);
    let node = graph.node(name, move |cx: Call<I, R>, entry: Snap<Entry<I, R>>| {
        let run = run.clone();
        async move {
            let input =
                entry.input.clone().ok_or_else(|| NodeError::new("the function was called without an input"))?;
            // The state has no other holder when the result is applied.
            drop(entry);
            NodeResult::Ok(NodeOutput { update: EntryUpdate::of_returned(run(cx, input).await?), goto: Vec::new() })
        }
    });
    graph.start(node);
    graph.build()
}

/// What a function is given besides its input: a [`Cx`] of its own graph.
pub type Call<I, R> = Cx<Entry<I, R>>;

impl<I: Stored, R: Returned> Cx<Entry<I, R>> {
    /// Runs a part of the function once: a durable step, see [`Cx::step`].
    pub fn task<'a, T, E, F, W>(&self, name: &str, run: F) -> DurableStep<'a, T>
    where
        F: FnMut() -> W + Send + 'a,
        W: Future<Output = std::result::Result<T, E>> + Send + 'a,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
        T: Serialize + DeserializeOwned + Send + 'a,
    {
        self.step(name, run)
    }

    /// What the last call on the thread saved; `None` in the first. A call that failed, or was discarded, saved nothing.
    pub fn previous(&self) -> Option<R::Saved> {
        let entry: Snap<Entry<I, R>> = self.extract().ok()?;
        entry.saved().cloned()
    }
}

impl<I: Stored, R: Returned> Thread<Entry<I, R>> {
    /// Calls the function. Nothing happens before [`Request::run`].
    pub fn call(&self, input: I) -> Request<'_, Entry<I, R>> {
        self.input(|entry| entry.call(input))
    }
}

impl<I: Stored, R: Returned> Outcome<Entry<I, R>> {
    /// What the function returned; `None` if it waits for somebody.
    pub fn value(&self) -> Option<&R::Value> {
        self.is_done().then(|| R::value(self.state())).flatten()
    }
}
