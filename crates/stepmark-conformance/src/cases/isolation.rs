//! Are scopes, namespaces, threads and spellings kept apart?

use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::BlobHash;
use stepmark_core::rows::{BranchRow, ThreadRow};
use stepmark_core::store::{
    BlobCall, BlobReply, Channels, Expect, Line as Walk, Load, Place, ThreadAddress, ThreadQuery,
};

use super::assert_refused;
use crate::StoreEnv;
use crate::make::{HEIGHT_CHANNEL, Line, blob_node, full, value_of};

fn by_name(scope: &str, name: &str) -> Load {
    Load::head(ThreadAddress::Name { scope: scope.into(), name: name.into() })
}

/// Scopes share nothing: a name may be taken in each, and listings, lookups and blobs stay inside.
pub async fn scopes_are_apart(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut uids = Vec::new();
    for scope in ["", "acme", "acme2"] {
        let mut line = Line::unborn(&store, scope, "t");
        line.apply(line.birth().build()).await;
        uids.push((scope, line.thread.uid));
    }
    for (scope, uid) in uids {
        assert_eq!(store.load(by_name(scope, "t")).await.expect("the thread loads").thread.uid, uid);
        let query = ThreadQuery { scope: scope.into(), after: None, limit: 9, waiting: false };
        let listed = store.threads(query).await.expect("the store answers").threads;
        assert_eq!(listed.iter().map(|entry| entry.thread.uid).collect::<Vec<_>>(), [uid]);
    }
    assert_refused(store.load(by_name("umbrella", "t")).await, ErrorKind::Missing, Subject::Thread);

    let (node, bytes) = blob_node(&"a secret");
    let hash = BlobHash::of(&bytes);
    store.blob(BlobCall::Put { scope: "acme".into(), bytes }).await.expect("the blob is kept");
    let elsewhere = BlobCall::Has { scope: "acme2".into(), hash };
    assert_eq!(store.blob(elsewhere).await.expect("the store answers"), BlobReply::Present(false));
    let mut line = Line::unborn(&store, "acme2", "u");
    let commit = line.birth().stored("document", node).build();
    assert_refused(line.send(commit).await, ErrorKind::Missing, Subject::Blob);
}

/// Namespaces of one thread share neither branches, checkpoints, values nor pending rows, even under equal ids.
pub async fn namespaces_are_apart(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut root = Line::grown(&store, "t", 1).await;
    let mut child = Line { namespace: "research/0".into(), ..root.clone() };
    child.branch = BranchRow { tip: None, ..root.branch.clone() };
    let mut birth = child.next().packed("log", full(&"child"));
    birth.commit.expect = Expect::New;
    birth.id = root.branch.tip.clone().expect("it has steps").id;
    child.apply(birth.build()).await;
    root.apply(root.next().packed("log", full(&"root")).build()).await;
    store.append(root.flush(0, "root")).await.expect("the root flushes");
    store.append(child.flush(0, "child")).await.expect("the child flushes");
    for (line, text, height) in [(&root, "root", 2), (&child, "child", 0)] {
        line.assert_stored().await;
        let loaded = line.read().await;
        assert_eq!(value_of::<String>(&loaded, "log"), text);
        assert_eq!(loaded.pending, [line.pending(0, text)]);
        let page = store.history(line.lineage(None, 9)).await.expect("the line is known");
        assert_eq!(page.entries.len(), height + 1);
        let all = store.history(line.walk(Walk::All { before: None }, 9)).await.expect("the thread is known");
        assert_eq!(all.entries.len(), height + 1);
    }
}

/// Threads share nothing, even under equal branch and checkpoint ids.
pub async fn threads_are_apart(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let mut one = Line::unborn(&store, "", "one");
    let stranger = Line::unborn(&store, "", "two").thread;
    let mut two = Line { thread: ThreadRow { head: one.branch.id, ..stranger }, ..one.clone() };
    let (first, mut second) = (one.birth(), two.birth());
    second.id = first.id.clone();
    one.apply(first.named("main").build()).await;
    two.apply(second.named("main").build()).await;
    store.append(one.flush(0, "one")).await.expect("one flushes");
    assert!(two.read().await.pending.is_empty());
    one.steps(2).await;
    two.assert_stored().await;
    store.delete_thread(one.thread.uid).await.expect("the thread is known");
    two.assert_stored().await;
    two.step().await;
}

/// Names are compared byte by byte: case, composition, blanks and wildcards all count, and come back as written.
pub async fn names_are_kept_byte_for_byte(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let spellings = ["caf\u{e9}", "cafe\u{301}", "CAF\u{c9}", " caf\u{e9}", "%", "_", "a'b\"c", "👩‍🚀 线程", "a/b", "\\"];
    let mut lines = Vec::new();
    for spelling in spellings {
        let mut line = Line::unborn(&store, "", spelling);
        line.apply(line.birth().named(spelling).packed(spelling, full(&spelling)).build()).await;
        for name in spellings {
            store.append(line.tag(name)).await.expect("every name is another's");
        }
        lines.push(line);
    }
    let mut sorted = spellings;
    sorted.sort_unstable();
    for (line, spelling) in lines.iter().zip(spellings) {
        let rows = Load { tags: true, ..by_name("", spelling) };
        let load = Load { channels: Channels::All, place: Place::Named(spelling.into()), ..rows };
        let loaded = store.load(load).await.expect("the thread loads");
        assert_eq!((loaded.thread.uid, loaded.thread.name.as_str()), (line.thread.uid, spelling));
        assert_eq!(loaded.branch.name.as_deref(), Some(spelling));
        assert_eq!(value_of::<String>(&loaded, spelling), spelling);
        assert_eq!(value_of::<u64>(&loaded, HEIGHT_CHANNEL), 0);
        assert_eq!(loaded.tags.iter().map(|entry| entry.row.name.as_str()).collect::<Vec<_>>(), sorted);
    }
}
