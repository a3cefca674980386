//! Which mutants do what must not be repeated once more, or never?

use std::collections::HashSet;
use std::sync::Mutex;

use async_trait::async_trait;
use stepmark_core::effect::{
    AttemptRow, AttemptStatus, EffectEnd, EffectEntry, EffectIntent, EffectOutcome, EffectReply, EffectRow,
    EffectStatus, EffectWrite, Nonce,
};
use stepmark_core::error::{Error, ErrorKind, Result, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::rows::EffectsMode;
use stepmark_core::store::{Appended, CheckpointStore, Fence, Load, Records, ThreadAddress};

use super::writes::{locked, stored_branch};
use crate::call::{Call, Intercept, Reply};

fn asked(call: &Call) -> Option<(Records, EffectIntent)> {
    match call {
        Call::Records(append) => match &append.effect {
            Some(EffectWrite::Intent(intent)) => Some(((**append).clone(), intent.clone())),
            Some(EffectWrite::Outcome(_)) | None => None,
        },
        _ => None,
    }
}

fn told(call: &Call) -> Option<(Records, EffectOutcome)> {
    match call {
        Call::Records(append) => match &append.effect {
            Some(EffectWrite::Outcome(outcome)) => Some(((**append).clone(), outcome.clone())),
            Some(EffectWrite::Intent(_)) | None => None,
        },
        _ => None,
    }
}

fn intent_of(call: &mut Call) -> Option<&mut EffectIntent> {
    match call {
        Call::Records(append) => match &mut append.effect {
            Some(EffectWrite::Intent(intent)) => Some(intent),
            Some(EffectWrite::Outcome(_)) | None => None,
        },
        _ => None,
    }
}

async fn ledger_of(store: &dyn CheckpointStore, thread: ThreadUid) -> Vec<EffectEntry> {
    let load = Load { effects: true, ..Load::head(ThreadAddress::Uid(thread)) };
    store.load(load).await.map(|loaded| loaded.effects).unwrap_or_default()
}

async fn attempt_of(store: &dyn CheckpointStore, thread: ThreadUid, nonce: Nonce) -> Option<(EffectEntry, AttemptRow)> {
    ledger_of(store, thread).await.into_iter().find_map(|entry| {
        let attempt = entry.attempts.iter().find(|attempt| attempt.nonce == nonce)?.clone();
        Some((entry, attempt))
    })
}

fn answered(reply: EffectReply) -> Reply {
    Reply::Records(Appended { effect: Some(reply) })
}

/// Declares mutants by what they make of what the ledger answers.
macro_rules! replies {
    ($($(#[$doc:meta])* $name:ident: |$append:ident, $reply:ident| $change:expr)*) => {
        $($(#[$doc])*
        #[derive(Debug, Default)]
        pub(super) struct $name;

        #[async_trait]
        impl Intercept for $name {
            async fn intercept(&self, store: &dyn CheckpointStore, sent: Call) -> Result<Reply> {
                let $append = match &sent {
                    Call::Records(append) => (**append).clone(),
                    _ => return sent.run(store).await,
                };
                match sent.run(store).await? {
                    Reply::Records(Appended { effect: Some($reply) }) => Ok(answered($change)),
                    reply => Ok(reply),
                }
            }
        })*
    };
}

changes! {
    /// Asks the ledger whoever owns the branch.
    IntentNotFenced: |store, call| {
        if let Call::Records(append) = &mut call
            && matches!(append.effect, Some(EffectWrite::Intent(_)))
            && let Some(stored) = stored_branch(store, append.thread, &append.namespace, append.branch).await
            && let Fence::Owner { tip, epoch } = &mut append.fence
        {
            (*tip, *epoch) = (stored.tip, stored.epoch);
        }
    }

    /// Repeats what nobody knows of.
    UnknownRepeated: |_store, call| {
        if let Some(intent) = intent_of(&mut call) {
            intent.repeats_unknown = true;
        }
    }

    /// Never repeats what nobody knows of.
    UnknownForEver: |_store, call| {
        if let Some(intent) = intent_of(&mut call) {
            intent.repeats_unknown = false;
        }
    }

    /// Knows one action per key.
    GenerationNeverOpened: |_store, call| {
        if let Some(intent) = intent_of(&mut call) {
            intent.again = false;
        }
    }

    /// Believes that attempts run until they say otherwise.
    EndedIgnored: |_store, call| {
        if let Some(intent) = intent_of(&mut call) {
            intent.ended.clear();
        }
    }

    /// Lets anybody say of any attempt that it has ended.
    AnybodyEndsAttempts: |store, call| {
        if let Some((append, intent)) = asked(&call) {
            for nonce in intent.ended {
                if let Some((entry, attempt)) = attempt_of(store, append.thread, nonce).await {
                    let EffectEntry { row, .. } = entry;
                    let (key, generation) = (row.key, row.generation);
                    let lost = EffectOutcome { key, generation, nonce: attempt.nonce, end: EffectEnd::Lost };
                    let tells = Some(EffectWrite::Outcome(lost));
                    let _ = store.append(Records { effect: tells, ..Records::from_outside(append.thread, append.branch) }).await;
                }
            }
        }
    }

    /// Makes attempts in one unit, and writes what comes with them in another.
    IntentAlone: |store, call| {
        if let Some((append, _)) = asked(&call) {
            let alone = Records { pending: Vec::new(), values: Vec::new(), blobs: Vec::new(), run: None, ..append };
            let _ = store.append(alone).await;
        }
    }

    /// Knows no branch that means other actions.
    EffectsModeIgnored: |_store, call| {
        if let Call::Commit(commit) = &mut call {
            commit.branch.effects = EffectsMode::Ledger;
        }
    }

    /// Makes a thread without what it brings.
    LedgerLeftBehind: |_store, call| {
        if let Call::Commit(commit) = &mut call {
            commit.effects.clear();
        }
    }

    /// Gives receivers new keys for the actions of a thread that was copied.
    OriginReplaced: |_store, call| {
        if let Call::Commit(commit) = &mut call {
            let thread = commit.thread;
            commit.effects.iter_mut().for_each(|entry| entry.row.origin = thread);
        }
    }

    /// Takes no word for it that something was not done.
    NotDoneIgnored: |_store, call| {
        if let Call::Records(append) = &mut call
            && let Some(EffectWrite::Outcome(outcome)) = &mut append.effect
            && outcome.end == EffectEnd::NotDone
        {
            outcome.end = EffectEnd::Lost;
        }
    }
}

replies! {
    /// Sees no attempts of other branches.
    OtherBranchesIgnored: |append, reply| match reply {
        EffectReply::InProgress(entry) if entry.attempts.iter().all(|attempt| attempt.branch != append.branch) => {
            EffectReply::Granted(entry.row)
        }
        reply => reply,
    }

    /// Takes one attempt's word for all.
    OneSpeaksForAll: |append, reply| match (reply, append.effect) {
        (EffectReply::Unknown(entry), _)
            if entry.attempts.iter().any(|attempt| attempt.status == AttemptStatus::NotDone) =>
        {
            EffectReply::Granted(entry.row)
        }
        (
            EffectReply::Noted(row),
            Some(EffectWrite::Outcome(EffectOutcome { end: EffectEnd::NotDone, .. })),
        ) => EffectReply::Noted(EffectRow { status: EffectStatus::Failed, ..row }),
        (reply, _) => reply,
    }

    /// Keeps the result that was told last.
    LastResultStays: |append, reply| match (reply, append.effect) {
        (EffectReply::Done(mut row), Some(EffectWrite::Outcome(EffectOutcome { end: EffectEnd::Done(result), .. }))) => {
            row.result = Some(result);
            EffectReply::Done(row)
        }
        (reply, _) => reply,
    }

    /// Compares keys alone.
    FingerprintIgnored: |_append, reply| match reply {
        EffectReply::Mismatch(row) if row.result.is_some() => EffectReply::Done(row),
        reply => reply,
    }

    /// Sees later generations where they were opened alone.
    GenerationsStayAtHome: |append, reply| match reply {
        EffectReply::Done(row)
        | EffectReply::InProgress(EffectEntry { row, .. })
        | EffectReply::Unknown(EffectEntry { row, .. })
            if row.generation > 1 && row.made.branch != append.branch && append.fence != Fence::Outside =>
        {
            EffectReply::Mismatch(row)
        }
        reply => reply,
    }
}

/// Grants a repeated intent by its nonce, before it looks whose the branch is.
#[derive(Debug, Default)]
pub(super) struct NonceBeforeFence;

#[async_trait]
impl Intercept for NonceBeforeFence {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        if let Some((append, intent)) = asked(&call)
            && let Some((entry, attempt)) = attempt_of(store, append.thread, intent.nonce).await
            && attempt.status == AttemptStatus::Open
        {
            return Ok(answered(EffectReply::Granted(entry.row)));
        }
        call.run(store).await
    }
}

/// Takes an intent that is sent again for another one.
#[derive(Debug, Default)]
pub(super) struct RepeatedIntentWaits;

#[async_trait]
impl Intercept for RepeatedIntentWaits {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Some((append, intent)) = asked(&call) else { return call.run(store).await };
        let before = attempt_of(store, append.thread, intent.nonce).await;
        match (call.run(store).await?, before) {
            (Reply::Records(Appended { effect: Some(EffectReply::Granted(row)) }), Some((entry, _))) => {
                Ok(answered(EffectReply::InProgress(EffectEntry { row, ..entry })))
            }
            (reply, _) => Ok(reply),
        }
    }
}

/// Writes what a task remembers if it may go on.
#[derive(Debug, Default)]
pub(super) struct MemosWithGrantsAlone;

#[async_trait]
impl Intercept for MemosWithGrantsAlone {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Some((append, _)) = asked(&call) else { return call.run(store).await };
        let pending = append.pending.clone();
        let reply = store.append(Records { pending: Vec::new(), ..append.clone() }).await?;
        if matches!(reply.effect, Some(EffectReply::Granted(_))) {
            store.append(Records { pending, effect: None, ..append }).await?;
        }
        Ok(Reply::Records(reply))
    }
}

/// Looks for a result of the action on any branch.
#[derive(Debug, Default)]
pub(super) struct GenerationsEverywhere;

#[async_trait]
impl Intercept for GenerationsEverywhere {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Some((append, intent)) = asked(&call) else { return call.run(store).await };
        let reply = store.append(append.clone()).await?;
        if matches!(reply.effect, Some(EffectReply::Mismatch(_) | EffectReply::Granted(_))) {
            let same = |entry: &EffectEntry| {
                (&entry.row.key, entry.row.fingerprint) == (&intent.key, intent.fingerprint)
                    && entry.row.result.is_some()
            };
            if let Some(entry) = ledger_of(store, append.thread).await.into_iter().find(same) {
                return Ok(answered(EffectReply::Done(entry.row)));
            }
        }
        Ok(Reply::Records(reply))
    }
}

