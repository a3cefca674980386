//! Measured figures of Stepmark: each beside the raw limit of the same machine, taken in turns in the same run.
//!
//! Started by `cargo xtask bench`. One file per benchmark, named after it; `graphs` is what they run, `raw` the limit,
//! `measure` and `report` how a figure comes about. Nothing here is needed by, or known to, the library crates.

mod arguments;
mod report;

mod p1;

mod graphs;
mod heap;
mod measure;
mod runtime;
mod watched;

use std::error::Error;
use std::process::ExitCode;

use arguments::{Arguments, HELP};
use report::Figure;

/// What a measurement comes to: a value, or a message for the person who started it.
type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

type Benchmark = fn(&Arguments) -> Result<Vec<Figure>>;

const BENCHMARKS: [(&str, Benchmark); 1] = [("P1", p1::run)];

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)).and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result {
    if arguments.help {
        report::line(HELP.trim_end());
        return Ok(());
    }
    let mut figures = Vec::new();
    for (id, benchmark) in BENCHMARKS {
        if arguments.wants(id) {
            let measured = benchmark(arguments)?;
            measured.iter().for_each(report::show);
            figures.extend(measured);
        }
    }
    if let Some(path) = &arguments.json {
        report::write_json(path, &figures)?;
    }
    Ok(())
}
