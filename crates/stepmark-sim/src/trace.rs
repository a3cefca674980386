//! What happened, step by step?
//!
//! `STEPMARK_SIM_TRACE=1` prints it, for one who looks at a seed that fails.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

static IS_ON: LazyLock<bool> = LazyLock::new(|| std::env::var_os("STEPMARK_SIM_TRACE").is_some());
static IS_MUTED: AtomicBool = AtomicBool::new(false);

pub(crate) fn trace(line: impl FnOnce() -> String) {
    if *IS_ON && !IS_MUTED.load(Ordering::Relaxed) {
        eprintln!("{}", line());
    }
}

/// Does `work` without a word.
pub(crate) fn without<T>(work: impl FnOnce() -> T) -> T {
    IS_MUTED.store(true, Ordering::Relaxed);
    let done = work();
    IS_MUTED.store(false, Ordering::Relaxed);
    done
}
