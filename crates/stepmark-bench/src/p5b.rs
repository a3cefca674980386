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
/// How many of each are measured.
const TURNS: usize = 51;

/// P5b.
pub(crate) fn run(arguments: &Arguments) -> Result<Vec<Figure>> {
    let turns = arguments.amount(2_000, 500) as usize;
    let directory = disk::directory()?;
    let app = graphs::conversation()?.with(Sqlite::open(directory.path().join("talk.db"))?);
    let bench = Bench { runtime: runtime::single()?, resident: app.thread("resident"), app };
    bench.fill(turns)?;
    let buffer = bench.buffer()?;
    let mut figures = Vec::new();
    for turn in 0..TURNS {
        figures.push(bench.measure(turn, &buffer)?);
    }
    let middle = |of: &dyn Fn(&Measured) -> f64| measure::median(&figures.iter().map(of).collect::<Vec<_>>());
    let (decode, resident) = (middle(&|one| one.decode), middle(&|one| one.resident));
    let ratio = middle(&|one| one.loading / (one.decode + one.resident));
    let figure = Figure {
        id: "P5b",
        work: format!("a turn that loads its thread, {turns} turns"),
        value: middle(&|one| one.loading),
        unit: "µs",
        raw: Some(middle(&|one| one.decode + one.resident)),
        ratio: Some(ratio),
        target: "≤ 1.5 × typed decode of the state + P5a (shown as raw)".to_owned(),
        met: ratio <= 1.5,
        notes: Vec::new(),
    };
    let parts = format!(
        "reading the state alone {} µs; typed decode of {} bytes {} µs; resident turn {} µs",
        number(middle(&|one| one.read)),
        buffer.len(),
        number(decode),
        number(resident),
    );
    Ok(vec![figure.note(parts)])
}

/// One of each, in microseconds, taken one after another.
struct Measured {
    loading: f64,
    read: f64,
    decode: f64,
    resident: f64,
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

    fn measure(&self, turn: usize, buffer: &[u8]) -> Result<Measured> {
        let (loading, ()) = timed(|| self.turn(&self.app.thread("loaded"), turn))?;
        let (decode, messages) = timed(|| Ok(rmp_serde::from_slice::<Vec<Message>>(buffer)?))?;
        drop(messages);
        let (resident, ()) = timed(|| self.turn(&self.resident, turn))?;
        let loaded = self.app.thread("loaded");
        let (read, snapshot) = timed(|| Ok(self.runtime.block_on(loaded.state())?))?;
        drop(snapshot);
        Ok(Measured { loading, read, decode, resident })
    }

    /// The whole state as one encoded value.
    fn buffer(&self) -> Result<Vec<u8>> {
        let snapshot = self.runtime.block_on(self.resident.state())?;
        Ok(rmp_serde::to_vec_named(&snapshot.state().messages)?)
    }
}
