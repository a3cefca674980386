//! P8: does looking at a thread, or forking it, cost the same however long it is?
//!
//! The same questions to threads of 100, 10,000 and 1,000,000 checkpoints, each in a file of its own, in turns: warm, and
//! cold, as the first question after the file was opened.

use std::path::{Path, PathBuf};

use stepmark::store::CheckpointStore;
use stepmark::{Sqlite, Thread};
use tokio::runtime::Runtime;

use crate::ahead::Ahead;
use crate::arguments::Arguments;
use crate::graphs::{self, Counter, until};
use crate::measure::{self, timed};
use crate::report::{Figure, number};
use crate::{Result, disk, runtime};

/// Checkpoints of the shorter threads.
const SIZES: [u32; 2] = [100, 10_000];
pub(crate) const PAGE: u32 = 10;
const WARM_ROUNDS: usize = 51;
const COLD_ROUNDS: usize = 15;
/// What still counts as flat: two more levels of a tree are not free.
const FLAT: f64 = 1.5;
/// Pages of the log while a thread is made.
const LOG_PAGES: u32 = 10_000;

/// P8.
pub(crate) fn run(arguments: &Arguments) -> Result<Vec<Figure>> {
    let directory = disk::directory()?;
    let runtime = runtime::single()?;
    let largest = arguments.amount(1_000_000, 100_000);
    let mut files = Vec::new();
    for checkpoints in SIZES.into_iter().chain([largest]) {
        files.push(File::create(directory.path(), checkpoints, &runtime)?);
    }
    Question::ALL.into_iter().map(|question| judge(question, &files, &runtime)).collect()
}

/// A file with one thread.
struct File {
    path: PathBuf,
    checkpoints: u32,
    tip: String,
    middle: String,
}

impl File {
    fn create(directory: &Path, checkpoints: u32, runtime: &Runtime) -> Result<Self> {
        let path = directory.join(format!("{checkpoints}.db"));
        let store = Ahead::new(Sqlite::options().wal_checkpoint_pages(LOG_PAGES).open(&path)?);
        let thread = graphs::plain_loop()?.with(store.clone()).thread("p8");
        runtime.block_on(async {
            // The input is a checkpoint too.
            thread.input(until(u64::from(checkpoints) - 1)).run().await?;
            store.settle().await?;
            let tip = thread.history().limit(1).await?;
            let middle = thread.history().from_step(u64::from(checkpoints) / 2).limit(1).await?;
            let [tip, middle] = [tip, middle].map(|page| page.first().map(|one| (one.step, one.id.to_string())));
            let (Some((step, tip)), Some((_, middle))) = (tip, middle) else {
                return Err("the thread is empty".into());
            };
            if step + 1 != u64::from(checkpoints) {
                return Err(format!("the thread has {} checkpoints instead of {checkpoints}", step + 1).into());
            }
            Ok(Self { path, checkpoints, tip, middle })
        })
    }

    /// A handle of its own connections.
    fn open(&self) -> Result<Thread<Counter>> {
        Ok(graphs::plain_loop()?.with(Sqlite::open(&self.path)?).thread("p8"))
    }
}

/// Milliseconds of the first page of a history, and of a fork in its middle with an input and one step.
pub(crate) fn page_and_fork(directory: &Path, checkpoints: u32, rounds: usize) -> Result<(f64, f64)> {
    let runtime = runtime::single()?;
    let file = File::create(directory, checkpoints, &runtime)?;
    let thread = file.open()?;
    let target = u64::from(checkpoints) / 2 + 1;
    let (mut pages, mut forks) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        pages.push(timed(|| runtime.block_on(Question::PageByBranch.ask(&thread, &file, "")))?.0 / 1e3);
        let fork = thread.at(&file.middle).input(until(target));
        forks.push(timed(|| Ok(runtime.block_on(fork.run())?))?.0 / 1e3);
    }
    Ok((measure::median(&pages), measure::median(&forks)))
}

