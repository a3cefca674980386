//! What is a node?
//!
//! An `async fn` whose arguments are extractors and whose result says what to write and where to go. The engine sees the
//! erased form only: bytes and `Any` in, `Any` and routes out.

mod command;

use std::{any::Any, fmt, future::Future, marker::PhantomData, ops::Deref, sync::Arc};

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;

use stepmark_core::{
    checkpoint::{MadeBy, Timestamp},
    id::{BranchId, TaskHash},
};

pub use self::command::{Command, Goto, IntoNodeOutput, NodeOutput};
use crate::durable_step::place_of;
use crate::{
    compile::NodeSpec,
    context::Standing,
    deps::Deps,
    encode,
    graph_record::GraphRecord,
    handle::Route,
    handler::TaskFailure,
    journal::{AskingTask, Attempt},
    node_error::NodeError,
    rare::Rare,
    run_info::RunInfo,
    schema::AnyState,
    scope::Scope,
    state::State,
    tries::Tries,
};

/// A function that can be added to a `Graph<S>`. `I` is the payload it takes as `In<I>`; `M` tells functions apart.
#[diagnostic::on_unimplemented(
    message = "this function is not a node of a `{S}` graph",
    label = "not a node",
    note = "a node is `async fn(extractors..., In<T> last) -> impl IntoNodeOutput<{S}>`; put `#[stepmark::node]` on the function to see which argument or return type is wrong"
)]
pub trait Node<S: State, M, I = ()>: Clone + Send + Sync + 'static {
    /// Runs the node once.
    fn call(&self, cx: Cx<S>) -> impl Future<Output = Result<NodeOutput<S>, NodeError>> + Send + 'static;

    /// The graph that it runs, where the node is a sub-graph.
    fn sub_graph(&self) -> Option<&GraphRecord> {
        None
    }
}

/// A node argument.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a node argument for state `{S}`",
    label = "not an extractor",
    note = "allowed: `Snap<{S}>` (read the state), `Cx<{S}>` (about the task), `Dep<T>` (shared resources), `Ctx<T>` or `Option<Ctx<T>>` (what the run was given), `RemainingSteps`, `ExecInfo` (where the run stands), `Items` (what is remembered across threads), `In<T>` (fan-out payload, last)"
)]
pub trait FromCx<S: State>: Sized {
    /// The argument for this task.
    fn from_cx(cx: &Cx<S>) -> Result<Self, NodeError>;
}

/// The task that a node runs in.
pub struct Cx<S> {
    task: TaskContext,
    state: PhantomData<fn(S)>,
}

/// The state as it was when the step began. Reading it costs no copy.
pub struct Snap<S>(Arc<S>);

/// A shared resource that the application provided.
pub struct Dep<T>(Arc<T>);

/// The payload that this task was sent. The last argument of its node.
#[derive(Clone, Debug)]
pub struct In<P>(pub P);

/// All that a task is given.
#[derive(Clone)]
pub(crate) struct TaskContext {
    /// An `Arc<S>`.
    pub(crate) state: Arc<dyn Any + Send + Sync>,
    pub(crate) payload: Option<Arc<[u8]>>,
    pub(crate) info: Arc<TaskInfo>,
    /// What its node failed with, where an error handler runs.
    pub(crate) failure: Option<Arc<TaskFailure>>,
}

/// Which task it is.
#[derive(Debug)]
pub(crate) struct TaskInfo {
    pub(crate) run: Arc<RunInfo>,
    /// Number of the node in its program.
    pub(crate) number: u32,
    /// The name under which the lineage first knew the node, where that is another: a rename with an alias keeps it.
    pub(crate) first_name: Option<Arc<str>>,
    /// The first attempt of this process, from 1.
    pub(crate) attempt: u32,
    /// The activation number of the node on this lineage, and the place among the step's sends to it.
    pub(crate) activation: u64,
    pub(crate) trigger: u32,
    /// What sub-graphs that the node called command.
    pub(crate) commands: Rare<Vec<Route>>,
    /// The tasks that it runs with, where it runs with others.
    pub(crate) scope: Option<Arc<Scope>>,
    /// What the task asked and asks, finished and finishes. Of a sub-graph's task unused: see [`TaskInfo::journal`].
    pub(crate) attempt_journal: Attempt,
    pub(crate) standing: Standing,
    /// Moves on where the task is tried again; absent where its node has no policy.
    pub(crate) tries: Option<Box<Tries>>,
}

impl TaskInfo {
    /// What its graph says of its node.
    pub(crate) fn spec(&self) -> &NodeSpec {
        &self.run.programs[0].nodes[self.number as usize]
    }

    /// The name that the task's identity is made of.
    pub(crate) fn identity(&self) -> &str {
        self.first_name.as_ref().unwrap_or(&self.spec().name)
    }

