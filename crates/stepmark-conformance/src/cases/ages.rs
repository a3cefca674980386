//! Is it known how old something is, and which threads may go? Cases for stores that offer retention.

use std::sync::Arc;

use stepmark_core::capability::{
    Aged, AgedQuery, AttributeChange, AttributeKind, Declaration, Only, Restore, Row, RowKey,
};
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::rows::RunStatus;
use stepmark_core::store::{CheckpointStore, Records, RunWrite};

use super::assert_refused;
use super::retention::{HOUR_US, grown, now, retention};
use super::rows::all_rows;
use crate::env::StoreEnv;
use crate::make::{Line, done, intent};

/// What arrived in the last minutes is young, and an hour from now nothing is.
pub async fn age_is_known_by_arrival(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 2).await else { return };
    let store = Arc::clone(&line.store);
    let retention = retention(&store);
    let (uid, now) = (line.thread.uid, now(&line.store).await);
    let page = line.store.history(line.lineage(Some(1), 1)).await.expect("it is known");
    let first = page.entries[0].checkpoint.id.clone();
    let since = |at| retention.first_since(uid, "", at);
    assert_eq!(since(now - HOUR_US).await.expect("it is known"), Some(first.clone()));
    assert_eq!(since(now + HOUR_US).await.expect("it is known"), None);
    assert_eq!(retention.first_since(uid, "nowhere", now - HOUR_US).await.expect("it is known"), None);
    line.step().await;
    line.unlinked([0]).await;
    assert_eq!(since(now - HOUR_US).await.expect("it is known"), Some(first), "its row is still there");
    line.remove(line.places([0]).into_iter().map(RowKey::Checkpoint).collect(), Vec::new()).await.expect("it goes");
    let page = line.store.history(line.lineage(Some(2), 1)).await.expect("it is known");
    assert_eq!(since(now - HOUR_US).await.expect("it is known"), Some(page.entries[0].checkpoint.id.clone()));
    let newest_at = retention.state(uid).await.expect("it is known").newest_at.expect("it has checkpoints");
    assert!((now - HOUR_US..now + HOUR_US).contains(&newest_at), "{newest_at} is not about {now}");
}

async fn aged(store: &Arc<dyn CheckpointStore>, which: Aged, limit: u32) -> Vec<ThreadUid> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = retention(store).threads(AgedQuery { which, after, limit }).await.expect("a page");
        assert!(page.threads.len() <= limit as usize);
        found.extend(page.threads);
        after = page.next;
        if after.is_none() {
            found.sort_unstable();
            return found;
        }
    }
}

/// Threads of all scopes, page by page: all, those that are quiet, those whose time is over.
pub async fn aged_threads_are_listed_once(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    if store.retention().is_none() {
        return;
    }
    let mut uids = Vec::new();
    for (scope, name) in [("", "a"), ("", "b"), ("x", "a"), ("y", "c"), ("y", "d")] {
        let mut line = Line::unborn(&store, scope, name);
        line.apply(line.birth().build()).await;
        uids.push(line.thread.uid);
    }
    let now = now(&store).await;
    retention(&store).set_expiry(uids[1], Some(now - HOUR_US)).await.expect("it is known");
    retention(&store).set_expiry(uids[2], Some(now + HOUR_US)).await.expect("it is known");
    retention(&store).set_expiry(uids[3], Some(now - HOUR_US)).await.expect("it is known");
    let mut expired = vec![uids[1], uids[3]];
    expired.sort_unstable();
    uids.sort_unstable();
    for limit in [1, 2, 5, 9] {
        assert_eq!(aged(&store, Aged::Any, limit).await, uids);
        assert_eq!(aged(&store, Aged::QuietSince(now + HOUR_US), limit).await, uids);
        assert_eq!(aged(&store, Aged::QuietSince(now - HOUR_US), limit).await, []);
        assert_eq!(aged(&store, Aged::Expired, limit).await, expired);
    }
}

/// Time alone deletes nothing; who sweeps deletes what may go, and what was given a longer life stays.
pub async fn expired_thread_stays_until_it_is_swept(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 1).await else { return };
    let store = Arc::clone(&line.store);
    let retention = retention(&store);
    let (uid, now) = (line.thread.uid, now(&line.store).await);
    assert!(!retention.delete(uid, Only::EXPIRED).await.expect("it is known"));
    retention.set_expiry(uid, Some(now - 1)).await.expect("it is known");
    assert_eq!(retention.state(uid).await.expect("it is known").expires_at, Some(now - 1));
    line.step().await;
    line.assert_stored().await;
    retention.set_expiry(uid, None).await.expect("it is known");
    assert!(!retention.delete(uid, Only::EXPIRED).await.expect("it is known"));
    retention.set_expiry(uid, Some(now - 1)).await.expect("it is known");
    assert!(retention.delete(uid, Only::EXPIRED).await.expect("it is known"));
    assert_refused(line.store.load(line.whole()).await, ErrorKind::Deleted, Subject::Thread);
    assert!(retention.delete(uid, Only::EXPIRED).await.expect("it was deleted"));
    assert_refused(retention.state(uid).await, ErrorKind::Deleted, Subject::Thread);
    assert_refused(retention.delete(ThreadUid([9; 16]), Only::EXPIRED).await, ErrorKind::Missing, Subject::Thread);
}

