//! What did the seeds meet?
//!
//! A test that passes because it never did something is worth nothing: what must be met and was not fails it.

use std::fmt;

macro_rules! totals {
    ($($(#[$attribute:meta])* $name:ident: $words:literal),+ $(,)?) => {
        /// How often each thing was met.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Totals {
            $($(#[$attribute])* pub(crate) $name: u64,)+
        }

        impl Totals {
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)+
            }

            /// What was never met.
            pub(crate) fn missing(&self) -> Vec<&'static str> {
                let all = [$((self.$name, $words)),+];
                all.into_iter().filter(|(count, _)| *count == 0).map(|(_, words)| words).collect()
            }
        }

        impl fmt::Display for Totals {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let all = [$((self.$name, $words)),+];
                let mut met = all.into_iter().filter(|(count, _)| *count > 0);
                met.try_for_each(|(count, words)| writeln!(f, "{count:>8}  {words}"))
            }
        }
    };
}

totals! {
    calls: "calls of the service",
    payments: "payments",
    kills_at_writes: "kills at writes",
    kills_inside: "kills inside of an effect",
    zombies: "zombies",
    late_outcomes: "outcomes that zombies told",
    given_up: "runs given up by their callers",
    resumes: "resumes",
    replays: "replays",
    forks: "forks",
    forks_of_other_actions: "forks for other actions",
    amended: "forks with another amount",
    twins: "twins: two branches that do one effect at a time",
    rewinds: "rewinds",
    copies: "copies to other threads",
    returned: "recorded results returned",
    in_progress: "effects found in progress",
    waited: "results of others that were waited for",
    busy: "EffectBusy",
    unknown: "unknown outcomes",
    repeated: "unknown actions done again, as somebody said",
    mismatches: "keys that meant another action",
    generations: "later generations",
    refused: "effects that were certainly not done",
    answers: "answers",
}

impl Totals {
    /// What one seed reports.
    pub(crate) fn line(&self) -> String {
        let Self { calls, kills_inside, zombies, forks, busy, unknown, .. } = self;
        format!(
            "{calls} calls, {kills_inside} kills inside, {zombies} zombies, {forks} forks, {busy} busy, {unknown} unknown"
        )
    }
}
