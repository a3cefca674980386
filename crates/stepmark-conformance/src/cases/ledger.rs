//! How is the ledger of actions kept: in which units, how long, and what is no entry at all?

use std::sync::Arc;

use futures_util::future::join_all;
use stepmark_core::effect::{
    AttemptStatus, EffectEnd, EffectEntry, EffectIntent, EffectReply, EffectRow, EffectStatus, EffectWrite,
};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::TaskHash;
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::EffectsMode;
use stepmark_core::store::{CheckpointStore, Fence, Load, Records};

use super::assert_refused;
use super::effects::{anew, born, only, opening, statuses};
use crate::StoreEnv;
use crate::make::{Line, done, intent, outcome};

/// What a task remembers is written with its intent, in one unit, whatever the ledger answers.
pub async fn memos_are_written_with_the_intent(env: &dyn StoreEnv) {
    let line = born(env).await;
    let memo = |number| PendingRow { kind: PendingKind::Memo, task: TaskHash([9; 16]), ..line.pending(number, "memo") };
    let first = intent("pay", "ten");
    let intents = [first.clone(), anew(&first), intent("pay", "twenty")];
    for (number, asked) in (0..).zip(&intents) {
        let append = Records { pending: vec![memo(number)], ..line.asks(asked) };
        line.answer_to(append).await.expect("the owner asks");
    }
    assert_eq!(line.read().await.pending, [memo(0), memo(1), memo(2)]);
    assert_eq!(only(&line).await.attempts.len(), 1);
}

/// An intent that is refused for what comes with it leaves nothing in the ledger.
pub async fn intent_is_all_or_nothing(env: &dyn StoreEnv) {
    let line = born(env).await;
    line.store.append(line.flush(0, "kept")).await.expect("the first flush");
    let asked = intent("pay", "ten");
    let append = Records { pending: vec![line.pending(1, "lost"), line.pending(0, "other")], ..line.asks(&asked) };
    assert_refused(line.answer_to(append).await, ErrorKind::Corrupt, Subject::Pending);
    assert!(line.ledger().await.is_empty());
    line.granted(&asked).await;
    // An attempt that is over is not made again under its nonce, and what came with it is not written.
    line.settles(&asked, &line.ledger().await[0].row, EffectEnd::NotDone).await;
    let append = Records { pending: vec![line.pending(1, "lost")], ..line.asks(&asked) };
    assert_refused(line.answer_to(append).await, ErrorKind::Exists, Subject::Effect);
    assert_eq!(line.read().await.pending.len(), 1);
}

/// An intent that is sent again is granted again, and makes one attempt.
pub async fn repeated_intent_is_one_attempt(env: &dyn StoreEnv) {
    let line = born(env).await;
    let first = intent("pay", "ten");
    let row = line.granted(&first).await;
    assert_eq!(line.granted(&first).await, row);
    let opened = opening(intent("pay", "twenty"));
    let second = line.granted(&opened).await;
    assert_eq!(line.granted(&opened).await, second);
    let ledger = line.ledger().await;
    assert_eq!(ledger.iter().map(|entry| entry.attempts.len()).collect::<Vec<_>>(), [1, 1]);
    let EffectReply::Done(kept) = line.settles(&first, &row, done("receipt")).await else { panic!("it is done") };
    assert_eq!(line.reply(&first).await, EffectReply::Done(kept));
}

/// An outcome that is told again is accepted and changes nothing, also when its branch has moved on since.
pub async fn repeated_outcome_is_accepted(env: &dyn StoreEnv) {
    for (end, status) in [
        (done("receipt"), EffectStatus::Done),
        (EffectEnd::NotDone, EffectStatus::Failed),
        (EffectEnd::Lost, EffectStatus::Open),
    ] {
        let mut line = born(env).await;
        let asked = intent("pay", "ten");
        let row = line.granted(&asked).await;
        let told = line.settles(&asked, &row, end.clone()).await;
        let entry = only(&line).await;
        assert_eq!(entry.row.status, status);
        assert_eq!(line.settles(&asked, &row, end.clone()).await, told);
        line.step().await;
        line.apply(line.claim()).await;
        assert_eq!(line.settles(&asked, &row, end).await, told);
        assert_eq!(only(&line).await, entry);
    }
}

