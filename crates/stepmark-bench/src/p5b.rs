//! P5b: what does a turn cost when the thread is loaded for it?
//!
//! A new handle for every turn at 2,000 turns. Raw: decoding the same state from one buffer, plus a turn of a handle that
//! keeps its state.

use stepmark::{App, Sqlite, Thread};

use crate::arguments::Arguments;
use crate::graphs::{self, Chat, Message, ask};
use crate::measure::{self, timed};
use crate::report::{Figure, number};
use crate::{Result, disk, runtime};

const MESSAGE_BYTES: usize = 1024;
/// Turns of each kind in one measurement.
const TURNS: usize = 10;

/// P5b.
pub(crate) fn run(arguments: &Arguments) -> Result<Vec<Figure>> {
    let turns = arguments.amount(2_000, 500) as usize;
    let directory = disk::directory()?;
    let app = graphs::conversation()?.with(Sqlite::open(directory.path().join("talk.db"))?);
    let bench = Bench { runtime: runtime::single()?, resident: app.thread("resident"), app };
    bench.fill(turns)?;
    let buffer = bench.buffer()?;
    let mut parts = (Vec::new(), Vec::new());
    let raw = |_| {
        let decode = decode(&buffer)?;
        let turn = bench.resident_turns()?;
        parts.0.push(decode);
        parts.1.push(turn);
        Ok(decode + turn)
    };
    let pairs = measure::pairs(|_| bench.loading_turns(), raw)?;
    let figure = Figure {
        id: "P5b",
        work: format!("a turn that loads its thread, {turns} turns"),
        value: pairs.ours,
        unit: "µs",
        raw: Some(pairs.raw),
        ratio: Some(pairs.ratio),
        target: "≤ 1.5 × typed decode of the state + P5a (shown as raw)".to_owned(),
        met: pairs.ratio <= 1.5,
        notes: Vec::new(),
    };
    let (decode, turn) = (number(measure::median(&parts.0)), number(measure::median(&parts.1)));
    let parts = format!("typed decode of {} bytes {decode} µs, resident turn {turn} µs", buffer.len());
    Ok(vec![figure.note(parts)])
}

struct Bench {
    runtime: tokio::runtime::Runtime,
    app: App<Chat>,
    resident: Thread<Chat>,
}

impl Bench {
    /// Two equal conversations: one is loaded for each turn, the other stays with its handle.
    fn fill(&self, turns: usize) -> Result {
        let loaded = self.app.thread("loaded");
        for turn in 0..turns {
            self.turn(&loaded, turn)?;
            self.turn(&self.resident, turn)?;
        }
        Ok(())
    }

    fn turn(&self, thread: &Thread<Chat>, turn: usize) -> Result {
        self.runtime.block_on(thread.input(ask(turn, MESSAGE_BYTES)).run())?;
        Ok(())
    }

    fn loading_turns(&self) -> Result<f64> {
        mean(|turn| self.turn(&self.app.thread("loaded"), turn))
    }

    fn resident_turns(&self) -> Result<f64> {
        mean(|turn| self.turn(&self.resident, turn))
    }

    /// The whole state as one encoded value.
    fn buffer(&self) -> Result<Vec<u8>> {
        let snapshot = self.runtime.block_on(self.resident.state())?;
        Ok(rmp_serde::to_vec_named(&snapshot.state().messages)?)
    }
}

fn decode(buffer: &[u8]) -> Result<f64> {
    mean(|_| {
        let messages: Vec<Message> = rmp_serde::from_slice(buffer)?;
        drop(std::hint::black_box(messages));
        Ok(())
    })
}

/// Microseconds per call.
fn mean(mut work: impl FnMut(usize) -> Result) -> Result<f64> {
    let (micros, ()) = timed(|| (0..TURNS).try_for_each(&mut work))?;
    Ok(micros / TURNS as f64)
}