/// Hears nobody who has lost the branch.
#[derive(Debug, Default)]
pub(super) struct OutcomeFenced;

#[async_trait]
impl Intercept for OutcomeFenced {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        if let Some((append, outcome)) = told(&call)
            && let Some((_, attempt)) = attempt_of(store, append.thread, outcome.nonce).await
            && let Some(stored) = stored_branch(store, append.thread, "", attempt.branch).await
            && stored.epoch != attempt.epoch
        {
            return Err(Error::fenced(Subject::Branch, stored.id, "its epoch is another"));
        }
        call.run(store).await
    }
}

/// Hears no attempt twice.
#[derive(Debug, Default)]
pub(super) struct FirstWordStays {
    heard: Mutex<HashSet<Nonce>>,
}

#[async_trait]
impl Intercept for FirstWordStays {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Some((append, outcome)) = told(&call) else { return call.run(store).await };
        if locked(&self.heard).contains(&outcome.nonce)
            && let Some((entry, _)) = attempt_of(store, append.thread, outcome.nonce).await
        {
            let is_done = entry.row.result.is_some();
            return Ok(answered(if is_done { EffectReply::Done(entry.row) } else { EffectReply::Noted(entry.row) }));
        }
        let reply = call.run(store).await?;
        locked(&self.heard).insert(outcome.nonce);
        Ok(reply)
    }
}

