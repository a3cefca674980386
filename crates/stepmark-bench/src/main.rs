//! Measured figures of Stepmark: each beside the raw limit of the same machine, taken in turns in the same run.
//!
//! Started by `cargo xtask bench`. One file per benchmark, named after it; `graphs` is what they run, `raw` the limit,
//! `measure` and `report` how a figure comes about; `backends` is the same work on every store. Nothing here is needed by, or known to, the library crates.

mod arguments;
mod backends;
mod peers;
mod report;

mod p1;
mod p2;
mod p2_codec;
mod p4;
mod p5a;
mod p5b;
mod p5c;
mod p6;
mod p7;
mod p8;
mod p9;
mod p10;
mod p11;
mod p12;

mod ahead;
mod disk;
mod graphs;
mod heap;
mod measure;
mod process;
mod raw;
mod runtime;
mod watched;

use std::error::Error;
use std::process::ExitCode;

use arguments::{Arguments, HELP};
use report::Figure;

/// What a measurement comes to: a value, or a message for the person who started it.
type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

type Benchmark = fn(&Arguments) -> Result<Vec<Figure>>;

const BENCHMARKS: [(&str, Benchmark); 14] = [
    ("P1", p1::run),
    ("P2", p2::run),
    ("P2c", p2_codec::run),
    ("P4", p4::run),
    ("P5a", p5a::run),
    ("P5b", p5b::run),
    ("P5c", p5c::run),
    ("P6", p6::run),
    ("P7", p7::run),
    ("P8", p8::run),
    ("P9", p9::run),
    ("P10", p10::run),
    ("P11", p11::run),
    ("P12", p12::run),
];

type Part = fn(&[String]) -> Result;

/// What runs in a process of its own.
const PARTS: [(&str, Part); 5] = [
    ("loop", p2::part),
    ("conversation", p5a::part),
    ("victim", p10::victim),
    ("restart", p10::restart),
    ("raw-restart", p10::raw_restart),
];

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
    if let Some((name, rest)) = arguments.child.as_deref().and_then(<[String]>::split_first) {
        let part = PARTS.iter().find(|(part, _)| part == name).ok_or("there is no such part")?;
        return part.1(rest);
    }
    if arguments.peers {
        return peers::run(arguments);
    }
    if !arguments.backends.is_empty() {
        return backends::run(arguments);
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
