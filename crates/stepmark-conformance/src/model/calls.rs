//! Which calls do the steps of a sequence make?

use stepmark_core::effect::{AttemptRow, EffectEnd, EffectIntent, EffectOutcome, EffectWrite, Nonce};
use stepmark_core::id::BranchId;
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::{GraphRow, RunRow, RunStatus};
use stepmark_core::store::{Commit, NameWrite, Records, RunWrite, TagWrite};
use stepmark_core::value::{ValueAddress, ValueRef, ValueRow};

use super::Action;
use super::state::Thread;
use crate::make::{Line, START, answer_row, bytes16, full, intent};

/// A commit's run, of one of a few graphs.
pub(super) fn run_write(line: &Line, begins: bool, id: u8) -> RunWrite {
    let run = |status| RunRow { graph_signature: Some([id; 16]), ..line.run(&format!("run {id}"), status) };
    if begins { RunWrite::Begin(run(RunStatus::Open)) } else { RunWrite::Update(run(RunStatus::Failed)) }
}

/// The graph of such a run, with one of two records.
pub(super) fn graph(id: u8, other: bool) -> GraphRow {
    GraphRow { name: "kit".into(), signature: [id; 16], record: vec![u8::from(other)] }
}

/// A flush under a number that may be taken.
pub(super) fn flush(line: &Line, (number, text): (u8, u8), value: bool, run: Option<u8>) -> Records {
    let mut append = line.flush(u64::from(number), &format!("text {text}"));
    append.run = run.map(|id| RunRow {
        ended_at: Some(START + i64::from(text)),
        ..line.run(&format!("run {id}"), RunStatus::Done)
    });
    if value {
        let height = line.branch.tip.as_ref().map_or(0, |tip| tip.height + 1);
        let address = ValueAddress { branch: line.branch.id, height, ordinal: u32::from(number) + 1 };
        append.pending[0].values.push(ValueRef { address, packed: false });
        append.values.push(ValueRow { address, node: full(&text) });
    }
    append
}

/// A question of one of a few tasks.
pub(super) fn ask(line: &Line, task: u8) -> Records {
    line.append(vec![line.question(u64::from(task), "go on?")])
}

/// An answer to a question, or to one beside it in its task's journal.
pub(super) fn answer(thread: &Thread, question: &PendingRow, beside: bool, text: u8) -> Option<Records> {
    let question = PendingRow { ordinal: question.ordinal + u64::from(beside), ..question.clone() };
    let pending = vec![answer_row(&question, &format!("text {text}"))];
    Some(Records { pending, ..Records::from_outside(thread.row.uid, BranchId::new(question.lane.0)?) })
}

/// The end of a run that knows so many answers.
pub(super) fn end(line: &Line, run: u8, known: u8) -> Records {
    let run = Some(line.run(&format!("run {run}"), RunStatus::Interrupted));
    Records { run, expect_answers: Some(u64::from(known)), ..line.append(Vec::new()) }
}

/// A question to the ledger.
pub(super) fn intend(thread: Option<&Thread>, line: &Line, action: Action, flush: Option<(u8, u8)>) -> Records {
    let intent = intent(&format!("key {}", action.key), &format!("action {}", action.fingerprint));
    let effects = thread.map_or(&[][..], |thread| &thread.effects);
    let attempts = effects.iter().filter(|effect| effect.row.key == intent.key).flat_map(|effect| &effect.attempts);
    let ended = attempts.filter(|_| action.ended).map(|attempt| attempt.nonce).collect();
    let (repeats_unknown, again) = (action.repeats_unknown, action.again);
    let pending = flush.map(|flush| self::flush(line, flush, false, None).pending).unwrap_or_default();
    Records { pending, ..line.asks(&EffectIntent { ended, repeats_unknown, again, ..intent }) }
}

/// How an attempt ended, or one under a nonce that nobody has.
pub(super) fn tell(thread: &Thread, attempt: &AttemptRow, end: u8, nobody: bool) -> Records {
    let end = match end {
        0 | 1 => EffectEnd::NotDone,
        2 | 3 => EffectEnd::Lost,
        other => EffectEnd::Done(vec![other]),
    };
    let nonce = if nobody { Nonce(bytes16()) } else { attempt.nonce };
    let outcome = EffectOutcome { key: attempt.key.clone(), generation: attempt.generation, nonce, end };
    let effect = Some(EffectWrite::Outcome(outcome));
    Records { effect, ..Records::from_outside(thread.row.uid, attempt.branch) }
}

/// A tag on a checkpoint `back` below the tip.
pub(super) fn tag(line: &Line, segment: BranchId, back: i8, name: &str) -> Records {
    let mut row = line.tag_row(name);
    (row.branch, row.height) = (segment, row.height.saturating_add_signed(-i64::from(back)));
    Records { tags: vec![TagWrite::Set(row)], ..line.outside() }
}

/// What a fork takes along: finished results and questions, no answers.
pub(super) fn copied(rows: &[PendingRow], branch: BranchId) -> Vec<PendingRow> {
    let along = rows.iter().filter(|row| row.kind != PendingKind::Answer);
    along.map(|row| row.in_lane(branch.lane())).collect()
}

/// Turns the fork of a line into its reset.
pub(super) fn reset(line: &Line, fork: &mut Commit, name: Option<&str>, head: bool) {
    fork.leaves = Some(line.left());
    fork.name = name.map(|name| NameWrite { name: name.to_owned(), from: Some(line.branch.id) });
    fork.expect_head = head.then_some(line.branch.id);
    fork.becomes_head = head;
}
