//! What is done with one seed?
//!
//! Its graph runs in peace. Then come stories: the same again with mishaps, after each of which another process goes on;
//! what they come to, on the thread, on forks of it and from its past, is compared with the run in peace.

use std::fmt::Write as _;
use std::sync::Arc;

use fastrand::Rng;
use stepmark::ErrorKind;
use stepmark::store::CheckpointStore;

use crate::clock::SimClock;
use crate::coverage::Coverage;
use crate::drawn::Drawn;
use crate::drive::Driven;
use crate::faults::Fault;
use crate::ids::Ids;
use crate::judge::Told;
use crate::lab::Lab;
use crate::mishap::{Fate, Line, Mishap, Size, counted};
use crate::moving::move_thread;
use crate::process::{Manner, Process, Site};
use crate::state::Trail;

/// How many inputs a thread gets.
const INPUTS: u64 = 2;

/// How many stories are told of each graph.
const STORIES: u64 = 5;

/// The most mishaps of a story.
const MISHAPS_MAX: u32 = 3;

const MAIN: Line<'_> = Line { number: 0, branch: None };

/// A seed with what it draws.
#[derive(Clone)]
pub(crate) struct Trial {
    pub(crate) seed: u64,
    pub(crate) drawn: Drawn,
    pub(crate) manner: Manner,
}

/// The run in peace.
struct Peace {
    /// The state after each input.
    ends: Vec<Trail>,
    size: Size,
    lab: Lab,
}

/// A failure, with what led to it.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) what: String,
    pub(crate) log: String,
}

/// What is told of a graph.
struct Story<'a> {
    site: Site,
    peace: &'a Peace,
    chance: Rng,
    /// Branches that left the thread while it was under way.
    sides: Vec<String>,
    breaks: u32,
    log: String,
    /// Where other stores come from, if the thread moves between them.
    homes: Option<&'a Homes<'a>>,
}

/// Makes empty stores.
pub(crate) type Homes<'a> = dyn Fn() -> Arc<dyn CheckpointStore> + 'a;

impl Trial {
    pub(crate) fn by(seed: u64) -> Self {
        let mut chance = Rng::with_seed(seed);
        let drawn = Drawn::by(&mut chance);
        let manner = Manner::by(&mut chance);
        Self { seed, drawn, manner }
    }

    /// Runs everything; each store is a new one.
    /// Between processes the thread may move.
    pub(crate) async fn run(&self, store: &Homes<'_>, moves: bool) -> Result<Coverage, Wrong> {
        let drawn = Arc::new(self.drawn.clone());
        let site = |number: u64| Site {
            drawn: Arc::clone(&drawn),
            manner: self.manner,
            store: store(),
            clock: SimClock::start(),
            ids: Arc::new(Ids::new(self.seed ^ number)),
            lab: Lab::new(),
        };
        let peace = peace(&site(0)).await.map_err(|what| Wrong { what, log: "in peace".into() })?;
        let mut coverage = peace.lab.take_met();
        for number in 1..=STORIES {
            let chance = Rng::with_seed(self.seed.wrapping_mul(31).wrapping_add(number));
            let (sides, log) = (Vec::new(), format!("story {number}"));
            let homes = moves.then_some(store);
            let mut tale = Story { site: site(number), peace: &peace, chance, sides, breaks: 0, log, homes };
            match tale.tell().await {
                Ok(()) => coverage.add(tale.site.lab.take_met()),
                Err(what) => return Err(Wrong { what, log: tale.log }),
            }
        }
        Ok(coverage)
    }
}

async fn peace(site: &Site) -> Result<Peace, String> {
    let process = site.start(0);
    let (mut ends, mut polls) = (Vec::new(), 0);
    for inputs in 1..=INPUTS {
        let thread = process.thread();
        let (driven, more) = counted(process.drive(&thread, inputs)).await;
        polls += more;
        match driven {
            Driven::Done(state) => ends.push(*state),
            driven => return Err(driven.shown()),
        }
    }
    let measured = Size { calls: process.calls.counted(), events: site.lab.events(), polls };
    Ok(Peace { ends, size: measured, lab: site.lab.clone() })
}

