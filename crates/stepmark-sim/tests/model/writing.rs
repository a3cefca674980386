//! What do the verbs that execute nothing do to the model's world?

use std::rc::Rc;

use stepmark::ErrorKind;
use stepmark::run::Source;
use stepmark_core::rows::RunStatus;

use crate::command::{Command, Moment, Update, Writer};
use crate::drawn::Drawn;
use crate::machine::{Output, Position, Task, conflict};
use crate::story::{Reply, Teller};
use crate::world::{Asked, Checkpoint, RunKey, Spot, Tree};

type Told<T> = Result<T, Reply>;

/// Where a manual update goes.
struct Ground {
    /// `None`: the thread is made.
    branch: Option<usize>,
    /// The checkpoint below; on a new branch where it is no tip.
    at: Option<usize>,
    makes_branch: bool,
}

fn missing<T>(found: Option<T>) -> Told<T> {
    found.ok_or(Reply::Error(ErrorKind::Missing))
}

fn told(reply: Told<Reply>) -> Reply {
    reply.unwrap_or_else(|refused| refused)
}

impl Teller<'_> {
    fn known(&mut self, thread: usize, spot: &Spot) -> Told<usize> {
        missing(self.world.tree(thread).and_then(|tree| tree.find(spot)))
    }

    /// The checkpoint, and the branch that it means to a handle.
    fn place(&mut self, command: &Command, at: Moment) -> Told<(usize, usize)> {
        self.known(command.thread, &command.spot)?;
        let at = missing(self.moment(command.thread, at))?;
        let branch = missing(self.tree(command.thread).branch_of(&command.spot, at))?;
        Ok((at, branch))
    }

    pub(crate) fn discard(&mut self, command: &Command) -> Reply {
        let branch = match self.known(command.thread, &command.spot) {
            Ok(branch) => branch,
            Err(refused) => return refused,
        };
        let tree = self.tree(command.thread);
        let Some(tip) = tree.tip(branch).cloned().filter(|tip| !tip.position.next.is_empty()) else {
            return Reply::Snapshot { branch };
        };
        tree.give_up(branch);
        tree.claim(branch);
        let mut position = tip.position.clone();
        position.abandon();
        let below = tree.branches[branch].tip;
        let discarded = Checkpoint { run: tip.run.clone(), ..step_above(tree, branch, below, position) };
        tree.grow(discarded);
        self.stage("discard", None);
        Reply::Snapshot { branch }
    }

    pub(crate) fn fork(&mut self, command: &Command, at: Moment, name: &str) -> Reply {
        told(self.try_fork(command, at, name))
    }

    fn try_fork(&mut self, command: &Command, at: Moment, name: &str) -> Told<Reply> {
        let (at, from) = self.place(command, at)?;
        let tree = self.tree(command.thread);
        if tree.names.contains_key(name) {
            return Err(Reply::Error(ErrorKind::Exists));
        }
        let branch = fork_off(tree, at, from);
        tree.names.insert(name.to_owned(), branch);
        self.stage("fork", None);
        Ok(Reply::Branch(branch))
    }

    pub(crate) fn fork_to(&mut self, command: &Command, at: Moment, to: usize) -> Reply {
        told(self.try_fork_to(command, at, to))
    }

    fn try_fork_to(&mut self, command: &Command, at: Moment, to: usize) -> Told<Reply> {
        let (at, _) = self.place(command, at)?;
        let tree = self.tree(command.thread);
        let (instance, from) = (tree.instance, Rc::clone(&tree.checkpoints[at]));
        if self.world.tree(to).is_some() {
            return Err(Reply::Error(ErrorKind::Exists));
        }
        let tree = self.world.bear(to);
        let run = tree.fresh_run();
        tree.begin_run(&run, 0, Asked::Other);
        let root = step_above(tree, 0, None, from.position.clone());
        let origin = Some((instance, at));
        tree.grow(Checkpoint { source: Source::Fork, run: run.clone(), origin, ..root });
        tree.end_run(&run, rest_status(&from.position));
        self.stage("fork to", None);
        Ok(Reply::Nothing)
    }

    pub(crate) fn set_head(&mut self, command: &Command, to: &Spot) -> Reply {
        match self.known(command.thread, to) {
            Ok(branch) => {
                self.tree(command.thread).head = branch;
                self.stage("set head", None);
                Reply::Nothing
            }
            Err(refused) => refused,
        }
    }

    pub(crate) fn reset(&mut self, command: &Command, at: Moment) -> Reply {
        told(self.try_reset(command, at))
    }

    fn try_reset(&mut self, command: &Command, at: Moment) -> Told<Reply> {
        let left = self.known(command.thread, &command.spot)?;
        let tree = self.tree(command.thread);
        let name = tree.name_of(left).cloned();
        if name.is_none() && left != tree.head {
            return Err(Reply::Error(ErrorKind::Invalid));
        }
        let (at, from) = self.place(command, at)?;
        let tree = self.tree(command.thread);
        let branch = fork_off(tree, at, from);
        tree.give_up(left);
        tree.claim(left);
        if let Some(name) = name {
            tree.names.insert(name, branch);
        }
        if tree.head == left {
            tree.head = branch;
        }
        self.stage("reset", None);
        Ok(Reply::Branch(left))
    }

    pub(crate) fn tag(&mut self, command: &Command, name: &str, at: Moment) -> Reply {
        let at = match self.place(command, at) {
            Ok((at, _)) => at,
            Err(refused) => return refused,
        };
        let tags = &mut self.tree(command.thread).tags;
        if tags.get(name).is_some_and(|tagged| *tagged != at) {
            return Reply::Error(ErrorKind::Exists);
        }
        tags.insert(name.to_owned(), at);
        self.stage("tag", None);
        Reply::Nothing
    }

    pub(crate) fn untag(&mut self, command: &Command, name: &str) -> Reply {
        let tree = self.world.tree_mut(command.thread);
        if tree.and_then(|tree| tree.tags.remove(name)).is_none() {
            return Reply::Error(ErrorKind::Missing);
        }
        self.stage("untag", None);
        Reply::Nothing
    }

    pub(crate) fn delete(&mut self, command: &Command) -> Reply {
        if self.world.threads[command.thread].take().is_none() {
            return Reply::Error(ErrorKind::Missing);
        }
        self.stage("delete", None);
        Reply::Nothing
    }

    pub(crate) fn update(&mut self, command: &Command, update: &Update) -> Reply {
        told(self.try_update(command, update))
    }

    fn try_update(&mut self, command: &Command, update: &Update) -> Told<Reply> {
        let ground = self.ground(command, update.at)?;
        let below = ground.at.and_then(|at| Some(Rc::clone(&self.world.tree(command.thread)?.checkpoints[at])));
        let mut position = below.as_ref().map_or_else(|| Position::empty(self.drawn), |below| below.position.clone());
        let writers = writers(self.drawn, below.as_deref(), update)?;
        let tasks = write_by_hand(self.drawn, &mut position, update, &writers)?;
        let (tree, branch, at) = match ground {
            Ground { branch: None, .. } => (self.world.bear(command.thread), 0, None),
            Ground { branch: Some(_), at: Some(at), makes_branch: true } => {
                let tree = self.tree(command.thread);
                let branch = tree.add_branch(at);
                (tree, branch, Some(at))
            }
            Ground { branch: Some(branch), at, .. } => {
                let tree = self.tree(command.thread);
                (tree, branch, at)
            }
        };
        let is_new = ground.branch.is_none() || ground.makes_branch;
        let run = match tree.run_of_tip(branch) {
            Some(own) if is_new => own,
            None => tree.fresh_run(),
            Some(_) => tree.unfinished_run(branch),
        };
        if !is_new {
            tree.claim(branch);
        }
        match tree.runs.get_mut(&run) {
            Some(row) => row.status = RunStatus::Open,
            None => tree.begin_run(&run, branch, Asked::Other),
        }
        let status = rest_status(&position);
        let mut written = step_above(tree, branch, at, position);
        (written.run, written.tasks) = (run.clone(), tasks);
        (written.author, written.metadata) = (update.author.clone(), update.metadata);
        tree.grow(written);
        tree.end_run(&run, status);
        self.stage("update", None);
        Ok(Reply::Snapshot { branch })
    }

    fn ground(&mut self, command: &Command, at: Option<Moment>) -> Told<Ground> {
        let Some(at) = at else {
            if self.world.tree(command.thread).is_none() && command.spot == Spot::Head {
                return Ok(Ground { branch: None, at: None, makes_branch: false });
            }
            let branch = self.known(command.thread, &command.spot)?;
            let at = self.tree(command.thread).branches[branch].tip;
            return Ok(Ground { branch: Some(branch), at, makes_branch: false });
        };
        let (at, branch) = self.place(command, at)?;
        let makes_branch = !self.tree(command.thread).is_tip(branch, at);
        Ok(Ground { branch: Some(branch), at: Some(at), makes_branch })
    }
}

