//! What does an application hold?
//!
//! A checked graph with its store and its resources. Cheap to clone; everything that a run needs comes from here.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use stepmark_core::clock::{Clock, IdGen, SystemClock, SystemIds};
use stepmark_core::store::CheckpointStore;

use crate::apply::apply_input;
use crate::compile::Program;
use crate::deps::Deps;
use crate::drain::Drain;
use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::graph_record::GraphRecord;
use crate::handle::NodeRef;
use crate::hooks::{Hooks, InterruptEvent, ResumeEvent};
use crate::items::Items;
use crate::outcome::Outcome;
use crate::position::Position;
use crate::run::{self, Host, KnownGraph, Run, Settings};
use crate::state::State;
use crate::thread::Thread;

/// How long a finished result of an unfinished step waits for others before it is flushed.
pub const LINGER_DEFAULT: Duration = Duration::from_millis(5);
/// How many tasks of a step run at once.
pub const CONCURRENCY_MAX_DEFAULT: usize = 1024;
/// How many super-steps a run may take.
pub const STEPS_MAX_DEFAULT: u64 = 10_000;

/// A graph that can run.
pub struct App<S> {
    host: Host,
    state: PhantomData<fn(S)>,
}

impl<S: State> App<S> {
    pub(crate) fn new(program: Program) -> Self {
        let settings = Settings {
            linger: LINGER_DEFAULT,
            concurrency_max: CONCURRENCY_MAX_DEFAULT,
            steps_max: STEPS_MAX_DEFAULT,
            durability: Durability::Sync,
            step_timeout: None,
        };
        let program = Arc::new(program);
        let host = Host {
            graph: Arc::new(KnownGraph::of(&program)),
            program,
            deps: Arc::default(),
            store: None,
            clock: Arc::new(SystemClock),
            ids: SystemIds::shared(),
            settings,
            context: None,
            hooks: Arc::default(),
            drain: Drain::default(),
            events: None,
            hub: Arc::default(),
        };
        Self { host, state: PhantomData }
    }

    /// Keeps threads in `store`.
    #[must_use]
    pub fn with(mut self, store: impl CheckpointStore) -> Self {
        self.host.store = Some(Arc::new(store));
        self.host.hub = Arc::default();
        self.host.graph = Arc::new(KnownGraph::of(&self.host.program));
        self
    }

