//! What may be stored on the way of a verb, and what does it come to?
//!
//! A verb is told in stages: after each, exactly that may be what a crash leaves behind. The last stage is what a verb
//! that nothing happened to leaves. A run that was stopped goes on from the stage that was found.

use std::collections::BTreeSet;

use stepmark::run::Source;
use stepmark::{Durability, Ending, ErrorKind};
use stepmark_core::id::TaskHash;
use stepmark_core::rows::RunStatus;

use crate::asking::{AfterStop, Asks, Entry, Pending, Progress};
use crate::board::Board;
use crate::drawn::{Drawn, Stops};
use crate::loose::Loose;
use crate::machine::{Attempt, Position, Step, StepEnd};
use crate::world::{Asked, Checkpoint, RunKey, Tree, World};

/// A verb, told to its end.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) stages: Vec<Stage>,
    /// The tasks that each executed step executes: branch, task and attempt.
    pub(crate) steps: Vec<Vec<Executed>>,
    pub(crate) reply: Reply,
    /// What its steps met, for coverage.
    pub(crate) met: BTreeSet<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Executed {
    pub(crate) branch: usize,
    pub(crate) task: TaskHash,
    pub(crate) attempt: u32,
}

/// What is stored at a moment.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) world: World,
    /// What may be stored besides of unfinished tasks.
    pub(crate) loose: Option<Loose>,
    /// How many of the story's steps it holds.
    pub(crate) steps: usize,
    /// What goes on from here, if a run does.
    pub(crate) runner: Option<Runner>,
    /// What coverage calls it.
    pub(crate) name: &'static str,
}

/// What a verb answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Error(ErrorKind),
    /// A task failed; which one is read off what is stored.
    Failed {
        branch: usize,
    },
    /// Somebody else took the branch over.
    Fenced,
    Outcome(Box<Told>),
    /// A snapshot of a branch's tip.
    Snapshot {
        branch: usize,
    },
    /// A new branch, or the one that was left.
    Branch(usize),
    /// Whether a run is open.
    Flag(bool),
    Nothing,
}

#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) ending: Ending,
    pub(crate) board: Board,
    pub(crate) branch: usize,
    pub(crate) checkpoint: Option<usize>,
    pub(crate) run: Option<RunKey>,
    /// Steps, executed and reused tasks.
    pub(crate) stats: (u64, u64, u64),
    /// The branch whose open questions it names.
    pub(crate) questions: Option<usize>,
}

/// A run between two of its steps.
#[derive(Clone, Debug)]
pub(crate) struct Runner {
    pub(crate) thread: usize,
    pub(crate) branch: usize,
    pub(crate) run: RunKey,
    pub(crate) position: Position,
    /// What is known of the planned tasks.
    pub(crate) known: Pending,
    /// The nodes that this call stops at, and the graph.
    pub(crate) stops: Stops,
    /// Node and trigger of the tasks after which it may stop.
    pub(crate) applied: Vec<(usize, u32)>,
    /// Some tasks of the step have run, and others were answered meanwhile.
    pub(crate) is_midway: bool,
    pub(crate) steps_left: u64,
    pub(crate) stats: (u64, u64, u64),
    /// The tip and epoch that it counts on; of which thread.
    pub(crate) fence: Fence,
    pub(crate) durability: Durability,
    /// What a run that is stored once keeps until then.
    pub(crate) kept: Kept,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fence {
    pub(crate) instance: Option<u32>,
    pub(crate) tip: Option<usize>,
    pub(crate) epoch: u64,
    /// The head that the first write must find.
    pub(crate) head: Option<usize>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    pub(crate) steps: u32,
    pub(crate) tasks: Vec<(usize, u32, u32)>,
    pub(crate) input: Option<KeptInput>,
}

/// An input that is not stored yet.
#[derive(Clone, Debug)]
pub(crate) struct KeptInput {
    pub(crate) asked: Asked,
    pub(crate) metadata: Option<u64>,
    /// On a branch without checkpoints: what the root below the run's checkpoint holds.
    pub(crate) root: Option<Position>,
    /// The thread is made with it.
    pub(crate) makes_thread: bool,
    /// The run has its record already.
    pub(crate) is_begun: bool,
    /// The run of the tasks that it leaves behind is given up.
    pub(crate) gives_up: bool,
}

/// Tells a story.
pub(crate) struct Teller<'a> {
    pub(crate) drawn: &'a Drawn,
    pub(crate) world: World,
    pub(crate) stages: Vec<Stage>,
    pub(crate) steps: Vec<Vec<Executed>>,
    met: BTreeSet<&'static str>,
}

