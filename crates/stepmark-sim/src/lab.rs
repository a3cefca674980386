//! What really ran, outside of any store?
//!
//! One laboratory per trial, which all of its processes share as the world is shared: it counts what begins and ends, it is
//! the service that nodes call and that fails, and it notices when something runs whose run is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stepmark::clock::{Clock, SystemClock};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock::now;
use crate::coverage::Coverage;
use crate::payments::Payments;
use crate::trace::trace;

/// What one process sees of the laboratory.
#[derive(Clone, Debug)]
pub(crate) struct Lab {
    world: Arc<World>,
    process: u32,
    /// The line of the thread that it works on: forks do everything once more.
    line: u32,
}

#[derive(Debug, Default)]
struct World {
    // A std mutex: held for a look, never across an await.
    seen: Mutex<Seen>,
    triggered: Notify,
}

#[derive(Debug, Default)]
struct Seen {
    processes: u32,
    /// The processes whose run is under way.
    running: BTreeSet<u32>,
    counts: BTreeMap<(u32, String), Count>,
    calls: BTreeMap<(u32, String), u32>,
    /// What is under way, by kind.
    open: BTreeMap<&'static str, u32>,
    events: u64,
    trigger: Option<u64>,
    /// How often tasks had to run again, though no process died.
    again: u32,
    /// By task: how many attempts have not failed by themselves, where attempts are counted across crashes.
    attempts: BTreeMap<(u32, String), u32>,
    /// How many tasks were given up with attempts among them that were broken off.
    lost: u32,
    met: Coverage,
    wrong: Vec<String>,
    payments: Payments,
}

/// How often something ran.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    pub(crate) kind: &'static str,
    pub(crate) begun: u32,
    /// Whether it ever came to its end, and succeeded.
    pub(crate) has_ended: bool,
    /// When it last did, unless a process has died since.
    ended: Option<Instant>,
    /// How often it had begun when it was first known to be durable: see [`Lab::fix`].
    pub(crate) fixed: Option<u32>,
}

/// Something that is under way; dropped, it was broken off.
#[derive(Debug)]
pub(crate) struct Doing {
    lab: Lab,
    kind: &'static str,
    name: String,
}

/// A run that is under way.
#[derive(Debug)]
pub(crate) struct Running(Lab);

impl Lab {
    pub(crate) fn new() -> Self {
        Self { world: Arc::default(), process: 0, line: 0 }
    }

    /// The same laboratory for another process.
    pub(crate) fn enter(&self, line: u32) -> Self {
        let mut seen = self.seen();
        seen.processes += 1;
        Self { world: Arc::clone(&self.world), process: seen.processes, line }
    }

    pub(crate) fn process(&self) -> u32 {
        self.process
    }

