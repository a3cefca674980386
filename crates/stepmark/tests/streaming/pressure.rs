//! Does a run wait for whoever watches it, and end with him?

use stepmark::stream::{EventData, Kind};
use stepmark::{Durability, MemoryStore};

use crate::bench::{Desk, flood, rounds, told, watch};

#[tokio::test]
async fn a_full_buffer_holds_the_run_and_loses_nothing() {
    for buffer in [1, 2, 7, 256] {
        for tasks in [1, 5] {
            let (app, emitted) = flood(MemoryStore::new(), tasks);
            let thread = app.thread("t");
            let mut stream = thread.input(|_| ()).stream([Kind::Custom]).buffer(buffer).start();
            let mut seen = 0;
            while let Some(event) = stream.next().await {
                assert!(matches!(event.data, EventData::Custom(_)));
                seen += 1;
                // What waits in the buffer, and one more that each task holds in its hand.
                let ahead = emitted.load(std::sync::atomic::Ordering::SeqCst) - seen;
                assert!(ahead <= buffer + tasks, "{ahead} ahead of a buffer of {buffer}");
            }
            assert_eq!(seen, 100 * tasks);
            assert!(stream.outcome().await.expect("runs").is_done());
        }
    }
}

#[tokio::test]
async fn a_run_that_nobody_polls_does_not_go_on() {
    let (app, emitted) = flood(MemoryStore::new(), 1);
    let thread = app.thread("t");
    let mut stream = thread.input(|_| ()).stream([Kind::Custom]).buffer(3).start();
    tokio::task::yield_now().await;
    assert_eq!(emitted.load(std::sync::atomic::Ordering::SeqCst), 0, "nothing runs before the first poll");
    stream.next().await.expect("an event");
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(emitted.load(std::sync::atomic::Ordering::SeqCst) <= 5);
}

#[tokio::test]
async fn the_outcome_can_be_had_without_the_events() {
    let (app, _) = flood(MemoryStore::new(), 3);
    let thread = app.thread("t");
    let stream = thread.input(|_| ()).stream(Kind::ALL).buffer(1).start();
    assert!(stream.outcome().await.expect("runs").is_done());
}

/// Watching changes nothing: dropped after any number of events, the run can be resumed to the same end.
#[tokio::test]
async fn dropping_the_stream_drops_the_run_and_a_resume_equals_the_clean_run() {
    for mode in [Durability::Sync, Durability::ASYNC, Durability::Exit] {
        let clean = rounds(MemoryStore::new(), 4).durability(mode).thread("t");
        let (all, outcome) = watch(clean.input(|_| ()).stream(Kind::ALL).start()).await;
        let expected: Desk = outcome.expect("runs").state().clone();
        for taken in 0..all.len() {
            let store = MemoryStore::new();
            let app = rounds(store.clone(), 4).durability(mode);
            let thread = app.thread("t");
            let mut stream = thread.input(|_| ()).stream(Kind::ALL).start();
            for _ in 0..taken {
                stream.next().await.expect("there are more");
            }
            drop(stream);
            let resumed = match thread.resume().await {
                // Nothing of it was stored.
                Err(error) if error.kind() == stepmark::ErrorKind::Missing => thread.input(|_| ()).run().await,
                resumed => resumed,
            };
            assert_eq!(
                *resumed.expect("goes on").state(),
                expected,
                "{mode:?} after {taken}: {:?}",
                told(&all[..taken])
            );
        }
    }
}