impl<'a> Teller<'a> {
    pub(crate) fn new(drawn: &'a Drawn, world: World) -> Self {
        let mut teller = Self { drawn, world, stages: Vec::new(), steps: Vec::new(), met: BTreeSet::new() };
        teller.stage("nothing", None);
        teller
    }

    /// Tells to the end.
    pub(crate) fn end(self, reply: Reply) -> Story {
        Story { stages: self.stages, steps: self.steps, reply, met: self.met }
    }

    /// What the world holds now may be what a crash leaves.
    pub(crate) fn stage(&mut self, name: &'static str, runner: Option<&Runner>) {
        self.stage_at(name, runner, self.steps.len());
    }

    fn stage_at(&mut self, name: &'static str, runner: Option<&Runner>, steps: usize) {
        let world = self.world.clone();
        self.stages.push(Stage { world, loose: None, steps, runner: runner.cloned(), name });
    }

    pub(crate) fn tree(&mut self, thread: usize) -> &mut Tree {
        self.world.tree_mut(thread).expect("the verb has found the thread")
    }

    /// Runs to the end.
    pub(crate) fn run(&mut self, mut runner: Runner) -> Reply {
        while !runner.position.next.is_empty() {
            if runner.steps_left == 0 {
                return self.out_of_steps(runner);
            }
            if let Some(reply) = self.stop(&mut runner) {
                return reply;
            }
            if let Some(reply) = self.super_step(&mut runner) {
                return reply;
            }
        }
        if !self.settle(&mut runner, self.steps.len()) {
            return Reply::Fenced;
        }
        self.outcome(&runner, Ending::Done)
    }

    /// Takes a step, or ends.
    fn super_step(&mut self, runner: &mut Runner) -> Option<Reply> {
        loop {
            let step = runner.position.step(self.drawn, &runner.known);
            let before = runner.clone();
            if !runner.is_midway {
                runner.stats.2 += runner.known.progress.iter().filter_map(Progress::output).count() as u64;
            }
            self.execute(runner, &step);
            match &step.end {
                StepEnd::Applied(position) => {
                    let taken = self.take((&before, runner), &step, position.clone());
                    return (!taken).then_some(Reply::Fenced);
                }
                StepEnd::Failed => return Some(self.fail((&before, runner), &step, None)),
                StepEnd::Strayed(task) => return Some(self.fail((&before, runner), &step, Some(*task))),
                StepEnd::Asked => {
                    if let Some(reply) = self.wait_for_people((&before, runner), &step) {
                        return Some(reply);
                    }
                }
            }
        }
    }

    /// Some tasks asked: ends as interrupted, unless others answered meanwhile.
    fn wait_for_people(&mut self, (before, runner): (&Runner, &mut Runner), step: &Step) -> Option<Reply> {
        if !self.settle_before(before, runner) || !self.holds(runner) {
            return Some(Reply::Fenced);
        }
        self.loosen((before, runner), step);
        let (thread, branch) = (runner.thread, runner.branch);
        let stored = &mut self.tree(thread).branches[branch].pending;
        for (task, attempt) in step.attempts.iter().enumerate() {
            match attempt {
                Attempt::Finishes(output) => stored.progress[task] = Progress::Done(output.clone()),
                Attempt::Asks(_, asked) => asked.iter().for_each(|asks| stored.ask(task, *asks)),
                Attempt::Reused(_) | Attempt::Fails(_) | Attempt::Waits => {}
            }
        }
        runner.known = stored.clone();
        runner.is_midway = true;
        self.stage("asked", Some(runner));
        if runner.known.can_run() {
            return None;
        }
        self.tree(thread).end_run(&runner.run, RunStatus::Interrupted);
        self.stage("interrupted", None);
        Some(self.outcome(runner, Ending::Interrupted))
    }

    /// Ends where the graph, or the caller, said so. What was let go once does not stop again.
    fn stop(&mut self, runner: &mut Runner) -> Option<Reply> {
        let applied = runner.applied.clone();
        let Runner { position, known, stops, .. } = &*runner;
        let let_go = |entry: &Entry| entry.asks == Asks::Before && entry.answer.is_some();
        // What has a stored result has run: there is nothing left to stop before.
        let has_run = |task: usize| matches!(known.progress[task], Progress::Done(_));
        let is_before = |task: &usize| {
            let is_let_go = known.journals[*task].iter().any(let_go);
            stops.before.contains(&position.next[*task].node) && !is_let_go && !has_run(*task)
        };
        let before: Vec<usize> = (0..position.next.len()).filter(is_before).collect();
        let is_let_go = |node: usize, trigger: u32| {
            known.after.iter().any(|stop| (stop.node, stop.trigger, stop.is_let_go) == (node, trigger, true))
        };
        let is_after = |(node, trigger): &(usize, u32)| stops.after.contains(node) && !is_let_go(*node, *trigger);
        let after: Vec<(usize, u32)> = applied.into_iter().filter(is_after).collect();
        if runner.is_midway || (before.is_empty() && after.is_empty()) {
            runner.applied.clear();
            return None;
        }
        if !self.settle(runner, self.steps.len()) || !self.holds(runner) {
            return Some(Reply::Fenced);
        }
        let tree = self.tree(runner.thread);
        let stored = &mut tree.branches[runner.branch].pending;
        before.into_iter().for_each(|task| stored.ask(task, Asks::Before));
        for (node, trigger) in after {
            if !stored.after.iter().any(|stop| (stop.node, stop.trigger) == (node, trigger)) {
                stored.after.push(AfterStop { node, trigger, is_let_go: false });
            }
        }
        tree.end_run(&runner.run, RunStatus::Interrupted);
        self.stage("stopped", None);
        Some(self.outcome(runner, Ending::Interrupted))
    }