/// The ledger goes with its thread; a thread of the same name begins without one.
pub async fn ledger_goes_with_its_thread(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let (line, bystander) = (Line::born(&store, "t").await, Line::born(&store, "bystander").await);
    let asked = intent("pay", "ten");
    let row = line.granted(&asked).await;
    bystander.granted(&asked).await;
    store.delete_thread(line.thread.uid).await.expect("the thread is known");
    let told = outcome(&asked, row.generation, done("receipt"));
    assert_refused(line.answer_to(line.tells(&told)).await, ErrorKind::Deleted, Subject::Thread);
    assert_refused(line.answer_to(line.asks(&asked)).await, ErrorKind::Deleted, Subject::Thread);
    let new = Line::born(&store, "t").await;
    assert!(new.ledger().await.is_empty());
    assert_eq!(new.granted(&asked).await.generation, 1);
    assert_eq!(only(&bystander).await.attempts.len(), 1);
}

/// A thread's ledger as `line` has it, and a new thread that brings it.
async fn copied(store: &Arc<dyn CheckpointStore>, line: &Line) -> Line {
    let mut copy = Line::unborn(store, "", "copy");
    let mut commit = copy.birth().build();
    commit.effects = line.ledger().await;
    copy.apply(commit).await;
    copy
}

/// A new thread has the ledger that it brings: what was done is done, what nobody knows stays unknown, and receivers know
/// its actions by the keys of the thread where they were made.
pub async fn new_thread_brings_its_ledger(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::born(&store, "t").await;
    line.does(&intent("pay", "ten"), "ten paid").await;
    let second = line.does(&opening(intent("pay", "twenty")), "twenty paid").await;
    let running = intent("send", "mail");
    let sent = line.granted(&running).await;
    let copy = copied(&store, &line).await;
    assert_eq!(copy.ledger().await, line.ledger().await);
    assert_eq!(copy.reply(&intent("pay", "twenty")).await, EffectReply::Done(second.clone()));
    assert_eq!(copy.reply(&intent("pay", "thirty")).await, EffectReply::Mismatch(second));
    assert!(matches!(copy.reply(&anew(&running)).await, EffectReply::Unknown(_)), "it runs in another thread");
    let retry = EffectIntent { repeats_unknown: true, ..anew(&running) };
    assert_eq!(copy.granted(&retry).await.idempotency_key(), sent.idempotency_key());
    copy.settles(&retry, &sent, EffectEnd::NotDone).await;
    assert!(matches!(copy.reply(&anew(&running)).await, EffectReply::Unknown(_)), "what the first did is unknown");
    let third = copy.granted(&opening(intent("pay", "thirty"))).await;
    assert_eq!((third.generation, third.origin), (3, copy.thread.uid));
    let (mut other, mut fork) = copy.fork(None);
    fork.branch.effects = EffectsMode::Again;
    other.apply(fork).await;
    assert_eq!(other.granted(&intent("pay", "twenty")).await.generation, 4);
    assert_eq!(line.ledger().await.len(), 3, "threads go on apart");
}

/// Of many that ask at once for the same action, on two branches and through two handles, exactly one is granted it.
pub async fn one_of_many_intents_is_granted(env: &dyn StoreEnv) {
    let (store, handle) = (env.fresh().await, env.reopen().await);
    let main = Line::born(&store, "t").await;
    let side = main.forked(None).await;
    let lines = [
        main.clone(),
        side.clone(),
        Line { store: Arc::clone(&handle), ..main.clone() },
        Line { store: handle, ..side },
    ];
    let intents: Vec<_> = (0..16).map(|_| EffectIntent { repeats_unknown: true, ..intent("pay", "ten") }).collect();
    let replies = join_all(intents.iter().zip(lines.iter().cycle()).map(|(intent, line)| line.reply(intent))).await;
    let granted: Vec<_> = (0..replies.len()).filter(|at| matches!(replies[*at], EffectReply::Granted(_))).collect();
    assert_eq!(granted.len(), 1, "{replies:?}");
    let entry = only(&main).await;
    assert_eq!((entry.attempts.len(), entry.attempts[0].nonce), (1, intents[granted[0]].nonce));
    for reply in replies {
        match reply {
            EffectReply::Granted(row) => assert_eq!(row, entry.row),
            reply => assert_eq!(reply, EffectReply::InProgress(entry.clone())),
        }
    }
}