    /// Says that the attempt goes on, and so those of the tasks around it.
    pub(crate) fn beat(&self) {
        let mut task = Some(self);
        while let Some(info) = task {
            if let Some(tries) = &info.tries {
                tries.heartbeat.notify_one();
            }
            task = info.run.around.as_deref();
        }
    }

    /// Which attempt at the task is made now, from 1.
    pub(crate) fn attempt(&self) -> u32 {
        self.tries.as_ref().map_or(self.attempt, |tries| tries.number())
    }

    /// The engine's time, where it is recorded.
    pub(crate) fn now(&self) -> Timestamp {
        self.run.desk.as_ref().map_or(0, |desk| desk.host.clock.now())
    }

    /// The identity of the task within its thread; where its error handler runs, one of the handler's own.
    pub(crate) fn task_id(&self) -> TaskHash {
        if self.made_by() == MadeBy::Handler {
            // No node has such a name.
            let handler = format!("{}\0on_error", self.identity());
            return TaskHash::of(&self.run.namespace, &handler, self.activation, self.trigger);
        }
        self.planned_id()
    }

    /// The identity of the planned task.
    pub(crate) fn planned_id(&self) -> TaskHash {
        TaskHash::of(&self.run.namespace, self.identity(), self.activation, self.trigger)
    }

    /// What the calls that it makes now are known by.
    pub(crate) fn place(&self) -> TaskHash {
        place_of(self.task_id())
    }

    /// The journal of the root's task.
    pub(crate) fn journal(&self) -> &Attempt {
        self.run.root.as_ref().map_or(&self.attempt_journal, |root| &root.attempt_journal)
    }

    /// Who asks where the task asks a question.
    pub(crate) fn asking(&self) -> AskingTask<'_> {
        let inside = self.run.root.as_ref().map(|_| Arc::clone(&self.run.namespace));
        AskingTask {
            thread: self.run.thread_uid,
            task: self.task_id(),
            place: self.place(),
            node: &self.spec().name,
            inside,
        }
    }

    /// Whether it asked something that nobody has answered.
    pub(crate) fn waits(&self) -> bool {
        self.journal().waits(|| self.task_id())
    }

    /// What makes the task's result.
    pub(crate) fn made_by(&self) -> MadeBy {
        self.tries.as_ref().map_or(MadeBy::Node, |tries| tries.made_by())
    }
}

/// A node's output without its state's type.
pub(crate) struct RawOutput {
    /// An `S::Update`.
    pub(crate) update: Box<dyn Any + Send>,
    pub(crate) goto: Vec<Route>,
}

/// A node without its types.
pub(crate) type NodeFn = Arc<dyn Fn(TaskContext) -> BoxFuture<'static, Result<RawOutput, NodeError>> + Send + Sync>;

pub(crate) fn erase<S: State, M, I, N: Node<S, M, I>>(node: N) -> NodeFn {
    Arc::new(move |task| {
        let output = node.call(Cx { task, state: PhantomData });
        Box::pin(async move {
            let Command { update, goto } = output.await?;
            Ok(RawOutput { update: Box::new(update), goto })
        })
    })
}

impl<S: State> Cx<S> {
    /// The name of the node.
    pub fn node(&self) -> &str {
        &self.task.info.spec().name
    }

    /// Which attempt at the task this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.task.info.attempt()
    }

    /// Says that the attempt goes on: its [`idle_timeout`](crate::NodePolicy::idle_timeout) begins anew. In a sub-graph, so
    /// do those of the tasks around it.
    pub fn heartbeat(&self) {
        self.task.info.beat();
    }

    /// The identity of the task within its thread: the same at every attempt, after a crash, and on every fork; another
    /// at every later activation of the node. An error handler has one of its own.
    pub fn task_id(&self) -> TaskHash {
        self.task.info.task_id()
    }

    /// The branch that the run grows; `None` when the run has no thread.
    pub fn branch(&self) -> Option<BranchId> {
        self.task.info.run.branch
    }

    /// The name of the thread; `None` when the run has none.
    pub fn thread(&self) -> Option<&str> {
        self.task.info.run.thread.as_deref()
    }

    pub(crate) fn deps(&self) -> &Arc<Deps> {
        &self.task.info.run.deps
    }

    pub(crate) fn info(&self) -> &Arc<TaskInfo> {
        &self.task.info
    }

    pub(crate) fn failure(&self) -> Option<&Arc<TaskFailure>> {
        self.task.failure.as_ref()
    }

    fn payload<P: DeserializeOwned>(&self) -> Result<P, NodeError> {
        let bytes = self.task.payload.as_deref().ok_or_else(|| {
            NodeError::new(format_args!("node `{}` takes a payload and was started without one", self.node()))
        })?;
        encode::from_bytes(bytes).map_err(|error| {
            NodeError::new(format_args!("the payload of node `{}` is not what it takes: {error}", self.node()))
        })
    }
}

