//! What does a super-step do, in plain code?
//!
//! The model's own interpreter: execute, apply, route, plan. It shares with the engine's nodes what they compute, and
//! nothing of how the engine runs them.

use std::collections::BTreeSet;
use std::rc::Rc;

use stepmark_core::id::TaskHash;

use crate::asking::{Asks, Entry, Pending, Progress, waits};
use crate::board::{Board, Write};
use crate::drawn::{Drawn, DrawnNode, Given, Manner, Sees, Way, Ways};
use crate::nodes::name;

/// Where a line stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Position {
    pub(crate) board: Board,
    pub(crate) next: Vec<Task>,
    /// Tasks of deferred nodes that wait until nothing else is planned.
    pub(crate) deferred: Vec<Task>,
    /// By join and source: whether it was seen.
    pub(crate) joins: Vec<Vec<bool>>,
    /// By node.
    pub(crate) activations: Vec<u64>,
}

/// A planned task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) node: usize,
    pub(crate) trigger: u32,
    pub(crate) payload: Option<u64>,
}

/// What a task came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Output {
    pub(crate) writes: Vec<Write>,
    pub(crate) goto: Vec<Way>,
    pub(crate) attempts: u32,
}

/// What executing a planned task comes to.
#[derive(Clone, Debug)]
pub(crate) enum Attempt {
    /// It is not executed: its result is known.
    Reused(Rc<Output>),
    Finishes(Rc<Output>),
    Fails(u32),
    /// Which attempt it is, and what it asks in vain.
    Asks(u32, Vec<Asks>),
    /// It is not executed: it waits for an answer.
    Waits,
}

/// How a step ends.
#[derive(Clone, Debug)]
pub(crate) enum StepEnd {
    Applied(Position),
    /// Tasks failed, or write what only one of them may.
    Failed,
    /// Some wait for answers; the others have finished.
    Asked,
    /// All finished, and the first of them that went where it may not is this one.
    Strayed(usize),
}

/// A super-step, worked out.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) end: StepEnd,
}

impl Position {
    /// Before the first input.
    pub(crate) fn empty(drawn: &Drawn) -> Self {
        Self {
            board: Board::default(),
            next: Vec::new(),
            deferred: Vec::new(),
            joins: drawn.joins.iter().map(|(sources, _)| vec![false; sources.len()]).collect(),
            activations: vec![0; drawn.nodes.len()],
        }
    }

    /// The identity of a planned task.
    pub(crate) fn hash(&self, task: &Task) -> TaskHash {
        TaskHash::of("", &name(task.node), self.activations[task.node] + 1, task.trigger)
    }

    /// Plans the start nodes in place of what was planned and waited for.
    pub(crate) fn begin(&mut self, drawn: &Drawn) {
        self.forget_waiting();
        let mut starts = drawn.starts.clone();
        starts.sort_unstable();
        self.next = starts.into_iter().map(|node| Task { node, trigger: 0, payload: None }).collect();
        self.hold_deferred(drawn);
    }

    /// Leaves what is planned and what waits behind, counted as activations.
    pub(crate) fn abandon(&mut self) {
        let left: Vec<Task> = self.next.drain(..).chain(self.deferred.drain(..)).collect();
        self.count(left.iter().map(|task| task.node));
        self.forget_waiting();
    }

    pub(crate) fn forget_waiting(&mut self) {
        self.joins.iter_mut().for_each(|seen| seen.fill(false));
        self.deferred.clear();
    }

    /// What is planned for deferred nodes waits, each trigger once and each send; where nothing else is planned, all do.
    fn hold_deferred(&mut self, drawn: &Drawn) {
        let planned = std::mem::take(&mut self.next);
        let (triggered, rest): (Vec<Task>, _) =
            planned.into_iter().partition(|task| drawn.nodes[task.node].is_deferred);
        self.next = rest;
        for task in triggered {
            let sent = |other: &&Task| other.node == task.node && other.trigger > 0;
            if task.trigger > 0 {
                let before = self.deferred.iter().filter(sent).count() as u32;
                self.deferred.push(Task { trigger: before + 1, ..task });
            } else if !self.deferred.contains(&task) {
                self.deferred.push(task);
            }
        }
        // By node what edges triggered, then the sends as they came.
        self.deferred.sort_by_key(|task| if task.trigger > 0 { usize::MAX } else { task.node });
        if self.next.is_empty() {
            self.next.append(&mut self.deferred);
        }
    }

    fn count(&mut self, nodes: impl Iterator<Item = usize>) {
        let mut nodes: Vec<usize> = nodes.collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.into_iter().for_each(|node| self.activations[node] += 1);
    }

