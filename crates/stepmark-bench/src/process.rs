//! What does the system know of a process, and how is a part of a benchmark run in a process of its own?

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::Result;

/// Bytes that this process has handed to the system to write since it began; 0 where the system does not say.
pub(crate) fn bytes_written() -> f64 {
    field("/proc/self/io", "wchar:").unwrap_or_default()
}

/// Memory of this process that is in RAM, in bytes; 0 where the system does not say.
pub(crate) fn resident_bytes() -> f64 {
    field("/proc/self/status", "VmRSS:").map_or(0.0, |kilobytes| kilobytes * 1024.0)
}

fn field(file: &str, name: &str) -> Option<f64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// This program again, as a part of a benchmark.
pub(crate) fn part(name: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--child").arg(name).args(arguments);
    Ok(command)
}

/// Starts a part whose output is read.
pub(crate) fn start(name: &str, arguments: &[&str]) -> Result<Child> {
    Ok(part(name, arguments)?.stdout(Stdio::piped()).spawn()?)
}

/// What a part printed; an error if it failed.
pub(crate) fn output(name: &str, arguments: &[&str]) -> Result<String> {
    let output = part(name, arguments)?.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the part `{name}` failed: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// How often a part calls fsync or fdatasync; absent without strace.
pub(crate) fn fsyncs(name: &str, arguments: &[&str], directory: &Path) -> Result<Option<u64>> {
    let summary = directory.join("strace.txt");
    let part = part(name, arguments)?;
    let traced = Command::new("strace")
        .args(["-f", "-c", "-e", "trace=fsync,fdatasync", "-o"])
        .arg(&summary)
        .arg(part.get_program())
        .args(part.get_args())
        .stdout(Stdio::null())
        .status();
    match traced {
        Err(_) => Ok(None),
        Ok(status) if !status.success() => Err(format!("the part `{name}` failed under strace: {status}").into()),
        Ok(_) => Ok(Some(calls(&std::fs::read_to_string(summary)?))),
    }
}

/// Sums the calls of strace's table: `% time, seconds, usecs/call, calls, [errors,] syscall`.
fn calls(summary: &str) -> u64 {
    let rows = summary.lines().filter(|line| line.ends_with(" fsync") || line.ends_with(" fdatasync"));
    rows.filter_map(|row| row.split_whitespace().nth(3)?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::calls;

    #[test]
    fn calls_of_both_kinds_are_counted() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n \
                     99.15    0.002341          11       207           fdatasync\n  \
                     0.85    0.000020          20         1         1 fsync\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     100.00    0.002361          11       208         1 total\n";
        assert_eq!(calls(table), 208);
    }
}
