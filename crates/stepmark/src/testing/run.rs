//! How does one process of a test run, and what does its thread look like at the end?

use std::sync::Arc;

use stepmark_conformance::fault::FaultStore;
use stepmark_core::interrupt::Asker;
use stepmark_core::store::CheckpointStore;
use stepmark_engine::{
    App, Body, Checkpoint, CheckpointInfo, Ending, ErrorKind, Keep, Outcome, Result, State, Stats, Thread,
};

use super::difference::differences;
use super::kill::Kill;

/// The thread of every run: nodes can see its name, so all have the same.
pub(super) const THREAD: &str = "assert_recovers";

pub(super) type Store = Arc<dyn CheckpointStore>;

type Input<S> = Box<dyn Fn(&mut <S as State>::Update) + Send + Sync>;

/// What a test is about.
pub(super) struct Subject<S: State> {
    pub(super) build: Box<dyn Fn() -> App<S> + Send + Sync>,
    pub(super) input: Input<S>,
    pub(super) make_store: Box<dyn Fn() -> Store + Send + Sync>,
    /// Channels that may differ.
    pub(super) ignored: Vec<String>,
}

/// What a process says that its run came to.
pub(super) struct Ran<S> {
    pub(super) ending: Ending,
    pub(super) state: S,
    pub(super) stats: Stats,
}

/// How a run ended, and everything that is compared.
pub(super) struct End<S: State> {
    pub(super) ran: Ran<S>,
    thread: Thread<S>,
    /// Newest first, as history tells it.
    history: Vec<Checkpoint<S>>,
}

impl<S: State> Subject<S> {
    /// A new application, as a new process would make it, over what `store` holds.
    fn app(&self, store: &Store, kill: Kill) -> (App<S>, FaultStore) {
        let faults = FaultStore::new(Arc::clone(store), kill.plan());
        ((self.build)().with(faults.clone()), faults)
    }

    /// One process: it begins the run, or goes on with it. `None`: it was killed. `limit` is the height at which a run
    /// that is out of steps has to stop.
    pub(super) async fn process(&self, store: &Store, kill: Kill, limit: Option<u64>) -> Option<Result<Ran<S>>> {
        let (app, faults) = self.app(store, kill);
        // A day: what is not committed is not flushed either, and runs twice.
        let app = if kill == Kill::EveryStep { app.linger(std::time::Duration::from_hours(24)) } else { app };
        faults.until_crash(self.go_on(&app.thread(THREAD), limit)).await
    }

    async fn go_on(&self, thread: &Thread<S>, limit: Option<u64>) -> Result<Ran<S>> {
        let snapshot = match thread.state().await {
            Err(error) if error.kind() == ErrorKind::Missing => {
                return Ok(Ran::of(&thread.input(&self.input).run().await?));
            }
            snapshot => snapshot?,
        };
        // A resume would let the run go on from where the graph stopped it: that is its end.
        if thread.questions().await?.iter().any(|question| question.asker != Asker::Task) {
            let (ending, state) = (Ending::Interrupted, snapshot.state().clone());
            return Ok(Ran { ending, state, stats: Stats::default() });
        }
        let step = snapshot.checkpoint.map_or(0, |checkpoint| checkpoint.step);
        let resumed = match limit {
            Some(limit) => thread.resume().steps_max(limit.saturating_sub(step)).run().await,
            None => thread.resume().run().await,
        };
        Ok(Ran::of(&resumed?))
    }

    /// Reads what a run has left behind, as a new process would.
    pub(super) async fn end(&self, store: &Store, ran: Ran<S>) -> Result<End<S>> {
        let (app, _) = self.app(store, Kill::Never);
        let thread = app.thread(THREAD);
        let history = thread.history().await?;
        Ok(End { ran, thread, history })
    }

