//! What does a node answer: what it writes, and where it goes?

use crate::{
    handle::{IntoRoutes, Route},
    node_error::NodeError,
    parent::ParentCommand,
    state::State,
};

/// What a node may return.
#[diagnostic::on_unimplemented(
    message = "a node of a `{S}` graph cannot return `{Self}`",
    label = "not a node's result",
    note = "return `Update<{S}>`, `()`, `Goto`, `(Update<{S}>, Goto)`, `Command<{S}>` or a `Result` of one of these"
)]
pub trait IntoNodeOutput<S: State> {
    /// The writes and routes.
    fn into_output(self) -> Result<Command<S>, NodeError>;
}

/// What a node wants: writes to the state, and where to go besides its edges, in any number and mixture.
/// A node returns it, and a function that a node calls, such as a tool of a model, may make or fill one.
#[derive(Clone, Debug)]
pub struct Command<S: State> {
    /// The writes.
    pub update: S::Update,
    /// Where to go, besides the edges.
    pub goto: Vec<Route>,
}

/// What a node's call returns.
pub type NodeOutput<S> = Command<S>;

/// Goes somewhere that the graph's edges do not say: `Goto::to(node)`.
#[derive(Clone, Debug, Default)]
pub struct Goto(pub Vec<Route>);

impl<S: State> Command<S> {
    /// Writes nothing, goes nowhere.
    pub fn new() -> Self {
        Self { update: S::Update::default(), goto: Vec::new() }
    }

    /// Has these writes, in place of those that it had.
    #[must_use]
    pub fn update(mut self, update: S::Update) -> Self {
        self.update = update;
        self
    }

    /// Adds writes.
    #[must_use]
    pub fn write(mut self, values: impl FnOnce(&mut S::Update)) -> Self {
        values(&mut self.update);
        self
    }

    /// Goes to a node, to `node.send(payload)`, or to several of these as well. [`END`](crate::END) adds nothing: edges are
    /// followed all the same.
    #[must_use]
    pub fn goto(mut self, routes: impl IntoRoutes) -> Self {
        routes.add_to(&mut self.goto);
        self
    }

    /// Commands the graph around this one as well, and ends this one with the present step.
    ///
    /// The writes and routes of `command` count as those of the node that runs this graph, which must declare the targets:
    /// they come besides what that node makes of this graph's state, and in place of its write where both write one channel.
    /// What this graph had planned is left behind. `command` may itself be to a graph further out. A task that commands a
    /// parent where there is none fails, and so does a second one of the same step.
    #[must_use]
    pub fn to_parent<P: State>(mut self, command: Command<P>) -> Self {
        self.goto.extend(ParentCommand::routes(command));
        self
    }
}

impl<S: State> Default for Command<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl Goto {
    /// Goes to a node, to `node.send(payload)`, to the end, or to several of these.
    pub fn to(routes: impl IntoRoutes) -> Self {
        Self(routes.into_routes())
    }
}

impl<S: State> IntoNodeOutput<S> for () {
    fn into_output(self) -> Result<NodeOutput<S>, NodeError> {
        Goto::default().into_output()
    }
}

impl<S: State> IntoNodeOutput<S> for Goto {
    fn into_output(self) -> Result<NodeOutput<S>, NodeError> {
        Ok(NodeOutput { update: S::Update::default(), goto: self.0 })
    }
}

impl<S: State> IntoNodeOutput<S> for Command<S> {
    fn into_output(self) -> Result<Self, NodeError> {
        Ok(self)
    }
}

impl<S, O, E> IntoNodeOutput<S> for Result<O, E>
where
    S: State,
    O: IntoNodeOutput<S>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn into_output(self) -> Result<NodeOutput<S>, NodeError> {
        self.map_err(|error| NodeError::from_boxed(error.into()))?.into_output()
    }
}
