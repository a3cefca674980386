//! Is an action done once, whoever asks for it, wherever its thread has gone since?

use stepmark_core::effect::{
    AttemptStatus, EffectEnd, EffectEntry, EffectIntent, EffectKey, EffectReply, EffectRow, EffectStatus, MadeAt, Nonce,
};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::TaskHash;
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::EffectsMode;
use stepmark_core::store::Records;

use super::{assert_names, assert_refused};
use crate::StoreEnv;
use crate::make::{Line, bytes16, done, encoded, intent, outcome, thread_row};

pub(super) async fn born(env: &dyn StoreEnv) -> Line {
    Line::born(&env.fresh().await, "t").await
}

/// The same question under a nonce of its own.
pub(super) fn anew(intent: &EffectIntent) -> EffectIntent {
    EffectIntent { nonce: Nonce(bytes16()), ..intent.clone() }
}

pub(super) fn opening(intent: EffectIntent) -> EffectIntent {
    EffectIntent { again: true, ..intent }
}

/// The only entry of a thread's ledger.
pub(super) async fn only(line: &Line) -> EffectEntry {
    let mut ledger = line.ledger().await;
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    ledger.remove(0)
}

pub(super) fn statuses(entry: &EffectEntry) -> Vec<AttemptStatus> {
    entry.attempts.iter().map(|attempt| attempt.status).collect()
}

async fn claimed(line: &Line) -> Line {
    let mut owner = line.clone();
    owner.apply(line.claim()).await;
    owner
}

/// A ledger comes back by key and generation, whole: where each entry was made, its result, and its attempts in order.
pub async fn effects_read_back(env: &dyn StoreEnv) {
    let mut line = born(env).await;
    let position = EffectKey::Position { task: TaskHash([7; 16]), name: "pay".into(), occurrence: 1 };
    let asked = [
        intent("b", "x"),
        EffectIntent { key: position, ..intent("", "x") },
        intent("a", "x"),
        opening(intent("a", "y")),
        opening(intent("b", "z")),
    ];
    line.forked(None).await;
    let mut expected = Vec::new();
    for asked in &asked {
        line.step().await;
        let made = MadeAt {
            branch: line.branch.id,
            height: line.branch.tip.as_ref().expect("it has steps").height,
            task: asked.task,
            branches: 2,
        };
        let row = line.does(asked, "receipt").await;
        assert_eq!((row.made.clone(), row.origin, row.fingerprint), (made, line.thread.uid, asked.fingerprint));
        assert_eq!((row.status, row.result.clone()), (EffectStatus::Done, Some(encoded(&"receipt"))));
        expected.push(row);
    }
    expected.sort_by_key(|row| (row.key.encode(), row.generation));
    let found = line.ledger().await;
    assert_eq!(found.iter().map(|entry| entry.row.clone()).collect::<Vec<_>>(), expected);
    for entry in &found {
        let attempt = &entry.attempts[0];
        assert_eq!((&attempt.key, attempt.generation), (&entry.row.key, entry.row.generation));
        assert_eq!((attempt.branch, attempt.epoch, attempt.task), (line.branch.id, 1, entry.row.made.task));
        assert!(asked.iter().any(|asked| (asked.nonce, &asked.key) == (attempt.nonce, &attempt.key)));
        assert_eq!(statuses(entry), [AttemptStatus::Done]);
    }
    assert!(line.read().await.effects.is_empty(), "nobody asked for it");
}

/// While the owner's attempt may be running, the same action is not granted again; then its result is returned.
pub async fn second_intent_is_in_progress(env: &dyn StoreEnv) {
    let line = born(env).await;
    let first = intent("pay", "ten");
    let row = line.granted(&first).await;
    assert_eq!((row.generation, row.status, &row.result), (1, EffectStatus::Open, &None));
    let EffectReply::InProgress(entry) = line.reply(&EffectIntent { repeats_unknown: true, ..anew(&first) }).await
    else {
        panic!("it is in progress")
    };
    assert_eq!((entry.row, entry.attempts[0].nonce, entry.attempts.len()), (row.clone(), first.nonce, 1));
    assert_eq!(line.granted(&intent("other", "ten")).await.generation, 1, "another key is another action");
    let EffectReply::Done(done) = line.settles(&first, &row, done("receipt")).await else { panic!("it is done") };
    assert_eq!(line.reply(&anew(&first)).await, EffectReply::Done(done));
}

