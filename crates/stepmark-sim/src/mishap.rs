//! What happens to a process?

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::{Either, join, select};
use stepmark::{Durability, Thread};
use stepmark_conformance::call::CallKind;

use crate::clock::now;
use crate::drive::Driven;
use crate::faults::{self, Fault, Plan};
use crate::process::{Process, Site};
use crate::state::Trail;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Mishap {
    /// Its store calls fail.
    Calls(Plan),
    /// It dies after so many things happened in its nodes.
    Dies(u64),
    /// Its future is dropped at that poll.
    Dropped(u64),
    /// It is told to end after so many things happened.
    Drained(u64),
    /// Before its nth write it stalls, another process takes everything over, and then it goes on.
    Overtaken(u32),
}

/// How much happens in a run in peace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) calls: u32,
    pub(crate) events: u64,
    pub(crate) polls: u64,
}

/// What came of a process.
pub(crate) enum Fate {
    Ended(Driven),
    Died,
}

/// The calls at which a fault strikes where it is to strike a chosen one.
const STRUCK: [CallKind; 8] = [
    CallKind::Commit,
    CallKind::Child,
    CallKind::Claim,
    CallKind::Flush,
    CallKind::Answer,
    CallKind::RunRecord,
    CallKind::Intent,
    CallKind::Outcome,
];

impl Mishap {
    pub(crate) fn by(chance: &mut Rng, size: Size) -> Self {
        match chance.u8(..12) {
            0..5 => Self::Calls(plan(chance, size)),
            5..7 => Self::Dies(chance.u64(1..=size.events)),
            7..9 => Self::Dropped(chance.u64(1..=size.polls)),
            9 => Self::Drained(chance.u64(1..=size.events)),
            _ => Self::Overtaken(chance.u32(..size.calls)),
        }
    }
}

fn plan(chance: &mut Rng, size: Size) -> Plan {
    let fault = match chance.u8(..12) {
        0 => Fault::ErrorBefore,
        1 => Fault::ErrorAfter,
        2 => Fault::Delay(Duration::from_millis(chance.u64(1..25))),
        3 => Fault::Duplicate,
        4..8 => Fault::CrashBefore,
        _ => Fault::CrashAfter,
    };
    // Four in a row are more than the engine's patience.
    let times = if chance.bool() { 1 } else { 4 };
    let of = chance.choice(STRUCK).filter(|_| chance.u8(..3) > 0);
    let nth = if of.is_some() { chance.u32(..6) } else { chance.u32(..size.calls) };
    Plan { of, nth, times, fault }
}

impl Process {
    /// Drives a line while a mishap happens to the process.
    pub(crate) async fn suffer(mut self, mishap: Mishap, (site, line): (&Site, Line<'_>), inputs: u64) -> Fate {
        let thread = line.of(&self);
        match mishap {
            Mishap::Calls(plan) => {
                self.calls.plan(Some(plan));
                let fate = self.until(self.calls.crashed(), &thread, inputs).await;
                let how = if matches!(fate, Fate::Died) { "crash" } else { "fault" };
                for kind in self.calls.plan(None) {
                    self.lab.meet(format!("{} at {kind:?}", faults::name(plan.fault)));
                }
                self.lab.meet(format!("{how}: {}", faults::name(plan.fault)));
                fate
            }
            Mishap::Dies(events) => self.until(self.lab.after(events), &thread, inputs).await,
            Mishap::Dropped(at) => {
                let dropped = dropped_at(at, Box::pin(self.drive(&thread, inputs))).await;
                dropped.map_or_else(|| self.die("dropped"), Fate::Ended)
            }
            Mishap::Drained(events) => {
                let drive = pin!(self.drive(&thread, inputs));
                let told = pin!(self.lab.after(events));
                Fate::Ended(match select(told, drive).await {
                    Either::Left(((), drive)) => {
                        self.app.drain();
                        drive.await
                    }
                    Either::Right((driven, _)) => driven,
                })
            }
            Mishap::Overtaken(write) => {
                // Without a name, an input that was held is a further one.
                (self.has_rivals, self.yields, self.manner.names_runs) = (true, true, true);
                self.calls.hold(write);
                Fate::Ended(Box::pin(self.overtaken((site, line), &thread, inputs)).await)
            }
        }
    }

    /// Drives until the process dies.
    async fn until(&self, death: impl Future<Output = ()>, thread: &Thread<Trail>, inputs: u64) -> Fate {
        let fate = match select(pin!(death), pin!(self.drive(thread, inputs))).await {
            Either::Left(_) => None,
            Either::Right((driven, _)) => Some(driven),
        };
        fate.map_or_else(|| self.die("crash"), Fate::Ended)
    }

    fn die(&self, how: &str) -> Fate {
        self.lab.died(how);
        if self.manner.durability == Durability::Sync {
            // A result waits so long before it is stored; a timer is a little late.
            self.lab.fix(now() - self.manner.linger - Duration::from_millis(2));
        }
        Fate::Died
    }

    async fn overtaken(&self, (site, line): (&Site, Line<'_>), thread: &Thread<Trail>, inputs: u64) -> Driven {
        let drive = pin!(self.drive(thread, inputs));
        match select(pin!(self.calls.held()), drive).await {
            Either::Left(((), drive)) => {
                self.lab.meet("overtaken");
                let rival = async {
                    let mut rival = site.start(line.number);
                    (rival.has_rivals, rival.manner.names_runs) = (true, true);
                    let driven = rival.drive(&line.of(&rival), inputs).await;
                    self.calls.release();
                    driven
                };
                let both = match join(rival, drive).await {
                    (rival, Driven::Refused) => (rival, self.drive(thread, inputs).await),
                    both => both,
                };
                match both {
                    (Driven::Done(one), Driven::Done(other)) if one != other => {
                        Driven::Wrong(format!("a rival saw {one:?} and the other process {other:?}"))
                    }
                    (Driven::Done(_), driven) => driven,
                    (rival, _) => rival,
                }
            }
            Either::Right((driven, _)) => driven,
        }
    }
}

/// A line of the thread: its own, or that of a branch.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) number: u32,
    pub(crate) branch: Option<&'a str>,
}

impl Line<'_> {
    pub(crate) fn of(self, process: &Process) -> Thread<Trail> {
        let thread = process.thread();
        self.branch.map_or_else(|| process.thread(), |branch| thread.branch(branch))
    }
}

/// Polls `work` until a certain poll, before which it is dropped.
async fn dropped_at<F: Future>(at: u64, work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    let mut polls = 0;
    poll_fn(|context| {
        polls += 1;
        if polls == at { Poll::Ready(None) } else { work.as_mut().poll(context).map(Some) }
    })
    .await
}

/// The same to the end, with the number of polls.
pub(crate) async fn counted<F: Future>(work: F) -> (F::Output, u64) {
    let mut work = pin!(work);
    let mut polls = 0;
    poll_fn(|context| {
        polls += 1;
        work.as_mut().poll(context).map(|output| (output, polls))
    })
    .await
}
