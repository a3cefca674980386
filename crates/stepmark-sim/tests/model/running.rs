//! What do the verbs that execute do to the model's world?

use stepmark::run::Source;
use stepmark::{Durability, Ending, ErrorKind, OnPending};
use stepmark_core::rows::RunStatus;

use crate::asking::Pending;
use crate::command::{Command, Input, Limits, Moment, Verb};
use crate::drawn::Drawn;
use crate::machine::Position;
use crate::story::{Fence, Kept, KeptInput, Reply, Runner, Story, Teller, Told};
use crate::world::{Asked, RunKey, Spot, Tree, World};

/// The steps of a run without a limit of its own.
const STEPS_MAX: u64 = 10_000;

/// What became of a run id before.
enum Earlier {
    /// It is free, or its record is all that there is of it.
    Free,
    Reply(Reply),
}

/// Tells a verb.
pub(crate) fn tell(drawn: &Drawn, world: &World, command: &Command) -> Story {
    let mut teller = Teller::new(drawn, world.clone());
    let reply = match &command.verb {
        Verb::Input(input) => teller.input(command, input),
        Verb::Resume(limits) => teller.resume(command, limits),
        Verb::Replay { at, limits } => teller.replay(command.thread, *at, limits),
        Verb::InputAt { at, input } => teller.input_at(command.thread, *at, input),
        Verb::Discard => teller.discard(command),
        Verb::Fork { at, name } => teller.fork(command, *at, name),
        Verb::Update(update) => teller.update(command, update),
        Verb::ForkTo { at, to } => teller.fork_to(command, *at, *to),
        Verb::SetHead { to } => teller.set_head(command, to),
        Verb::Reset { at } => teller.reset(command, *at),
        Verb::Tag { name, at } => teller.tag(command, name, *at),
        Verb::Untag { name } => teller.untag(command, name),
        Verb::Delete => teller.delete(command),
        Verb::Answer(answer) => teller.answer(command, answer),
    };
    teller.end(reply)
}

/// Tells how a stopped run goes on in a world that others may have changed.
pub(crate) fn tell_on(drawn: &Drawn, world: &World, runner: Runner) -> Story {
    let mut teller = Teller::new(drawn, world.clone());
    let reply = teller.run(runner);
    teller.end(reply)
}