    /// Gives nodes a shared resource: `Dep<T>`.
    #[must_use]
    pub fn provide<T: Send + Sync + 'static>(mut self, resource: T) -> Self {
        Arc::<Deps>::make_mut(&mut self.host.deps).insert(resource);
        self
    }

    /// Gives nodes a [`Ctx<T>`](crate::Ctx) in every run whose request brings no `T` of its own.
    #[must_use]
    pub fn context<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        Deps::insert_shared(&mut self.host.context, value);
        self
    }

    /// How long a finished result of an unfinished step may wait for others before all are flushed in one row; 5 ms at
    /// first. A kill repeats only tasks that finished within this time. With zero, results are flushed at once with
    /// whatever waits, and a task's slot is freed only when its result is durable.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.host.settings.linger = linger;
        self
    }

    /// How many tasks of a step run at once; 1,024 at first, at least 1.
    #[must_use]
    pub fn concurrency_max(mut self, tasks: usize) -> Self {
        self.host.settings.concurrency_max = tasks.max(1);
        self
    }

    /// How many super-steps a run may take; 10,000 at first.
    #[must_use]
    pub fn steps_max(mut self, steps: u64) -> Self {
        self.host.settings.steps_max = steps;
        self
    }

    /// When the super-steps of a run become durable; [`Durability::Sync`] at first. A request may say otherwise for itself.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.host.settings.durability = durability;
        self
    }

    /// Calls `hook` when a call of this application ends `Interrupted`: the run has ended and its questions are stored. A
    /// call that finds a thread waiting tells of it too. Between the end of a run and this the process may be killed: then
    /// the next call tells, `resume` or the same run id. So a question is told at least once to a caller who calls until
    /// there is an outcome, and may be told more than once: it is known by its id. What waits, whether or not anybody was
    /// told, is in [`App::questions`].
    ///
    /// Not called for runs in memory, nor for a run that failed beside a question.
    #[must_use]
    pub fn on_interrupt(mut self, hook: impl Fn(&InterruptEvent) + Send + Sync + 'static) -> Self {
        Arc::<Hooks>::make_mut(&mut self.host.hooks).on_interrupt(hook);
        self
    }

    /// Calls `hook` when `resume` or `answer(..).run()` of this application goes on with a run: it owns the branch, and none
    /// of its nodes has begun. Once per claim: a process that is killed before the hook has run no node either, and the
    /// next resume tells. Inputs, replays, and resumes that find nothing to do are not told.
    ///
    /// Hooks of both kinds are called in the order in which they were added, and the verb goes on when all of them have
    /// returned: hand work that takes long to somebody else. A hook that panics stops neither the others nor the run.
    #[must_use]
    pub fn on_resume(mut self, hook: impl Fn(&ResumeEvent) + Send + Sync + 'static) -> Self {
        Arc::<Hooks>::make_mut(&mut self.host.hooks).on_resume(hook);
        self
    }

    /// How long a super-step may take: no limit at first. When it has passed, the tasks of the step that still run fail with
    /// [`TimeLimit::Step`](crate::TimeLimit::Step) and are not tried again; finished siblings keep their results, and
    /// `resume` runs the others. A request may say otherwise for itself.
    #[must_use]
    pub fn step_timeout(mut self, limit: Duration) -> Self {
        self.host.settings.step_timeout = Some(limit);
        self
    }

    /// Takes time and randomness from elsewhere: for tests and simulations.
    #[must_use]
    pub fn with_sources(mut self, clock: Arc<dyn Clock>, ids: Arc<dyn IdGen>) -> Self {
        (self.host.clock, self.host.ids) = (clock, ids);
        self
    }

    /// Asks every run of this application, and of its clones, to end at its next step boundary: it ends
    /// [`Ending::Drained`](crate::Ending::Drained), all that it did is stored, and `resume` goes on with it, from another
    /// process too. Await [`Drain::ended`] to know that they have ended. A sub-graph is a part of its node's step and runs to
    /// its end first; a process that cannot wait so long may be killed, and the sub-graph goes on from its own last checkpoint.
    ///
    /// It holds for ever. A call that comes later is not refused: an input is accepted and stored, and its run ends
    /// `Drained` before its first node, so that nothing that callers hand over is lost. A run in memory ends the same way,
    /// and what it did is in its outcome alone.
    pub fn drain(&self) -> Drain {
        self.host.drain.ask();
        self.host.drain.clone()
    }

    /// Whether a drain was asked for.
    pub fn is_draining(&self) -> bool {
        self.host.drain.is_asked()
    }

    /// The graph as data: what the store keeps of it for tools without its code.
    pub fn graph(&self) -> &GraphRecord {
        &self.host.graph.record
    }

    /// Forgets the kept results of all nodes of this graph, on all threads of its store: see
    /// [`NodePolicy::cache`](crate::NodePolicy::cache). Nothing where the store keeps none. Those of a sub-graph are forgotten by
    /// an application of its own graph on the same store.
    ///
    /// # Errors
    /// `Store`: the store could not write.
    pub async fn clear_cache(&self) -> Result<()> {
        self.forget(None).await
    }

    /// Forgets the kept results of one node.
    ///
    /// # Errors
    /// `Invalid`: a node of another graph. `Store`: the store could not write.
    pub async fn clear_cache_of<P>(&self, node: NodeRef<S, P>) -> Result<()> {
        let program = &self.host.program;
        if node.graph != program.id {
            return Err(Error::invalid(format_args!("graph {:?} has no such node", program.name)));
        }
        self.forget(Some(&program.nodes[node.index as usize].name)).await
    }

    /// What the store remembers across threads, from outside of any run.
    ///
    /// # Errors
    /// `Invalid`: there is no store. `Store`: it keeps no items.
    pub fn items(&self) -> Result<Items> {
        Items::of_host(&self.host)
    }

    async fn forget(&self, node: Option<&str>) -> Result<()> {
        if let Some(cache) = self.host.store.as_ref().and_then(|store| store.cache()) {
            cache.clear(&self.host.program.name, node).await?;
        }
        Ok(())
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// A handle to the thread with this name. Nothing is read or written; the thread is created by its first input.
    pub fn thread(&self, name: impl Into<String>) -> Thread<S> {
        Thread::new(self.host.clone(), name.into())
    }

    /// Runs once without a store and without a thread. Stops before and after nodes are passed; a question ends the run as
    /// `Interrupted`, and there is nothing to answer later.
    ///
    /// # Errors
    /// `NodeFailed` with the state at the failure.
    pub async fn run_in_memory(&self, input: impl FnOnce(&mut S::Update)) -> Result<Outcome<S>> {
        let _running = self.host.drain.enter();
        let mut update = S::Update::default();
        input(&mut update);
        let program = &self.host.program;
        let mut run = Run::new(self.host.clone(), Position::new(program), None);
        run.position.restart(program);
        apply_input(&mut run, Box::new(update));
        let ending = Box::pin(run::run(&mut run, self.host.settings.steps_max)).await?;
        let questions = run.open_questions()?;
        Ok(Outcome { questions, ..Outcome::new(ending, run.position.state, run.stats)? })
    }
}

impl<S> Clone for App<S> {
    fn clone(&self) -> Self {
        Self { host: self.host.clone(), state: PhantomData }
    }
}

impl<S> fmt::Debug for App<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("graph", &self.host.program.name).field("store", &self.host.store).finish()
    }
}