/// An action of one branch is in progress, and then done, for every other branch of the thread.
pub async fn effect_of_another_branch_is_in_progress(env: &dyn StoreEnv) {
    let main = born(env).await;
    let side = main.forked(Some("side")).await;
    let first = intent("pay", "ten");
    let row = main.granted(&first).await;
    let EffectReply::InProgress(entry) = side.reply(&anew(&first)).await else { panic!("it is in progress") };
    assert_eq!((entry.attempts[0].branch, entry.attempts[0].nonce), (main.branch.id, first.nonce));
    let EffectReply::Done(done) = main.settles(&first, &row, done("receipt")).await else { panic!("it is done") };
    assert_eq!(side.reply(&anew(&first)).await, EffectReply::Done(done));
    assert_eq!(only(&main).await.attempts.len(), 1);
}

/// An intent is fenced like every write of an owner, and one that is refused leaves nothing.
pub async fn fenced_intent_is_refused(env: &dyn StoreEnv) {
    let zombie = born(env).await;
    let mut owner = claimed(&zombie).await;
    let asked = intent("pay", "ten");
    let refusal = assert_refused(zombie.answer_to(zombie.asks(&asked)).await, ErrorKind::Fenced, Subject::Branch);
    assert_names(&refusal, zombie.branch.id);
    let late = owner.clone();
    owner.step().await;
    assert_refused(late.answer_to(late.asks(&asked)).await, ErrorKind::Conflict, Subject::Branch);
    assert!(owner.ledger().await.is_empty());
    owner.granted(&asked).await;
}

/// A repeated intent of a writer that has lost its branch is refused, although its attempt is stored.
pub async fn repeated_intent_of_a_fenced_owner_is_refused(env: &dyn StoreEnv) {
    let zombie = born(env).await;
    let asked = intent("pay", "ten");
    let memo = PendingRow { kind: PendingKind::Memo, task: asked.task, ..zombie.pending(0, "memo") };
    let append = Records { pending: vec![memo], ..zombie.asks(&asked) };
    zombie.answer_to(append.clone()).await.expect("in time");
    let mut owner = claimed(&zombie).await;
    assert_refused(zombie.answer_to(append.clone()).await, ErrorKind::Fenced, Subject::Branch);
    owner.step().await;
    assert_refused(zombie.answer_to(append).await, ErrorKind::Fenced, Subject::Branch);
}

/// Once another writer has claimed the branch, nobody knows how its attempts ended; that is said, and nothing is granted.
pub async fn taken_over_effect_is_unknown(env: &dyn StoreEnv) {
    let zombie = born(env).await;
    let asked = intent("pay", "ten");
    let row = zombie.granted(&asked).await;
    let side = zombie.forked(None).await;
    let owner = claimed(&zombie).await;
    for line in [&owner, &side] {
        let EffectReply::Unknown(entry) = line.reply(&anew(&asked)).await else { panic!("nobody knows") };
        assert_eq!((entry.row, entry.attempts[0].nonce), (row.clone(), asked.nonce));
    }
    assert_eq!(statuses(&only(&owner).await), [AttemptStatus::Open], "who asks makes no attempt");
}

/// An action whose outcome is unknown is granted to who repeats such actions: as the same entry, under the same key for
/// its receiver, with an attempt more.
pub async fn unknown_effect_is_repeated_on_request(env: &dyn StoreEnv) {
    let zombie = born(env).await;
    let asked = intent("pay", "ten");
    let first = zombie.granted(&asked).await;
    let owner = claimed(&zombie).await;
    let retry = EffectIntent { repeats_unknown: true, ..anew(&asked) };
    let row = owner.granted(&retry).await;
    assert_eq!((&row, row.idempotency_key()), (&first, first.idempotency_key()));
    let entry = only(&owner).await;
    assert_eq!(entry.attempts.iter().map(|attempt| attempt.nonce).collect::<Vec<_>>(), [asked.nonce, retry.nonce]);
    assert_eq!(entry.attempts.iter().map(|attempt| attempt.epoch).collect::<Vec<_>>(), [1, 2]);
    let EffectReply::InProgress(entry) = owner.reply(&anew(&retry)).await else { panic!("the second is running") };
    assert_eq!((entry.attempts.len(), entry.attempts[0].nonce), (1, retry.nonce));
}