/// What was granted and told is there for who opens the store anew.
pub async fn ledger_outlives_the_handle(env: &dyn StoreEnv) {
    let line = born(env).await;
    let paid = line.does(&intent("pay", "ten"), "receipt").await;
    let asked = intent("send", "mail");
    let sent = line.granted(&asked).await;
    let ledger = line.ledger().await;
    let line = Line { store: env.reopen().await, ..line };
    assert_eq!(line.ledger().await, ledger);
    assert_eq!(line.reply(&intent("pay", "ten")).await, EffectReply::Done(paid));
    assert!(matches!(line.reply(&anew(&asked)).await, EffectReply::InProgress(_)));
    assert!(matches!(line.settles(&asked, &sent, done("sent")).await, EffectReply::Done(_)));
}

/// An intent of nobody who owns a root's branch, an outcome with anything else and a ledger for a thread that is there are
/// refused.
pub async fn malformed_effect_is_invalid(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let line = Line::born(&store, "t").await;
    let asked = intent("pay", "ten");
    let from_outside = Records { fence: Fence::Outside, ..line.asks(&asked) };
    assert_refused(store.append(from_outside).await, ErrorKind::Invalid, Subject::Branch);
    let ended = EffectIntent { ended: vec![asked.nonce], ..asked.clone() };
    assert_refused(store.append(line.asks(&ended)).await, ErrorKind::Invalid, Subject::Effect);
    let mut inner = Line { namespace: "inner".into(), branch: Line::unborn(&store, "", "").branch, ..line.clone() };
    let first = inner.next().build();
    let first = stepmark_core::store::Commit { expect: stepmark_core::store::Expect::New, ..first };
    inner.apply(first).await;
    assert_refused(store.append(inner.asks(&asked)).await, ErrorKind::Invalid, Subject::Branch);

    let row = line.granted(&asked).await;
    let told = line.tells(&outcome(&asked, row.generation, done("receipt")));
    let others = [
        Records { pending: line.flush(0, "x").pending, fence: line.asks(&asked).fence, ..told.clone() },
        Records { tags: line.tag("good").tags, ..told.clone() },
        Records { head_from: Some(line.branch.id), ..told },
    ];
    for append in others {
        assert_refused(store.append(append).await, ErrorKind::Invalid, Subject::Branch);
    }
    assert_eq!(statuses(&only(&line).await), [AttemptStatus::Open]);

    let mut late = line.next().build();
    late.effects = line.ledger().await;
    assert_refused(store.commit(late.clone()).await, ErrorKind::Invalid, Subject::Effect);
    let entry = late.effects.remove(0);
    let foreign = EffectEntry { row: EffectRow { generation: 2, ..entry.row.clone() }, ..entry.clone() };
    let without_result =
        EffectEntry { row: EffectRow { status: EffectStatus::Done, ..entry.row.clone() }, ..entry.clone() };
    for effects in [vec![entry.clone(), entry], vec![foreign], vec![without_result]] {
        let mut commit = Line::unborn(&store, "", "u").birth().build();
        commit.effects = effects;
        assert_refused(store.commit(commit).await, ErrorKind::Invalid, Subject::Effect);
    }
    assert_eq!(store.load(Load { effects: true, ..line.whole() }).await.expect("it loads").effects.len(), 1);
    let nothing = Records { effect: Some(EffectWrite::Intent(anew(&asked))), ..line.append(Vec::new()) };
    assert!(store.append(nothing).await.is_ok(), "an intent needs nothing else");
}
