//! Which graph does a seed draw?
//!
//! A chain of stages, run through once or in a loop; each stage leads from one gate to the next by another feature of
//! graphs. Nodes write, take steps, race, ask, and run graphs of the same kind; most fail now and then. What a graph comes
//! to depends on nothing but the drawing and the answers, and it always comes to an end.

use fastrand::Rng;

/// How deep graphs lie in graphs.
const LEVELS_MAX: u32 = 3;

/// About how many nodes a drawing has, with those of its sub-graphs.
const NODES: u32 = 12;

/// How many tasks an input makes at most, about.
const TASKS_MAX: u64 = 18;

#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub(crate) level: u32,
    /// How long it lives, if it is a sub-graph.
    pub(crate) lives: Option<Lives>,
    /// How often the chain is run through, for each input.
    pub(crate) turns: u64,
    pub(crate) stages: Vec<Stage>,
    /// The most tasks at once, in the outermost graph.
    pub(crate) width_max: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) way: Way,
    /// The graph stops before the gate after it, or after it.
    pub(crate) stop: Option<Stop>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stop {
    Before,
    After,
}

/// How a stage leads from gate to gate.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// Nodes side by side; the next gate waits for all of them.
    Beside(Vec<Node>),
    /// So many sends to a node, which may be deferred.
    Sent { count: u32, node: Node, is_deferred: bool },
    /// A node commands: it writes, goes to one of two, and sends to the third.
    Chosen([Node; 3]),
    /// Chains of different lengths to a deferred gate.
    Ladder(Vec<Vec<Node>>),
    /// A sub-graph whose last node commands: it goes to one node and sends to the other.
    Told { inner: Inner, is_called: bool, nodes: [Node; 2] },
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// How deep it lies: what takes long takes less the deeper it lies, so that limits around it hold.
    pub(crate) level: u32,
    pub(crate) does: Does,
    pub(crate) fails: Fails,
    /// After its work rather than before.
    pub(crate) fails_late: bool,
    /// So many of its tasks run at once.
    pub(crate) slots: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) enum Does {
    Write,
    Steps(u32),
    Race,
    Ask(u32),
    /// An effect; where an earlier attempt was lost it is done again, or a person decides.
    Pay {
        asks: bool,
    },
    /// The node is a sub-graph.
    Graph(Inner),
    /// The node calls one, so often, one after the other or at once.
    Calls(u32, Inner),
    CallsAtOnce(u32, Inner),
}

#[derive(Clone, Debug)]
pub(crate) struct Inner {
    pub(crate) lives: Lives,
    pub(crate) graph: Box<Drawn>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lives {
    Private,
    Persistent,
    Stateless,
}

/// What the world does to the calls of a task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fails {
    Never,
    /// The first so many fail, and the node tries again; attempts are counted across crashes or not.
    Flaky {
        times: u32,
        is_durable: bool,
    },
    /// The first fails the run.
    Once,
    /// The first panics, and the node tries again.
    Panics,
    /// The first never ends: a limit of the attempt ends it.
    Hangs,
    /// The first falls silent: the limit of silence ends it. The others take longer than that, and tell so.
    Silent,
    /// The first never ends: the limit of the step ends it, and the run fails.
    Stalls,
    /// All fail; a handler makes the result.
    Broken {
        is_durable: bool,
        handler: Handler,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Handler {
    Writes,
    Asks,
    Steps,
}

/// Where a node stands, which decides what it may do.
#[derive(Clone, Copy)]
struct Spot {
    level: u32,
    /// Many tasks of it may run at once.
    is_many: bool,
}

impl Drawn {
    /// A graph that is run in reasonable time.
    pub(crate) fn by(chance: &mut Rng) -> Self {
        loop {
            let drawn = Self::at(chance, (0, None), &mut NODES.clone());
            if drawn.tasks() <= TASKS_MAX {
                return drawn;
            }
        }
    }

    /// Whether its tasks begin anew after a crash.
    pub(crate) fn is_stateless(&self) -> bool {
        self.lives == Some(Lives::Stateless)
    }

    /// About how many tasks an input makes of it.
    fn tasks(&self) -> u64 {
        self.turns * self.stages.iter().map(|stage| 1 + stage.way.tasks()).sum::<u64>()
    }

    fn at(chance: &mut Rng, (level, lives): (u32, Option<Lives>), left: &mut u32) -> Self {
        let stages = if level == 0 { chance.u32(1..4) } else { chance.u32(1..3) };
        let stages = (0..stages).map(|_| Stage::by(chance, level, left)).collect();
        let turns = if chance.u8(..4) == 0 { 2 } else { 1 };
        let width_max = (chance.u8(..4) == 0).then(|| chance.usize(1..4));
        Self { level, lives, turns, stages, width_max }
    }
}

impl Stage {
    fn by(chance: &mut Rng, level: u32, left: &mut u32) -> Self {
        let stop = match chance.u8(..12) {
            0 => Some(Stop::Before),
            1 => Some(Stop::After),
            _ => None,
        };
        Self { way: Way::by(chance, level, left), stop }
    }
}

impl Way {
    /// What coverage calls it.
    pub(crate) fn passed(&self) -> &'static str {
        match self {
            Self::Beside(nodes) if nodes.len() > 1 => "way: join",
            Self::Beside(_) => "way: edge",
            Self::Sent { is_deferred: true, .. } => "way: deferred sends",
            Self::Sent { .. } => "way: sends",
            Self::Chosen(_) => "way: command",
            Self::Ladder(_) => "way: deferred gate",
            Self::Told { is_called: true, .. } => "way: command to the parent from a called sub-graph",
            Self::Told { .. } => "way: command to the parent",
        }
    }

    fn tasks(&self) -> u64 {
        let all = |nodes: &[Node]| nodes.iter().map(Node::tasks).sum::<u64>();
        match self {
            Self::Beside(nodes) => all(nodes),
            Self::Sent { count, node, .. } => u64::from(*count) * node.tasks(),
            Self::Chosen([one, other, third]) => 1 + one.tasks().max(other.tasks()) + 2 * third.tasks(),
            Self::Ladder(chains) => chains.iter().map(|chain| all(chain)).sum(),
            Self::Told { inner, nodes: [node, third], .. } => inner.graph.tasks() + node.tasks() + 2 * third.tasks(),
        }
    }

    fn by(chance: &mut Rng, level: u32, left: &mut u32) -> Self {
        let one = Spot { level, is_many: false };
        let many = Spot { level, is_many: true };
        let may_tell = level < LEVELS_MAX && *left > 2;
        match chance.u8(..10) {
            0 | 1 => Self::Sent {
                count: chance.u32(1..4),
                node: Node::by(chance, many, left),
                is_deferred: chance.u8(..3) == 0,
            },
            2 | 3 => Self::Chosen([one, one, many].map(|spot| Node::by(chance, spot, left))),
            4 => {
                let chains = chance.usize(2..4);
                let mut chain = |length| (0..length).map(|_| Node::by(chance, one, left)).collect();
                Self::Ladder((1..=chains).map(&mut chain).collect())
            }
            5 | 6 if may_tell => {
                let inner = Inner::by(chance, (level, false), left);
                let nodes = [one, many].map(|spot| Node::by(chance, spot, left));
                Self::Told { inner, is_called: chance.bool(), nodes }
            }
            _ => Self::Beside((0..chance.u32(1..4)).map(|_| Node::by(chance, one, left)).collect()),
        }
    }
}

impl Node {
    fn tasks(&self) -> u64 {
        1 + match &self.does {
            Does::Write | Does::Steps(_) | Does::Race | Does::Ask(_) | Does::Pay { .. } => 0,
            Does::Graph(inner) => inner.graph.tasks(),
            Does::Calls(times, inner) | Does::CallsAtOnce(times, inner) => u64::from(*times) * inner.graph.tasks(),
        }
    }

