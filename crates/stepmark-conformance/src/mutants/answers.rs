//! Which mutants treat wrongly what comes from outside of a run: answers, the head and tags?

use std::collections::HashSet;
use std::sync::Mutex;

use async_trait::async_trait;
use stepmark_core::error::{Error, ErrorKind, Result, Subject};
use stepmark_core::id::{BranchId, CheckpointId, ClaimToken, TaskHash, ThreadUid};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::BranchRow;
use stepmark_core::store::{
    Appended, CheckpointStore, Commit, Expect, Fence, Load, Place, Records, TagEntry, TagWrite, ThreadAddress,
};

use super::writes::{locked, stored_branch};
use crate::call::{Call, Intercept, Reply};
use crate::make::bytes16;

fn answers(call: &Call) -> Option<Records> {
    match call {
        Call::Records(append) if append.fence == Fence::Outside && !append.pending.is_empty() => {
            Some((**append).clone())
        }
        _ => None,
    }
}

async fn head_of(store: &dyn CheckpointStore, thread: ThreadUid) -> Option<BranchId> {
    let loaded = store.load(Load::head(ThreadAddress::Uid(thread))).await;
    loaded.ok().map(|loaded| loaded.thread.head)
}

/// Claims a branch as another writer would.
async fn claim(store: &dyn CheckpointStore, append: &Records, branch: BranchId) {
    if let Some(stored) = stored_branch(store, append.thread, &append.namespace, branch).await {
        let expect = Expect::At { tip: stored.tip.clone(), epoch: stored.epoch };
        let row = BranchRow { epoch: stored.epoch + 1, claim: ClaimToken(bytes16()), ..stored };
        let commit = Commit { namespace: append.namespace.clone(), ..Commit::new(append.thread, expect, row) };
        // Whoever comes first has it.
        let _ = store.commit(commit).await;
    }
}

changes! {
    /// Ends a run without looking for answers.
    AnswersNotCounted: |_store, call| {
        if let Call::Records(append) = &mut call {
            append.expect_answers = None;
        }
    }

    /// Takes a branch away from its run to store an answer.
    AnswerClaims: |store, call| {
        if let Some(append) = answers(&call) {
            claim(store, &append, append.branch).await;
        }
    }

    /// Moves the head wherever it is.
    HeadFromAnywhere: |store, call| {
        if let Call::Records(append) = &mut call
            && append.head_from.is_some()
        {
            append.head_from = head_of(store, append.thread).await;
        }
    }

    /// Takes the old head away from its run.
    HeadMoveClaims: |store, call| {
        if let Call::Records(append) = &call
            && let Some(from) = append.head_from
        {
            claim(store, append, from).await;
        }
    }

    /// Sets a tag where another is.
    TagOverwritten: |store, call| {
        if let Call::Records(append) = &call {
            for tag in append.tags.iter().filter(|tag| matches!(tag, TagWrite::Set(_))) {
                let gone = vec![TagWrite::Remove(tag.name().to_owned())];
                let free = Records { tags: gone, pending: Vec::new(), head_from: None, ..(**append).clone() };
                let _ = store.append(free).await;
            }
        }
    }
}

/// Takes a refusal of an answer for its storage, where `forgiven` says so.
async fn forgive(
    store: &dyn CheckpointStore,
    call: Call,
    forgiven: impl AsyncFnOnce(&Error, &Records) -> bool,
) -> Result<Reply> {
    let sent = answers(&call);
    match (call.run(store).await, sent) {
        (Err(error), Some(append)) if forgiven(&error, &append).await => Ok(Reply::Records(Appended::default())),
        (answer, _) => answer,
    }
}

/// Acknowledges an answer to a question that has another one.
#[derive(Debug, Default)]
pub(super) struct SecondAnswerAccepted;

#[async_trait]
impl Intercept for SecondAnswerAccepted {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let taken = async |error: &Error, _: &Records| error.is(ErrorKind::Exists, Subject::Pending);
        forgive(store, call, taken).await
    }
}

/// Looks for no question.
#[derive(Debug, Default)]
pub(super) struct AnyAnswerAccepted;

#[async_trait]
impl Intercept for AnyAnswerAccepted {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let unknown = async |error: &Error, _: &Records| error.is(ErrorKind::Missing, Subject::Pending);
        forgive(store, call, unknown).await
    }
}

/// Looks for the question, but not whether the branch has moved on.
#[derive(Debug, Default)]
pub(super) struct DeadQuestionAnswered;

#[async_trait]
impl Intercept for DeadQuestionAnswered {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let dead = async |error: &Error, append: &Records| {
            let asked = |row: &PendingRow| row.kind == PendingKind::Interrupt && row.task == append.pending[0].task;
            let place = Place::Checkpoint(append.pending[0].base.clone());
            let rows = Load { pending: true, place, ..Load::head(ThreadAddress::Uid(append.thread)) };
            let load = Load { namespace: append.namespace.clone(), ..rows };
            let loaded = store.load(load).await;
            error.is(ErrorKind::Missing, Subject::Pending)
                && loaded.is_ok_and(|loaded| {
                    let moved_on = loaded.branch.row.tip != loaded.checkpoint.as_ref().map(crate::make::tip_of);
                    moved_on && loaded.pending.iter().any(asked)
                })
        };
        forgive(store, call, dead).await
    }
}

type Asked = (ThreadUid, CheckpointId, BranchId, TaskHash, u64);

/// Inserts answers without looking whether they are there.
#[derive(Debug, Default)]
pub(super) struct RepeatedAnswerRefused {
    answered: Mutex<HashSet<Asked>>,
}