    /// The writes of an input, or of an update that is nobody's result.
    pub(crate) fn write(&mut self, writes: &[Write]) {
        self.board.forget_ephemerals();
        writes.iter().for_each(|write| self.board.write(write));
    }

    /// Works the next step out. `known`: what is known of its tasks.
    pub(crate) fn step(&self, drawn: &Drawn, known: &Pending) -> Step {
        let tasks = self.next.iter().zip(known.progress.iter().zip(&known.journals));
        let attempts: Vec<Attempt> = tasks.map(|(task, known)| self.attempt(drawn, task, known)).collect();
        let outputs: Vec<Rc<Output>> = attempts.iter().filter_map(Attempt::output).collect();
        let fails = attempts.iter().any(|attempt| matches!(attempt, Attempt::Fails(_)));
        let end = if fails || has_conflict(&outputs) {
            StepEnd::Failed
        } else if outputs.len() < attempts.len() {
            StepEnd::Asked
        } else {
            self.finish(drawn, &outputs).map_or_else(StepEnd::Strayed, StepEnd::Applied)
        };
        Step { attempts, end }
    }

    fn attempt(&self, drawn: &Drawn, task: &Task, (progress, journal): (&Progress, &Vec<Entry>)) -> Attempt {
        let attempts = match progress {
            Progress::Done(output) => return Attempt::Reused(Rc::clone(output)),
            Progress::Failed(attempts) => attempts + 1,
            Progress::Waiting => 1,
        };
        if waits(journal) {
            return Attempt::Waits;
        }
        let node = &drawn.nodes[task.node];
        let payload = task.payload.filter(|_| node.takes_payload);
        let given = Given { node: task.node, board: &self.board, payload, answers: &[] };
        let (answers, asked) = ask(node, Drawn::number(given), journal);
        if !asked.is_empty() {
            return Attempt::Asks(attempts, asked);
        }
        if attempts <= node.fails {
            return Attempt::Fails(attempts);
        }
        let given = Given { answers: &answers, ..given };
        let (writes, goto) = (drawn.writes(given), drawn.goto(given));
        Attempt::Finishes(Rc::new(Output { writes, goto, attempts }))
    }

    /// The position after the step's tasks came to these outputs; else the first task that went where it may not.
    pub(crate) fn finish(&self, drawn: &Drawn, outputs: &[Rc<Output>]) -> Result<Self, usize> {
        let mut after = self.clone();
        let (mut nodes, mut sends) = (Vec::new(), Vec::new());
        for (number, (task, output)) in self.next.iter().zip(outputs).enumerate() {
            for way in self.ways(drawn, task.node, output).ok_or(number)? {
                match way {
                    Way::End => {}
                    Way::To(node) => nodes.push(node),
                    Way::Send(node, payload) => sends.push((node, payload)),
                }
            }
        }
        after.board.forget_ephemerals();
        outputs.iter().flat_map(|output| &output.writes).for_each(|write| after.board.write(write));
        after.count(self.next.iter().map(|task| task.node));
        after.plan(drawn, self.next.iter().map(|task| task.node).collect(), nodes);
        for (node, payload) in sends {
            let before = after.next.iter().filter(|task| task.node == node && task.trigger > 0).count();
            after.next.push(Task { node, trigger: before as u32 + 1, payload: Some(payload) });
        }
        after.hold_deferred(drawn);
        Ok(after)
    }

    /// Notes what the step meets, for coverage.
    pub(crate) fn met(&self, drawn: &Drawn, step: &Step, met: &mut BTreeSet<&'static str>) {
        met.insert(match step.end {
            StepEnd::Applied(_) => "step applied",
            StepEnd::Failed if step.attempts.iter().any(|attempt| matches!(attempt, Attempt::Fails(_))) => {
                "step failed"
            }
            StepEnd::Failed => "step conflicted",
            StepEnd::Asked => "step asked",
            StepEnd::Strayed(_) => "step strayed",
        });
        let outputs = step.attempts.iter().filter_map(Attempt::output);
        for (task, output) in self.next.iter().zip(outputs) {
            met.extend(output.writes.iter().map(Write::name));
            for (is_goto, way) in
                [(true, output.goto.clone()), (false, self.ways(drawn, task.node, &output).unwrap_or_default())]
            {
                met.extend(way.iter().map(|way| match way {
                    Way::End => "way end",
                    Way::To(_) if is_goto => "way goto",
                    Way::To(node) if *node <= task.node => "way back",
                    Way::To(_) => "way on",
                    Way::Send(..) => "way send",
                }));
            }
        }
        if step.attempts.iter().any(|attempt| matches!(attempt, Attempt::Reused(_))) {
            met.insert("result reused");
        }
        if let StepEnd::Applied(after) = &step.end
            && !after.deferred.is_empty()
        {
            met.insert(if after.deferred.len() > self.deferred.len() {
                "task deferred"
            } else {
                "task deferred longer"
            });
        }
        if let StepEnd::Applied(after) = &step.end
            && !self.deferred.is_empty()
            && after.deferred.is_empty()
        {
            met.insert("deferred tasks ran");
        }
        if let StepEnd::Applied(after) = &step.end
            && self
                .joins
                .iter()
                .zip(&after.joins)
                .any(|(before, after)| before.contains(&true) && !after.contains(&true))
        {
            met.insert("join fired");
        }
    }

