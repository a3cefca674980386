//! How is a node named in code?
//!
//! By the handle that adding it to a graph returned, never by a string. A handle knows its graph and the payload that
//! its node takes, so an edge into a node that needs a payload does not compile, and a handle of another graph is found
//! when the graph is built.

use std::{
    fmt,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;

use crate::encode::{self, EncodeError};
use crate::node::Goto;
use crate::parent::ParentCommand;

/// A node of a `Graph<S>`; `P` is the payload it takes.
pub struct NodeRef<S, P = ()> {
    pub(crate) graph: GraphId,
    pub(crate) index: u32,
    types: PhantomData<fn(S, P)>,
}

/// Where to go after a node: a node, with or without a payload, or the end.
#[derive(Clone, Debug)]
pub struct Route {
    pub(crate) graph: Option<GraphId>,
    pub(crate) to: Destination,
}

/// Where a branch may go, whatever the payload. [`to!`](crate::to) lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetId {
    pub(crate) graph: Option<GraphId>,
    /// `None` is the end.
    pub(crate) node: Option<u32>,
}

/// The type of [`END`].
#[derive(Clone, Copy, Debug)]
pub struct End;

/// Nothing runs next.
pub const END: End = End;

/// What the function of a branch may return.
#[diagnostic::on_unimplemented(
    message = "a branch cannot go to `{Self}`",
    label = "not a route",
    note = "return a node without payload, `node.send(payload)`, `Route::END`, or a `Vec`, array or `Option` of these"
)]
pub trait IntoRoutes {
    /// Adds the routes, in order.
    fn add_to(self, routes: &mut Vec<Route>);

    /// The routes, in order.
    fn into_routes(self) -> Vec<Route>
    where
        Self: Sized,
    {
        let mut routes = Vec::new();
        self.add_to(&mut routes);
        routes
    }
}

/// Tells the graphs of this process apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GraphId(u64);

#[derive(Clone, Debug)]
pub(crate) enum Destination {
    End,
    Node(u32),
    Send {
        node: u32,
        payload: Result<Arc<[u8]>, EncodeError>,
    },
    /// Of a sub-graph's node: to a graph around it.
    Parent(ParentCommand),
}

impl<S, P> NodeRef<S, P> {
    pub(crate) fn new(graph: GraphId, index: u32) -> Self {
        Self { graph, index, types: PhantomData }
    }
}

impl<S, P: Serialize> NodeRef<S, P> {
    /// Runs the node once with this payload.
    ///
    /// The payload is encoded here. If that fails, the task fails with the reason.
    pub fn send(self, payload: P) -> Route {
        let payload = encode::to_bytes(&payload).map(Arc::from);
        Route { graph: Some(self.graph), to: Destination::Send { node: self.index, payload } }
    }
}

impl<S, P> Clone for NodeRef<S, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, P> Copy for NodeRef<S, P> {}

impl<S, P> fmt::Debug for NodeRef<S, P> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NodeRef").field("graph", &self.graph.0).field("index", &self.index).finish()
    }
}

impl Route {
    /// Nothing runs next.
    pub const END: Self = Self { graph: None, to: Destination::End };
}

impl From<End> for Route {
    fn from(_end: End) -> Self {
        Self::END
    }
}

impl<S> From<NodeRef<S>> for Route {
    fn from(node: NodeRef<S>) -> Self {
        Self { graph: Some(node.graph), to: Destination::Node(node.index) }
    }
}

impl From<End> for TargetId {
    fn from(_end: End) -> Self {
        Self { graph: None, node: None }
    }
}

impl<S, P> From<NodeRef<S, P>> for TargetId {
    fn from(node: NodeRef<S, P>) -> Self {
        Self { graph: Some(node.graph), node: Some(node.index) }
    }
}

impl IntoRoutes for Route {
    fn add_to(self, routes: &mut Vec<Route>) {
        routes.push(self);
    }
}

impl IntoRoutes for End {
    fn add_to(self, routes: &mut Vec<Route>) {
        routes.push(Route::END);
    }
}

impl IntoRoutes for Goto {
    fn add_to(self, routes: &mut Vec<Route>) {
        routes.extend(self.0);
    }
}

impl<S> IntoRoutes for NodeRef<S> {
    fn add_to(self, routes: &mut Vec<Route>) {
        routes.push(self.into());
    }
}

impl<R: IntoRoutes> IntoRoutes for Vec<R> {
    fn add_to(self, routes: &mut Vec<Route>) {
        for route in self {
            route.add_to(routes);
        }
    }
}

impl<R: IntoRoutes, const N: usize> IntoRoutes for [R; N] {
    fn add_to(self, routes: &mut Vec<Route>) {
        for route in self {
            route.add_to(routes);
        }
    }
}

impl<R: IntoRoutes> IntoRoutes for Option<R> {
    fn add_to(self, routes: &mut Vec<Route>) {
        if let Some(route) = self {
            route.add_to(routes);
        }
    }
}

impl GraphId {
    /// An id that no other graph of this process has.
    pub(crate) fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Lists the targets of a branch: `to![search, summarise, END]`.
#[macro_export]
macro_rules! to {
    ($($target:expr),* $(,)?) => {
        [$($crate::TargetId::from($target)),*]
    };
}