#[async_trait]
impl Intercept for RepeatedAnswerRefused {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Some(append) = answers(&call) else { return call.run(store).await };
        let key = |row: &PendingRow| (append.thread, row.base.clone(), append.branch, row.task, row.ordinal);
        let keys: Vec<_> = append.pending.iter().map(key).collect();
        if keys.iter().any(|key| locked(&self.answered).contains(key)) {
            return Err(Error::exists(Subject::Pending, "answer", "unique constraint failed"));
        }
        let reply = call.run(store).await?;
        locked(&self.answered).extend(keys);
        Ok(reply)
    }
}

/// Shows an answer on every branch that was asked the same.
#[derive(Debug, Default)]
pub(super) struct AnswerInEveryLane {
    given: Mutex<Vec<(ThreadUid, PendingRow)>>,
}

#[async_trait]
impl Intercept for AnswerInEveryLane {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let given = answers(&call);
        let mut reply = call.run(store).await?;
        if let Some(append) = given {
            locked(&self.given).extend(append.pending.into_iter().map(|row| (append.thread, row)));
        }
        if let Reply::Load(loaded) = &mut reply {
            let lane = loaded.branch.row.id.lane();
            for (thread, row) in &*locked(&self.given) {
                let asked = |stored: &PendingRow| (&stored.base, stored.task) == (&row.base, row.task);
                let answered = |stored: &PendingRow| asked(stored) && stored.kind == PendingKind::Answer;
                let ours = *thread == loaded.thread.uid && loaded.pending.iter().any(asked);
                if ours && !loaded.pending.iter().any(answered) {
                    loaded.pending.push(row.in_lane(lane));
                }
            }
        }
        Ok(reply)
    }
}

/// Looks for questions on heads alone.
#[derive(Debug, Default)]
pub(super) struct WaitingOfHeads;

#[async_trait]
impl Intercept for WaitingOfHeads {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let waiting = matches!(&call, Call::Threads(query) if query.waiting);
        let mut reply = call.run(store).await?;
        if let Reply::Threads(page) = &mut reply
            && waiting
        {
            for entry in &mut page.threads {
                entry.waiting.retain(|waiting| waiting.branch.row.id == entry.thread.head);
            }
            page.threads.retain(|entry| !entry.waiting.is_empty());
        }
        Ok(reply)
    }
}

/// Takes a head that is there already for somebody else's.
#[derive(Debug, Default)]
pub(super) struct RepeatedHeadRefused;

#[async_trait]
impl Intercept for RepeatedHeadRefused {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        if let Call::Records(append) = &call
            && append.head_from.is_some()
            && head_of(store, append.thread).await != append.head_from
        {
            return Err(Error::conflict(Subject::Thread, append.thread, "its head is another branch now"));
        }
        call.run(store).await
    }
}

/// Inserts tags without looking whether they are there.
#[derive(Debug, Default)]
pub(super) struct RepeatedTagRefused {
    names: Mutex<HashSet<(ThreadUid, String)>>,
}

#[async_trait]
impl Intercept for RepeatedTagRefused {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Call::Records(append) = &call else { return call.run(store).await };
        let (thread, tags) = (append.thread, append.tags.clone());
        let key = |tag: &TagWrite| (thread, tag.name().to_owned());
        let set = |tag: &&TagWrite| matches!(tag, TagWrite::Set(_));
        if let Some(tag) = tags.iter().filter(set).find(|tag| locked(&self.names).contains(&key(tag))) {
            return Err(Error::exists(Subject::Tag, tag.name(), "unique constraint failed"));
        }
        let reply = call.run(store).await?;
        for tag in &tags {
            match tag {
                TagWrite::Set(_) => locked(&self.names).insert(key(tag)),
                TagWrite::Remove(_) => locked(&self.names).remove(&key(tag)),
            };
        }
        Ok(reply)
    }
}

/// Names what is not there.
#[derive(Debug, Default)]
pub(super) struct TagOfNothing;

#[async_trait]
impl Intercept for TagOfNothing {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let tags = matches!(&call, Call::Records(append) if !append.tags.is_empty());
        match call.run(store).await {
            Err(error) if tags && error.is(ErrorKind::Missing, Subject::Checkpoint) => {
                Ok(Reply::Records(Appended::default()))
            }
            answer => answer,
        }
    }
}

/// Keeps tags by the name of their thread, also when it goes.
#[derive(Debug, Default)]
pub(super) struct TagsOutliveThread {
    kept: Mutex<Vec<(String, TagEntry)>>,
}

#[async_trait]
impl Intercept for TagsOutliveThread {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        if let Call::DeleteThread(thread) = &call {
            let load = Load { tags: true, ..Load::head(ThreadAddress::Uid(*thread)) };
            let loaded = store.load(load).await;
            let kept = loaded.into_iter().flat_map(|loaded| {
                let name = loaded.thread.name;
                loaded.tags.into_iter().map(move |tag| (name.clone(), tag))
            });
            locked(&self.kept).extend(kept);
        }
        let tags = matches!(&call, Call::Load(load) if load.tags);
        let mut reply = call.run(store).await?;
        if let Reply::Load(loaded) = &mut reply
            && tags
        {
            let kept = locked(&self.kept);
            let ours = kept.iter().filter(|(name, _)| *name == loaded.thread.name);
            loaded.tags.extend(ours.map(|(_, tag)| tag.clone()));
        }
        Ok(reply)
    }
}
