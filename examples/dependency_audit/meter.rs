//! How far this process has come: the count behind `inspected I`, the progress bar, and the crash on demand.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

/// Counts the packages that this process, and no earlier one, has inspected.
#[derive(Debug)]
pub struct Meter {
    inspected: AtomicUsize,
    crash_after: Option<NonZeroUsize>,
    bar: ProgressBar,
}

impl Meter {
    /// A meter that kills the process at the given count, if one is given.
    pub fn new(crash_after: Option<NonZeroUsize>) -> Self {
        // Drawn on standard error, and only if that is a terminal.
        Self { inspected: AtomicUsize::new(0), crash_after, bar: ProgressBar::no_length() }
    }

    /// Says how many packages there are, and how many of them an earlier process has inspected.
    pub fn expect(&self, packages: usize, reused: usize) {
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}") {
            self.bar.set_style(style);
        }
        self.bar.set_length(packages as u64);
        self.bar.set_position(reused as u64);
    }

    /// Counts one inspection. Does not return if it is the one to crash after.
    pub fn count(&self, package: &str) {
        let inspected = self.inspected.fetch_add(1, Ordering::Relaxed) + 1;
        self.bar.set_message(package.to_owned());
        self.bar.inc(1);
        if self.crash_after.is_some_and(|limit| inspected >= limit.get()) {
            kill_this_process();
        }
    }

    pub fn inspected(&self) -> usize {
        self.inspected.load(Ordering::Relaxed)
    }

    pub fn finish(&self) {
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

#[cfg(not(unix))]
fn kill_this_process() -> ! {
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_inspection_is_counted() {
        let meter = Meter::new(None);
        meter.expect(3, 1);
        meter.count("ant 1.0.0");
        meter.count("bee 1.0.0");
        assert_eq!(meter.inspected(), 2);
    }
}
