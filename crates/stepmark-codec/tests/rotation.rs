//! Is a call that is sent again after a rotation the same call, although its bytes would be others now?

use std::sync::Arc;

use stepmark_codec::{Codec, Key, MasterKeys};
use stepmark_conformance::make::{Line, blob_node, full, intent};
use stepmark_core::effect::EffectReply;
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::memory::MemoryStore;
use stepmark_core::rows::RunStatus;
use stepmark_core::store::{BlobCall, CheckpointStore, Outcome, RunWrite};

/// Handles before the rotation and after it, on one store.
fn handles() -> [Arc<dyn CheckpointStore>; 2] {
    let (kept, old) = (MemoryStore::new(), MasterKeys::new(Key::new([1; 32])));
    let new = old.clone().with(2, Key::new([2; 32]));
    [old, new].map(|keys| -> Arc<dyn CheckpointStore> { Arc::new(Codec::new().sealed(keys).around(kept.clone())) })
}

#[tokio::test]
async fn repeated_commit_is_repeated_after_a_rotation() {
    let [before, after] = handles();
    let mut line = Line::born(&before, "t").await;
    let (node, bytes) = blob_node(&"in a blob");
    for store in [&before, &after] {
        store.blob(BlobCall::Put { scope: String::new(), bytes: bytes.clone() }).await.expect("it waits");
    }
    let run = RunWrite::Begin(line.run("r", RunStatus::Open));
    let commit = line.next().stored("blob", node).packed("log", full(&"x")).with_run(run).build();
    line.apply(commit.clone()).await;
    assert_eq!(after.commit(commit.clone()).await.expect("it is there"), Outcome::Repeated);
    line.step().await;
    assert_eq!(after.commit(commit.clone()).await.expect("it is there still"), Outcome::Repeated);
    // Another unit under its id is another one, whichever key would seal it.
    let mut other = commit;
    let row = other.checkpoint.as_mut().expect("a checkpoint");
    row.created_at += 1;
    let refused = after.commit(other).await.expect_err("it is another one");
    assert!(refused.is(ErrorKind::Corrupt, Subject::Checkpoint), "{refused:?}");
}

#[tokio::test]
async fn repeated_appends_are_accepted_after_a_rotation() {
    let [before, after] = handles();
    let line = Line::born(&before, "t").await;
    let flush = line.flush(0, "pending");
    let question = line.ask(0, "really?").await;
    let answer = line.answer(&question, "yes");
    for append in [&flush, &answer] {
        before.append(append.clone()).await.expect("it is new");
        after.append(append.clone()).await.expect("it is there");
    }
    let refused = after.append(line.answer(&question, "no")).await.expect_err("there is another answer");
    assert!(refused.is(ErrorKind::Exists, Subject::Pending), "{refused:?}");
    let refused = after.append(line.flush(0, "another")).await.expect_err("its number is taken");
    assert!(refused.is(ErrorKind::Corrupt, Subject::Pending), "{refused:?}");
    let later = Line { store: after, ..line };
    assert_eq!(later.read().await.pending.len(), 3);
}

/// An action that was done before the rotation is not done again after it.
#[tokio::test]
async fn effects_are_known_after_a_rotation() {
    let [before, after] = handles();
    let line = Line::born(&before, "t").await;
    line.does(&intent("pay", "ten"), "receipt").await;
    let line = Line { store: after, ..line };
    assert!(matches!(line.reply(&intent("pay", "ten")).await, EffectReply::Done(_)));
    assert!(matches!(line.reply(&intent("pay", "twenty")).await, EffectReply::Mismatch(_)));
    line.does(&intent("send", "letter"), "stamp").await;
    assert_eq!(line.ledger().await.len(), 2);
}
