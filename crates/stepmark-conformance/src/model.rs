//! Does a store answer random sequences of calls as a small model of the seam does?
//!
//! The model (`state`) was written from the documentation of the seam alone: lists, and rules read off one by one.
//! Writers here remember what they once believed, so sequences are full of stale, fenced, repeated and forged calls.

mod append;
mod calls;
mod children;
mod compare;
mod effects;
mod items;
mod state;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::StoreEnv;
use crate::run::{block_on, panic_of};
pub use items::check_items;
use world::{World, chosen};

/// Environment variable that names another seed than the one a test asks for.
pub const SEED_VARIABLE: &str = "STEPMARK_MODEL_SEED";

/// Steps of a sequence: enough for a fork of a fork with a past, short enough to shrink well.
const STEPS: std::ops::Range<usize> = 1..40;

/// How often a failing sequence is shortened.
const SHRINKS_MAX: u32 = 3000;

/// What one step of a sequence does. Numbers choose among what is there, modulo its count.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Creates a thread under one of a few names, with its input alone or with its input and its end.
    Create { name: u8, whole: bool },
    /// Commits a checkpoint.
    Commit(Growth),
    /// Claims a branch.
    Claim { writer: Writer },
    /// Forks below the tip of a belief, copying what is pending at a tip; a name may be taken from the belief's branch, and
    /// effects may mean others there.
    Fork { writer: Writer, back: u8, name: Option<(u8, bool)>, again: bool },
    /// Forks below the tip of a belief, leaves its branch, and takes a name and the head from it.
    Reset { writer: Writer, back: u8, name: Option<u8>, head: bool },
    /// Flushes a row under a number that may be taken, with or without a value row.
    Flush { writer: Writer, number: u8, text: u8, value: bool, run: Option<u8> },
    /// Asks, as the owner of a branch.
    Ask { writer: Writer, task: u8 },
    /// Answers from outside one of the questions that were asked, or one beside it that nobody asked.
    Answer { question: u8, beside: bool, text: u8 },
    /// Ends a run that knows so many answers.
    End { writer: Writer, run: u8, known: u8 },
    /// Makes a branch the head in place of another.
    SetHead { to: Writer, from: Writer },
    /// Tags a checkpoint below the tip of a belief, or one that is not there.
    Tag { writer: Writer, back: i8, name: u8 },
    /// Takes a tag away.
    Untag { writer: Writer, name: u8 },
    /// Asks the ledger for one of a few actions, with or without a flush beside it; then once more from a fork that is made
    /// for it.
    Intend { writer: Writer, action: Action, flush: Option<(u8, u8)>, forks: bool },
    /// Tells how one of the attempts ended, or one that nobody made.
    Tell { attempt: u8, end: u8, nobody: bool },
    /// Commits a checkpoint of a sub-graph.
    Call(Call),
    /// Sends an earlier write again.
    Repeat { write: u8 },
    /// Sends an earlier commit again with other bytes under the same checkpoint id.
    Forge { write: u8, packed: bool },
    /// Deletes a thread.
    Delete { thread: u8 },
}

/// A checkpoint to commit.
#[derive(Clone, Debug)]
pub(crate) struct Growth {
    pub(crate) writer: Writer,
    pub(crate) log: Log,
    /// Claims in the same unit.
    pub(crate) claims: bool,
    /// Begins, or else updates, a run in the same unit.
    pub(crate) run: Option<(bool, u8)>,
    /// Expects its branch to be the head.
    pub(crate) expects_head: bool,
    /// Writes its value rows where a flush may have written others.
    pub(crate) collides: bool,
    /// Says where sub-graphs stand, or else where none does.
    pub(crate) names: Option<bool>,
}

/// A checkpoint of a sub-graph.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// The root's writer.
    pub(crate) writer: Writer,
    pub(crate) namespace: u8,
    /// The number of the row that names it, which may be taken.
    pub(crate) ordinal: u8,
    /// Which belief of the sub-graph's own writer.
    pub(crate) belief: u8,
    /// Grows the sub-graph of another root.
    pub(crate) strays: bool,
}

/// An action that must not be repeated, and what its writer makes of the ledger's answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Action {
    pub(crate) key: u8,
    pub(crate) fingerprint: u8,
    pub(crate) repeats_unknown: bool,
    pub(crate) again: bool,
    /// Calls all attempts at the key ended, whosever they are.
    pub(crate) ended: bool,
}

/// Which branch's writer, and which of its beliefs: 0 is the newest, which is true; older ones are stale or fenced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer {
    pub(crate) branch: u8,
    pub(crate) belief: u8,
}

/// What a commit does to the channel `log`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Log {
    /// Leaves it as it is.
    Keep,
    /// Writes it whole, packed or as a row.
    Full { packed: bool },
    /// Keeps some of its elements and appends some.
    Records { cut: u8, items: u8, packed: bool },
}

fn any_writer() -> impl Strategy<Value = Writer> {
    let belief = prop_oneof![4 => Just(0u8), 1 => 1..4u8];
    (any::<u8>(), belief).prop_map(|(branch, belief)| Writer { branch, belief })
}