/// Takes an outcome that was told before for somebody else's.
#[derive(Debug, Default)]
pub(super) struct RepeatedOutcomeRefused {
    heard: Mutex<Vec<EffectOutcome>>,
}

#[async_trait]
impl Intercept for RepeatedOutcomeRefused {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Some((_, outcome)) = told(&call) else { return call.run(store).await };
        if locked(&self.heard).contains(&outcome) {
            return Err(Error::exists(Subject::Effect, &outcome.key, "it was told before"));
        }
        let reply = call.run(store).await?;
        locked(&self.heard).push(outcome);
        Ok(reply)
    }
}

/// Keeps no account of who attempts what.
#[derive(Debug, Default)]
pub(super) struct OutcomeOfNobody;

#[async_trait]
impl Intercept for OutcomeOfNobody {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Some((append, outcome)) = told(&call) else { return call.run(store).await };
        match call.run(store).await {
            Err(error) if error.is(ErrorKind::Missing, Subject::Effect) => {
                let ledger = ledger_of(store, append.thread).await;
                match ledger.into_iter().find(|entry| entry.row.key == outcome.key) {
                    Some(entry) => Ok(answered(EffectReply::Noted(entry.row))),
                    None => Err(error),
                }
            }
            reply => reply,
        }
    }
}

