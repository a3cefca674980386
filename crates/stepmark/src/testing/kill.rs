//! Where is a run killed, and how is one kill named, so that it can be repeated alone?

use std::fmt;
use std::str::FromStr;

use stepmark_conformance::call::CallKind;
use stepmark_conformance::fault::{Counted, Fault, FaultPlan, When};

/// Names the one kill to try: the failure of `assert_recovers` prints it.
pub(super) const VARIABLE: &str = "STEPMARK_KILL";

/// How a run is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kill {
    /// Not at all: two runs must come to the same end.
    Never,
    /// Before a write reaches the store.
    Before(u64),
    /// When the store has it and the run does not know.
    Unacknowledged(u64),
    /// Before every commit of a step once, so that each task runs twice.
    EveryStep,
}

impl Kill {
    /// What happens to the store of one process.
    pub(super) fn plan(self) -> FaultPlan {
        match self {
            Self::Never => FaultPlan::nth_write(u64::MAX, Fault::ErrorBefore),
            Self::Before(write) => FaultPlan::nth_write(write, Fault::CrashBefore),
            Self::Unacknowledged(write) => FaultPlan::nth_write(write, Fault::CrashAfter),
            // The first commit is the input's, or that of the step that the process before it was killed in.
            Self::EveryStep => {
                FaultPlan { of: Counted::Kind(CallKind::Commit), when: When::Nth(1, Fault::CrashBefore) }
            }
        }
    }

    /// The kill that the environment asks for.
    pub(super) fn asked() -> Option<Self> {
        let asked = std::env::var(VARIABLE).ok()?;
        Some(asked.parse().unwrap_or_else(|()| panic!("{VARIABLE}={asked} is none of the kills: `before-3` is one")))
    }

    /// For a sentence.
    pub(super) fn story(self) -> String {
        match self {
            Self::Never => "the graph was run a second time, without a kill".to_owned(),
            Self::Before(write) => format!("killed before store write {write}, then restarted and resumed"),
            Self::Unacknowledged(write) => {
                format!("killed after store write {write}, which was not acknowledged, then restarted and resumed")
            }
            Self::EveryStep => "killed before every step's commit, so that each task ran twice".to_owned(),
        }
    }
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::Before(write) => write!(f, "before-{write}"),
            Self::Unacknowledged(write) => write!(f, "unacknowledged-{write}"),
            Self::EveryStep => f.write_str("every-step"),
        }
    }
}

impl FromStr for Kill {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "never" => return Ok(Self::Never),
            "every-step" => return Ok(Self::EveryStep),
            _ => {}
        }
        let (kind, write) = text.rsplit_once('-').ok_or(())?;
        let write = write.parse().map_err(|_| ())?;
        match kind {
            "before" => Ok(Self::Before(write)),
            "unacknowledged" => Ok(Self::Unacknowledged(write)),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_is_read_as_it_is_printed() {
        for kill in [Kill::Never, Kill::Before(3), Kill::Unacknowledged(0), Kill::EveryStep] {
            assert_eq!(kill.to_string().parse(), Ok(kill));
        }
        for text in ["", "before", "before-", "before-x", "after-3"] {
            assert_eq!(text.parse::<Kill>(), Err(()), "{text}");
        }
    }
}