fn any_log() -> impl Strategy<Value = Log> {
    prop_oneof![
        Just(Log::Keep),
        any::<bool>().prop_map(|packed| Log::Full { packed }),
        (0..3u8, 0..4u8, any::<bool>()).prop_map(|(cut, items, packed)| Log::Records { cut, items, packed }),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let few = 0..3u8;
    let run = prop::option::weighted(0.4, (any::<bool>(), few.clone()));
    let rarely = || prop::bool::weighted(0.15);
    let names = prop::option::weighted(0.5, prop::bool::weighted(0.9));
    let commit = (any_writer(), any_log(), rarely(), run, rarely(), rarely(), names).prop_map(
        |(writer, log, claims, run, expects_head, collides, names)| {
            Step::Commit(Growth { writer, log, claims, run, expects_head, collides, names })
        },
    );
    let flush = (any_writer(), few.clone(), 0..2u8, any::<bool>(), prop::option::weighted(0.2, few.clone()))
        .prop_map(|(writer, number, text, value, run)| Step::Flush { writer, number, text, value, run });
    let fork_name = prop::option::of((few.clone(), rarely()));
    let fork = (any_writer(), 0..3u8, fork_name, prop::bool::weighted(0.25))
        .prop_map(|(writer, back, name, again)| Step::Fork { writer, back, name, again });
    let reset = (any_writer(), 0..3u8, prop::option::of(few.clone()), any::<bool>())
        .prop_map(|(writer, back, name, head)| Step::Reset { writer, back, name, head });
    prop_oneof![
        2 => (few.clone(), rarely()).prop_map(|(name, whole)| Step::Create { name, whole }),
        8 => commit,
        2 => any_writer().prop_map(|writer| Step::Claim { writer }),
        3 => fork,
        2 => reset,
        5 => flush,
        10 => any_step_from_outside(),
        12 => any_effect(),
        5 => any_call(),
        4 => any::<u8>().prop_map(|write| Step::Repeat { write }),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(write, packed)| Step::Forge { write, packed }),
        1 => any::<u8>().prop_map(|thread| Step::Delete { thread }),
    ]
}

/// Sub-graphs: few, so that a sequence comes back to them.
fn any_call() -> impl Strategy<Value = Step> {
    let belief = prop_oneof![4 => Just(0u8), 1 => 1..3u8];
    (any_writer(), 0..2u8, 0..6u8, belief, prop::bool::weighted(0.15)).prop_map(
        |(writer, namespace, ordinal, belief, strays)| Step::Call(Call { writer, namespace, ordinal, belief, strays }),
    )
}

/// What is asked of the ledger, and told to it.
fn any_effect() -> impl Strategy<Value = Step> {
    let flags = (any::<bool>(), prop::bool::weighted(0.6), prop::bool::weighted(0.2));
    let key = prop_oneof![3 => Just(0u8), 1 => Just(1u8)];
    let action = (key, 0..2u8, flags).prop_map(|(key, fingerprint, (repeats_unknown, again, ended))| Action {
        key,
        fingerprint,
        repeats_unknown,
        again,
        ended,
    });
    let flush = prop::option::weighted(0.3, (0..3u8, 0..2u8));
    let tell = (any::<u8>(), 0..6u8, prop::bool::weighted(0.1));
    prop_oneof![
        3 => (any_writer(), action, flush, prop::bool::weighted(0.25))
            .prop_map(|(writer, action, flush, forks)| Step::Intend { writer, action, flush, forks }),
        2 => tell.prop_map(|(attempt, end, nobody)| Step::Tell { attempt, end, nobody }),
    ]
}

/// Questions, what answers and counts them, and pointers that move beside runs.
fn any_step_from_outside() -> impl Strategy<Value = Step> {
    let few = 0..3u8;
    let answer = (any::<u8>(), prop::bool::weighted(0.15), 0..2u8);
    let answer = answer.prop_map(|(question, beside, text)| Step::Answer { question, beside, text });
    let end =
        (any_writer(), few.clone(), few.clone()).prop_map(|(writer, run, known)| Step::End { writer, run, known });
    let tag = (any_writer(), -1..3i8, few.clone()).prop_map(|(writer, back, name)| Step::Tag { writer, back, name });
    prop_oneof![
        3 => (any_writer(), 0..2u8).prop_map(|(writer, task)| Step::Ask { writer, task }),
        6 => answer,
        2 => end,
        2 => (any_writer(), any_writer()).prop_map(|(to, from)| Step::SetHead { to, from }),
        2 => tag,
        1 => (any_writer(), few).prop_map(|(writer, name)| Step::Untag { writer, name }),
    ]
}

/// Compares fresh stores of `env` with the model over `cases` random sequences.
///
/// Equal seeds give equal sequences. A failing sequence is shortened and printed with the seed;
/// `STEPMARK_MODEL_SEED` overrides `seed`. Not to be called inside a runtime.
pub fn check_model(env: &dyn StoreEnv, seed: u64, cases: u32) {
    let seed = seed_of(seed);
    if let Some(difference) = find_difference(env, seed, cases, SHRINKS_MAX) {
        panic!("the store and the model differ: {difference}\nseed {seed}; repeat with {SEED_VARIABLE}={seed}");
    }
}

/// The seed that somebody asked for by name, else this one.
fn seed_of(seed: u64) -> u64 {
    let named = std::env::var(SEED_VARIABLE).ok();
    named.map_or(seed, |named| named.parse().expect("the seed is a number"))
}

/// The first sequence of `cases` on which stores of `env` differ from the model, shortened at most `shrinks` times.
pub fn find_difference(env: &dyn StoreEnv, seed: u64, cases: u32, shrinks: u32) -> Option<String> {
    let steps = prop::collection::vec(any_step(), STEPS);
    find_failing((seed, cases, shrinks), steps, async |steps: Vec<Step>| World::play(env, &steps).await)
}

/// The first of random inputs, by seed, count and how often it is shortened, that `play` panics on.
fn find_failing<S: Strategy>(
    (seed, cases, shrinks): (u64, u32, u32),
    inputs: S,
    play: impl AsyncFn(S::Value),
) -> Option<String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: shrinks, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let answer = runner.run(&inputs, |input| panic_of(|| block_on(play(input))).map_err(TestCaseError::fail));
    answer.err().map(|failure| failure.to_string())
}