/// An action that was certainly not done may be done by a later attempt.
pub async fn effect_that_was_not_done_may_be_done(env: &dyn StoreEnv) {
    let line = born(env).await;
    let asked = intent("pay", "ten");
    let row = line.granted(&asked).await;
    let failed = EffectRow { status: EffectStatus::Failed, ..row.clone() };
    assert_eq!(line.settles(&asked, &row, EffectEnd::NotDone).await, EffectReply::Noted(failed));
    let again = anew(&asked);
    assert_eq!(line.granted(&again).await, row, "the same entry is open again");
    assert_eq!(statuses(&only(&line).await), [AttemptStatus::NotDone, AttemptStatus::Open]);
    assert!(matches!(line.reply(&anew(&asked)).await, EffectReply::InProgress(_)));
}

/// An attempt that did nothing says so of itself alone: what another one did stays unknown.
pub async fn not_done_closes_its_attempt_alone(env: &dyn StoreEnv) {
    let zombie = born(env).await;
    let lost = intent("pay", "ten");
    zombie.granted(&lost).await;
    let owner = claimed(&zombie).await;
    let retry = EffectIntent { repeats_unknown: true, ..anew(&lost) };
    let row = owner.granted(&retry).await;
    assert_eq!(owner.settles(&retry, &row, EffectEnd::NotDone).await, EffectReply::Noted(row.clone()));
    let EffectReply::Unknown(entry) = owner.reply(&anew(&lost)).await else { panic!("nobody knows of the first") };
    assert_eq!(statuses(&entry), [AttemptStatus::Open, AttemptStatus::NotDone]);
    let EffectReply::Noted(row) = zombie.settles(&lost, &row, EffectEnd::NotDone).await else { panic!("it is noted") };
    assert_eq!(row.status, EffectStatus::Failed, "now everybody has said so");
}

/// The first result that is told is the result for ever, whichever attempt tells another one.
pub async fn first_result_stays(env: &dyn StoreEnv) {
    let zombie = born(env).await;
    let first = intent("pay", "ten");
    let row = zombie.granted(&first).await;
    let owner = claimed(&zombie).await;
    let second = EffectIntent { repeats_unknown: true, ..anew(&first) };
    owner.granted(&second).await;
    let EffectReply::Done(kept) = owner.settles(&second, &row, done("second")).await else { panic!("it is done") };
    assert_eq!(kept.result, Some(encoded(&"second")));
    for intent in [&first, &second] {
        assert_eq!(owner.settles(intent, &row, done("late")).await, EffectReply::Done(kept.clone()));
    }
    let entry = only(&owner).await;
    assert_eq!((&entry.row, statuses(&entry)), (&kept, vec![AttemptStatus::Done; 2]));
    assert_eq!(owner.reply(&anew(&first)).await, EffectReply::Done(kept));
}

/// Who did it may say so whatever was said before, and nothing that is said later undoes it.
pub async fn done_outlasts_what_else_is_told(env: &dyn StoreEnv) {
    for before in [EffectEnd::NotDone, EffectEnd::Lost] {
        let line = born(env).await;
        let asked = intent("pay", "ten");
        let row = line.granted(&asked).await;
        assert!(matches!(line.settles(&asked, &row, before.clone()).await, EffectReply::Noted(_)));
        let EffectReply::Done(kept) = line.settles(&asked, &row, done("receipt")).await else { panic!("it is done") };
        for after in [EffectEnd::NotDone, EffectEnd::Lost] {
            assert_eq!(line.settles(&asked, &row, after).await, EffectReply::Done(kept.clone()));
        }
        let entry = only(&line).await;
        assert_eq!((&entry.row, statuses(&entry)), (&kept, vec![AttemptStatus::Done]));
    }
}

/// An attempt that is lost is unknown at once, also while its owner goes on.
pub async fn lost_attempt_is_unknown(env: &dyn StoreEnv) {
    let line = born(env).await;
    let asked = intent("pay", "ten");
    let row = line.granted(&asked).await;
    assert_eq!(line.settles(&asked, &row, EffectEnd::Lost).await, EffectReply::Noted(row.clone()));
    let EffectReply::Unknown(entry) = line.reply(&anew(&asked)).await else { panic!("nobody knows") };
    assert_eq!(statuses(&entry), [AttemptStatus::Lost]);
    let EffectReply::Noted(row) = line.settles(&asked, &row, EffectEnd::NotDone).await else { panic!("it is noted") };
    assert_eq!(row.status, EffectStatus::Failed);
    line.settles(&asked, &row, EffectEnd::Lost).await;
    assert_eq!(statuses(&only(&line).await), [AttemptStatus::NotDone], "who has said more is not lost");
}

