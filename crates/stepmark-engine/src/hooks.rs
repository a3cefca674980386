//! Who is told that a run stopped for people, and that one goes on?
//!
//! Hooks of an application, called in the order in which they were added, in the task of whoever called the verb. They
//! change nothing: what they are told is stored already, and a panic in one of them is nobody else's.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use stepmark_core::id::{CheckpointId, RunId};

use crate::interrupt::OpenQuestion;
use crate::outcome::Outcome;
use crate::run::Run;

/// A run ended because it waits for people: see [`App::on_interrupt`](crate::App::on_interrupt).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InterruptEvent {
    /// The thread's name.
    pub thread: String,
    /// The branch's name, or its id where it has none.
    pub branch: String,
    /// The run.
    pub run: Option<RunId>,
    /// The last checkpoint: what asked is planned there.
    pub checkpoint: Option<CheckpointId>,
    /// What it waits for, stops before and after nodes included.
    pub questions: Vec<OpenQuestion>,
}

/// A run goes on: see [`App::on_resume`](crate::App::on_resume).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResumeEvent {
    /// The thread's name.
    pub thread: String,
    /// The branch's name, or its id where it has none.
    pub branch: String,
    /// The run.
    pub run: RunId,
    /// The checkpoint that it goes on from.
    pub checkpoint: Option<CheckpointId>,
    /// The nodes of the tasks that are planned there, one entry per task; some may have finished before.
    pub next: Vec<String>,
}

type Hook<E> = Arc<dyn Fn(&E) + Send + Sync>;

/// The hooks of an application.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    interrupt: Vec<Hook<InterruptEvent>>,
    resume: Vec<Hook<ResumeEvent>>,
}

impl Hooks {
    pub(crate) fn on_interrupt(&mut self, hook: impl Fn(&InterruptEvent) + Send + Sync + 'static) {
        self.interrupt.push(Arc::new(hook));
    }

    pub(crate) fn on_resume(&mut self, hook: impl Fn(&ResumeEvent) + Send + Sync + 'static) {
        self.resume.push(Arc::new(hook));
    }

    /// A call on `thread` ended with this outcome.
    pub(crate) fn ended<S>(&self, thread: &str, outcome: &Outcome<S>) {
        // A run that was looked up by its id may have been answered since.
        if self.interrupt.is_empty() || !outcome.ending.is_interrupted() || outcome.questions.is_empty() {
            return;
        }
        let event = InterruptEvent {
            thread: thread.to_owned(),
            branch: outcome.branch.clone().unwrap_or_default(),
            run: outcome.run.clone(),
            checkpoint: outcome.checkpoint.clone(),
            questions: outcome.questions.clone(),
        };
        call(&self.interrupt, &event);
    }

    /// A run has claimed its branch, and none of its nodes has begun.
    pub(crate) fn resumed(&self, run: &Run) {
        let Some(line) = run.line.as_ref().filter(|_| !self.resume.is_empty()) else { return };
        let name = |node: u32| run.host.program.nodes[node as usize].name.to_string();
        let event = ResumeEvent {
            thread: line.thread.name.clone(),
            branch: line.branch_label(),
            run: line.manifest.run.clone(),
            checkpoint: line.manifest_id(),
            next: run.position.next.iter().map(|task| name(task.node)).collect(),
        };
        call(&self.resume, &event);
    }
}

fn call<E>(hooks: &[Hook<E>], event: &E) {
    for hook in hooks {
        // What it panicked with was printed by the process's panic hook; the run has nothing to do with it.
        drop(catch_unwind(AssertUnwindSafe(|| hook(event))));
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").field("interrupt", &self.interrupt.len()).field("resume", &self.resume.len()).finish()
    }
}
