//! `cargo xtask fuzz`: gives every decoder of stored bytes bytes that nobody wrote, for a bounded time each.
//!
//! The targets are those of `fuzz/`, laid out as `cargo fuzz` wants them. They hold no `unsafe`, so they need no sanitizer,
//! and the flags for coverage are known to every toolchain: neither a nightly one nor `cargo fuzz` is asked for. A C++
//! compiler is: libFuzzer is built from its sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process;
use crate::{Outcome, printer, workspace};

/// How long a target runs unless told otherwise.
const SECONDS: u32 = 10;
/// Records are short; longer inputs only run slower.
const INPUT_BYTES_MAX: u32 = 4096;

/// What makes a program tell libFuzzer which ways it took, as `cargo fuzz` passes it.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Orders {
    /// All where none is named.
    targets: Vec<String>,
    seconds: u32,
}

/// Builds the targets and runs them one after the other, until one fails.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let orders = parse(arguments)?;
    if !has_compiler() {
        printer::talk("fuzz: nothing was run, because libFuzzer needs a C++ compiler and there is no `c++` here");
        return Ok(());
    }
    let directory = workspace::root()?.join("fuzz");
    let targets = chosen(&directory, orders.targets)?;
    let examples = examples(&fs::read_to_string(workspace::root()?.join("docs/format.md"))?);
    let host = host()?;
    // A target triple keeps the flags away from build scripts.
    let build = ["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", &host];
    process::run_cargo_with(&build, &[("RUSTFLAGS", COVERAGE)])?;
    for target in &targets {
        let program = directory.join("target").join(&host).join("release").join(target);
        run_target(&directory, (target, &program), (&examples, orders.seconds))?;
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Outcome<Orders> {
    let mut orders = Orders { targets: Vec::new(), seconds: SECONDS };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => {
                let seconds = arguments.next().and_then(|seconds| seconds.parse().ok());
                orders.seconds = seconds.ok_or("`--seconds` takes a number")?;
            }
            unknown if unknown.starts_with('-') => return Err(format!("`fuzz` has no option `{unknown}`").into()),
            target => orders.targets.push(target.to_owned()),
        }
    }
    Ok(orders)
}

fn has_compiler() -> bool {
    let ended = Command::new("c++").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    ended.is_ok_and(|status| status.success())
}

/// The machine's own target triple.
fn host() -> Outcome<String> {
    let output = Command::new("rustc").arg("-vV").current_dir(workspace::root()?).output()?;
    let told = String::from_utf8(output.stdout)?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc does not say which machine this is")?.to_owned())
}

/// The named targets, or all there are.
fn chosen(directory: &Path, named: Vec<String>) -> Outcome<Vec<String>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory.join("fuzz_targets"))? {
        all.extend(entry?.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    all.sort();
    match named.iter().find(|name| !all.contains(name)) {
        Some(unknown) => Err(format!("there is no target `{unknown}`; there are {}", all.join(", ")).into()),
        None if named.is_empty() => Ok(all),
        None => Ok(named),
    }
}

/// The records that the description of the format draws: each block of hexadecimal digits, and each of its lines.
fn examples(format: &str) -> Vec<Vec<u8>> {
    let mut examples = Vec::new();
    for block in format.split("```").skip(1).step_by(2) {
        examples.extend(bytes(block));
        if block.trim().lines().count() > 1 {
            examples.extend(block.lines().filter_map(bytes));
        }
    }
    examples
}

/// The bytes that a text draws, if it draws any and nothing else.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().filter(|char| !char.is_whitespace());
    let digits: Vec<u32> = digits.map(|char| char.to_digit(16)).collect::<Option<_>>()?;
    let is_whole = !digits.is_empty() && digits.len().is_multiple_of(2);
    is_whole.then(|| digits.chunks(2).filter_map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect())
}

fn run_target(
    directory: &Path,
    (target, program): (&str, &PathBuf),
    (examples, seconds): (&[Vec<u8>], u32),
) -> Outcome {
    let (corpus, artifacts) = (directory.join("corpus").join(target), directory.join("artifacts").join(target));
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&artifacts)?;
    for (number, example) in examples.iter().enumerate() {
        fs::write(corpus.join(format!("drawn-{number}")), example)?;
    }
    let mut command = Command::new(program);
    command.arg(&corpus).arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={INPUT_BYTES_MAX}"));
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    // A target that knows better examples adds them.
    command.env("STEPMARK_FUZZ_CORPUS", &corpus);
    let output = command.stdin(Stdio::null()).output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("target {target} failed ({}):\n{told}", output.status).into());
    }
    let done = told.lines().rev().find(|line| line.starts_with("Done ")).unwrap_or("Done");
    printer::talk(&format!("fuzz {target}: {done}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Orders, SECONDS, bytes, examples, parse};

    #[test]
    fn drawn_records_are_read_whole_and_by_line() {
        let drawn = "text\n```\n01 0203\nff\n```\nmore\n```\nid: 01\n```\n";
        assert_eq!(examples(drawn), [vec![1, 2, 3, 255], vec![1, 2, 3], vec![255]]);
        assert_eq!(bytes("012"), None);
    }

    #[test]
    fn the_format_draws_records() {
        let drawn = examples(include_str!("../../docs/format.md"));
        assert!(drawn.len() > 30, "{}", drawn.len());
        let manifest = [&[0x3d, 1, 1, 2, b'c', b'0'][..], b"x\0\0"];
        assert!(drawn.iter().any(|example| example.starts_with(manifest[0]) && example.ends_with(manifest[1])));
    }

    #[test]
    fn targets_and_their_time_are_asked_for() {
        let arguments = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let orders = parse(&arguments("memo --seconds 3")).expect("sound");
        assert_eq!(orders, Orders { targets: vec!["memo".to_owned()], seconds: 3 });
        assert_eq!(parse(&[]).expect("sound").seconds, SECONDS);
        assert!(parse(&arguments("--second 3")).is_err());
    }
}