/// Decides in whose name each part is written.
fn writers(drawn: &Drawn, below: Option<&Checkpoint>, update: &Update) -> Told<Vec<Writer>> {
    let mut writers = Vec::new();
    for (_, writer) in &update.parts {
        let writer = match writer {
            Writer::Inferred => inferred(below)?,
            Writer::Stranger => return Err(Reply::Error(ErrorKind::Missing)),
            Writer::Node(node) if *node >= drawn.nodes.len() => return Err(Reply::Error(ErrorKind::Missing)),
            writer @ (Writer::Node(_) | Writer::Input | Writer::End) => *writer,
        };
        if matches!(writer, Writer::Input | Writer::End) && update.parts.len() > 1 {
            return Err(Reply::Error(ErrorKind::Invalid));
        }
        writers.push(writer);
    }
    Ok(writers)
}

/// The writer that can only be meant.
fn inferred(below: Option<&Checkpoint>) -> Told<Writer> {
    let mut nodes: Vec<usize> = below.into_iter().flat_map(|below| &below.tasks).map(|task| task.0).collect();
    nodes.sort_unstable();
    nodes.dedup();
    match (&nodes[..], below.map(|below| below.source)) {
        ([node], _) => Ok(Writer::Node(*node)),
        ([], None | Some(Source::Input)) => Ok(Writer::Input),
        _ => Err(Reply::Error(ErrorKind::Invalid)),
    }
}

