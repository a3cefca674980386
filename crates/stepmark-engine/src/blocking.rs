//! How does a program without an async runtime run a graph?
//!
//! With a small runtime of its own, on which its threads wait. Everything else is the async form: a verb is built as
//! always and then waited for. `blocking/items.rs` is the same for what threads remember together.

mod items;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};

pub use items::BlockingItems;

use crate::app::App;
use crate::error::{Error, Result};
use crate::history::{Checkpoint, Snapshot};
use crate::interrupt::{Ask, OpenQuestion, Question};
use crate::outcome::Outcome;
use crate::state::State;
use crate::thread::Thread;

/// A runtime for callers that have none. Clones share it, and any number of threads may wait on it at once; nodes run on
/// the threads that wait.
#[derive(Clone)]
pub struct Blocking {
    runtime: Arc<Owned>,
}

/// Its destructor may run anywhere, also where nothing may block.
struct Owned(Option<Runtime>);

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// An [`App`] whose verbs wait.
#[derive(Clone)]
pub struct BlockingApp<S> {
    app: App<S>,
    blocking: Blocking,
}

/// A [`Thread`] whose verbs wait.
pub struct BlockingThread<S> {
    thread: Thread<S>,
    blocking: Blocking,
}

impl Blocking {
    /// Makes a runtime on which tasks, timers and, where tokio has them, sockets work.
    ///
    /// # Errors
    /// The system has no resources for it.
    pub fn new() -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::invalid(format!("cannot make a runtime: {error}")))?;
        Ok(Self { runtime: Arc::new(Owned(Some(runtime))) })
    }

    /// Waits for a verb: whatever could be awaited, with all its options.
    ///
    /// # Errors
    /// Those of the verb. `Invalid` inside an async runtime, which waiting would stop: await the verb there, or wait on one
    /// of its blocking threads.
    pub fn wait<T>(&self, verb: impl IntoFuture<Output = Result<T>>) -> Result<T> {
        let Some(runtime) = &self.runtime.0 else { return Err(Error::invalid("the runtime is gone")) };
        // Only tokio knows whether this thread may wait, and says so by panicking.
        if Handle::try_current().is_ok()
            && catch_unwind(AssertUnwindSafe(|| runtime.block_on(std::future::ready(())))).is_err()
        {
            let message = "a blocking call inside an async runtime would stop it: await the verb itself, or make the call \
                           on a blocking thread (`spawn_blocking`)";
            return Err(Error::invalid(message));
        }
        runtime.block_on(verb.into_future())
    }

    /// An application whose verbs wait on this runtime.
    pub fn app<S: State>(&self, app: App<S>) -> BlockingApp<S> {
        BlockingApp { app, blocking: self.clone() }
    }
}

impl<S: State> App<S> {
    /// The same application for callers without an async runtime; it keeps a small runtime of its own.
    ///
    /// # Errors
    /// As for [`Blocking::new`].
    pub fn blocking(&self) -> Result<BlockingApp<S>> {
        Ok(Blocking::new()?.app(self.clone()))
    }
}

impl<S: State> BlockingApp<S> {
    /// The application itself, to build what [`wait`](Self::wait) waits for.
    pub fn app(&self) -> &App<S> {
        &self.app
    }

    /// A handle to the thread with this name: [`App::thread`].
    pub fn thread(&self, name: impl Into<String>) -> BlockingThread<S> {
        BlockingThread { thread: self.app.thread(name), blocking: self.blocking.clone() }
    }

    /// [`App::run_in_memory`].
    pub fn run_in_memory(&self, input: impl FnOnce(&mut S::Update)) -> Result<Outcome<S>> {
        self.wait(self.app.run_in_memory(input))
    }

    /// [`App::questions`].
    pub fn questions(&self) -> Result<Vec<OpenQuestion>> {
        self.wait(self.app.questions())
    }

    /// [`Blocking::wait`].
    pub fn wait<T>(&self, verb: impl IntoFuture<Output = Result<T>>) -> Result<T> {
        self.blocking.wait(verb)
    }
}

impl<S: State> BlockingThread<S> {
    /// The thread itself, to build what [`wait`](Self::wait) waits for:
    /// `thread.wait(thread.handle().input(..).context(..))`.
    pub fn handle(&self) -> &Thread<S> {
        &self.thread
    }

    /// [`Thread::input`], run.
    pub fn run(&self, input: impl FnOnce(&mut S::Update)) -> Result<Outcome<S>> {
        self.wait(self.thread.input(input))
    }

    /// [`Thread::resume`].
    pub fn resume(&self) -> Result<Outcome<S>> {
        self.wait(self.thread.resume())
    }

    /// [`Thread::answer`], run.
    pub fn answer<Q: Question>(&self, question: &Ask<Q>, answer: Q::Answer) -> Result<Outcome<S>> {
        self.wait(self.thread.answer(question, answer))
    }

    /// [`Thread::questions`].
    pub fn questions(&self) -> Result<Vec<OpenQuestion>> {
        self.wait(self.thread.questions())
    }

    /// [`Thread::state`].
    pub fn state(&self) -> Result<Snapshot<S>> {
        self.wait(self.thread.state())
    }

    /// [`Thread::history`].
    pub fn history(&self) -> Result<Vec<Checkpoint<S>>> {
        self.wait(self.thread.history())
    }

    /// [`Thread::discard`].
    pub fn discard(&self) -> Result<Snapshot<S>> {
        self.wait(self.thread.discard())
    }

    /// [`Blocking::wait`].
    pub fn wait<T>(&self, verb: impl IntoFuture<Output = Result<T>>) -> Result<T> {
        self.blocking.wait(verb)
    }
}

impl fmt::Debug for Blocking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Blocking")
    }
}

impl<S> fmt::Debug for BlockingApp<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlockingApp").field(&self.app).finish()
    }
}

impl<S> fmt::Debug for BlockingThread<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlockingThread").field(&self.thread).finish()
    }
}