/// Commits, claims and forks between the look and the deletion keep a thread.
pub async fn moved_thread_is_not_deleted(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 1).await else { return };
    let store = Arc::clone(&line.store);
    let (retention, uid) = (retention(&store), line.thread.uid);
    let mut stamps = vec![retention.state(uid).await.expect("it is known").stamp];
    for change in 0..3 {
        match change {
            0 => line.step().await,
            1 => line.apply(line.claim()).await,
            _ => drop(line.forked(None).await),
        }
        for stamp in &stamps {
            assert!(!retention.delete(uid, Only::unmoved(*stamp)).await.expect("it is known"), "change {change}");
        }
        stamps.push(retention.state(uid).await.expect("it is known").stamp);
    }
    line.assert_stored().await;
    let stamp = stamps.pop().expect("there are some");
    assert!(retention.delete(uid, Only::unmoved(stamp)).await.expect("it is known"));
    assert!(retention.delete(uid, Only::unmoved(stamp)).await.expect("it was deleted"));
    assert_refused(store.load(line.whole()).await, ErrorKind::Deleted, Subject::Thread);
}

/// What is half restored is given up whatever must hold; once it is whole it is a thread like others.
pub async fn published_thread_is_not_given_up(env: &dyn StoreEnv) {
    let Some(line) = grown(env, 1).await else { return };
    let (from, uid) = (Arc::clone(&line.store), line.thread.uid);
    let Some(rows) = from.rows() else { return };
    let restore = |publish, rows: &[Row]| Restore { thread: line.thread.clone(), rows: rows.to_vec(), publish };
    let rows = all_rows(rows, uid).await;
    let to = env.fresh().await;
    let (to, rows) = (&to, &rows);
    let restored = async |publish| {
        let offered = to.rows().expect("every handle has them");
        offered.restore(restore(publish, rows)).await.expect("nobody has it otherwise")
    };
    for only in [Only::RESTORING, Only::EXPIRED] {
        restored(false).await;
        assert!(retention(to).delete(uid, only).await.expect("it is half there"));
        assert_refused(retention(to).delete(uid, only).await, ErrorKind::Missing, Subject::Thread);
    }
    restored(false).await;
    restored(true).await;
    assert!(!retention(to).delete(uid, Only::RESTORING).await.expect("it is known"));
    assert_eq!(all_rows(to.rows().expect("every handle has them"), uid).await, *rows);
}

/// All that an export shows keeps a thread which comes between the look and the deletion: results, answers, names, tags, run
/// records, effects and their outcomes, attributes.
pub async fn written_thread_is_not_deleted(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 1).await else { return };
    line.apply(line.next().with_run(RunWrite::Begin(line.run("r", RunStatus::Open))).build()).await;
    let side = line.forked(Some("side")).await;
    let (store, uid) = (Arc::clone(&line.store), line.thread.uid);
    let (retention, pay) = (retention(&store), intent("pay", "ten"));
    if let Some(search) = store.search() {
        let kind = AttributeKind::Integer;
        search.declare("", vec![Declaration { name: "size".into(), kind }]).await.expect("it is declared");
    }
    let (mut question, mut granted) = (None, None);
    for written in 0..10 {
        let stamp = retention.state(uid).await.expect("it is known").stamp;
        match written {
            0 => drop(store.append(line.flush(0, "flushed")).await.expect("the owner flushes")),
            1 => question = Some(line.ask(1, "may I").await),
            2 => drop(store.append(line.answer(question.as_ref().expect("asked"), "yes")).await.expect("it is open")),
            3 => drop(store.append(line.tag("kept")).await.expect("the tip is there")),
            4 => drop(store.append(line.untag("kept")).await.expect("it is there")),
            5 => granted = Some(line.granted(&pay).await),
            6 => drop(line.settles(&pay, granted.as_ref().expect("granted"), done("paid")).await),
            7 => {
                let run = Some(line.run("r", RunStatus::Done));
                store.append(Records { run, ..line.append(Vec::new()) }).await.expect("the owner ends it");
            }
            8 => drop(store.append(side.head_from(line.branch.id)).await.expect("it is the head")),
            _ => {
                let Some(search) = store.search() else { continue };
                let change = AttributeChange { name: "size".into(), value: Some(7.into()) };
                search.set_attributes(uid, vec![change]).await.expect("it is set");
            }
        }
        assert!(!retention.delete(uid, Only::unmoved(stamp)).await.expect("it is known"), "after write {written}");
    }
    let stamp = retention.state(uid).await.expect("it is known").stamp;
    assert!(retention.delete(uid, Only::unmoved(stamp)).await.expect("it is known"), "nothing came between");
}

/// Both conditions hold, or the thread stays: it may go by now, and nobody has written it.
pub async fn expired_thread_that_moved_is_not_deleted(env: &dyn StoreEnv) {
    let Some(mut line) = grown(env, 1).await else { return };
    let store = Arc::clone(&line.store);
    let (retention, uid, now) = (retention(&store), line.thread.uid, now(&line.store).await);
    let stamp = || async { retention.state(uid).await.expect("it is known").stamp };
    let delete = |stamp| retention.delete(uid, Only { expired: true, unmoved: Some(stamp) });
    assert!(!delete(stamp().await).await.expect("it is known"), "nobody moved it, but it may not go");
    retention.set_expiry(uid, Some(now - 1)).await.expect("it is known");
    let before = stamp().await;
    line.step().await;
    assert!(!delete(before).await.expect("it is known"), "it may go, but somebody moved it");
    line.assert_stored().await;
    assert!(delete(stamp().await).await.expect("it is known"));
    assert!(delete(before).await.expect("it was deleted"));
}
