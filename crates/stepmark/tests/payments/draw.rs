//! What does a seed decide?

use fastrand::Rng;
use std::time::Duration;
use stepmark::Durability;
use stepmark::effects::ChangedAnswer;
use stepmark::run::CheckpointId;

use crate::agent::{Manner, Mismatch, Order, Policy};
use crate::api::Behaviour;
use crate::errand::{AboutUnknown, Orders, Reactions, Verb};
use crate::fate::{Moment, Spring, Trap};
use crate::http::Payment;

/// How many invoices there are: few, so that they meet.
const INVOICES: u32 = 4;
/// What a business pays for an invoice, times its number.
const CENTS: u64 = 1_000;
/// How long an effect elsewhere is waited for.
const WAITS_MS: [u64; 3] = [0, 30, 600_000];

/// What happens to an errand besides what it asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    None,
    /// Its process dies.
    Dies(Trap),
    /// Its process stops, another takes its branch over, and it goes on.
    Stops(Trap),
    /// The service holds one of its calls meanwhile; then the same.
    Held(Held),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) nth: usize,
    pub(crate) is_paid: bool,
    pub(crate) then: Then,
}

/// What happens while a call is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Dies,
    /// The caller gives its run up, and its process lives on.
    GivenUp,
    TakenOver,
}

/// How the agent of a seed runs.
pub(crate) fn manner(rng: &mut Rng) -> Manner {
    let durability = match rng.u8(0..4) {
        0 => Durability::Async { behind_max: 2 },
        1 => Durability::Exit,
        _ => Durability::Sync,
    };
    Manner { durability, linger_ms: if rng.bool() { 0 } else { 5 }, attempts: rng.u32(1..3) }
}

/// Draws what a seed decides.
#[derive(Debug)]
pub(crate) struct Chooser {
    pub(crate) rng: Rng,
    /// Whether a key may come to mean another action.
    pub(crate) may_reopen: bool,
    named: u32,
}

impl Chooser {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let may_reopen = rng.bool();
        Self { rng, may_reopen, named: 0 }
    }

    /// A name that no branch and no thread has.
    fn name(&mut self) -> String {
        self.named += 1;
        format!("n{}", self.named)
    }

    pub(crate) fn orders(&mut self) -> Orders {
        let (serial, beside) = (self.rng.usize(0..4), self.rng.usize(0..4));
        let orders = (0..serial.max(usize::from(beside == 0))).map(|_| self.order()).collect();
        Orders { orders, beside: (0..beside).map(|_| self.order()).collect() }
    }

    fn order(&mut self) -> Order {
        let payments = if self.rng.u8(0..4) == 0 { 2 } else { 1 };
        Order {
            payments: (0..payments).map(|_| self.payment()).collect(),
            is_keyed: self.rng.bool(),
            policy: *self.pick(&[Policy::Retry, Policy::Fail, Policy::Ask]),
            mismatch: if self.may_reopen {
                *self.pick(&[Mismatch::Fail, Mismatch::Ask, Mismatch::Again])
            } else {
                Mismatch::Fail
            },
            wait_ms: *self.pick(&WAITS_MS),
            is_tolerant: self.rng.bool(),
        }
    }

    fn payment(&mut self) -> Payment {
        let invoice = self.rng.u32(0..INVOICES);
        let cents = CENTS * u64::from(invoice + 1) + u64::from(self.rng.u8(0..10) == 0);
        Payment { invoice, cents }
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.rng.usize(0..all.len())]
    }

    /// A verb for a thread with these checkpoints; the tip of the branch is the first.
    pub(crate) fn verb(&mut self, checkpoints: &[CheckpointId]) -> Verb {
        if checkpoints.is_empty() {
            return self.input();
        }
        let tip = checkpoints[0].clone();
        let at = self.pick(checkpoints).clone();
        match self.rng.u8(0..24) {
            0..3 => self.input(),
            3..8 => Verb::Resume,
            8..10 => Verb::Replay(at),
            10 => Verb::InputAt(at, self.orders()),
            11..13 => Verb::Amend { at, cents: 1 },
            13 => self.fork(tip),
            14..16 => self.fork(at),
            16..18 => Verb::Rewind(at),
            18 => Verb::Discard,
            19 => Verb::CopyTo { at, thread: self.name() },
            20..22 => Verb::Twins { at: tip, names: [self.name(), self.name()] },
            _ => Verb::Answer(self.reactions()),
        }
    }

    fn input(&mut self) -> Verb {
        Verb::Input { orders: self.orders(), discards: self.rng.bool(), stops: self.rng.u8(0..3) == 0 }
    }

    fn fork(&mut self, at: CheckpointId) -> Verb {
        Verb::Fork { at, name: self.name(), again: self.may_reopen && self.rng.u8(0..3) == 0 }
    }

    fn reactions(&mut self) -> Reactions {
        let unknown = *self.pick(&[AboutUnknown::Again, AboutUnknown::Again, AboutUnknown::Fail]);
        let changed = *self.pick(&[ChangedAnswer::Again, ChangedAnswer::Fail]);
        Reactions { unknown, changed }
    }

    pub(crate) fn trouble(&mut self) -> Trouble {
        let nth = self.rng.usize(0..4);
        let is_paid = self.rng.bool();
        let held = |then| Trouble::Held(Held { nth, is_paid, then });
        match self.rng.u8(0..16) {
            0..4 => Trouble::Dies(self.trap(Spring::Die)),
            4..7 => Trouble::Stops(self.trap(Spring::Stop)),
            7 => held(Then::Dies),
            8 => held(Then::GivenUp),
            9 => held(Then::TakenOver),
            _ => Trouble::None,
        }
    }

    fn trap(&mut self, spring: Spring) -> Trap {
        let moment = *self.pick(&Moment::ALL);
        let nth = if moment.is_inside() { self.rng.u32(0..4) } else { self.rng.u32(0..12) };
        Trap { moment, nth, spring }
    }

    /// What becomes of the next calls of the service.
    pub(crate) fn script(&mut self, trouble: Trouble) -> Vec<Behaviour> {
        let mut script: Vec<Behaviour> =
            if self.rng.bool() { (0..self.rng.u8(1..5)).map(|_| self.behaviour()).collect() } else { Vec::new() };
        if let Trouble::Held(held) = trouble {
            script.resize(held.nth, Behaviour::Answer);
            script.push(if held.is_paid { Behaviour::HoldAfter } else { Behaviour::HoldBefore });
        }
        script
    }

    fn behaviour(&mut self) -> Behaviour {
        match self.rng.u8(0..8) {
            0 => Behaviour::DropBefore,
            1 => Behaviour::DropAfter,
            2 => Behaviour::Refuse,
            3..5 => Behaviour::Slow(Duration::from_millis(self.rng.u64(1..60))),
            _ => Behaviour::Answer,
        }
    }
}