    fn out_of_steps(&mut self, mut runner: Runner) -> Reply {
        if !self.settle(&mut runner, self.steps.len()) || !self.holds(&runner) {
            return Reply::Fenced;
        }
        self.tree(runner.thread).end_run(&runner.run, RunStatus::OutOfSteps);
        self.stage("out of steps", None);
        self.outcome(&runner, Ending::OutOfSteps)
    }

    /// Notes what the step executes.
    fn execute(&mut self, runner: &mut Runner, step: &Step) {
        runner.position.met(self.drawn, step, &mut self.met);
        let tasks = runner.position.next.iter().zip(&step.attempts);
        let executed = tasks.filter_map(|(task, attempt)| {
            let task = runner.position.hash(task);
            Some(Executed { branch: runner.branch, task, attempt: attempt.number()? })
        });
        let executed: Vec<Executed> = executed.collect();
        runner.stats.1 += executed.len() as u64;
        self.steps.push(executed);
    }

    /// Results that may be stored before their step is. `before`: the run when the step began.
    fn loosen(&mut self, (before, runner): (&Runner, &Runner), step: &Step) {
        if runner.durability == Durability::Exit || runner.position.next.len() < 2 {
            return;
        }
        let loose = self.loose(runner, step);
        // The step before it is stored, this one is not.
        let (world, steps) = (self.world.clone(), self.steps.len() - 1);
        let (loose, runner) = (Some(loose), Some(before.clone()));
        self.stages.push(Stage { world, loose, steps, runner, name: "flush" });
    }

    fn loose(&self, runner: &Runner, step: &Step) -> Loose {
        let Runner { thread, branch, .. } = *runner;
        let (attempts, concurrency_max) = (step.attempts.clone(), self.drawn.concurrency_max);
        Loose { thread, branch, attempts, is_over: false, strayed: None, concurrency_max }
    }

    /// Takes a finished step over; `false` if somebody else took the branch over.
    fn take(&mut self, (before, runner): (&Runner, &mut Runner), step: &Step, position: Position) -> bool {
        let outputs = step.attempts.iter().filter_map(Attempt::output);
        let tasks = runner.position.next.iter().zip(outputs);
        let tasks: Vec<_> = tasks.map(|(task, output)| (task.node, task.trigger, output.attempts)).collect();
        let is_exit = runner.durability == Durability::Exit;
        if !is_exit {
            if !self.holds(runner) {
                return false;
            }
            self.loosen((before, runner), step);
        }
        runner.stats.0 += 1;
        runner.steps_left = runner.steps_left.saturating_sub(1);
        runner.go_to(position);
        if is_exit {
            runner.kept.steps += 1;
            runner.kept.tasks = tasks;
        } else {
            self.commit(runner, Source::Step, tasks, (1, None));
            self.stage("commit", Some(runner));
        }
        true
    }

    /// The same before a step that is not over, which goes on from what was before it.
    fn settle_before(&mut self, before: &Runner, runner: &mut Runner) -> bool {
        let stats = std::mem::replace(&mut runner.stats, before.stats);
        let is_settled = self.settle(runner, self.steps.len() - 1);
        runner.stats = stats;
        is_settled
    }

