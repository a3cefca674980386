//! What is done next, given what is there?
//!
//! An operation of a sequence is a number. It decides everything once the world is known, so that a sequence with some
//! operations cut out is a sequence again.

use fastrand::Rng;
use stepmark::{Durability, OnPending};

use crate::asking::{Asks, Kind};
use crate::board::Write;
use crate::command::{Answer, Command, Input, Limits, Moment, Update, Value, Verb, Writer};
use crate::drawn::{Drawn, Stops};
use crate::settling::Listing;
use crate::trouble::Trouble;
use crate::world::{Asked, RunKey, Spot, Tree, World};

/// How many names of threads there are.
pub(crate) const THREADS: usize = 3;
/// How many applications share the store.
pub(crate) const PROCESSES: usize = 2;
/// How many steps a loop may take, about.
const FUEL_MAX: u64 = 10;

/// Something that is done.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Verb(Attempt),
    /// An application ends between two calls, and begins anew.
    Restart(usize),
    Look {
        process: usize,
        is_resident: bool,
        command: (usize, Spot),
        seed: u64,
    },
}

/// A command, who gives it, and what happens to it.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) process: usize,
    pub(crate) is_resident: bool,
    pub(crate) command: Command,
    pub(crate) trouble: Trouble,
}

/// Who chooses.
pub(crate) struct Chooser<'a> {
    pub(crate) rng: Rng,
    pub(crate) drawn: &'a Drawn,
    pub(crate) world: &'a World,
    pub(crate) listed: &'a [Listing],
    /// A number that no operation before this one had.
    pub(crate) unique: u64,
}