impl Story<'_> {
    async fn tell(&mut self) -> Result<(), String> {
        self.line(MAIN, INPUTS, MISHAPS_MAX).await?;
        self.judge()?;
        for (number, side) in (1..).zip(std::mem::take(&mut self.sides)) {
            self.line(Line { number, branch: Some(&side) }, INPUTS, 1).await?;
            self.site.lab.meet("fork at a tip");
        }
        self.past().await?;
        match self.site.lab.wrongs() {
            wrongs if wrongs.is_empty() => Ok(()),
            wrongs => Err(wrongs.join("\n")),
        }
    }

    /// Drives a line to its end, with mishaps on the way, and compares.
    async fn line(&mut self, line: Line<'_>, inputs: u64, mishaps_max: u32) -> Result<(), String> {
        let mishaps = self.chance.u32(0..=mishaps_max).max(u32::from(line.number == 0));
        for number in 0..=mishaps {
            let process = self.site.start(line.number);
            let fate = if number == mishaps {
                let thread = line.of(&process);
                Fate::Ended(process.drive(&thread, inputs).await)
            } else {
                let mishap = Mishap::by(&mut self.chance, self.peace.size);
                let _ = write!(self.log, "\n  line {}: {mishap:?}", line.number);
                self.site.lab.meet(name(&mishap));
                self.breaks += breaks(&mishap);
                process.suffer(mishap, (&self.site, line), inputs).await
            };
            match fate {
                Fate::Died => {
                    let _ = write!(self.log, ": died");
                }
                Fate::Ended(Driven::Drained) if number < mishaps => {
                    let _ = write!(self.log, ": drained");
                    self.site.lab.meet("drained");
                }
                Fate::Ended(Driven::Done(state)) => return self.compare(line, &state, inputs),
                Fate::Ended(driven) => return Err(driven.shown()),
            }
            if line.number == 0 && self.chance.u8(..3) == 0 {
                self.leave().await?;
            }
            if let Some(homes) = self.homes.filter(|_| self.chance.bool()) {
                self.site.store = self.moved(homes()).await?;
            }
        }
        Err("nobody drove it to its end".into())
    }

    fn compare(&self, line: Line<'_>, state: &Trail, inputs: u64) -> Result<(), String> {
        let peace = &self.peace.ends[inputs as usize - 1];
        if state == peace {
            return Ok(());
        }
        Err(format!("line {}: it came to\n{state:#?}\nand in peace to\n{peace:#?}", line.number))
    }

    fn judge(&self) -> Result<(), String> {
        let (manner, lab) = (self.site.manner, &self.site.lab);
        let peace = self.peace.lab.counts();
        let (breaks, again, lost) = (self.breaks, lab.agains(), lab.lost());
        let told = Told { manner, peace: &peace, counts: lab.counts(), breaks, again, lost };
        match told.wrongs() {
            wrongs if wrongs.is_empty() => Ok(()),
            wrongs => Err(wrongs.join("\n")),
        }
    }

    /// Forks the thread where it stands.
    async fn leave(&mut self) -> Result<(), String> {
        let thread = self.site.start(0).thread();
        let snapshot = match thread.state().await {
            Err(error) if error.kind() == ErrorKind::Missing => return Ok(()),
            snapshot => snapshot.map_err(|error| format!("{error}"))?,
        };
        if let Some(tip) = &snapshot.checkpoint {
            let side = format!("side {}", self.sides.len());
            let _ = write!(self.log, "; forked at step {}", tip.step);
            thread.at(&tip.id).fork(&side).await.map_err(|error| format!("no fork: {error}"))?;
            self.sides.push(side);
        }
        Ok(())
    }

    /// The thread in another store, where it goes on as if nothing had happened.
    async fn moved(&mut self, to: Arc<dyn CheckpointStore>) -> Result<Arc<dyn CheckpointStore>, String> {
        let from = Arc::clone(&self.site.store);
        if !move_thread(&*from, &*to).await? {
            return Ok(from);
        }
        let _ = write!(self.log, "; moved");
        self.site.lab.meet("moved");
        // What nodes came to is not kept there.
        self.breaks += 1;
        Ok(to)
    }

    /// Goes back to a moment of the thread's past, on a new line.
    async fn past(&mut self) -> Result<(), String> {
        let process = self.site.start(100);
        let thread = process.thread();
        let history = thread.history().await.map_err(|error| format!("no history: {error}"))?;
        let checkpoint = self.chance.choice(history.iter()).ok_or("the history is empty")?;
        let then = thread.at(&checkpoint.id).state().await.map_err(|error| format!("no past: {error}"))?;
        let inputs = then.state().inputs;
        let _ = write!(self.log, "\n  past: step {}, input {inputs}", checkpoint.step);
        let branch = if self.chance.bool() {
            self.site.lab.meet("fork in the past");
            let fork = thread.at(&checkpoint.id).fork("past").await;
            fork.map(|_| "past".to_owned()).map_err(|error| format!("no fork: {error}"))?
        } else {
            self.site.lab.meet("replay");
            match replay(&process, &checkpoint.id.to_string()).await? {
                Replayed::Done(state) => return self.compare(Line { number: 100, branch: None }, &state, inputs),
                Replayed::On(branch) => branch,
            }
        };
        self.line(Line { number: 100, branch: Some(&branch) }, inputs, 1).await
    }
}

enum Replayed {
    Done(Box<Trail>),
    /// It goes on there.
    On(String),
}

async fn replay(process: &Process, checkpoint: &str) -> Result<Replayed, String> {
    let _running = process.lab.run();
    match process.thread().at(checkpoint).replay().run().await {
        Ok(outcome) if outcome.is_done() => Ok(Replayed::Done(Box::new(outcome.state().clone()))),
        Ok(outcome) => Ok(Replayed::On(outcome.branch().ok_or("a replay has a branch")?.to_owned())),
        Err(error) if error.kind() == ErrorKind::NodeFailed => {
            Ok(Replayed::On(error.place().ok_or("a failed run has a place")?.branch.clone()))
        }
        Err(error) => Err(format!("no replay: {error}")),
    }
}

/// How often a mishap may break a run off.
fn breaks(mishap: &Mishap) -> u32 {
    match mishap {
        Mishap::Drained(_) => 0,
        Mishap::Dies(_) | Mishap::Dropped(_) => 1,
        Mishap::Calls(plan) => match plan.fault {
            Fault::Delay(_) | Fault::Duplicate => 0,
            Fault::CrashBefore | Fault::CrashAfter => 1,
            Fault::ErrorBefore | Fault::ErrorAfter => plan.times,
        },
        // One that stalls for hours tries again, in vain, what has a limit.
        Mishap::Overtaken(_) => 1_000,
    }
}

fn name(mishap: &Mishap) -> &'static str {
    match mishap {
        Mishap::Calls(_) => "mishap: calls",
        Mishap::Dies(_) => "mishap: dies",
        Mishap::Dropped(_) => "mishap: dropped",
        Mishap::Drained(_) => "mishap: drained",
        Mishap::Overtaken(_) => "mishap: overtaken",
    }
}
