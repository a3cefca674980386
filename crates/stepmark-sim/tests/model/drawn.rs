//! Which graph is drawn, and what do its nodes do?
//!
//! A graph is data; nodes and branches are pure functions of it. The engine's nodes and the model call the same
//! functions, so what the test compares is everything between them: order, triggers, joins, reducers, storage.

use std::fmt;

use fastrand::Rng;

use crate::asking::Kind;
use crate::board::{Board, Write, mixed};

const NODES_MAX: usize = 6;
const FAN_OUT_MAX: usize = 3;

/// A graph with its settings.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub(crate) nodes: Vec<DrawnNode>,
    pub(crate) starts: Vec<usize>,
    pub(crate) edges: Vec<(usize, usize)>,
    pub(crate) joins: Vec<(Vec<usize>, usize)>,
    /// Nodes before and after which every run stops.
    pub(crate) stops: Stops,
    pub(crate) linger_ms: u64,
    pub(crate) concurrency_max: usize,
}

/// Nodes before and after which a run stops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stops {
    pub(crate) before: Vec<usize>,
    pub(crate) after: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct DrawnNode {
    pub(crate) takes_payload: bool,
    /// Whether it waits until nothing else can run.
    pub(crate) is_deferred: bool,
    /// How many of its first attempts at a task fail.
    pub(crate) fails: u32,
    pub(crate) pause_ms: u64,
    pub(crate) rules: Vec<Rule>,
    pub(crate) branches: Vec<Ways>,
    pub(crate) goto: Option<Ways>,
    pub(crate) asks: Vec<Kind>,
    pub(crate) manner: Manner,
}

/// How a node asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// A question is asked when the one before it was answered.
    OneByOne,
    /// All at once.
    Together,
    /// All at once; and it returns a result whatever it is told.
    Swallowing,
}

/// A write whose value the state decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    kind: RuleKind,
    salt: u64,
    /// Makes the write only in one state of four.
    is_rare: bool,
}

#[derive(Clone, Copy, Debug)]
enum RuleKind {
    Last,
    Word,
    Push,
    Refill,
    Say,
    Put,
    Drop,
    Upsert,
    Remove,
    Page(usize),
    Spark,
    Sparks,
}

/// Where control may go.
#[derive(Clone, Debug)]
pub(crate) struct Ways {
    pub(crate) sees: Sees,
    pub(crate) choices: Vec<Vec<Way>>,
    /// A node that is not among the declared targets, gone to in one state of eight.
    pub(crate) stray: Option<usize>,
}

/// What a branch looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sees {
    /// The state with its own node's writes.
    After,
    /// The state before, and the writes.
    Before,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    End,
    To(usize),
    /// With a payload of its own.
    Send(usize, u64),
}

/// What a task is executed with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    pub(crate) node: usize,
    pub(crate) board: &'a Board,
    pub(crate) payload: Option<u64>,
    /// What its questions were answered.
    pub(crate) answers: &'a [u64],
}