impl Chooser<'_> {
    pub(crate) fn act(&mut self) -> Act {
        let (process, is_resident) = (self.rng.usize(0..PROCESSES), self.rng.bool());
        match self.rng.u8(0..100) {
            0..3 => Act::Restart(process),
            3..15 => {
                let thread = self.rng.usize(0..THREADS);
                let command = (thread, self.spot(thread));
                Act::Look { process, is_resident, command, seed: self.rng.u64(..) }
            }
            _ => {
                let command = self.command();
                let trouble = self.trouble(&command.verb);
                Act::Verb(Attempt { process, is_resident, command, trouble })
            }
        }
    }

    pub(crate) fn command(&mut self) -> Command {
        let thread = self.rng.usize(0..THREADS);
        let spot = self.spot(thread);
        let verb = self.verb(thread, &spot);
        Command { thread, spot, verb }
    }

    fn tree(&self, thread: usize) -> Option<&Tree> {
        self.world.tree(thread)
    }

    pub(crate) fn spot(&mut self, thread: usize) -> Spot {
        let tree = self.world.tree(thread);
        let count = tree.map_or(0, |tree| tree.branches.len());
        match self.rng.u8(0..20) {
            0..4 => self.any_name(thread).map_or(Spot::Head, Spot::Named),
            4..9 if count > 0 => Spot::Id(self.rng.usize(0..count)),
            19 => Spot::Named("nobody".to_owned()),
            _ => Spot::Head,
        }
    }

    fn any_name(&mut self, thread: usize) -> Option<String> {
        let names: Vec<String> = self.tree(thread)?.names.keys().cloned().collect();
        self.rng.choice(names)
    }

    /// A checkpoint: the tips and their like more often than the others.
    fn moment(&mut self, thread: usize) -> Moment {
        let tree = self.world.tree(thread)?;
        let tips: Vec<usize> = tree.branches.iter().filter_map(|branch| branch.tip).collect();
        let count = tree.checkpoints.len();
        match self.rng.u8(0..20) {
            0 => None,
            1..11 => self.rng.choice(tips),
            _ if count > 0 => Some(self.rng.usize(0..count)),
            _ => None,
        }
    }

    pub(crate) fn verb(&mut self, thread: usize, spot: &Spot) -> Verb {
        if self.tree(thread).is_none() && self.rng.u8(0..6) > 0 {
            return Verb::Input(self.input(thread, None, spot));
        }
        let at = self.moment(thread);
        if self.rng.u8(0..6) == 0
            && let Some(answer) = self.answer(thread)
        {
            return Verb::Answer(answer);
        }
        match self.rng.u8(0..100) {
            0..25 => Verb::Input(self.input(thread, None, spot)),
            25..46 => Verb::Resume(self.limits()),
            46..51 => Verb::Discard,
            51..60 => Verb::Fork { at, name: self.branch_name(thread) },
            60..66 => Verb::Replay { at, limits: self.limits() },
            66..71 => Verb::InputAt { at, input: self.input(thread, Some(at), spot) },
            71..82 => Verb::Update(self.update(at)),
            82..86 => Verb::ForkTo { at, to: self.rng.usize(0..THREADS) },
            86..90 => Verb::SetHead { to: self.spot_of_branch(thread) },
            90..94 => Verb::Reset { at },
            94..97 => Verb::Tag { name: self.tag_name(), at },
            97..98 => Verb::Untag { name: self.tag_name() },
            _ if self.rng.bool() => Verb::Delete,
            _ => Verb::Resume(self.limits()),
        }
    }

    /// An answer to a question that was listed once: to the newest more often than to the others.
    fn answer(&mut self, thread: usize) -> Option<Answer> {
        let here: Vec<usize> = (0..self.listed.len()).filter(|at| self.listed[*at].thread == thread).collect();
        let newest = here.len().saturating_sub(3);
        let from = if self.rng.u8(0..3) > 0 { newest } else { 0 };
        let listed = self.rng.choice(here[from..].iter().copied())?;
        let question = self.listed[listed].question;
        let takes_any = !matches!(question.asks, Some(Asks::Task { kind: Kind::Approve, .. }));
        let is_number = takes_any || self.rng.u8(0..8) > 0;
        let value = if is_number { Value::Number(self.rng.u64(0..3)) } else { Value::Word };
        Some(Answer { listed, question, value, is_by_id: self.rng.u8(0..4) == 0, runs: self.rng.bool() })
    }

    fn spot_of_branch(&mut self, thread: usize) -> Spot {
        match self.spot(thread) {
            Spot::Head => self.any_name(thread).map_or_else(|| Spot::Named("nobody".to_owned()), Spot::Named),
            spot => spot,
        }
    }

    fn branch_name(&mut self, thread: usize) -> String {
        match self.any_name(thread).filter(|_| self.rng.u8(0..6) == 0) {
            Some(taken) => taken,
            None => format!("b{}", self.unique),
        }
    }

    fn tag_name(&mut self) -> String {
        format!("tag{}", self.rng.u8(0..3))
    }

    fn limits(&mut self) -> Limits {
        let steps_max = (self.rng.u8(0..5) == 0).then(|| self.rng.u64(0..4));
        let durability = match self.rng.u8(0..10) {
            0..2 => Durability::Async { behind_max: self.rng.u32(1..4) },
            2..4 => Durability::Exit,
            _ => Durability::Sync,
        };
        let stops = match self.rng.u8(0..8) {
            0 => Stops::random(&mut self.rng, self.drawn.nodes.len(), 2),
            _ => Stops::default(),
        };
        Limits { steps_max, durability, stops }
    }

    fn input(&mut self, thread: usize, at: Option<Moment>, spot: &Spot) -> Input {
        let mut limits = self.limits();
        let on_pending = match self.rng.u8(0..10) {
            0..3 if at.is_none() => OnPending::Discard,
            3..6 if at.is_none() => OnPending::ResumeFirst,
            _ => OnPending::Refuse,
        };
        if on_pending == OnPending::ResumeFirst {
            // Whose steps the limit counts is not said.
            limits.steps_max = None;
        }
        let metadata = (self.rng.u8(0..4) == 0).then(|| self.rng.u64(0..3));
        let (id, writes) = self.asked(thread, at.is_some());
        let writes = writes.unwrap_or_else(|| self.input_writes(thread, at, spot));
        Input { writes, id, on_pending, metadata, limits }
    }

    /// A run id, and what was asked under it, if it is an earlier one's.
    fn asked(&mut self, thread: usize, is_at: bool) -> (Option<String>, Option<Vec<Write>>) {
        if self.rng.u8(0..3) > 0 {
            return (None, None);
        }
        let runs = self.tree(thread).map(|tree| &tree.runs).into_iter().flatten();
        let named: Vec<(String, Asked)> = runs
            .filter_map(|(key, run)| match key {
                RunKey::Named(id) => Some((id.clone(), run.asked.clone())),
                RunKey::Fresh(_) | RunKey::First(_) | RunKey::After(..) => None,
            })
            .collect();
        let earlier = self.rng.choice(named).filter(|_| self.rng.bool());
        match earlier {
            None => (Some(format!("run-{}", self.unique)), None),
            Some((id, Asked::Input(writes))) if !is_at && self.rng.u8(0..4) > 0 => (Some(id), Some(writes)),
            Some((id, Asked::InputAt(_, writes))) if is_at => (Some(id), Some(writes)),
            Some((id, _)) => (Some(id), None),
        }
    }

    fn input_writes(&mut self, thread: usize, at: Option<Moment>, spot: &Spot) -> Vec<Write> {
        let tree = self.tree(thread);
        let tip = tree.and_then(|tree| tree.branches[tree.find(spot)?].tip);
        let from = at.flatten().or(tip);
        let turns = tree.and_then(|tree| Some(tree.checkpoints.get(from?)?.position.board.turns));
        let bound = turns.unwrap_or(0) + self.rng.u64(0..FUEL_MAX);
        let mut writes = vec![Write::Bound(bound), Write::Push(self.unique)];
        if self.rng.bool() {
            writes.push(Write::Last(self.rng.u64(0..100)));
        }
        if self.rng.u8(0..4) == 0 {
            writes.push(Write::Spark(self.rng.u64(0..100)));
        }
        writes
    }

    fn update(&mut self, at: Moment) -> Update {
        let parts = if self.rng.u8(0..4) == 0 { 2 } else { 1 };
        let parts = (0..parts).map(|_| (self.update_writes(), self.writer())).collect();
        Update {
            at: self.rng.bool().then_some(at),
            parts,
            author: (self.rng.u8(0..3) == 0).then(|| "someone".to_owned()),
            metadata: (self.rng.u8(0..4) == 0).then(|| self.rng.u64(0..3)),
        }
    }

    fn writer(&mut self) -> Writer {
        match self.rng.u8(0..20) {
            0..5 => Writer::Inferred,
            5..7 => Writer::Input,
            7..9 => Writer::End,
            9 => Writer::Stranger,
            _ => Writer::Node(self.rng.usize(0..self.drawn.nodes.len())),
        }
    }

    fn update_writes(&mut self) -> Vec<Write> {
        let value = self.rng.u64(0..1000);
        let all = [
            Write::Push(value),
            Write::Last(value),
            Write::Word(value),
            Write::Refill(vec![value, 1]),
            Write::Put(value, 1),
            Write::Drop(value),
            Write::Upsert(value % 6, value),
            Write::Say(value),
            Write::Spark(value),
        ];
        let count = self.rng.usize(0..3);
        (0..count).filter_map(|_| self.rng.choice(all.iter()).cloned()).collect()
    }
}