    /// Stores what the run keeps, which are the first of the story's steps; `false` if it may not.
    fn settle(&mut self, runner: &mut Runner, steps: usize) -> bool {
        let kept = std::mem::take(&mut runner.kept);
        if kept.steps == 0 && kept.input.is_none() {
            return true;
        }
        if !self.holds(runner) {
            return false;
        }
        let (mut metadata, mut is_rooted) = (None, false);
        if let Some(input) = kept.input {
            self.store_input(runner, &input);
            if let Some(root) = input.root {
                let position = std::mem::replace(&mut runner.position, root);
                self.commit(runner, Source::Input, Vec::new(), (1, input.metadata));
                runner.position = position;
                is_rooted = true;
            } else {
                metadata = input.metadata;
            }
        }
        if kept.steps > 0 {
            self.commit(runner, Source::Step, kept.tasks, (kept.steps, metadata));
        } else if !is_rooted {
            self.commit(runner, Source::Input, Vec::new(), (1, metadata));
        }
        self.stage_at("commit", Some(runner), steps);
        true
    }

    /// Does what the first unit of an input does besides its checkpoint.
    pub(crate) fn store_input(&mut self, runner: &mut Runner, input: &KeptInput) {
        if input.makes_thread {
            self.world.bear(runner.thread);
        }
        let tree = self.tree(runner.thread);
        if input.gives_up {
            tree.give_up(runner.branch);
        }
        if !input.makes_thread {
            tree.claim(runner.branch);
        }
        match tree.runs.get_mut(&runner.run).filter(|_| input.is_begun) {
            Some(run) => (run.before_input, run.last) = (None, None),
            None => tree.begin_run(&runner.run, runner.branch, input.asked.clone()),
        }
        runner.fence.hold(tree, runner.branch);
    }

    /// Whether the run still owns its branch.
    pub(crate) fn holds(&self, runner: &Runner) -> bool {
        let Fence { instance, tip, epoch, head } = &runner.fence;
        let Some(tree) = self.world.tree(runner.thread) else { return instance.is_none() };
        let branch = &tree.branches[runner.branch.min(tree.branches.len() - 1)];
        *instance == Some(tree.instance)
            && (branch.tip, branch.epoch) == (*tip, *epoch)
            && head.is_none_or(|head| head == tree.head)
    }

    /// Adds the runner's position as a checkpoint.
    pub(crate) fn commit(
        &mut self,
        runner: &mut Runner,
        source: Source,
        tasks: Vec<(usize, u32, u32)>,
        (steps_covered, metadata): (u32, Option<u64>),
    ) {
        let Runner { thread, branch, run, position, .. } = &*runner;
        let tree = self.tree(*thread);
        let parent = tree.branches[*branch].tip;
        let checkpoint = Checkpoint {
            branch: *branch,
            step: parent.map_or(0, |parent| tree.checkpoints[parent].step + 1),
            parent,
            source,
            run: run.clone(),
            steps_covered,
            tasks,
            position: position.clone(),
            author: None,
            metadata,
            origin: None,
        };
        tree.grow(checkpoint);
        if source == Source::Step && position.next.is_empty() {
            tree.end_run(run, RunStatus::Done);
        }
        let branch = *branch;
        runner.fence.hold(self.tree(runner.thread), branch);
    }

    /// Ends with a failed step.
    fn fail(&mut self, (before, runner): (&Runner, &mut Runner), step: &Step, strayed: Option<usize>) -> Reply {
        // The step that fails is not part of what is kept.
        if !self.settle_before(before, runner) || !self.holds(runner) {
            return Reply::Fenced;
        }
        self.loosen((before, runner), step);
        let (thread, branch) = (runner.thread, runner.branch);
        let loose = Loose { is_over: true, strayed, ..self.loose(runner, step) };
        self.tree(thread).end_run(&runner.run, RunStatus::Failed);
        let (world, steps) = (self.world.clone(), self.steps.len());
        self.stages.push(Stage { world, loose: Some(loose), steps, runner: None, name: "failed" });
        Reply::Failed { branch }
    }

    pub(crate) fn outcome(&self, runner: &Runner, ending: Ending) -> Reply {
        Reply::Outcome(Box::new(Told {
            ending,
            board: runner.position.board.clone(),
            branch: runner.branch,
            checkpoint: runner.fence.tip,
            run: Some(runner.run.clone()),
            stats: runner.stats,
            questions: (ending == Ending::Interrupted).then_some(runner.branch),
        }))
    }
}

impl Runner {
    /// The step was applied.
    fn go_to(&mut self, position: Position) {
        self.applied = self.position.next.iter().map(|task| (task.node, task.trigger)).collect();
        self.known = Pending::none(position.next.len());
        (self.position, self.is_midway) = (position, false);
    }
}

impl Fence {
    pub(crate) fn of(tree: &Tree, branch: usize) -> Self {
        let (tip, epoch) = (tree.branches[branch].tip, tree.branches[branch].epoch);
        Self { instance: Some(tree.instance), tip, epoch, head: None }
    }

    /// Counts on what is stored now.
    pub(crate) fn hold(&mut self, tree: &Tree, branch: usize) {
        *self = Self::of(tree, branch);
    }
}
