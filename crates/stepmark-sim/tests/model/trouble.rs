//! What happens to an operation besides what it asks for?

use std::time::Duration;

use stepmark::OnPending;
use stepmark_conformance::call::CallKind;

use crate::choice::Chooser;
use crate::command::{Command, Update, Verb};
use stepmark_sim::faults::{Fault, Plan};

#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    None,
    Calls(Plan),
    /// The process dies while its nth node runs, from 1.
    CrashInNode(usize),
    /// The call is given up while its nth node runs; the process lives on.
    Cancel(usize),
    /// The process stops while its nth node runs, others go on meanwhile, and then it does.
    Stop {
        nth: usize,
        others: Vec<u64>,
    },
    /// The same before its nth write, from 0.
    Hold {
        nth: u32,
        others: Vec<u64>,
    },
}

/// The calls at which a fault strikes where it is to strike a chosen one.
const STRUCK: [CallKind; 9] = [
    CallKind::Commit,
    CallKind::Claim,
    CallKind::Fork,
    CallKind::Reset,
    CallKind::Flush,
    CallKind::RunRecord,
    CallKind::Answer,
    CallKind::Head,
    CallKind::Tag,
];

impl Chooser<'_> {
    pub(crate) fn trouble(&mut self, verb: &Verb) -> Trouble {
        let runs = verb.durability().is_some();
        // What a stopped process goes on with after its first run is told nowhere.
        let is_one_run = !matches!(verb, Verb::Input(input) if input.on_pending == OnPending::ResumeFirst);
        match self.rng.u8(0..100) {
            0..30 => Trouble::Calls(self.plan()),
            30..36 if runs => Trouble::CrashInNode(self.rng.usize(1..7)),
            36..39 if runs => Trouble::Cancel(self.rng.usize(1..7)),
            39..46 if runs && is_one_run => Trouble::Stop { nth: self.rng.usize(1..6), others: self.others() },
            46..54 if is_one_run && may_be_held(verb) => {
                let nth = if self.rng.bool() { 0 } else { self.rng.u32(1..5) };
                Trouble::Hold { nth, others: self.others() }
            }
            _ => Trouble::None,
        }
    }

    fn others(&mut self) -> Vec<u64> {
        (0..self.rng.usize(1..4)).map(|_| self.rng.u64(..)).collect()
    }

    /// A command that others give while a process is stopped, mostly one that takes its branch over.
    pub(crate) fn other(&mut self, (stopped, is_held): (&Command, bool)) -> Command {
        let mut command = self.command();
        if self.rng.u8(0..4) > 0 {
            command.thread = stopped.thread;
            command.spot = if self.rng.bool() { stopped.spot.clone() } else { self.spot(stopped.thread) };
            command.verb = self.verb(stopped.thread, &command.spot);
        }
        let confuses = match &command.verb {
            // What a verb makes of a thread that is not the one it has read is told nowhere.
            Verb::Delete => true,
            // Whether a moment is a tip was decided before.
            Verb::Reset { .. } | Verb::SetHead { .. } => is_at_moment(&stopped.verb),
            _ => false,
        };
        if is_held && confuses {
            command.verb = Verb::Discard;
        }
        command
    }

    fn plan(&mut self) -> Plan {
        let fault = match self.rng.u8(0..12) {
            0..2 => Fault::ErrorBefore,
            2..4 => Fault::ErrorAfter,
            4 => Fault::Delay(Duration::from_millis(self.rng.u64(1..25))),
            5 => Fault::Duplicate,
            6..9 => Fault::CrashBefore,
            _ => Fault::CrashAfter,
        };
        // Four in a row are more than the engine's patience.
        let times = if self.rng.bool() { 1 } else { 4 };
        let of = self.rng.choice(STRUCK).filter(|_| self.rng.u8(0..3) > 0);
        let nth = match of {
            Some(_) => self.rng.u32(0..3),
            None if self.rng.bool() => self.rng.u32(0..5),
            None => self.rng.u32(0..16),
        };
        Plan { of, nth, times, fault }
    }
}

/// Whether the model knows how a verb goes on whose first write was held.
fn may_be_held(verb: &Verb) -> bool {
    !matches!(verb, Verb::ForkTo { .. } | Verb::Untag { .. } | Verb::Delete | Verb::Answer(_))
}

fn is_at_moment(verb: &Verb) -> bool {
    matches!(
        verb,
        Verb::Fork { .. }
            | Verb::Replay { .. }
            | Verb::InputAt { .. }
            | Verb::Reset { .. }
            | Verb::Tag { .. }
            | Verb::Update(Update { at: Some(_), .. })
    )
}