impl Drawn {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let count = rng.usize(1..=NODES_MAX);
        let (asks, stops) = (rng.u8(0..3) == 0, rng.u8(0..5) == 0);
        let takes_payload: Vec<bool> = (0..count).map(|node| node > 0 && rng.u8(0..4) == 0).collect();
        let mut drawn = Self {
            nodes: (0..count).map(|node| DrawnNode::random(rng, node, &takes_payload)).collect(),
            starts: vec![0],
            edges: Vec::new(),
            joins: Vec::new(),
            stops: if stops { Stops::random(rng, count, 3) } else { Stops::default() },
            linger_ms: if rng.bool() { 5 } else { 0 },
            concurrency_max: *rng.choice(&[1, 2, 64]).unwrap_or(&64),
        };
        if !asks {
            drawn.nodes.iter_mut().for_each(|node| node.asks.clear());
        }
        drawn.draw_edges(rng);
        drawn.reach_all(rng);
        if rng.u8(0..3) == 0 {
            drawn.nodes.iter_mut().for_each(|node| node.is_deferred = rng.u8(0..3) == 0);
        }
        drawn
    }

    fn draw_edges(&mut self, rng: &mut Rng) {
        let count = self.nodes.len();
        for from in 0..count {
            for to in from + 1..count {
                if !self.nodes[to].takes_payload && rng.u8(0..4) == 0 {
                    self.edges.push((from, to));
                }
            }
        }
        for to in 2..count {
            if !self.nodes[to].takes_payload && rng.u8(0..4) == 0 {
                let sources: Vec<usize> = (0..to).filter(|_| rng.bool()).collect();
                if !sources.is_empty() {
                    self.joins.push((sources, to));
                }
            }
        }
        for start in 1..count {
            if !self.nodes[start].takes_payload && rng.u8(0..6) == 0 {
                self.starts.push(start);
            }
        }
    }

    /// Leads somebody to every node that nobody leads to. Every source comes before its target, so all are reached.
    fn reach_all(&mut self, rng: &mut Rng) {
        for node in 1..self.nodes.len() {
            if self.is_reached(node) {
                continue;
            }
            let from = rng.usize(0..node);
            if self.nodes[node].takes_payload {
                let sends = (0..rng.usize(1..=FAN_OUT_MAX)).map(|_| Way::Send(node, rng.u64(0..1000))).collect();
                let choices = vec![sends, vec![Way::End]];
                let sees = if rng.bool() { Sees::After } else { Sees::Before };
                self.nodes[from].branches.push(Ways { sees, choices, stray: None });
            } else {
                self.edges.push((from, node));
            }
        }
    }

    fn is_reached(&self, node: usize) -> bool {
        let by_edge = self.edges.iter().any(|(_, to)| *to == node) || self.joins.iter().any(|(_, to)| *to == node);
        let leads = |ways: &Ways| ways.targets().any(|target| target == node);
        let by_way = |other: &DrawnNode| other.branches.iter().chain(&other.goto).any(leads);
        by_edge || self.starts.contains(&node) || self.nodes[..node].iter().any(by_way)
    }

    /// What a task writes.
    pub(crate) fn writes(&self, given: Given<'_>) -> Vec<Write> {
        let rules = self.nodes[given.node].rules.iter();
        let answers = given.answers.iter().map(|answer| Write::Push(*answer));
        std::iter::once(Write::Turn).chain(rules.filter_map(|rule| rule.write(given))).chain(answers).collect()
    }

    /// The number in a node's questions: it changes with the state.
    pub(crate) fn number(given: Given<'_>) -> u64 {
        mixed(given.board.mark() ^ given.node as u64) % 3
    }

    /// Where a task goes by itself.
    pub(crate) fn goto(&self, given: Given<'_>) -> Vec<Way> {
        let goto = self.nodes[given.node].goto.as_ref();
        goto.map_or_else(Vec::new, |ways| ways.choose(given.node, given.board, given.payload.unwrap_or(0)))
    }
}

impl DrawnNode {
    fn random(rng: &mut Rng, node: usize, takes_payload: &[bool]) -> Self {
        let branches = 0..*rng.choice(&[0, 0, 1, 1, 2]).unwrap_or(&0);
        Self {
            takes_payload: takes_payload[node],
            is_deferred: false,
            fails: if rng.u8(0..5) == 0 { rng.u32(1..3) } else { 0 },
            pause_ms: *rng.choice(&[0, 0, 0, 3, 7, 12]).unwrap_or(&0),
            rules: (0..rng.usize(0..4)).map(|_| Rule::random(rng)).collect(),
            branches: branches.map(|_| Ways::random(rng, takes_payload)).collect(),
            goto: (rng.u8(0..4) == 0).then(|| Ways::random(rng, takes_payload)),
            asks: match rng.u8(0..8) {
                0 => vec![Kind::Approve],
                1 => vec![Kind::Choose, Kind::Approve, Kind::Choose],
                2 => vec![Kind::Approve, Kind::Approve],
                _ => Vec::new(),
            },
            manner: *rng.choice(&[Manner::OneByOne, Manner::Together, Manner::Swallowing]).unwrap_or(&Manner::Together),
        }
    }
}

impl Stops {
    /// Each node in about one of `rarity`.
    pub(crate) fn random(rng: &mut Rng, nodes: usize, rarity: u8) -> Self {
        let mut some = || (0..nodes).filter(|_| rng.u8(0..rarity * 2) == 0).collect();
        Self { before: some(), after: some() }
    }
}

impl Rule {
    fn random(rng: &mut Rng) -> Self {
        let page = RuleKind::Page(*rng.choice(&[10, 5000, 5000, 70_000]).unwrap_or(&10));
        let kinds = [
            RuleKind::Last,
            RuleKind::Word,
            RuleKind::Push,
            RuleKind::Push,
            RuleKind::Refill,
            RuleKind::Say,
            RuleKind::Put,
            RuleKind::Drop,
            RuleKind::Upsert,
            RuleKind::Upsert,
            RuleKind::Remove,
            page,
            RuleKind::Spark,
            RuleKind::Sparks,
        ];
        let kind = *rng.choice(&kinds).unwrap_or(&RuleKind::Last);
        // Two such writes in a step are a conflict for ever; some are enough.
        let is_exclusive = matches!(kind, RuleKind::Word | RuleKind::Refill | RuleKind::Spark);
        Self { kind, salt: rng.u64(..), is_rare: is_exclusive || rng.u8(0..4) == 0 }
    }

