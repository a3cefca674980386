//! How does a user put a graph into a graph?
//!
//! As a node, or by a call from a node. Both say how long its state lives; what happens is in `subgraph.rs`.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::app::App;
use crate::encode::{Body, EncodeError};
use crate::graph_record::GraphRecord;
use crate::node::{Cx, FromCx, Node, NodeOutput, Snap};
use crate::node_error::NodeError;
use crate::run::Host;
use crate::state::{Keep, State};
use crate::subgraph::{self, Lifetime, Start, SubCall};

/// A graph that runs inside nodes of other graphs.
///
/// Of the same state type as the graph around, it is a node itself: it begins with the state of that graph and gives back,
/// through the reducers, what differs at its end. What it appended to a list is appended, what it added to a number is
/// added; a value that it left as it was is not written, so that nothing is twice, and parallel sub-graphs are in conflict
/// only where they replace the same value. Ephemeral and untracked values are not given back. A graph with another state
/// is a node by [`mapped`](Self::mapped); any graph is called from nodes by [`Cx::call`](crate::Cx::call).
///
/// Its state is private: each call begins with a fresh one, which is stored while it runs, so that a crash or a question
/// inside goes on where it stopped. [`persistent`](Self::persistent) and [`stateless`](Self::stateless) say otherwise. It
/// uses the store, the clock and the context of the run that calls it, and of its resources those that its own application
/// does not provide.
pub struct SubGraph<C> {
    host: Host,
    lifetime: Lifetime,
    state: PhantomData<fn(C)>,
}

impl<C: State> SubGraph<C> {
    /// The graph of an application; its store is not used.
    pub fn new(app: &App<C>) -> Self {
        Self { host: app.host().clone(), lifetime: Lifetime::Private, state: PhantomData }
    }

    /// Keeps its state as long as the thread lives: each call is a further input. Its namespace is the path of the nodes and
    /// names that lead to it, so two calls of one step must not meet there. Without a store there is no thread: each call
    /// begins anew.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.lifetime = Lifetime::Persistent;
        self
    }

    /// Stores no checkpoints of it. After a crash or an answer it runs again from its beginning; only its durable steps and
    /// effects return what they returned.
    #[must_use]
    pub fn stateless(mut self) -> Self {
        self.lifetime = Lifetime::Stateless;
        self
    }

    /// A node that runs it: `input` says what it is given of the state, `output` what becomes of its state.
    pub fn mapped<S: State>(
        self,
        input: impl Fn(&S, &mut C::Update) + Send + Sync + 'static,
        output: impl Fn(&C, &mut S::Update) + Send + Sync + 'static,
    ) -> MappedSubGraph<S, C> {
        MappedSubGraph { graph: self, input: Arc::new(input), output: Arc::new(output) }
    }
}

type Input<S, C> = Arc<dyn Fn(&S, &mut <C as State>::Update) + Send + Sync>;
type Output<S, C> = Arc<dyn Fn(&C, &mut <S as State>::Update) + Send + Sync>;

/// A sub-graph with a state of its own, as a node. See [`SubGraph::mapped`].
pub struct MappedSubGraph<S: State, C: State> {
    graph: SubGraph<C>,
    input: Input<S, C>,
    output: Output<S, C>,
}

/// Tells sub-graphs from functions.
#[derive(Debug)]
pub struct Mapped;

#[diagnostic::do_not_recommend]
impl<S: State, C: State> Node<S, Mapped> for MappedSubGraph<S, C> {
    fn call(&self, cx: Cx<S>) -> impl Future<Output = Result<NodeOutput<S>, NodeError>> + Send + 'static {
        let Self { graph, input, output } = self.clone();
        async move {
            let state = Snap::from_cx(&cx)?;
            let mut given = C::Update::default();
            input(&state, &mut given);
            let ended = graph.run(&cx, "", Start::Input(Box::new(given))).await?;
            let mut update = S::Update::default();
            output(&ended, &mut update);
            Ok(NodeOutput { update, goto: Vec::new() })
        }
    }

    fn sub_graph(&self) -> Option<&GraphRecord> {
        Some(&self.graph.host.graph.record)
    }
}

#[diagnostic::do_not_recommend]
impl<S: State> Node<S, Mapped> for SubGraph<S> {
    fn call(&self, cx: Cx<S>) -> impl Future<Output = Result<NodeOutput<S>, NodeError>> + Send + 'static {
        let graph = self.clone();
        async move {
            let begun = Snap::<S>::from_cx(&cx)?;
            let ended = graph.run(&cx, "", Start::State(begun.to_any())).await?;
            Ok(NodeOutput { update: difference(&*begun, &*ended)?, goto: Vec::new() })
        }
    }

    fn sub_graph(&self) -> Option<&GraphRecord> {
        Some(&self.host.graph.record)
    }
}

/// The writes that make one state of another, of the channels whose stored values differ.
fn difference<S: State>(before: &S, after: &S) -> Result<S::Update, EncodeError> {
    let mut update = S::Update::default();
    for (channel, spec) in S::channels().iter().enumerate().filter(|(_, spec)| spec.keep == Keep::Stored) {
        let (mut old, mut new) = (Body::default(), Body::default());
        before.encode_full(channel, &mut old)?;
        after.encode_full(channel, &mut new)?;
        if old.bytes != new.bytes {
            before.difference(after, channel, &mut update).map_err(|error| error.in_channel(spec.name))?;
        }
    }
    Ok(update)
}

impl<C: State> SubGraph<C> {
    async fn run<S: State>(&self, cx: &Cx<S>, name: &str, start: Start) -> Result<Snap<C>, NodeError> {
        let call =
            SubCall { caller: cx.info(), deps: cx.deps(), graph: &self.host, lifetime: self.lifetime, name, start };
        let state = subgraph::call(call).await?;
        Snap::of(state).ok_or_else(|| NodeError::new("the state of a sub-graph is of another type"))
    }
}

impl<S: State> Cx<S> {
    /// Runs a sub-graph and returns its state at the end.
    ///
    /// A call is known by the task, its name, and how many calls of that name the task made before: when the task runs
    /// again, a call that had ended returns its state, and one that had not goes on from its last checkpoint. A question
    /// inside ends the attempt like one of the node's own.
    ///
    /// # Errors
    /// What a node inside failed with; that the sub-graph waits for an answer, which the node passes on with `?`.
    pub async fn call<C: State>(
        &self,
        name: &str,
        graph: &SubGraph<C>,
        input: impl FnOnce(&mut C::Update),
    ) -> Result<Snap<C>, NodeError> {
        let mut given = C::Update::default();
        input(&mut given);
        graph.run(self, name, Start::Input(Box::new(given))).await
    }
}

impl<C> Clone for SubGraph<C> {
    fn clone(&self) -> Self {
        Self { host: self.host.clone(), lifetime: self.lifetime, state: PhantomData }
    }
}

impl<S: State, C: State> Clone for MappedSubGraph<S, C> {
    fn clone(&self) -> Self {
        Self { graph: self.graph.clone(), input: Arc::clone(&self.input), output: Arc::clone(&self.output) }
    }
}

impl<C> fmt::Debug for SubGraph<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubGraph").field("graph", &self.host.program.name).field("lifetime", &self.lifetime).finish()
    }
}

impl<S: State, C: State> fmt::Debug for MappedSubGraph<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MappedSubGraph").field(&self.graph).finish()
    }
}