impl Teller<'_> {
    fn input(&mut self, command: &Command, input: &Input) -> Reply {
        let asked = Asked::Input(input.writes.clone());
        loop {
            if let Some(id) = &input.id
                && let Earlier::Reply(reply) = self.earlier(command.thread, id, &asked)
            {
                return reply;
            }
            let branch = match self.world.tree(command.thread).map(|tree| tree.find(&command.spot)) {
                Some(Some(branch)) => Some(branch),
                Some(None) => return Reply::Error(ErrorKind::Missing),
                None if command.spot != Spot::Head => return Reply::Error(ErrorKind::Missing),
                None => None,
            };
            let is_unfinished = branch.is_some_and(|branch| {
                self.tree(command.thread).tip(branch).is_some_and(|tip| !tip.position.next.is_empty())
            });
            match input.on_pending {
                OnPending::Refuse if is_unfinished => return Reply::Error(ErrorKind::Unfinished),
                OnPending::ResumeFirst if is_unfinished => match self.resume(command, &input.limits) {
                    Reply::Outcome(told) if told.ending == Ending::Done => {}
                    Reply::Outcome(_) => return Reply::Error(ErrorKind::Unfinished),
                    failed => return failed,
                },
                _ => {
                    let runner = self.accept(command, branch, input, asked);
                    return self.run(runner);
                }
            }
        }
    }

    /// Takes an input over; afterwards nodes may run.
    fn accept(&mut self, command: &Command, branch: Option<usize>, input: &Input, asked: Asked) -> Runner {
        let thread = command.thread;
        let empty = Position::empty(self.drawn);
        let (mut position, fence) = match branch {
            None => (empty, Fence { instance: None, tip: None, epoch: 0, head: None }),
            Some(branch) => (self.tree(thread).position(branch, &empty), Fence::of(self.tree(thread), branch)),
        };
        let is_unfinished = !position.next.is_empty();
        position.abandon();
        position.begin(self.drawn);
        position.write(&input.writes);
        let run = match (&input.id, branch) {
            (Some(id), _) => RunKey::Named(id.clone()),
            (None, None) => RunKey::Fresh(0),
            (None, Some(_)) => self.tree(thread).fresh_run(),
        };
        let is_exit = input.limits.durability == Durability::Exit;
        let root = (is_exit && fence.tip.is_none()).then(|| position.clone());
        let mut runner = Runner::new(thread, branch.unwrap_or(0), (run, position), (self.drawn, &input.limits));
        runner.fence = fence;
        let mut kept = KeptInput {
            asked,
            metadata: input.metadata,
            root,
            makes_thread: branch.is_none(),
            is_begun: false,
            gives_up: is_unfinished,
        };
        if is_exit && input.id.is_some() {
            self.begin_record(&mut runner, &mut kept);
        } else if is_exit && command.spot == Spot::Head {
            runner.fence.head = branch;
        }
        runner.kept.input = Some(kept);
        if is_exit {
            self.stage("kept", Some(&runner));
        } else {
            self.store_now(&mut runner);
        }
        runner
    }

    /// Stores the input before anything runs.
    fn store_now(&mut self, runner: &mut Runner) {
        let kept = std::mem::take(&mut runner.kept);
        let Some(mut input) = kept.input else { return };
        input.root = None;
        self.store_input(runner, &input);
        self.commit(runner, Source::Input, Vec::new(), (1, input.metadata));
        self.stage("input", Some(runner));
    }

    /// A run that is stored once and has a caller's id writes its record before its input.
    fn begin_record(&mut self, runner: &mut Runner, kept: &mut KeptInput) {
        if kept.makes_thread {
            self.world.bear(runner.thread);
            kept.makes_thread = false;
        } else {
            self.tree(runner.thread).claim(runner.branch);
        }
        let tree = self.tree(runner.thread);
        tree.branches[runner.branch].is_held = true;
        tree.begin_run(&runner.run, runner.branch, kept.asked.clone());
        let tip = tree.branches[runner.branch].tip;
        if let Some(run) = tree.runs.get_mut(&runner.run) {
            (run.before_input, run.last) = (Some(tip), tip);
        }
        kept.is_begun = true;
        runner.fence.hold(tree, runner.branch);
        self.stage("record", Some(runner));
    }

    /// What became of a run that a caller named.
    fn earlier(&self, thread: usize, id: &str, asked: &Asked) -> Earlier {
        let Some(tree) = self.world.tree(thread) else { return Earlier::Free };
        let Some(run) = tree.runs.get(&RunKey::Named(id.to_owned())) else { return Earlier::Free };
        if run.asked != *asked {
            return Earlier::Reply(Reply::Error(ErrorKind::RunIdReused));
        }
        let branch = &tree.branches[run.branch];
        Earlier::Reply(match run.status {
            RunStatus::Done => read_outcome(tree, run.last, Ending::Done),
            RunStatus::OutOfSteps => read_outcome(tree, run.last, Ending::OutOfSteps),
            RunStatus::Open => match run.before_input {
                Some(tip) if !branch.is_held || branch.tip != tip => return Earlier::Free,
                Some(_) | None => Reply::Error(ErrorKind::RunActive),
            },
            RunStatus::Cancelled => Reply::Error(ErrorKind::RunIdReused),
            RunStatus::Interrupted => match read_outcome(tree, run.last, Ending::Interrupted) {
                Reply::Outcome(told) => Reply::Outcome(Box::new(Told { questions: Some(run.branch), ..*told })),
                reply => reply,
            },
            RunStatus::Failed | RunStatus::Drained => Reply::Error(ErrorKind::Unfinished),
        })
    }

    pub(crate) fn resume(&mut self, command: &Command, limits: &Limits) -> Reply {
        let thread = command.thread;
        let Some(branch) = self.world.tree(thread).and_then(|tree| tree.find(&command.spot)) else {
            return Reply::Error(ErrorKind::Missing);
        };
        let drawn = self.drawn;
        let tree = self.tree(thread);
        let position = tree.position(branch, &Position::empty(drawn));
        if position.next.is_empty() {
            if tree.branches[branch].is_held {
                tree.claim(branch);
                self.stage("claim", None);
            }
            return read_branch(self.tree(thread), branch);
        }
        let run = tree.unfinished_run(branch);
        let begun = tree.runs.get(&run).map(|run| run.status);
        let pending = &tree.branches[branch].pending;
        if begun.is_none_or(|status| status == RunStatus::Interrupted) && !pending.is_stopped() && pending.only_waits()
        {
            let Reply::Outcome(told) = told(tree, Ending::Interrupted, branch, tree.branches[branch].tip) else {
                return Reply::Nothing;
            };
            return Reply::Outcome(Box::new(Told { run: Some(run), questions: Some(branch), ..*told }));
        }
        tree.claim(branch);
        match tree.runs.get_mut(&run) {
            Some(row) if row.status != RunStatus::Open => (row.status, row.last) = (RunStatus::Open, None),
            Some(_) => {}
            None => tree.begin_run(&run, branch, Asked::Other),
        }
        let mut runner = Runner::new(thread, branch, (run, position), (drawn, limits));
        runner.known = tree.branches[branch].pending.clone();
        runner.applied = applied_by(drawn, tree, branch);
        runner.fence.hold(tree, branch);
        self.stage("claim", Some(&runner));
        if runner.known.is_stopped() {
            let stored = &mut self.tree(thread).branches[branch].pending;
            stored.let_go();
            runner.known = stored.clone();
            self.stage("let go", Some(&runner));
        }
        self.run(runner)
    }

    fn replay(&mut self, thread: usize, at: Moment, limits: &Limits) -> Reply {
        let Some(at) = self.moment(thread, at) else { return Reply::Error(ErrorKind::Missing) };
        let drawn = self.drawn;
        let tree = self.tree(thread);
        let position = tree.checkpoints[at].position.clone();
        if position.next.is_empty() {
            return read_outcome(tree, Some(at), Ending::Done);
        }
        let branch = tree.add_branch(at);
        let run = RunKey::First(branch);
        tree.begin_run(&run, branch, Asked::Other);
        let mut runner = Runner::new(thread, branch, (run, position), (drawn, limits));
        runner.fence.hold(tree, branch);
        self.stage("fork", Some(&runner));
        self.run(runner)
    }

    fn input_at(&mut self, thread: usize, at: Moment, input: &Input) -> Reply {
        if input.on_pending != OnPending::Refuse {
            return Reply::Error(ErrorKind::Invalid);
        }
        let known = self.moment(thread, at);
        // Without a checkpoint of that number the call is none of an earlier one.
        let asked = Asked::InputAt(known.unwrap_or(usize::MAX), input.writes.clone());
        if let Some(id) = &input.id
            && let Earlier::Reply(reply) = self.earlier(thread, id, &asked)
        {
            return reply;
        }
        let Some(at) = known else { return Reply::Error(ErrorKind::Missing) };
        let drawn = self.drawn;
        let tree = self.tree(thread);
        let mut position = tree.checkpoints[at].position.clone();
        position.abandon();
        position.begin(drawn);
        position.write(&input.writes);
        let run = input.id.clone().map_or_else(|| tree.fresh_run(), RunKey::Named);
        let branch = tree.add_branch(at);
        tree.begin_run(&run, branch, asked);
        let mut runner = Runner::new(thread, branch, (run, position), (self.drawn, &input.limits));
        self.commit(&mut runner, Source::Input, Vec::new(), (1, input.metadata));
        self.stage("input", Some(&runner));
        self.run(runner)
    }

    /// The checkpoint, if the thread has it.
    pub(crate) fn moment(&self, thread: usize, at: Moment) -> Option<usize> {
        at.filter(|at| self.world.tree(thread).is_some_and(|tree| *at < tree.checkpoints.len()))
    }
}