/// An outcome is accepted from a writer that has lost its branch, whatever the branch has become.
pub async fn fenced_outcome_is_accepted(env: &dyn StoreEnv) {
    let zombie = born(env).await;
    let asked = intent("pay", "ten");
    let row = zombie.granted(&asked).await;
    let mut owner = claimed(&zombie).await;
    owner.steps(2).await;
    let told = outcome(&asked, row.generation, done("receipt"));
    let as_owner = Records { fence: zombie.asks(&asked).fence, ..zombie.tells(&told) };
    let EffectReply::Done(kept) = zombie.answer_to(as_owner).await.expect("the nonce is all that is asked for") else {
        panic!("it is done")
    };
    assert_eq!(kept.result, Some(encoded(&"receipt")));
    assert_eq!(zombie.settles(&asked, &row, done("receipt")).await, EffectReply::Done(kept.clone()));
    assert_eq!(owner.reply(&anew(&asked)).await, EffectReply::Done(kept));
    owner.assert_stored().await;
}

/// An outcome of an attempt that nobody made is refused and named.
pub async fn outcome_without_attempt_is_missing(env: &dyn StoreEnv) {
    let line = born(env).await;
    let asked = intent("pay", "ten");
    let told = outcome(&asked, 1, done("receipt"));
    assert_refused(line.answer_to(line.tells(&told)).await, ErrorKind::Missing, Subject::Effect);
    line.granted(&asked).await;
    for told in [outcome(&anew(&asked), 1, done("receipt")), outcome(&asked, 2, done("receipt"))] {
        let refusal = assert_refused(line.answer_to(line.tells(&told)).await, ErrorKind::Missing, Subject::Effect);
        assert!(refusal.id().contains("pay"), "{refusal}");
    }
    let nowhere = Line { thread: thread_row("", "u", line.branch.id), ..line.clone() };
    let told = outcome(&asked, 1, done("receipt"));
    assert_refused(nowhere.answer_to(nowhere.tells(&told)).await, ErrorKind::Missing, Subject::Thread);
    assert_eq!(statuses(&only(&line).await), [AttemptStatus::Open]);
}

/// The same key for another action: nothing is granted and nothing of the other's result is returned, but its entry.
pub async fn other_action_is_a_mismatch(env: &dyn StoreEnv) {
    let line = born(env).await;
    let first = line.does(&intent("pay", "ten"), "receipt").await;
    assert_eq!(line.reply(&intent("pay", "twenty")).await, EffectReply::Mismatch(first.clone()));
    let running = line.granted(&intent("send", "ten")).await;
    assert_eq!(line.reply(&intent("send", "twenty")).await, EffectReply::Mismatch(running));
    let side = line.forked(None).await;
    assert_eq!(side.reply(&intent("pay", "twenty")).await, EffectReply::Mismatch(first));
    assert_eq!(line.ledger().await.len(), 2);
}

/// Who asks so opens a generation where the key meant another action: an entry of its own, under another key for its
/// receiver. Each action is known by its newest generation.
pub async fn again_opens_a_generation(env: &dyn StoreEnv) {
    let line = born(env).await;
    let first = line.does(&intent("pay", "ten"), "ten paid").await;
    let asked = opening(intent("pay", "twenty"));
    let second = line.does(&asked, "twenty paid").await;
    assert_eq!((second.generation, &second.key), (2, &first.key));
    assert_ne!(second.idempotency_key(), first.idempotency_key());
    for (action, row) in [("ten", &first), ("twenty", &second)] {
        assert_eq!(line.reply(&intent("pay", action)).await, EffectReply::Done(row.clone()));
        assert_eq!(line.reply(&opening(intent("pay", action))).await, EffectReply::Done(row.clone()));
    }
    assert_eq!(line.reply(&intent("pay", "thirty")).await, EffectReply::Mismatch(second));
    assert_eq!(line.granted(&opening(intent("pay", "thirty"))).await.generation, 3);
}

