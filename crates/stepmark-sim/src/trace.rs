//! What happened, step by step?
//!
//! `STEPMARK_SIM_TRACE=1` prints it, for one who looks at a seed that fails.

use std::sync::LazyLock;

static IS_ON: LazyLock<bool> = LazyLock::new(|| std::env::var_os("STEPMARK_SIM_TRACE").is_some());

pub(crate) fn trace(line: impl FnOnce() -> String) {
    if *IS_ON {
        eprintln!("{}", line());
    }
}