    /// How `recovered` differs from `clean`, one line each.
    pub(super) async fn compare(&self, clean: &End<S>, recovered: &End<S>) -> Result<Vec<String>> {
        let (ended, ends) = (clean.ran.ending, recovered.ran.ending);
        let mut found = Vec::new();
        if ended != ends {
            found.push(format!("ending: expected {ended:?}, got {ends:?}"));
        }
        found.extend(clean.differing_step(recovered));
        let state = self.differing_state(&clean.ran.state, &recovered.ran.state);
        if !state.is_empty() {
            found.extend(self.first_differing_state(clean, recovered).await?);
        }
        found.extend(state);
        Ok(found)
    }

    fn differing_state(&self, clean: &S, recovered: &S) -> Vec<String> {
        let compared = |name: &str| !self.ignored.iter().any(|ignored| ignored == name);
        let channels = S::channels().iter().enumerate();
        // Untracked channels live in the memory of a process; that they are gone is what they are for.
        let channels = channels.filter(|(_, spec)| spec.keep != Keep::Untracked && compared(spec.name));
        channels
            .flat_map(|(channel, spec)| match (encoded(clean, channel), encoded(recovered, channel)) {
                (Some(clean), Some(recovered)) => differences(spec.name, &clean, &recovered),
                _ => vec![format!("`{}`: it cannot be encoded", spec.name)],
            })
            .collect()
    }

    /// The first checkpoint whose state differs: what its tasks wrote is where to look.
    async fn first_differing_state(&self, clean: &End<S>, recovered: &End<S>) -> Result<Option<String>> {
        for (clean_at, recovered_at) in clean.history.iter().rev().zip(recovered.history.iter().rev()) {
            let clean_state = clean.thread.at(&clean_at.id).state().await?;
            let recovered_state = recovered.thread.at(&recovered_at.id).state().await?;
            if !self.differing_state(clean_state.state(), recovered_state.state()).is_empty() {
                return Ok(Some(format!("the state differs first at step {}", told(clean_at))));
            }
        }
        Ok(None)
    }
}

impl<S: State> Ran<S> {
    fn of(outcome: &Outcome<S>) -> Self {
        Self { ending: outcome.ending(), state: outcome.state().clone(), stats: outcome.stats() }
    }
}

impl<S: State> End<S> {
    /// The height of the last checkpoint, where the run ended because it was out of steps.
    pub(super) fn limit(&self) -> Option<u64> {
        (self.ran.ending == Ending::OutOfSteps).then(|| self.steps())
    }

    /// Super-steps taken.
    pub(super) fn steps(&self) -> u64 {
        self.history.first().map_or(0, |newest| newest.step)
    }

    /// The oldest checkpoint that is not the same in both histories.
    fn differing_step(&self, other: &Self) -> Option<String> {
        let ours = self.history.iter().rev().map(|checkpoint| told(checkpoint));
        let theirs = other.history.iter().rev().map(|checkpoint| told(checkpoint));
        let (ours, theirs): (Vec<String>, Vec<String>) = (ours.collect(), theirs.collect());
        let at = (0..ours.len().max(theirs.len())).find(|at| ours.get(*at) != theirs.get(*at))?;
        let shown = |steps: &[String]| steps.get(at).map_or("no such step".to_owned(), |step| format!("step {step}"));
        Some(format!("history: expected {}, got {}", shown(&ours), shown(&theirs)))
    }
}

/// A checkpoint in a line: step, source, tasks, and the tasks that are next or wait.
fn told(checkpoint: &CheckpointInfo) -> String {
    let list = |names: Vec<&str>| if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    let tasks = list(checkpoint.tasks.iter().map(|task| &*task.node).collect());
    let next = list(checkpoint.next.iter().map(String::as_str).collect());
    let waiting = match &checkpoint.deferred[..] {
        [] => String::new(),
        deferred => format!("; deferred: {}", deferred.join(", ")),
    };
    format!("{} ({}: {tasks}; next: {next}{waiting})", checkpoint.step, checkpoint.source.as_str())
}

fn encoded<S: State>(state: &S, channel: usize) -> Option<Vec<u8>> {
    let mut body = Body::default();
    state.encode_full(channel, &mut body).ok()?;
    Some(body.bytes)
}
