//! How is a sequence of operations carried out and checked?

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use fastrand::Rng;
use stepmark::interrupt::OpenQuestion;
use stepmark::store::CheckpointStore;
use stepmark::{Durability, Error};
use stepmark_conformance::call::Intercepted;

use crate::choice::{Act, Attempt, Chooser, PROCESSES, THREADS, Trouble};
use crate::command::{Command, Question, Verb};
use crate::compare::{Comparison, run_id, run_ids};
use crate::coverage::Coverage;
use crate::drawn::Drawn;
use crate::faults::{Calls, is_injected};
use crate::ids::Ids;
use crate::judge::Found;
use crate::look::{Observer, Seen};
use crate::loose::Admitted;
use crate::nodes::{Execution, Journal, build};
use crate::process::{Answer, Names, Process, ThreadNames};
use crate::running::{tell, tell_on};
use crate::story::{Executed, Stage, Story};
use crate::world::{RunKey, Spot, World};

/// How many of a story's stages are shown when none is stored.
const REFUSED_SHOWN: usize = 3;

/// Why a sequence fails.
pub(crate) type Failure = String;

/// One store, the applications that share it, and the model.
pub(crate) struct Bench {
    pub(crate) drawn: Arc<Drawn>,
    store: Arc<dyn CheckpointStore>,
    ids: Arc<Ids>,
    processes: Vec<Process>,
    pub(crate) observer: Observer,
    pub(crate) world: World,
    pub(crate) names: Names,
    pub(crate) coverage: Coverage,
    /// What was done.
    pub(crate) log: Vec<String>,
    unique: u64,
    /// The questions that were listed so far.
    listed: Vec<Listing>,
    /// Whether calls of the last attempt failed.
    pub(crate) has_struck: bool,
}

/// A question that was listed once.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) thread: usize,
    pub(crate) question: Question,
    found: OpenQuestion,
}

/// How a call ended.
enum End {
    Answered(Result<Answer, Error>),
    Died,
}

type Call = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send>>;

/// Which stages of a story may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Last,
    Any,
    /// Those in which a node may run.
    Running,
}

/// What was found stored after a verb.
pub(crate) struct Settled {
    pub(crate) stage: usize,
    /// Of the step that was not over, or failed: branch and what is stored of its tasks.
    pub(crate) admitted: Option<(usize, Admitted)>,
}

impl Bench {
    pub(crate) fn new(drawn: Drawn, store: Arc<dyn CheckpointStore>, seed: u64) -> Self {
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

    fn chooser(&mut self, operation: u64) -> Chooser<'_> {
        self.unique += 1;
        let Self { drawn, world, unique, listed, .. } = self;
        Chooser { rng: Rng::with_seed(operation), drawn, world, listed, unique: *unique }
    }

    fn restart(&mut self, process: usize) {
        self.processes[process] = Process::start(&self.drawn, &self.store, &self.ids);
    }

    async fn attempt(&mut self, attempt: Attempt) -> Result<(), Failure> {
        let story = tell(&self.drawn, &self.world, &attempt.command);
        let (process, journal) = self.start(&attempt);
        let call = self.call(&attempt);
        let end = match attempt.trouble {
            Trouble::None | Trouble::Calls(_) => until(call, process.crashed()).await,
            Trouble::CrashInNode(_) => until(call, journal.reached()).await,
            Trouble::Stop { ref others, .. } => {
                let mut call = call;
                let stopped = tokio::select! {
                    biased;
                    answer = &mut call => Some(answer),
                    () = journal.reached() => None,
                };
                match stopped {
                    Some(answer) => End::Answered(answer),
                    None => return Box::pin(self.stopped((&attempt, story), call, others.clone())).await,
                }
            }
        };
        process.landed().await;
        let struck = process.plan(None);
        self.has_struck = !struck.is_empty();
        self.note(&attempt, &struck, matches!(end, End::Died));
        let executions = journal.take();
        let answer = match end {
            End::Answered(Err(error)) if is_injected(&error) && !struck.is_empty() => None,
            End::Answered(answer) => Some(answer),
            End::Died => {
                self.restart(attempt.process);
                None
            }
        };
        self.check((&attempt.command, &story), executions, answer).await
    }