/// What a call answers that finds a run ended.
fn read_outcome(tree: &Tree, last: Option<usize>, ending: Ending) -> Reply {
    let Some(last) = last else { return Reply::Error(ErrorKind::Store) };
    told(tree, ending, tree.branch_at(last), Some(last))
}

/// What a call answers that finds nothing to do on a branch.
fn read_branch(tree: &Tree, branch: usize) -> Reply {
    told(tree, Ending::Done, branch, tree.branches[branch].tip)
}

fn told(tree: &Tree, ending: Ending, branch: usize, checkpoint: Option<usize>) -> Reply {
    let found = checkpoint.map(|checkpoint| &tree.checkpoints[checkpoint]);
    let board = found.map_or_else(Default::default, |found| found.position.board.clone());
    let run = found.map(|found| found.run.clone());
    Reply::Outcome(Box::new(Told { ending, board, branch, checkpoint, run, stats: (0, 0, 0), questions: None }))
}

/// The tasks that a branch's tip applied in a step of that branch, of the nodes that every run stops after.
fn applied_by(drawn: &Drawn, tree: &Tree, branch: usize) -> Vec<(usize, u32)> {
    let tip = tree.tip(branch).filter(|tip| tip.source == Source::Step && tip.branch == branch);
    let applied = tip.into_iter().flat_map(|tip| &tip.tasks).map(|(node, trigger, _)| (*node, *trigger));
    applied.filter(|(node, _)| drawn.stops.after.contains(node)).collect()
}

impl Runner {
    fn new(
        thread: usize,
        branch: usize,
        (run, position): (RunKey, Position),
        (drawn, limits): (&Drawn, &Limits),
    ) -> Self {
        let mut stops = drawn.stops.clone();
        stops.before.extend(&limits.stops.before);
        stops.after.extend(&limits.stops.after);
        Self {
            thread,
            branch,
            run,
            known: Pending::none(position.next.len()),
            stops,
            applied: Vec::new(),
            is_midway: false,
            position,
            steps_left: limits.steps_max.unwrap_or(STEPS_MAX),
            stats: (0, 0, 0),
            fence: Fence { instance: None, tip: None, epoch: 0, head: None },
            durability: limits.durability,
            kept: Kept::default(),
        }
    }
}
