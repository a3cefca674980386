//! P2 behind a codec: what do compression and encryption add to a durable super-step?
//!
//! The loop of P2, whose values are small, and the same loop with a document of 24 KiB that every step rewrites. Each beside
//! itself without a codec, in turns.

use serde::{Deserialize, Serialize};
use stepmark::store::CheckpointStore;
use stepmark::store::codec::{Codec, Key, MasterKeys};
use stepmark::{Add, App, END, Graph, Route, Snap, Sqlite, State, Update, to};

use crate::arguments::Arguments;
use crate::measure::{self, Pairs, timed};
use crate::report::Figure;
use crate::{Result, disk, graphs, runtime};

/// How many bytes the document has.
const DOCUMENT_BYTES: usize = 24 * 1024;

#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
struct Writer {
    #[reduce(Add)]
    steps: u64,
    target: u64,
    document: String,
}

/// A text of words that come again, but not always in the same order.
fn document(step: u64) -> String {
    let words = ["durable", "graph", "state", "branch", "checkpoint", "agent", "value", "step"];
    let mut text = String::with_capacity(DOCUMENT_BYTES + 16);
    let mut number = step;
    while text.len() < DOCUMENT_BYTES {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.push_str(words[(number >> 33) as usize % words.len()]);
        text.push(' ');
    }
    text
}

async fn write(writer: Snap<Writer>) -> Update<Writer> {
    let mut update = writer.update();
    update.steps.add(1);
    update.document.set(document(writer.steps));
    update
}

fn writing() -> Result<App<Writer>> {
    let mut graph = Graph::<Writer>::new("writing");
    let write = graph.node("write", write);
    graph.start(write);
    graph.branch(
        write,
        to![write, END],
        move |writer: &Writer| {
            if writer.steps < writer.target { Route::from(write) } else { Route::END }
        },
    );
    Ok(graph.build()?.steps_max(u64::MAX))
}

fn small(store: impl CheckpointStore, steps: u64) -> Result<f64> {
    let (app, runtime) = (graphs::plain_loop()?.with(store), runtime::single()?);
    let (micros, _) = timed(|| Ok(runtime.block_on(app.thread("p2").input(graphs::until(steps)).run())?))?;
    Ok(micros / steps as f64)
}

fn large(store: impl CheckpointStore, steps: u64) -> Result<f64> {
    let (app, runtime) = (writing()?.with(store), runtime::single()?);
    let thread = app.thread("p2");
    let input = thread.input(|writer| writer.target.set(steps));
    let (micros, _) = timed(|| Ok(runtime.block_on(input.run())?))?;
    Ok(micros / steps as f64)
}

/// The same loop through a codec and without one.
fn beside(coded: impl Fn(Sqlite) -> Result<f64>, plain: impl Fn(Sqlite) -> Result<f64>) -> Result<Pairs> {
    let directory = disk::directory()?;
    let open = |kind: &str, turn: usize| Sqlite::open(directory.path().join(format!("{kind}{turn}.db")));
    measure::pairs(|turn| coded(open("coded", turn)?), |turn| plain(open("plain", turn)?))
}

/// P2 with codecs.
pub(crate) fn run(arguments: &Arguments) -> Result<Vec<Figure>> {
    let steps = u64::from(arguments.amount(2_000, 300));
    let fewer = steps / 4;
    let compressing = || Codec::new().compressed();
    let keys = MasterKeys::new(Key::random()?);
    let sealing = || compressing().sealed(keys.clone());
    let compressed = beside(|store| small(compressing().around(store), steps), |store| small(store, steps))?;
    let sealed = beside(|store| small(sealing().around(store), steps), |store| small(store, steps))?;
    let texts = beside(|store| large(compressing().around(store), fewer), |store| large(store, fewer))?;
    let sealed_texts = beside(|store| large(sealing().around(store), fewer), |store| large(store, fewer))?;
    let figure = Figure {
        id: "P2c",
        work: format!("durable super-step with compression, SQLite, {steps} steps"),
        value: compressed.ours,
        unit: "µs",
        raw: Some(compressed.raw),
        ratio: Some(compressed.ratio),
        target: "≤ 1.10 × without".to_owned(),
        met: compressed.ratio <= 1.10,
        notes: Vec::new(),
    };
    let line = |what: &str, pairs: Pairs| format!("{what}: {:.1} µs, {:.2} × without", pairs.ours, pairs.ratio);
    let figure = figure.note(line("compressed and sealed", sealed));
    let figure = figure.note(line("a text of 24 KiB rewritten by every step, compressed", texts));
    Ok(vec![figure.note(line("the same compressed and sealed", sealed_texts))])
}
