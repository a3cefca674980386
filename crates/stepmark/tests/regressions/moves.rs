//! What moved between a look and the write that followed it.

use std::sync::Arc;

use stepmark::MemoryStore;
use stepmark_conformance::call::Intercepted;

use crate::{Lab, Late, reading};

/// A branch's name was moved by a reset just before the head was set to it. The head then lay on the line that the reset
/// had left and given up, and the next input went on from there.
#[tokio::test]
async fn the_head_is_set_to_what_the_name_means() {
    let (lab, store, late) = (Arc::new(Lab::default()), MemoryStore::new(), Late::default());
    let app = reading(&lab, &store, "read", None);
    let thread = app.thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    let history = thread.history().await.expect("readable");
    let (tip, root) = (&history[0].info().id, &history[2].info().id);
    let side = thread.at(tip).fork("side").await.expect("forks");
    let there = app.clone().with(Intercepted::around(Arc::new(store.clone()), late.clone())).thread("t");
    let moves = async { there.set_head("side").await.expect("moves the head") };
    let resets = async {
        late.0.1.notified().await;
        side.reset(root).await.expect("resets");
        late.0.2.notify_one();
    };
    futures_util::future::join(moves, resets).await;
    let branches = thread.branches().await.expect("listed");
    let head = branches.iter().find(|branch| branch.is_head).expect("a thread has a head");
    assert_eq!(head.name.as_deref(), Some("side"));
}
