//! What becomes of a thread that two processes bring into one store at once?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use stepmark_conformance::call::{Call, Intercept, Intercepted, Reply, RetentionCall};
use stepmark_conformance::make::{Line, furnished};
use stepmark_core::capability::{Restore, Row, RowClass};
use stepmark_core::error::ErrorKind;
use stepmark_core::store::CheckpointStore;
use stepmark_upkeep::{Error, copy, copy_thread};
use tokio::sync::Mutex;

use crate::Mover;
use crate::common::{BACKENDS, address, all_rows, exported, imported, memory};

/// Brings the thread whole, right before somebody else gives up what is there of it.
#[derive(Debug)]
struct Publisher {
    file: Vec<u8>,
}

#[async_trait]
impl Intercept for Publisher {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> stepmark_core::error::Result<Reply> {
        let deletes = match &call {
            Call::DeleteThread(_) => true,
            Call::Retention(call) => matches!(**call, RetentionCall::Delete(..)),
            _ => false,
        };
        if deletes {
            imported(store, &self.file).await.expect("all that lacks is added");
        }
        call.run(store).await
    }
}

#[tokio::test]
async fn thread_that_a_rival_published_is_not_given_up() {
    for backend in BACKENDS {
        let (from, to) = (memory(), backend.home().await);
        let line = furnished(&from.store, "t").await;
        let threads = [address(&line)];
        let file = exported(&*from.store, &threads).await;
        // It moves when nearly all of it was read, so what is half there is the rival's too.
        let mover = Mover { line: Mutex::new(line), at: 14, pages: AtomicU64::new(0) };
        let moving = Intercepted::around(Arc::clone(&from.store), mover);
        let rival = Intercepted::around(Arc::clone(&to.store), Publisher { file: file.clone() });
        let refusal = copy(&moving, &rival, &threads, &mut |_, _| {}).await.expect_err("another one is there");
        assert!(matches!(&refusal, Error::Store(error) if error.kind() == ErrorKind::Conflict), "{refusal}");
        assert!(exported(&*to.store, &threads).await == file, "{}", to.name);
    }
}

/// Gives up what is half there, and begins anew with other rows, right before somebody else publishes it.
#[derive(Debug)]
struct Beginner {
    rows: Vec<Row>,
    came: AtomicBool,
}

#[async_trait]
impl Intercept for Beginner {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> stepmark_core::error::Result<Reply> {
        if let Call::Restore(restore) = &call
            && restore.publish
            && !self.came.swap(true, Ordering::Relaxed)
        {
            store.delete_thread(restore.thread.uid).await?;
            let (thread, rows) = (restore.thread.clone(), self.rows.clone());
            store.rows().expect("it has rows").restore(Restore { thread, rows, publish: false }).await?;
        }
        call.run(store).await
    }
}

/// A line's branches, without which nothing is published.
async fn branches(line: &Line) -> Vec<Row> {
    let rows = all_rows(&*line.store, line.thread.uid).await.expect("it is whole");
    rows.into_iter().filter(|row| row.class() == RowClass::Branch).collect()
}

#[tokio::test]
async fn half_a_thread_is_not_published() {
    for backend in BACKENDS {
        let (from, to) = (memory(), backend.home().await);
        let line = furnished(&from.store, "t").await;
        let (threads, rows) = ([address(&line)], branches(&line).await);
        let rival = Intercepted::around(Arc::clone(&to.store), Beginner { rows, came: AtomicBool::new(false) });
        copy(&*from.store, &rival, &threads, &mut |_, _| {}).await.expect("what lacks is added");
        let whole = exported(&*from.store, &threads).await;
        assert!(exported(&*to.store, &threads).await == whole, "{}", to.name);
        let rival = Intercepted::around(
            Arc::clone(&to.store),
            Beginner { rows: branches(&line).await, came: AtomicBool::new(false) },
        );
        let uid = copy_thread(&rival, &address(&line), "copy").await.expect("what lacks is added");
        let rows = |uid| all_rows(&*to.store, uid);
        assert_eq!(
            rows(uid).await.map(|rows| rows.len()).ok(),
            rows(line.thread.uid).await.map(|rows| rows.len()).ok()
        );
    }
}