/// A later generation counts on the branch that opened it and on branches that left there afterwards; the first counts on
/// all. Numbers are never given twice.
pub async fn generation_is_seen_on_later_forks_alone(env: &dyn StoreEnv) {
    let mut main = born(env).await;
    main.step().await;
    let below = main.clone();
    main.step().await;
    let first = main.does(&intent("pay", "ten"), "ten paid").await;
    let before = main.forked(None).await;
    let second = main.does(&opening(intent("pay", "twenty")), "twenty paid").await;
    let mut after = main.forked(None).await;
    let (mut past, commit) = main.fork_at(below.segment, below.branch.tip.clone().expect("it has steps"), None);
    past.apply(commit).await;
    main.step().await;
    let above = main.forked(None).await;
    after.step().await;
    let deep = after.forked(None).await;

    let other = intent("pay", "thirty");
    for line in [&main, &after, &above, &deep] {
        assert_eq!(line.reply(&intent("pay", "twenty")).await, EffectReply::Done(second.clone()));
        assert_eq!(line.reply(&anew(&other)).await, EffectReply::Mismatch(second.clone()));
    }
    for line in [&before, &past] {
        assert_eq!(line.reply(&intent("pay", "ten")).await, EffectReply::Done(first.clone()));
        assert_eq!(line.reply(&anew(&other)).await, EffectReply::Mismatch(first.clone()));
    }
    let third = before.granted(&opening(intent("pay", "twenty"))).await;
    assert_eq!(third.generation, 3, "the second is another branch's");
    assert_ne!(third.idempotency_key(), second.idempotency_key());
    assert_eq!(main.reply(&intent("pay", "twenty")).await, EffectReply::Done(second));
}

/// A branch that means other actions sees nothing of what was made before it; what is made there is seen there and on its
/// forks, and its parent goes on as before.
pub async fn branch_of_other_actions_begins_anew(env: &dyn StoreEnv) {
    let main = born(env).await;
    let asked = intent("pay", "ten");
    let first = main.does(&asked, "main").await;
    let (mut other, mut commit) = main.fork(Some("other"));
    commit.branch.effects = EffectsMode::Again;
    other.apply(commit).await;
    let second = other.does(&anew(&asked), "other").await;
    assert_eq!((second.generation, second.result.clone()), (2, Some(encoded(&"other"))));
    other.step().await;
    let below = other.forked(None).await;
    for line in [&other, &below] {
        assert_eq!(line.reply(&anew(&asked)).await, EffectReply::Done(second.clone()));
        assert_eq!(line.reply(&intent("pay", "twenty")).await, EffectReply::Mismatch(second.clone()));
    }
    assert_eq!(main.reply(&anew(&asked)).await, EffectReply::Done(first));
    // A key that was first used there has its first generation there, and that counts everywhere.
    let only_there = other.does(&intent("send", "mail"), "sent").await;
    for line in [&other, &below, &main] {
        assert_eq!(line.reply(&intent("send", "mail")).await, EffectReply::Done(only_there.clone()));
    }
    let (mut third, mut commit) = below.fork(None);
    commit.branch.effects = EffectsMode::Again;
    third.apply(commit).await;
    assert_eq!(third.granted(&anew(&asked)).await.generation, 3);
    assert_eq!(third.granted(&intent("send", "mail")).await.generation, 2);
}

/// An owner that knows its attempts to have ended says so, and they are lost in the unit that asks.
pub async fn ended_attempt_is_lost(env: &dyn StoreEnv) {
    let line = born(env).await;
    let first = intent("pay", "ten");
    line.granted(&first).await;
    let ended = vec![first.nonce, Nonce(bytes16())];
    let EffectReply::Unknown(entry) = line.reply(&EffectIntent { ended: ended.clone(), ..anew(&first) }).await else {
        panic!("nobody knows")
    };
    assert_eq!(statuses(&entry), [AttemptStatus::Lost]);
    assert_eq!(only(&line).await, entry);
    let retry = EffectIntent { ended, repeats_unknown: true, ..anew(&first) };
    line.granted(&retry).await;
    assert_eq!(statuses(&only(&line).await), [AttemptStatus::Lost, AttemptStatus::Open]);
}

/// Nobody can say of another branch's attempts that they have ended.
pub async fn attempt_of_another_branch_is_not_ended(env: &dyn StoreEnv) {
    let main = born(env).await;
    let side = main.forked(None).await;
    let first = intent("pay", "ten");
    main.granted(&first).await;
    let asked = EffectIntent { ended: vec![first.nonce], repeats_unknown: true, ..anew(&first) };
    assert!(matches!(side.reply(&asked).await, EffectReply::InProgress(_)));
    assert_eq!(statuses(&only(&main).await), [AttemptStatus::Open]);
}