    /// Where a finished task goes; `None` if it may not.
    fn ways(&self, drawn: &Drawn, node: usize, output: &Output) -> Option<Vec<Way>> {
        let spec = &drawn.nodes[node];
        let mut gone: Vec<Way> = Vec::new();
        if let Some(goto) = &spec.goto {
            gone.extend(declared(goto, output.goto.clone())?);
        }
        for ways in &spec.branches {
            let chosen = match ways.sees {
                Sees::Before => ways.choose(node, &self.board, last_written(&output.writes)),
                Sees::After => {
                    let mut view = self.board.clone();
                    view.forget_ephemerals();
                    output.writes.iter().for_each(|write| view.write(write));
                    ways.choose(node, &view, 0)
                }
            };
            gone.extend(declared(ways, chosen)?);
        }
        Some(gone)
    }

    /// Plans what edges, joins and routes lead to, in the order of the nodes.
    fn plan(&mut self, drawn: &Drawn, ran: Vec<usize>, mut nodes: Vec<usize>) {
        nodes.extend(drawn.edges.iter().filter(|(from, _)| ran.contains(from)).map(|(_, to)| *to));
        for ((sources, target), seen) in drawn.joins.iter().zip(&mut self.joins) {
            for (source, seen) in sources.iter().zip(seen.iter_mut()) {
                *seen |= ran.contains(source);
            }
            if seen.iter().all(|seen| *seen) {
                seen.fill(false);
                nodes.push(*target);
            }
        }
        nodes.sort_unstable();
        nodes.dedup();
        self.next = nodes.into_iter().map(|node| Task { node, trigger: 0, payload: None }).collect();
    }
}

impl Attempt {
    pub(crate) fn output(&self) -> Option<Rc<Output>> {
        match self {
            Self::Reused(output) | Self::Finishes(output) => Some(Rc::clone(output)),
            Self::Fails(_) | Self::Asks(..) | Self::Waits => None,
        }
    }

    /// Which attempt it is, if it is executed.
    pub(crate) fn number(&self) -> Option<u32> {
        match self {
            Self::Reused(_) | Self::Waits => None,
            Self::Finishes(output) => Some(output.attempts),
            Self::Fails(attempts) | Self::Asks(attempts, _) => Some(*attempts),
        }
    }
}

/// The answers that a node is given, and what it asks without one.
fn ask(node: &DrawnNode, number: u64, journal: &[Entry]) -> (Vec<u64>, Vec<Asks>) {
    let (mut answers, mut asked) = (Vec::new(), Vec::new());
    for (place, kind) in node.asks.iter().enumerate() {
        let occurrence = node.asks[..place].iter().filter(|other| *other == kind).count() as u32;
        let asks = Asks::Task { kind: *kind, occurrence, number };
        if let Some(answer) = journal.iter().find(|entry| entry.asks == asks).and_then(|entry| entry.answer) {
            answers.push(answer.value);
        } else {
            asked.push(asks);
            if node.manner == Manner::OneByOne {
                break;
            }
        }
    }
    (answers, asked)
}

/// The ways, if all are declared. Those that a graph draws are; a stray is not.
fn declared(ways: &Ways, chosen: Vec<Way>) -> Option<Vec<Way>> {
    let is_stray = |way: &Way| matches!(way, Way::To(node) if !ways.targets().any(|target| target == *node));
    (!chosen.iter().any(is_stray)).then_some(chosen)
}

fn last_written(writes: &[Write]) -> u64 {
    let last = writes.iter().rev().find_map(|write| match write {
        Write::Last(value) => Some(*value),
        _ => None,
    });
    last.unwrap_or(0)
}

/// Whether two outputs write what only one of a step may.
pub(crate) fn conflict(one: &Output, other: &Output) -> bool {
    let exclusive = |output: &Output| -> Vec<&str> { output.writes.iter().filter_map(Write::exclusive).collect() };
    exclusive(one).iter().any(|channel| exclusive(other).contains(channel))
}

fn has_conflict(outputs: &[Rc<Output>]) -> bool {
    let later = |at: usize| outputs[at + 1..].iter();
    outputs.iter().enumerate().any(|(at, one)| later(at).any(|other| conflict(one, other)))
}
