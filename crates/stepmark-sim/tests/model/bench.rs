//! How is a sequence of operations carried out and checked?

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use stepmark::store::CheckpointStore;
use stepmark::{Durability, Error, OnPending};
use stepmark_conformance::call::{CallKind, Intercepted};
use stepmark_core::id::TaskHash;
use tokio::time::Instant;

use crate::choice::{Act, Attempt, Chooser, PROCESSES, THREADS};
use crate::command::{Command, Input, Limits, Verb};
use crate::drawn::{Drawn, Stops};
use crate::judge::Found;
use crate::look::Observer;
use crate::machine::Attempt as Attempted;
use crate::nodes::{Execution, Journal, build};
use crate::process::{Answer, Names, Process, ThreadNames};
use crate::running::tell;
use crate::settling::{Listing, Settled, Which};
use crate::stopping::Stopped;
use crate::story::{Executed, Reply, Story};
use crate::trouble::Trouble;
use crate::world::World;
use stepmark_sim::coverage::Coverage;
use stepmark_sim::faults::{self, Calls, is_injected};
use stepmark_sim::ids::Ids;

/// Why a sequence fails.
pub(crate) type Failure = String;

/// One store, the applications that share it, and the model.
pub(crate) struct Bench {
    pub(crate) drawn: Arc<Drawn>,
    store: Arc<dyn CheckpointStore>,
    ids: Arc<Ids>,
    pub(crate) processes: Vec<Process>,
    pub(crate) observer: Observer,
    pub(crate) world: World,
    pub(crate) names: Names,
    pub(crate) coverage: Coverage,
    /// What was done.
    pub(crate) log: Vec<String>,
    unique: u64,
    /// The questions that were listed so far.
    pub(crate) listed: Vec<Listing>,
    /// Whether calls of the last attempt failed.
    pub(crate) has_struck: bool,
    /// Tasks of the last attempt whose results must be stored although their process died.
    late: Vec<TaskHash>,
    /// Whether time is that of the nodes alone.
    is_timed: bool,
}

pub(crate) type Call = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send>>;

impl Bench {
    /// `is_timed`: the store answers in no time.
    pub(crate) fn new(drawn: Drawn, (store, is_timed): (Arc<dyn CheckpointStore>, bool), seed: u64) -> Self {
        let (drawn, ids) = (Arc::new(drawn), Arc::new(Ids::new(seed)));
        let sound = Intercepted::around(Arc::clone(&store), Calls::new(Arc::clone(&store)));
        let app = build(&drawn, &Journal::default()).with(sound);
        Self {
            processes: (0..PROCESSES).map(|_| Process::start(&drawn, &store, &ids)).collect(),
            observer: Observer { app, store: Arc::clone(&store) },
            world: World { threads: vec![None; THREADS], born: 0 },
            names: Names { threads: vec![ThreadNames::default(); THREADS] },
            coverage: Coverage::default(),
            log: Vec::new(),
            unique: 0,
            listed: Vec::new(),
            has_struck: false,
            late: Vec::new(),
            is_timed,
            drawn,
            store,
            ids,
        }
    }

    /// Carries one operation out.
    pub(crate) async fn perform(&mut self, operation: u64) -> Result<(), Failure> {
        let act = self.chooser(operation).act();
        self.log.push(format!("{act:?}"));
        match act {
            Act::Verb(attempt) => self.attempt(attempt).await,
            Act::Restart(process) => {
                self.restart(process);
                self.coverage.meet("restart");
                Ok(())
            }
            Act::Look { process, is_resident, command: (thread, spot), seed } => {
                let handle = self.processes[process].handle((thread, &spot), &self.names, is_resident);
                self.read(&handle, (thread, spot), Rng::with_seed(seed)).await
            }
        }
    }