impl<S: State> Snap<S> {
    /// A snapshot of an erased state; `None` if it is not an `S`.
    pub(crate) fn of(state: Arc<dyn Any + Send + Sync>) -> Option<Self> {
        state.downcast().ok().map(Self)
    }

    /// An update that writes nothing yet.
    pub fn update(&self) -> S::Update {
        S::Update::default()
    }

    /// A command that writes nothing and goes nowhere yet.
    pub fn command(&self) -> Command<S> {
        Command::new()
    }
}

impl TaskInfo {
    /// Adds what a sub-graph commands the graph of this task, or those around it.
    pub(crate) fn command(&self, routes: Vec<Route>) {
        if !routes.is_empty() {
            self.commands.begun(Vec::new).extend(routes);
        }
    }

    /// Makes it another attempt: of the one before nothing is left but what it finished.
    pub(crate) fn restart(&self) {
        self.journal().restart(self.task_id());
        self.commands.look(Vec::clear);
    }
}

impl<S: State> FromCx<S> for Cx<S> {
    fn from_cx(cx: &Self) -> Result<Self, NodeError> {
        Ok(cx.clone())
    }
}

impl<S: State> Snap<S> {
    /// The same snapshot for those who do not know its type.
    pub(crate) fn to_any(&self) -> AnyState {
        Arc::clone(&self.0) as AnyState
    }
}

impl<S: State> FromCx<S> for Snap<S> {
    fn from_cx(cx: &Cx<S>) -> Result<Self, NodeError> {
        let state = cx.task.state.clone().downcast().map_err(|_| {
            NodeError::new(format_args!("node `{}` was run on a state that is not a `{}`", cx.node(), S::NAME))
        })?;
        Ok(Self(state))
    }
}

impl<S: State, T: Send + Sync + 'static> FromCx<S> for Dep<T> {
    fn from_cx(cx: &Cx<S>) -> Result<Self, NodeError> {
        cx.deps().get().map(Self).ok_or_else(|| {
            let wanted = std::any::type_name::<T>();
            NodeError::new(format_args!("node `{}` needs a `{wanted}`, and none was provided", cx.node()))
        })
    }
}

/// Makes a function of these extractors a node, and the same function with a payload after them.
macro_rules! node_function {
    ($($argument:ident),*) => {
        impl<S, F, R, O, $($argument,)*> Node<S, fn($($argument,)*) -> O> for F
        where
            S: State,
            F: Fn($($argument,)*) -> R + Clone + Send + Sync + 'static,
            R: Future<Output = O> + Send + 'static,
            O: IntoNodeOutput<S>,
            $($argument: FromCx<S> + Send + 'static,)*
        {
            #[allow(non_snake_case, unused_variables, reason = "the arguments are named as their types")]
            fn call(&self, cx: Cx<S>) -> impl Future<Output = Result<NodeOutput<S>, NodeError>> + Send + 'static {
                let function = self.clone();
                async move {
                    $(let $argument = $argument::from_cx(&cx)?;)*
                    function($($argument,)*).await.into_output()
                }
            }
        }

        impl<S, F, R, O, P, $($argument,)*> Node<S, (fn($($argument,)* In<P>) -> O,), P> for F
        where
            S: State,
            F: Fn($($argument,)* In<P>) -> R + Clone + Send + Sync + 'static,
            R: Future<Output = O> + Send + 'static,
            O: IntoNodeOutput<S>,
            P: DeserializeOwned + Send + 'static,
            $($argument: FromCx<S> + Send + 'static,)*
        {
            #[allow(non_snake_case, unused_variables, reason = "the arguments are named as their types")]
            fn call(&self, cx: Cx<S>) -> impl Future<Output = Result<NodeOutput<S>, NodeError>> + Send + 'static {
                let function = self.clone();
                async move {
                    $(let $argument = $argument::from_cx(&cx)?;)*
                    let payload = In(cx.payload()?);
                    function($($argument,)* payload).await.into_output()
                }
            }
        }
    };
}

node_function!();
node_function!(A1);
node_function!(A1, A2);
node_function!(A1, A2, A3);
node_function!(A1, A2, A3, A4);
node_function!(A1, A2, A3, A4, A5);
node_function!(A1, A2, A3, A4, A5, A6);
node_function!(A1, A2, A3, A4, A5, A6, A7);
node_function!(A1, A2, A3, A4, A5, A6, A7, A8);

impl<S> Clone for Cx<S> {
    fn clone(&self) -> Self {
        Self { task: self.task.clone(), state: PhantomData }
    }
}

impl<S> Clone for Snap<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for Dep<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> Deref for Snap<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

impl<T> Deref for Dep<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<S> fmt::Debug for Cx<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Cx").field(&self.task.info).finish()
    }
}

impl<S: fmt::Debug> fmt::Debug for Snap<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl<T: fmt::Debug> fmt::Debug for Dep<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

#[cfg(test)]
mod tests;