    /// Sets what happens to the attempt's calls and nodes.
    fn start(&mut self, attempt: &Attempt) -> (Calls, Journal) {
        let process = &self.processes[attempt.process];
        process.journal.take();
        let plan = match &attempt.trouble {
            Trouble::Calls(plan) => Some(*plan),
            Trouble::None => None,
            Trouble::CrashInNode(nth) | Trouble::Stop { nth, .. } => {
                process.journal.set_trap(*nth);
                None
            }
        };
        process.calls.plan(plan);
        (process.calls.clone(), process.journal.clone())
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
    fn note(&mut self, attempt: &Attempt, struck: &[stepmark_conformance::call::CallKind], has_died: bool) {
        self.coverage.meet(format!("verb {}", attempt.command.verb.name()));
        match &attempt.trouble {
            Trouble::Calls(plan) if !struck.is_empty() => {
                self.coverage.meet(plan.fault.name());
                if has_died {
                    self.coverage.meet(format!("{} {:?}", plan.fault.name(), struck[0]));
                }
            }
            Trouble::CrashInNode(_) if has_died => self.coverage.meet("crash in a node"),
            _ => {}
        }
    }

    /// Compares everything with the story of a verb. `answer`: absent if nobody heard one.
    async fn check(
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
        let executed = self.executed(command.thread, &executions, &story.steps);
        self.judge(story, &settled, (answer.is_some(), durability), &executed)?;
        if let Some(answer) = answer {
            let loose = story.stages[settled.stage].loose.as_ref();
            self.check_answer((command, &story.reply), loose, settled.admitted.as_ref(), &answer)?;
            self.coverage.meet(format!("answer {}", reply_name(&story.reply)));
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

    /// Finds the stage that is stored, and takes its world over.
    async fn settle(&mut self, (command, story): (&Command, &Story), which: Which) -> Result<Settled, Failure> {
        let mut touched = vec![command.thread];
        if let Verb::ForkTo { to, .. } = command.verb
            && to != command.thread
        {
            touched.push(to);
        }
        let mut seen: BTreeMap<usize, Option<Seen>> = BTreeMap::new();
        for thread in touched {
            let mut found =
                self.observer.look(thread).await.map_err(|error| format!("nothing can be read: {error}"))?;
            if let Some(found) = &mut found {
                self.look_at_runs(thread, &story.stages, found).await?;
            }
            seen.insert(thread, found);
        }
        let last = story.stages.len() - 1;
        let is_possible = |number: &usize| match which {
            Which::Last => *number == last,
            Which::Any => true,
            Which::Running => story.stages[*number].runner.is_some(),
        };
        let mut refused = Vec::new();
        for number in (0..=last).rev().filter(is_possible) {
            let (differences, admitted) = self.differences(&story.stages[number], &seen);
            if differences.is_empty() {
                self.take_over(&story.stages[number], &seen, admitted.clone()).await?;
                return Ok(Settled { stage: number, admitted });
            }
            let (name, steps) = (story.stages[number].name, story.stages[number].steps);
            let reason = format!("not {name:?} after {steps} steps: {}", differences.join("; "));
            refused.push((differences.len(), reason));
        }
        refused.sort();
        let nearest: Vec<&str> = refused.iter().take(REFUSED_SHOWN).map(|(_, reason)| &**reason).collect();
        Err(format!("what is stored is no stage of the story:\n{}", nearest.join("\n")))
    }

    fn differences(
        &self,
        stage: &Stage,
        seen: &BTreeMap<usize, Option<Seen>>,
    ) -> (Vec<String>, Option<(usize, Admitted)>) {
        let (mut differences, mut admitted) = (Vec::new(), None);
        for (thread, seen) in seen {
            match (stage.world.tree(*thread), seen) {
                (None, None) => {}
                (Some(tree), Some(seen)) => {
                    let same = self.world.tree(*thread).is_some_and(|before| before.instance == tree.instance);
                    let none = ThreadNames::default();
                    let names = if same { &self.names.threads[*thread] } else { &none };
                    let loose = stage.loose.as_ref().filter(|loose| loose.thread == *thread);
                    let comparison = Comparison::of(tree, seen, names, loose);
                    differences.extend(comparison.differences);
                    admitted = admitted.or(comparison.admitted);
                }
                (model, _) => differences.push(format!("thread {thread}: the model has it: {}", model.is_some())),
            }
        }
        (differences, admitted)
    }

    /// Reads the records of the runs that the story moves.
    async fn look_at_runs(&self, thread: usize, stages: &[Stage], seen: &mut Seen) -> Result<(), Failure> {
        let mut wanted: BTreeMap<RunKey, Option<String>> = BTreeMap::new();
        let before = self.world.tree(thread);
        for tree in stages.iter().filter_map(|stage| stage.world.tree(thread)) {
            let ids = run_ids(tree, seen).unwrap_or_default();
            let moved = tree.runs.iter().filter(|(key, run)| before.is_none_or(|tree| tree.runs.get(key) != Some(run)));
            for (key, _) in moved {
                wanted.insert(key.clone(), run_id(key, seen, &ids));
            }
        }
        for id in wanted.into_values().flatten() {
            let row = self.observer.run(thread, &id).await.map_err(|error| format!("run {id}: {error}"))?;
            seen.runs.insert(id, row);
        }
        Ok(())
    }

    /// From now on this is the world. Checks the states of what is new in it.
    async fn take_over(
        &mut self,
        stage: &Stage,
        seen: &BTreeMap<usize, Option<Seen>>,
        admitted: Option<(usize, Admitted)>,
    ) -> Result<(), Failure> {
        let before = std::mem::replace(&mut self.world, stage.world.clone());
        if let (Some(loose), Some((branch, admitted))) = (&stage.loose, admitted)
            && let Some(tree) = self.world.tree_mut(loose.thread)
        {
            tree.branches[branch].pending = admitted.pending;
        }
        for (thread, seen) in seen {
            let instance = |world: &World| world.tree(*thread).map(|tree| tree.instance);
            if instance(&before) != instance(&self.world) {
                self.names.threads[*thread] = ThreadNames::default();
                self.processes.iter_mut().for_each(|process| process.forget(*thread));
            }
            if let Some(seen) = seen {
                self.check_states(*thread, &before, seen).await?;
                let names = &mut self.names.threads[*thread];
                names.branches = seen.branches.iter().map(|branch| branch.info.id).collect();
                names.checkpoints = seen.checkpoints.iter().map(|info| info.id.clone()).collect();
                names.uid = Some(seen.uid);
                self.list(*thread, seen);
            }
        }
        Ok(())
    }

    /// Remembers the questions that are listed, to answer them some time.
    fn list(&mut self, thread: usize, seen: &Seen) {
        let Some(tree) = self.world.tree(thread) else { return };
        for (number, branch) in tree.branches.iter().enumerate() {
            let Some(tip) = tree.tip(number) else { continue };
            let tasks = tip.position.next.iter().zip(&branch.pending.journals);
            let of_tasks = tasks.flat_map(|(task, journal)| {
                let task = tip.position.hash(task);
                journal.iter().map(move |entry| (Some(entry.asks), task, entry.asks.id(seen.uid, task)))
            });
            let stops = branch.pending.after.iter();
            let stops = stops.map(|stop| (None, stop.task(&tip.position), stop.id(seen.uid, &tip.position)));
            for (asks, task, id) in of_tasks.chain(stops) {
                let here = seen.branches[number].info.id;
                let found = seen.questions.iter().find(|question| question.branch == here && question.id == id);
                let question = Question { instance: tree.instance, branch: number, asks, task };
                let is_known = |listed: &Listing| listed.thread == thread && listed.question == question;
                if let Some(found) = found.filter(|_| !self.listed.iter().any(is_known)) {
                    self.listed.push(Listing { thread, question, found: found.clone() });
                }
            }
        }
    }

    async fn check_states(&self, thread: usize, before: &World, seen: &Seen) -> Result<(), Failure> {
        let Some(tree) = self.world.tree(thread) else { return Ok(()) };
        let known = self.names.threads[thread].checkpoints.len();
        for (number, info) in seen.checkpoints.iter().enumerate().skip(known) {
            let stored = self.observer.state(thread, info).await.map_err(|error| format!("{number}: {error}"))?;
            let board = &tree.checkpoints[number].position.board;
            if stored != *board {
                return Err(format!("state of checkpoint {number}: the model has\n{board:?}, stored is\n{stored:?}"));
            }
        }
        for (number, branch) in tree.branches.iter().enumerate() {
            let earlier = before.tree(thread).and_then(|tree| tree.branches.get(number));
            let Some(tip) = branch.tip.filter(|_| earlier.is_none_or(|earlier| earlier.tip != branch.tip)) else {
                continue;
            };
            let id = seen.branches[number].info.id;
            let stored = self.observer.tip_state(thread, id).await.map_err(|error| format!("{number}: {error}"))?;
            if stored != tree.checkpoints[tip].position.board {
                return Err(format!(
                    "the state at the tip of branch {number} is that of another checkpoint: {stored:?}"
                ));
            }
        }
        Ok(())
    }

    /// A process is stopped inside a node; others go on, and then it does.
    async fn stopped(
        &mut self,
        (attempt, story): (&Attempt, Story),
        call: Call,
        others: Vec<u64>,
    ) -> Result<(), Failure> {
        let (process, journal) =
            (self.processes[attempt.process].calls.clone(), self.processes[attempt.process].journal.clone());
        process.landed().await;
        self.log.push("  stopped inside a node".to_owned());
        let settled = self.settle((&attempt.command, &story), Which::Running).await?;
        let Some(runner) = story.stages[settled.stage].runner.clone() else {
            return Err("a node runs, and nothing is stored that says so".to_owned());
        };
        for other in others {
            let command = self.chooser(other).other(&attempt.command);
            self.log.push(format!("  meanwhile {command:?}"));
            let (process, is_resident) = ((attempt.process + 1) % PROCESSES, other % 2 == 0);
            Box::pin(self.attempt(Attempt { process, is_resident, command, trouble: Trouble::None })).await?;
        }
        journal.release();
        let answer = call.await;
        process.landed().await;
        process.plan(None);
        self.has_struck = false;
        let executions = journal.take();
        let rest = tell_on(&self.drawn, &self.world, runner);
        self.coverage.meet(format!("verb {}", attempt.command.verb.name()));
        self.judge_stopped(attempt, (story, settled.stage), rest, (executions, answer)).await
    }

    async fn judge_stopped(
        &mut self,
        attempt: &Attempt,
        (story, stage): (Story, usize),
        rest: Story,
        (executions, answer): (Vec<Execution>, Result<Answer, Error>),
    ) -> Result<(), Failure> {
        let command = &attempt.command;
        let durability = command.verb.durability().unwrap_or_default();
        let held = story.stages[stage].steps;
        if matches!(rest.reply, crate::story::Reply::Fenced) {
            self.coverage.meet("zombie refused");
            let unmoved = Story { stages: rest.stages[..1].to_vec(), steps: story.steps.clone(), reply: rest.reply };
            let settled = self.settle((command, &unmoved), Which::Last).await?;
            let executed = self.executed(command.thread, &executions, &story.steps);
            let found = Found { story: &story, stage, is_whole: false, durability, started: None };
            found.judge(&executed).map_err(|reason| format!("the zombie: {reason}"))?;
            return self.check_answer((command, &unmoved.reply), None, settled.admitted.as_ref(), &answer);
        }
        self.coverage.meet("stopped and went on");
        let mut whole = rest;
        for stage in &mut whole.stages {
            stage.steps += held;
        }
        whole.steps = [&story.steps[..held], &whole.steps].concat();
        self.check((command, &whole), executions, Some(answer)).await
    }

    /// Everything once more, by an application that has seen nothing.
    pub(crate) async fn check_all(&mut self) -> Result<(), Failure> {
        for thread in 0..THREADS {
            let mut found =
                self.observer.look(thread).await.map_err(|error| format!("nothing can be read: {error}"))?;
            if let (Some(seen), Some(tree)) = (&mut found, self.world.tree(thread)) {
                for id in run_ids(tree, seen)?.into_values() {
                    let id = id.to_string();
                    let row = self.observer.run(thread, &id).await.map_err(|error| format!("run {id}: {error}"))?;
                    seen.runs.insert(id, row);
                }
            }
            let stage = Stage { world: self.world.clone(), loose: None, steps: 0, runner: None, name: "end" };
            let (differences, _) = self.differences(&stage, &BTreeMap::from([(thread, found)]));
            if !differences.is_empty() {
                return Err(format!("at the end of all: {}", differences.join("\n")));
            }
            self.check_every_state(thread).await?;
        }
        Ok(())
    }

    async fn check_every_state(&self, thread: usize) -> Result<(), Failure> {
        let Some(tree) = self.world.tree(thread) else { return Ok(()) };
        let handle = crate::process::at_spot(&self.observer.app, (thread, &Spot::Head), &self.names);
        for (checkpoint, id) in tree.checkpoints.iter().zip(&self.names.threads[thread].checkpoints) {
            let stored = handle.at(id).state().await.map_err(|error| format!("{id}: {error}"))?;
            if *stored.state() != checkpoint.position.board {
                return Err(format!("the state of {id} is another one at the end: {:?}", stored.state()));
            }
        }
        Ok(())
    }
}

async fn until(call: Call, event: impl Future<Output = ()>) -> End {
    tokio::select! {
        biased;
        answer = call => End::Answered(answer),
        () = event => End::Died,
    }
}

fn reply_name(reply: &crate::story::Reply) -> String {
    use crate::story::Reply;
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
