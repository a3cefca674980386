//! Does a process that is told to end stop at a step boundary, by one call, and is it seen by others until then?

use rustix::process::Signal;
use stepmark::{Ending, Sqlite};

use crate::ticking::Ticking;
use crate::ticks;

#[tokio::test]
async fn a_process_that_is_told_to_end_ends_its_runs_first() {
    for signal in [Signal::TERM, Signal::INT] {
        let directory = tempfile::tempdir().expect("a directory");
        let database = directory.path().join("ticks.db");
        let done = Ticking::start(&database).end(signal);
        let app =
            ticks::app(Sqlite::open(&database).expect("the file opens"), done + 3, |_| ()).expect("a sound graph");
        let thread = app.thread("t");
        let stored = thread.state().await.expect("the thread is there");
        assert_eq!((stored.state().ticks.len(), stored.next()), (done, &["tick".to_owned()][..]));
        let outcome = thread.resume().await.expect("it goes on here");
        assert_eq!((outcome.ending(), outcome.stats().executed), (Ending::Done, 3));
        assert_eq!(outcome.state().ticks, (0..done as u64 + 3).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_thread_of_another_process_is_watched_through_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = directory.path().join("ticks.db");
    let app = ticks::app(Sqlite::open(&database).expect("the file opens"), usize::MAX, |_| ()).expect("a sound graph");
    let mut watch = app.watch("t");
    let other = Ticking::start(&database);
    let mut seen = vec![0];
    while seen.len() < 5 {
        seen.push(watch.changed().await.expect("it moves").state().ticks.len());
    }
    assert!(seen.is_sorted(), "nothing goes back: {seen:?}");
    let done = tokio::task::spawn_blocking(|| other.end(Signal::TERM)).await.expect("it ends");
    let mut last = seen[4];
    while last < done {
        last = watch.changed().await.expect("the end is seen").state().ticks.len();
    }
    assert_eq!(last, done, "the last state is seen, and none that is not stored");
}