    fn by(chance: &mut Rng, spot: Spot, left: &mut u32) -> Self {
        *left = left.saturating_sub(1);
        let does = Does::by(chance, spot, left);
        let fails = match does {
            // Nothing of ours runs in it.
            Does::Graph(_) => Fails::Never,
            Does::Write
            | Does::Steps(_)
            | Does::Race
            | Does::Ask(_)
            | Does::Pay { .. }
            | Does::Calls(..)
            | Does::CallsAtOnce(..) => Fails::by(chance),
        };
        let slots = (chance.u8(..6) == 0).then(|| chance.usize(1..3));
        Self { level: spot.level, does, fails, fails_late: chance.bool(), slots }
    }
}

impl Does {
    fn by(chance: &mut Rng, spot: Spot, left: &mut u32) -> Self {
        let kinds = if spot.level < LEVELS_MAX && *left > 0 { 13 } else { 9 };
        match chance.u8(..kinds) {
            0 | 1 => Self::Write,
            2 | 3 => Self::Steps(chance.u32(1..3)),
            4 => Self::Race,
            5 | 6 => Self::Ask(chance.u32(1..3)),
            7 | 8 => Self::Pay { asks: chance.bool() },
            9 | 10 if !spot.is_many => Self::Graph(Inner::by(chance, (spot.level, false), left)),
            11 => Self::CallsAtOnce(2, Inner::by(chance, (spot.level, true), left)),
            _ => Self::Calls(chance.u32(1..3), Inner::by(chance, (spot.level, spot.is_many), left)),
        }
    }
}

impl Inner {
    /// A persistent one is in the hands of one call at a time.
    fn by(chance: &mut Rng, (level, is_many): (u32, bool), left: &mut u32) -> Self {
        let lives = match chance.u8(..3) {
            0 if !is_many => Lives::Persistent,
            1 => Lives::Stateless,
            _ => Lives::Private,
        };
        Self { lives, graph: Box::new(Drawn::at(chance, (level + 1, Some(lives)), left)) }
    }
}

impl Fails {
    fn by(chance: &mut Rng) -> Self {
        let is_durable = chance.bool();
        match chance.u8(..24) {
            0..3 => Self::Flaky { times: chance.u32(1..3), is_durable },
            3 => Self::Once,
            4 => Self::Panics,
            5 => Self::Hangs,
            6 => Self::Silent,
            7 => Self::Stalls,
            8..11 => {
                let handler = [Handler::Writes, Handler::Asks, Handler::Steps][chance.usize(..3)];
                Self::Broken { is_durable, handler }
            }
            _ => Self::Never,
        }
    }
}
