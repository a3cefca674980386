//! How far this process has come: the count behind `inspected I`, the progress bar, and crashes on demand.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use crate::package::{Package, PackageId};

/// Where a process can be told to kill itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Point {
    /// The packages are inspected, none is judged.
    Assess,
    /// An answer is stored, nothing has used it.
    Answer,
    /// A node has an answer, and has not finished.
    Decide,
    /// The branch of another policy is there; it has still the old one.
    Fork,
    /// Everything is decided, no report is written.
    Report,
}

/// When a process ends or halts itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Halt {
    pub crash_after: Option<NonZeroUsize>,
    pub crash_at: Option<Point>,
    pub stop_after: Option<NonZeroUsize>,
}

/// Counts the packages that this process, and no earlier one, has inspected.
#[derive(Debug)]
pub struct Meter {
    inspected: AtomicUsize,
    halt: Halt,
    bar: ProgressBar,
}

impl Meter {
    /// A meter that halts the process where it is told to.
    pub fn new(halt: Halt) -> Self {
        // Drawn on standard error, and only if that is a terminal.
        let bar = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        Self { inspected: AtomicUsize::new(0), halt, bar }
    }

    /// Counts the inspection of one of `packages`. Does not return if it is the one to crash after.
    pub fn count(&self, package: &PackageId, packages: &[Package]) {
        let inspected = self.inspected.fetch_add(1, Ordering::Relaxed) + 1;
        // Packages are begun in their order, so the place of one says how far the audit is, earlier processes included.
        let place = packages.partition_point(|it| it.id <= *package) as u64;
        self.bar.set_length(packages.len() as u64);
        self.bar.set_position(self.bar.position().max(place));
        self.bar.set_message(package.to_string());
        if self.halt.crash_after.is_some_and(|limit| inspected >= limit.get()) {
            kill_this_process();
        }
        if self.halt.stop_after.is_some_and(|limit| inspected == limit.get()) {
            stop_this_process();
        }
    }

    /// Does not return if this is the place to crash at.
    pub fn pass(&self, point: Point) {
        if self.halt.crash_at == Some(point) {
            kill_this_process();
        }
    }

    pub fn inspected(&self) -> usize {
        self.inspected.load(Ordering::Relaxed)
    }

    /// Takes the bar from the terminal.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// No destructor runs, no buffer is flushed: what is not durable now is lost.
#[cfg(unix)]
fn kill_this_process() -> ! {
    use rustix::process::{Signal, getpid, kill_process};
    // SIGKILL cannot be caught, and a process may always send it to itself.
    let refused = kill_process(getpid(), Signal::KILL);
    panic!("this process survived SIGKILL: {refused:?}");
}

/// Every thread of the process stands still until somebody sends SIGCONT.
#[cfg(unix)]
fn stop_this_process() {
    use rustix::process::{Signal, getpid, kill_process};
    if let Err(error) = kill_process(getpid(), Signal::STOP) {
        panic!("this process cannot stop: {error}");
    }
}

#[cfg(not(unix))]
fn stop_this_process() {}

#[cfg(not(unix))]
fn kill_this_process() -> ! {
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn every_inspection_is_counted() {
        let meter = Meter::new(Halt::default());
        let packages = ["ant", "bee", "cow"].map(samples::package);
        meter.count(&samples::id("cow"), &packages);
        meter.count(&samples::id("bee"), &packages);
        assert_eq!((meter.inspected(), meter.bar.position()), (2, 3));
    }
}
