//! How does a process run the graph of a trial?

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use stepmark::clock::IdGen;
use stepmark::store::CheckpointStore;
use stepmark::{App, Durability, Thread};
use stepmark_conformance::call::Intercepted;

use crate::clock::SimClock;
use crate::drawn::Drawn;
use crate::faults::Calls;
use crate::ids::Ids;
use crate::lab::Lab;
use crate::nodes::STEP_MAX;
use crate::state::Trail;

/// The name of the thread.
pub(crate) const THREAD: &str = "t";

/// How the runs of a trial are called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) durability: Durability,
    pub(crate) linger: Duration,
    pub(crate) answers: Answers,
    /// Inputs have ids of the caller.
    pub(crate) names_runs: bool,
    /// The second input begins in the middle.
    pub(crate) goes: bool,
    /// Each call may take so many steps.
    pub(crate) steps_max: Option<u64>,
    /// Calls resume a run that failed.
    pub(crate) resumes: bool,
}

/// How open questions are answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answers {
    /// The first, which continues the run.
    OneByOne,
    /// All are stored, one by one; then the run is resumed.
    Stored,
    /// All in one unit.
    Together,
    /// The first time with an update of the state.
    Corrected,
}

/// An application with everything that it keeps in memory.
pub(crate) struct Process {
    pub(crate) app: App<Trail>,
    pub(crate) calls: Calls,
    pub(crate) lab: Lab,
    pub(crate) manner: Manner,
    /// Others may run the same thread.
    pub(crate) has_rivals: bool,
    /// It gives up when somebody else has taken the thread over.
    pub(crate) yields: bool,
}

/// What processes of a trial share.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) drawn: Arc<Drawn>,
    pub(crate) manner: Manner,
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) clock: SimClock,
    pub(crate) ids: Arc<Ids>,
    pub(crate) lab: Lab,
}

impl Manner {
    pub(crate) fn by(chance: &mut Rng) -> Self {
        let durability = match chance.u8(..4) {
            0 | 1 => Durability::Sync,
            2 => Durability::Async { behind_max: chance.u32(1..4) },
            _ => Durability::Exit,
        };
        let linger = Duration::from_millis([0, 5, 5, 20][chance.usize(..4)]);
        let answers = [Answers::OneByOne, Answers::Stored, Answers::Together, Answers::Corrected][chance.usize(..4)];
        let steps_max = (chance.u8(..5) == 0).then(|| chance.u64(1..6));
        Self {
            durability,
            linger,
            answers,
            names_runs: chance.bool(),
            goes: chance.u8(..3) == 0,
            steps_max,
            resumes: chance.bool(),
        }
    }
}

impl Site {
    /// Starts a process that works on a line of the thread: its own, or one that was forked.
    pub(crate) fn start(&self, line: u32) -> Process {
        let lab = self.lab.enter(line);
        let calls = Calls::new(Arc::clone(&self.store));
        let ids: Arc<dyn IdGen> = Arc::clone(&self.ids) as _;
        let app = self.drawn.build().with_sources(Arc::new(self.clock.of(lab.process())), ids);
        let app = app.durability(self.manner.durability).linger(self.manner.linger).step_timeout(STEP_MAX);
        let app = app.provide(lab.clone()).with(Intercepted::around(Arc::clone(&self.store), calls.clone()));
        Process { app, calls, lab, manner: self.manner, has_rivals: false, yields: false }
    }
}

impl Process {
    pub(crate) fn thread(&self) -> Thread<Trail> {
        self.app.thread(THREAD)
    }
}
