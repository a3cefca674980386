//! P9: what does it cost to read the latest state of a long conversation?
//!
//! A new handle reads the state at 2,000 turns. Raw: decoding the same value, already in memory, from one buffer. The calls
//! to the store are counted.

use stepmark::Sqlite;

use crate::ahead::Ahead;
use crate::arguments::Arguments;
use crate::graphs::{self, Message, ask};
use crate::measure::{self, timed};
use crate::report::Figure;
use crate::watched::Watched;
use crate::{Result, disk, runtime};

const MESSAGE_BYTES: usize = 1024;
/// How many of each are measured.
const READS: usize = 51;

/// P9.
pub(crate) fn run(arguments: &Arguments) -> Result<Vec<Figure>> {
    let turns = arguments.amount(2_000, 500) as usize;
    let directory = disk::directory()?;
    let path = directory.path().join("talk.db");
    let runtime = runtime::single()?;
    runtime.block_on(talk(&path, turns))?;
    let store = Watched::timing(Sqlite::open(&path)?);
    let app = graphs::conversation()?.with(store.clone());
    let buffer = rmp_serde::to_vec_named(&runtime.block_on(app.thread("talk").state())?.state().messages)?;
    let (mut ours, mut raw, mut ratios, mut calls) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..READS {
        store.take_traffic();
        let thread = app.thread("talk");
        let (read, snapshot) = timed(|| Ok(runtime.block_on(thread.state())?))?;
        drop(snapshot);
        calls.push(store.take_traffic().calls);
        let (decode, messages) = timed(|| Ok(rmp_serde::from_slice::<Vec<Message>>(&buffer)?))?;
        drop(messages);
        ours.push(read);
        raw.push(decode);
        ratios.push(read / decode);
    }
    let ratio = measure::median(&ratios);
    let most = calls.iter().copied().max().unwrap_or_default();
    let figure = Figure {
        id: "P9",
        work: format!("latest state of a thread of {turns} turns, SQLite"),
        value: measure::median(&ours),
        unit: "µs",
        raw: Some(measure::median(&raw)),
        ratio: Some(ratio),
        target: "≤ 2 × typed decode of the same value as one buffer; 1 call of the store".to_owned(),
        met: ratio <= 2.0 && calls.iter().all(|calls| *calls == 1),
        notes: Vec::new(),
    };
    Ok(vec![figure.note(format!("{most} call of the store at most; {} bytes in one buffer", buffer.len()))])
}

/// Has the conversation.
async fn talk(path: &std::path::Path, turns: usize) -> Result {
    let store = Ahead::new(Sqlite::open(path)?);
    let thread = graphs::conversation()?.with(store.clone()).thread("talk");
    for turn in 0..turns {
        thread.input(ask(turn, MESSAGE_BYTES)).run().await?;
    }
    Ok(store.settle().await?)
}