/// Brings a position to what follows the update; returns the tasks that history shows.
fn write_by_hand(
    drawn: &Drawn,
    position: &mut Position,
    update: &Update,
    writers: &[Writer],
) -> Told<Vec<(usize, u32, u32)>> {
    position.next.clear();
    let first = update.parts.first().map_or(&[][..], |(writes, _)| writes);
    match writers {
        [Writer::Input] => {
            position.begin(drawn);
            position.write(first);
            Ok(Vec::new())
        }
        [Writer::End] => {
            position.forget_waiting();
            position.write(first);
            Ok(Vec::new())
        }
        writers => {
            let nodes: Vec<usize> = writers
                .iter()
                .filter_map(|writer| match writer {
                    Writer::Node(node) => Some(*node),
                    Writer::Inferred | Writer::Stranger | Writer::Input | Writer::End => None,
                })
                .collect();
            let output =
                |(writes, _): &(Vec<_>, _)| Output { writes: Vec::clone(writes), goto: Vec::new(), attempts: 0 };
            let outputs: Vec<Rc<Output>> = update.parts.iter().map(output).map(Rc::new).collect();
            for (at, one) in outputs.iter().enumerate() {
                if outputs[at + 1..].iter().any(|other| conflict(one, other)) {
                    return Err(Reply::Error(ErrorKind::Invalid));
                }
            }
            let trigger = |at: usize, node: usize| nodes[..at].iter().filter(|other| **other == node).count() as u32;
            let task = |(at, node): (usize, &usize)| Task { node: *node, trigger: trigger(at, *node), payload: None };
            position.next = nodes.iter().enumerate().map(task).collect();
            let tasks = position.next.iter().map(|task| (task.node, task.trigger, 0)).collect();
            *position = position.finish(drawn, &outputs).map_err(|_| Reply::Error(ErrorKind::Invalid))?;
            Ok(tasks)
        }
    }
}

/// A new branch from a checkpoint; where that is the tip of the branch it was taken from, with what is stored of its tasks.
fn fork_off(tree: &mut Tree, at: usize, from: usize) -> usize {
    let branch = tree.add_branch(at);
    if tree.is_tip(from, at) {
        tree.branches[branch].pending = tree.branches[from].pending.copied();
    }
    branch
}

/// A checkpoint of an update above another one.
fn step_above(tree: &Tree, branch: usize, below: Option<usize>, position: Position) -> Checkpoint {
    Checkpoint {
        branch,
        step: below.map_or(0, |below| tree.checkpoints[below].step + 1),
        parent: below,
        source: Source::Update,
        run: RunKey::Fresh(u32::MAX),
        steps_covered: 1,
        tasks: Vec::new(),
        position,
        author: None,
        metadata: None,
        origin: None,
    }
}

/// What a run is that stopped at a position.
fn rest_status(position: &Position) -> RunStatus {
    if position.next.is_empty() { RunStatus::Done } else { RunStatus::Drained }
}