/// Looks in one transaction and writes in another.
#[derive(Debug, Default)]
pub(super) struct LookBeforeAttempt;

#[async_trait]
impl Intercept for LookBeforeAttempt {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Some((append, intent)) = asked(&call) else { return call.run(store).await };
        let free = !ledger_of(store, append.thread).await.iter().any(|entry| entry.row.key == intent.key);
        tokio::task::yield_now().await;
        match call.run(store).await? {
            Reply::Records(Appended { effect: Some(EffectReply::InProgress(entry)) }) if free => {
                Ok(answered(EffectReply::Granted(entry.row)))
            }
            reply => Ok(reply),
        }
    }
}

/// Keeps a ledger by the name of its thread, also when that goes.
#[derive(Debug, Default)]
pub(super) struct LedgerOutlivesThread {
    kept: Mutex<Vec<(String, EffectEntry)>>,
}

#[async_trait]
impl Intercept for LedgerOutlivesThread {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        if let Call::DeleteThread(thread) = &call {
            let loaded = store.load(Load::head(ThreadAddress::Uid(*thread))).await;
            let name = loaded.map(|loaded| loaded.thread.name).unwrap_or_default();
            let ledger = ledger_of(store, *thread).await;
            locked(&self.kept).extend(ledger.into_iter().map(|entry| (name.clone(), entry)));
        }
        let effects = matches!(&call, Call::Load(load) if load.effects);
        let mut reply = call.run(store).await?;
        if let Reply::Load(loaded) = &mut reply
            && effects
        {
            let kept = locked(&self.kept);
            let ours = kept.iter().filter(|(name, _)| *name == loaded.thread.name);
            loaded.effects.extend(ours.map(|(_, entry)| entry.clone()));
        }
        Ok(reply)
    }
}

/// Lists the newest attempt first.
#[derive(Debug, Default)]
pub(super) struct AttemptsBackwards;

#[async_trait]
impl Intercept for AttemptsBackwards {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let mut reply = call.run(store).await?;
        if let Reply::Load(loaded) = &mut reply {
            loaded.effects.iter_mut().for_each(|entry| entry.attempts.reverse());
        }
        Ok(reply)
    }
}