    pub(crate) fn chooser(&mut self, operation: u64) -> Chooser<'_> {
        self.unique += 1;
        let Self { drawn, world, unique, listed, .. } = self;
        Chooser { rng: Rng::with_seed(operation), drawn, world, listed, unique: *unique }
    }

    fn restart(&mut self, process: usize) {
        self.processes[process] = Process::start(&self.drawn, &self.store, &self.ids);
    }

    /// The calls and the journal of a process.
    pub(crate) fn parts(&self, process: usize) -> (Calls, Journal) {
        (self.processes[process].calls.clone(), self.processes[process].journal.clone())
    }

    pub(crate) async fn attempt(&mut self, attempt: Attempt) -> Result<(), Failure> {
        let story = tell(&self.drawn, &self.world, &attempt.command);
        self.start(&attempt);
        let (process, journal) = self.parts(attempt.process);
        let mut call = self.call(&attempt);
        let event = async {
            match &attempt.trouble {
                Trouble::None | Trouble::Calls(_) => process.crashed().await,
                Trouble::CrashInNode(_) | Trouble::Cancel(_) | Trouble::Stop { .. } => journal.reached().await,
                Trouble::Hold { .. } => process.held().await,
            }
        };
        let answer = tokio::select! {
            biased;
            answer = &mut call => Some(answer),
            () = event => None,
        };
        if answer.is_none()
            && let Trouble::Stop { others, .. } | Trouble::Hold { others, .. } = &attempt.trouble
        {
            let stopped = Stopped { attempt: &attempt, story, call, others: others.clone() };
            return Box::pin(self.stopped(stopped)).await;
        }
        let died_at = Instant::now();
        drop(call);
        process.landed().await;
        let struck = process.plan(None);
        self.has_struck = !struck.is_empty();
        self.note(&attempt, &struck, answer.is_none());
        self.late = match attempt.trouble {
            Trouble::CrashInNode(_) | Trouble::Cancel(_) if answer.is_none() => self.late(&journal, died_at),
            _ => Vec::new(),
        };
        let executions = journal.take();
        let answer = match answer {
            Some(Err(error)) if is_injected(&error) && !struck.is_empty() => None,
            None if !matches!(attempt.trouble, Trouble::Cancel(_)) => {
                self.restart(attempt.process);
                None
            }
            answer => answer,
        };
        self.check((&attempt.command, &story), executions, answer).await
    }

    /// The tasks whose results have lingered long enough to be stored.
    fn late(&self, journal: &Journal, died_at: Instant) -> Vec<TaskHash> {
        // Only where a store answers in no time; a timer is a millisecond late.
        let lingers = Duration::from_millis(self.drawn.linger_ms + 2);
        if self.is_timed { journal.ended_before(died_at.checked_sub(lingers)) } else { Vec::new() }
    }

    /// Sets what happens to the attempt's calls and nodes.
    fn start(&mut self, attempt: &Attempt) {
        let process = &self.processes[attempt.process];
        process.journal.take();
        process.calls.plan(None);
        match &attempt.trouble {
            Trouble::None => {}
            Trouble::Calls(plan) => drop(process.calls.plan(Some(*plan))),
            Trouble::CrashInNode(nth) | Trouble::Cancel(nth) | Trouble::Stop { nth, .. } => {
                process.journal.set_trap(*nth);
            }
            Trouble::Hold { nth, .. } => process.calls.hold(*nth),
        }
    }

    fn call(&mut self, attempt: &Attempt) -> Call {
        let process = &mut self.processes[attempt.process];
        let question = match &attempt.command.verb {
            Verb::Answer(answer) => self.listed.get(answer.listed).map(|listed| listed.found.clone()),
            _ => None,
        };
        let order = process.order(&attempt.command, (&self.names, question), attempt.is_resident);
        Box::pin(async move { order.perform().await })
    }

    /// Notes what the attempt met.
    fn note(&mut self, attempt: &Attempt, struck: &[CallKind], has_died: bool) {
        self.coverage.meet(format!("verb {}", attempt.command.verb.name()));
        self.note_options(&attempt.command.verb);
        match &attempt.trouble {
            Trouble::Calls(plan) if !struck.is_empty() => {
                self.coverage.meet(faults::name(plan.fault));
                if has_died {
                    self.coverage.meet(format!("{} {:?}", faults::name(plan.fault), struck[0]));
                }
            }
            Trouble::CrashInNode(_) if has_died => self.coverage.meet("crash in a node"),
            Trouble::Cancel(_) if has_died => self.coverage.meet("cancelled in a node"),
            _ => {}
        }
    }

    fn note_options(&mut self, verb: &Verb) {
        if let Verb::Input(Input { id, on_pending, metadata, .. }) = verb {
            self.coverage.meet(match on_pending {
                OnPending::Discard => "input discards",
                OnPending::ResumeFirst => "input resumes first",
                _ => "input refuses",
            });
            self.coverage.meet(if id.is_some() { "input named" } else { "input unnamed" });
            self.coverage.meet(if metadata.is_some() { "input with metadata" } else { "input without metadata" });
        }
        let limits = match verb {
            Verb::Input(input) | Verb::InputAt { input, .. } => &input.limits,
            Verb::Resume(limits) | Verb::Replay { limits, .. } => limits,
            _ => return,
        };
        let Limits { steps_max, durability, stops } = limits;
        self.coverage.meet(match durability {
            Durability::Sync => "durability sync",
            Durability::Async { .. } => "durability async",
            Durability::Exit => "durability exit",
        });
        self.coverage.meet(if steps_max.is_some() { "with a limit" } else { "without a limit" });
        if *stops != Stops::default() {
            self.coverage.meet("with stops of its own");
        }
    }

    /// Compares everything with the story of a verb. `answer`: absent if nobody heard one.
    pub(crate) async fn check(
        &mut self,
        (command, story): (&Command, &Story),
        executions: Vec<Execution>,
        answer: Option<Result<Answer, Error>>,
    ) -> Result<(), Failure> {
        let durability = command.verb.durability().unwrap_or_default();
        let which = if answer.is_some() { Which::Last } else { Which::Any };
        let settled = self.settle((command, story), which).await.map_err(|differences| {
            format!("{differences}\nthe answer was {answer:?}\nthe story tells {:?}", story.reply)
        })?;
        self.check_late((command.thread, story), &settled)?;
        let executed = self.executed(command.thread, &executions, &story.steps);
        self.judge(story, &settled, (answer.is_some(), durability), &executed)?;
        if let Some(answer) = answer {
            let loose = story.stages[settled.stage].loose.as_ref();
            self.check_answer((command, &story.reply), loose, settled.admitted.as_ref(), &answer)?;
            story.met.iter().for_each(|what| self.coverage.meet(*what));
            self.coverage.meet(format!("answer {}", reply_name(&story.reply)));
        }
        Ok(())
    }

    /// A kill repeats only tasks that finished a moment ago.
    fn check_late(&mut self, (thread, story): (usize, &Story), settled: &Settled) -> Result<(), Failure> {
        let late = std::mem::take(&mut self.late);
        let loose = story.stages[settled.stage].loose.as_ref();
        let (Some(loose), Some((branch, admitted))) = (loose, &settled.admitted) else { return Ok(()) };
        let Some(tip) = self.world.tree(thread).and_then(|tree| tree.tip(*branch)) else { return Ok(()) };
        for (task, (attempt, progress)) in loose.attempts.iter().zip(&admitted.pending.progress).enumerate() {
            let is_late = late.contains(&tip.position.hash(&tip.position.next[task]));
            match (attempt, progress.output()) {
                (Attempted::Finishes(_), None) if is_late => {
                    return Err(format!("task {task} had finished long before its process died, and is not stored"));
                }
                (Attempted::Finishes(_), Some(_)) if is_late => self.coverage.meet("result lingered and was stored"),
                _ => {}
            }
        }
        Ok(())
    }

    fn judge(
        &self,
        story: &Story,
        settled: &Settled,
        (is_whole, durability): (bool, Durability),
        executed: &[Executed],
    ) -> Result<(), Failure> {
        let loose = story.stages[settled.stage].loose.as_ref().filter(|loose| loose.is_over);
        let started = loose.and(settled.admitted.as_ref()).map(|(_, admitted)| admitted.started.clone());
        let stage = settled.stage;
        Found { story, stage, is_whole, durability, started }.judge(executed)
    }

    /// The executions by the model's numbers. A branch that is not stored is the one that the story tells of.
    pub(crate) fn executed(&self, thread: usize, executions: &[Execution], steps: &[Vec<Executed>]) -> Vec<Executed> {
        let told = steps.iter().flatten().next().map_or(0, |executed| executed.branch);
        let branches = &self.names.threads[thread].branches;
        let number = |execution: &Execution| {
            let known = branches.iter().position(|branch| *branch == execution.branch);
            Executed { branch: known.unwrap_or(told), task: execution.task, attempt: execution.attempt }
        };
        executions.iter().map(number).collect()
    }
}

fn reply_name(reply: &Reply) -> String {
    match reply {
        Reply::Error(kind) => format!("{kind:?}"),
        Reply::Failed { .. } => "NodeFailed".to_owned(),
        Reply::Fenced => "Fenced".to_owned(),
        Reply::Outcome(told) => format!("{:?}", told.ending),
        Reply::Snapshot { .. } => "snapshot".to_owned(),
        Reply::Branch(_) => "branch".to_owned(),
        Reply::Flag(open) => format!("a run is open: {open}"),
        Reply::Nothing => "nothing".to_owned(),
    }
}