/// The same on any store. Its thread is made as a run makes it: only SQLite's queue keeps the order of commits that do not wait for
/// each other.
pub(crate) async fn page_and_fork_on(
    store: impl CheckpointStore + Clone + 'static,
    checkpoints: u32,
    rounds: usize,
) -> Result<(f64, f64)> {
    let thread = graphs::plain_loop()?.with(store).thread("p8");
    thread.input(until(u64::from(checkpoints) - 1)).run().await?;
    let middle = thread.history().from_step(u64::from(checkpoints) / 2).limit(1).await?;
    let middle = middle.first().ok_or("the thread is empty")?.id.to_string();
    let (mut pages, mut forks) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let start = measure::now();
        thread.history().limit(PAGE).await?;
        pages.push(measure::micros_since(start) / 1e3);
        let start = measure::now();
        thread.at(&middle).input(until(u64::from(checkpoints) / 2 + 1)).run().await?;
        forks.push(measure::micros_since(start) / 1e3);
    }
    Ok((measure::median(&pages), measure::median(&forks)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    PageByBranch,
    PageByStep,
    PageById,
    Latest,
    Fork,
}

impl Question {
    const ALL: [Self; 5] = [Self::PageByBranch, Self::PageByStep, Self::PageById, Self::Latest, Self::Fork];

    fn work(self) -> &'static str {
        match self {
            Self::PageByBranch => "history page of 10 by branch",
            Self::PageByStep => "history page of 10 from the middle step",
            Self::PageById => "history page of 10 from the middle checkpoint's id",
            Self::Latest => "metadata of the latest state",
            Self::Fork => "fork at the tip (durable)",
        }
    }

    /// Asks; `name` is one that no fork has.
    async fn ask(self, thread: &Thread<Counter>, file: &File, name: &str) -> Result {
        let found = match self {
            Self::PageByBranch => thread.history().limit(PAGE).await?.len(),
            Self::PageByStep => thread.history().from_step(u64::from(file.checkpoints) / 2).limit(PAGE).await?.len(),
            Self::PageById => thread.at(&file.middle).history().limit(PAGE).await?.len(),
            Self::Latest => {
                thread.at(&file.tip).info().await?;
                return Ok(());
            }
            Self::Fork => {
                thread.at(&file.tip).fork(name).await?;
                return Ok(());
            }
        };
        if found == PAGE as usize { Ok(()) } else { Err(format!("a page of {found}").into()) }
    }
}

/// Figures of one question: by file, then by round, in microseconds.
type Rounds = Vec<Vec<f64>>;

fn judge(question: Question, files: &[File], runtime: &Runtime) -> Result<Figure> {
    let (cold, warm) = (cold(question, files, runtime)?, warm(question, files, runtime)?);
    let (cold_ratio, warm_ratio) = (ratio(&cold), ratio(&warm));
    let medians = |rounds: &Rounds| rounds.iter().map(|file| measure::median(file)).collect::<Vec<_>>();
    let (cold, warm) = (medians(&cold), medians(&warm));
    let sizes: Vec<String> = files.iter().map(|file| file.checkpoints.to_string()).collect();
    let line = |name: &str, figures: &[f64], ratio: f64| {
        let figures: Vec<String> = figures.iter().copied().map(number).collect();
        format!("{name}, at {} checkpoints: {} µs, ratio {ratio:.2}", sizes.join(" / "), figures.join(" / "))
    };
    let notes = vec![line("cold", &cold, cold_ratio), line("warm", &warm, warm_ratio)];
    Ok(Figure {
        id: "P8",
        work: format!("{}, {} checkpoints, warm", question.work(), sizes.last().map_or("", String::as_str)),
        value: warm.last().copied().unwrap_or_default(),
        unit: "µs",
        raw: warm.first().copied(),
        ratio: Some(warm_ratio),
        target: format!("flat: cold and warm ≤ {FLAT} × a thread of {} (shown as raw)", SIZES[0]),
        met: warm_ratio <= FLAT && cold_ratio <= FLAT,
        notes,
    })
}

/// The median of the rounds' own ratios, largest to smallest.
fn ratio(rounds: &Rounds) -> f64 {
    let (Some(smallest), Some(largest)) = (rounds.first(), rounds.last()) else { return 0.0 };
    measure::median(&largest.iter().zip(smallest).map(|(large, small)| large / small).collect::<Vec<_>>())
}

/// The first question after a file was opened; the system may still have its pages in memory.
fn cold(question: Question, files: &[File], runtime: &Runtime) -> Result<Rounds> {
    let mut figures = vec![Vec::new(); files.len()];
    for round in 0..COLD_ROUNDS {
        for (file, figures) in files.iter().zip(&mut figures) {
            let (thread, name) = (file.open()?, format!("cold {round}"));
            figures.push(timed(|| runtime.block_on(question.ask(&thread, file, &name)))?.0);
        }
    }
    Ok(figures)
}

fn warm(question: Question, files: &[File], runtime: &Runtime) -> Result<Rounds> {
    let threads = files.iter().map(File::open).collect::<Result<Vec<_>>>()?;
    let mut figures = vec![Vec::new(); files.len()];
    for round in 0..=WARM_ROUNDS {
        for ((file, thread), figures) in files.iter().zip(&threads).zip(&mut figures) {
            let name = format!("warm {round}");
            figures.push(timed(|| runtime.block_on(question.ask(thread, file, &name)))?.0);
        }
    }
    // The first round was to get warm.
    Ok(figures.into_iter().map(|mut rounds| rounds.split_off(1)).collect())
}