    fn write(self, given: Given<'_>) -> Option<Write> {
        let value = mixed(given.board.mark() ^ self.salt ^ given.node as u64 ^ given.payload.unwrap_or(0) << 8);
        if self.is_rare && !(value >> 32).is_multiple_of(4) {
            return None;
        }
        Some(match self.kind {
            RuleKind::Last => Write::Last(value % 100),
            RuleKind::Word => Write::Word(value),
            RuleKind::Push => Write::Push(value % 1000),
            RuleKind::Refill => Write::Refill(vec![value % 10, value % 7]),
            RuleKind::Say => Write::Say(value),
            RuleKind::Put => Write::Put(value, value % 100),
            RuleKind::Drop => Write::Drop(value),
            RuleKind::Upsert => Write::Upsert(value % 6, value % 100),
            RuleKind::Remove => Write::Remove(value % 6),
            RuleKind::Page(length) => Write::Page(value % 1000, length),
            RuleKind::Spark => Write::Spark(value % 100),
            RuleKind::Sparks => Write::Sparks(value % 100),
        })
    }
}

impl Ways {
    fn random(rng: &mut Rng, takes_payload: &[bool]) -> Self {
        let way = |rng: &mut Rng| {
            let node = rng.usize(0..takes_payload.len());
            match rng.u8(0..6) {
                0 => Way::End,
                1 | 2 => Way::Send(node, rng.u64(0..1000)),
                _ if takes_payload[node] => Way::Send(node, rng.u64(0..1000)),
                _ => Way::To(node),
            }
        };
        let choices = (0..rng.usize(1..4)).map(|_| (0..rng.usize(1..=FAN_OUT_MAX)).map(|_| way(rng)).collect());
        let choices: Vec<Vec<Way>> = choices.collect();
        let mut ways = Self { sees: if rng.bool() { Sees::After } else { Sees::Before }, choices, stray: None };
        let stray = rng.usize(0..takes_payload.len());
        if rng.u8(0..16) == 0 && !takes_payload[stray] && !ways.targets().any(|target| target == stray) {
            ways.stray = Some(stray);
        }
        ways
    }

    /// The declared targets but the end, which every branch declares.
    pub(crate) fn targets(&self) -> impl Iterator<Item = usize> {
        self.choices.iter().flatten().filter_map(|way| match way {
            Way::End => None,
            Way::To(node) | Way::Send(node, _) => Some(*node),
        })
    }

    /// Where a state leads. Ways back, and those that fan out, are open only while the state's bound is not reached, so
    /// that every run ends.
    pub(crate) fn choose(&self, from: usize, board: &Board, salt: u64) -> Vec<Way> {
        let value = mixed(board.mark() ^ salt);
        if let Some(stray) = self.stray.filter(|_| (value >> 40).is_multiple_of(8)) {
            return vec![Way::To(stray)];
        }
        let is_open = |way: &Way| match way {
            Way::End => true,
            Way::To(node) => *node > from || board.turns < board.bound,
            Way::Send(..) => board.turns < board.bound,
        };
        let choice = &self.choices[value as usize % self.choices.len()];
        choice.iter().copied().filter(is_open).collect()
    }
}

impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { starts, edges, joins, stops, linger_ms, concurrency_max, .. } = self;
        writeln!(f, "starts {starts:?}, edges {edges:?}, joins {joins:?}, {stops:?}")?;
        writeln!(f, "lingers {linger_ms} ms, at most {concurrency_max} tasks at once")?;
        self.nodes.iter().enumerate().try_for_each(|(number, node)| {
            let DrawnNode { takes_payload, is_deferred, fails, pause_ms, rules, branches, goto, asks, manner } = node;
            let kinds: Vec<RuleKind> = rules.iter().map(|rule| rule.kind).collect();
            write!(f, "n{number}: payload {takes_payload}, deferred {is_deferred}, fails {fails}, pauses {pause_ms} ms, writes {kinds:?}")?;
            writeln!(f, ", branches {branches:?}, goto {goto:?}, asks {asks:?} {manner:?}")
        })
    }
}