    pub(crate) fn line(&self) -> u32 {
        self.line
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.world.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn meet(&self, what: impl Into<String>) {
        self.seen().met.meet(what);
    }

    pub(crate) fn wrong(&self, what: String) {
        self.seen().wrong.push(what);
    }

    /// A call fails its run, or a person is asked: tasks run again.
    pub(crate) fn again(&self) {
        self.seen().again += 1;
    }

    pub(crate) fn agains(&self) -> u32 {
        self.seen().again
    }

    /// An attempt begins that counts, also if it is broken off.
    pub(crate) fn attempt(&self, task: &str) {
        *self.seen().attempts.entry((self.line, task.to_owned())).or_default() += 1;
    }

    /// It failed by itself.
    pub(crate) fn attempt_failed(&self, task: &str) {
        if let Some(open) = self.seen().attempts.get_mut(&(self.line, task.to_owned())) {
            *open -= 1;
        }
    }

    /// A task is given up. What its attempts had not called yet is left undone, if some of them were broken off.
    pub(crate) fn give_up(&self, task: &str) {
        let mut seen = self.seen();
        if seen.attempts.get(&(self.line, task.to_owned())).is_some_and(|open| *open > 0) {
            seen.met.meet("task lost with its processes");
            seen.lost += 1;
        }
    }

    pub(crate) fn lost(&self) -> u32 {
        self.seen().lost
    }

    /// A run of the process begins.
    pub(crate) fn run(&self) -> Running {
        self.seen().running.insert(self.process);
        Running(self.clone())
    }

    /// Something of a run happens: it must not be over.
    fn event(&self, what: &str) {
        let mut seen = self.seen();
        if !seen.running.contains(&self.process) {
            let process = self.process;
            seen.wrong.push(format!("{what} runs, and the run of process {process} that it belonged to is over"));
        }
        seen.events += 1;
        if seen.trigger == Some(seen.events) {
            seen.trigger = None;
            self.world.triggered.notify_one();
        }
    }

    pub(crate) fn begin(&self, kind: &'static str, name: String) -> Doing {
        self.event(&name);
        trace(|| format!("  p{} begins {kind}: {name}", self.process));
        let mut seen = self.seen();
        seen.met.meet(kind);
        *seen.open.entry(kind).or_default() += 1;
        let count = seen.counts.entry((self.line, name.clone()));
        count.or_insert(Count { kind, begun: 0, has_ended: false, ended: None, fixed: None }).begun += 1;
        drop(seen);
        Doing { lab: self.clone(), kind, name }
    }

    /// Lets time pass.
    pub(crate) async fn pause(&self, what: &str, duration: Duration) {
        SystemClock.sleep(duration).await;
        self.event(what);
    }

    /// The how many-th call this is, of those with the name.
    pub(crate) fn call(&self, name: String) -> u32 {
        let mut seen = self.seen();
        let calls = seen.calls.entry((self.line, name)).or_default();
        *calls += 1;
        *calls
    }

    /// Waits until so many more things have happened.
    pub(crate) async fn after(&self, events: u64) {
        {
            let mut seen = self.seen();
            seen.trigger = Some(seen.events + events.max(1));
        }
        self.world.triggered.notified().await;
    }

    /// A process died: notes what was under way, and forgets it.
    pub(crate) fn died(&self, how: &str) {
        let mut seen = self.seen();
        let open: Vec<&str> = seen.open.iter().filter(|(_, many)| **many > 0).map(|(kind, _)| *kind).collect();
        for kind in open {
            seen.met.meet(format!("{how} in a {kind}"));
        }
    }

    /// A process died: what it had ended before `until` may not begin again, and a later look compares. What ended after
    /// that may have been lost with it, however long the next process lives.
    pub(crate) fn fix(&self, until: Instant) {
        let Seen { counts, met, .. } = &mut *self.seen();
        for count in counts.values_mut() {
            if count.ended.take().is_some_and(|ended| ended < until) && count.fixed.is_none() {
                count.fixed = Some(count.begun);
                met.meet("durable when a process died");
            }
        }
    }

    /// The payments of the world.
    pub(crate) fn payments<T>(&self, look: impl FnOnce(&mut Payments) -> T) -> T {
        look(&mut self.seen().payments)
    }

    pub(crate) fn events(&self) -> u64 {
        self.seen().events
    }

    /// Everything that ran on the thread's own line.
    pub(crate) fn counts(&self) -> BTreeMap<String, Count> {
        let seen = self.seen();
        seen.counts
            .iter()
            .filter(|((line, _), _)| *line == 0)
            .map(|((_, name), count)| (name.clone(), *count))
            .collect()
    }

    /// What must not have happened.
    pub(crate) fn wrongs(&self) -> Vec<String> {
        let seen = self.seen();
        seen.wrong.iter().cloned().chain(seen.payments.wrongs()).collect()
    }

    pub(crate) fn take_met(&self) -> Coverage {
        std::mem::take(&mut self.seen().met)
    }
}

impl Doing {
    /// It succeeded.
    pub(crate) fn end(self) {
        let Self { lab, name, .. } = &self;
        lab.event(name);
        trace(|| format!("  p{} ends {name}", lab.process));
        if let Some(count) = lab.seen().counts.get_mut(&(lab.line, name.clone())) {
            (count.has_ended, count.ended) = (true, Some(now()));
        }
    }
}

impl Drop for Doing {
    fn drop(&mut self) {
        if let Some(open) = self.lab.seen().open.get_mut(self.kind) {
            *open -= 1;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.seen().running.remove(&self.0.process);
    }
}
