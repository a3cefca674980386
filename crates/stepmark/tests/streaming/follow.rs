//! Can somebody who was away go on from the last event that he saw?

use std::time::Duration;

use futures_util::FutureExt;
use stepmark::stream::{Event, EventData, Events, Kind, Position};
use stepmark::{Durability, ErrorKind, MemoryStore, Sqlite};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::bench::{Approve, Desk, Gate, at_once, flood, office, reviewed, rounds, told, watch};

const STORED_AND_LIVE: [Kind; 3] = [Kind::Checkpoints, Kind::Tasks, Kind::Custom];

async fn all(mut events: Events<'_, Desk>) -> Vec<Event<Desk>> {
    let mut seen = Vec::new();
    while let Some(event) = events.next().await.transpose().expect("readable") {
        seen.push(event);
    }
    seen
}

async fn next(events: &mut Events<'_, Desk>) -> Event<Desk> {
    let next = timeout(Duration::from_secs(20), events.next()).await.expect("an event comes");
    next.expect("it does not end").expect("readable")
}

fn positions(events: &[Event<Desk>]) -> Vec<String> {
    events.iter().map(|event| event.position.to_string()).collect()
}

/// Every event of a run is a place to go on from, also for a process that has only the text of its position.
#[tokio::test]
async fn stored_events_go_on_after_every_position() {
    for mode in [Durability::Sync, Durability::ASYNC, Durability::Exit] {
        let thread = office(MemoryStore::new()).durability(mode).thread("t");
        let (events, _) = watch(thread.input(|_| ()).stream(Kind::ALL).start()).await;
        let stored: Vec<_> = events.iter().filter(|event| event.position.is_stored()).cloned().collect();
        assert_eq!(all(thread.events(Kind::STORED).start()).await, stored, "{mode:?}");
        for (seen, event) in events.iter().enumerate() {
            let position: Position = event.position.to_string().parse().expect("it reads back");
            let rest = all(thread.events(Kind::STORED).after(position).start()).await;
            let expected: Vec<_> =
                events[seen + 1..].iter().filter(|event| event.position.is_stored()).cloned().collect();
            assert_eq!(rest, expected, "{mode:?} after {position}");
        }
    }
}

#[tokio::test]
async fn positions_are_the_same_after_a_restart() {
    let directory = TempDir::new().expect("a directory");
    let open = || office(Sqlite::open(directory.path().join("desk.db")).expect("opens"));
    let (told, halfway) = {
        let thread = open().thread("t");
        let (events, _) = watch(thread.input(|_| ()).stream(Kind::STORED).start()).await;
        let halfway = events[events.len() / 2].position;
        (events, halfway)
    };
    let thread = open().thread("t");
    assert_eq!(all(thread.events(Kind::STORED).start()).await, told);
    let rest = all(thread.events(Kind::STORED).after(halfway).start()).await;
    assert_eq!(rest, told[told.len() / 2 + 1..]);
    // The next run goes on from there.
    let (events, _) = watch(thread.input(|_| ()).stream(Kind::STORED).start()).await;
    let read = all(thread.events(Kind::STORED).after(told.last().expect("there are events").position).start()).await;
    assert_eq!(read, events);
}

fn gaps(events: &[Event<Desk>]) -> usize {
    events.iter().filter(|event| matches!(event.data, EventData::Gap)).count()
}

#[tokio::test]
async fn live_events_of_another_process_are_one_gap() {
    let store = MemoryStore::new();
    let thread = office(store.clone()).thread("t");
    let (events, _) = watch(thread.input(|_| ()).stream(STORED_AND_LIVE).start()).await;
    let elsewhere = office(store).thread("t");
    for seen in [None, Some(0), Some(3), Some(events.len() - 1)] {
        let request = elsewhere.events(STORED_AND_LIVE);
        let request = match seen {
            Some(seen) => request.after(events[seen].position),
            None => request,
        };
        let read = all(request.start()).await;
        assert_eq!(gaps(&read), 1, "{:?}", told(&read));
        let rest = &events[seen.map_or(0, |seen| seen + 1)..];
        let stored: Vec<_> = rest.iter().filter(|event| event.position.is_stored()).collect();
        assert!(read.iter().filter(|event| !matches!(event.data, EventData::Gap)).eq(stored));
        let gap = read.iter().find(|event| matches!(event.data, EventData::Gap)).expect("there is one");
        assert_eq!(all(elsewhere.events(Kind::STORED).after(gap.position).start()).await, []);
    }
    assert_eq!(gaps(&all(elsewhere.events(Kind::STORED).start()).await), 0, "stored kinds miss nothing");
}

/// Somebody who was away and comes back in the same process sees the rest of the run, live events included, without a gap.
#[tokio::test]
async fn in_the_same_process_nothing_is_missing() {
    let clean = rounds(MemoryStore::new(), 5).thread("t");
    let (clean, _) = watch(clean.input(|_| ()).stream(STORED_AND_LIVE).start()).await;
    for seen in 0..clean.len() {
        let (gated, open) = Gate::before(&MemoryStore::new(), 3);
        let app = rounds(gated, 5);
        let thread = app.thread("t");
        let mut stream = thread.input(|_| ()).stream(STORED_AND_LIVE).start();
        let mut events = at_once(&mut stream);
        if seen >= events.len() {
            open.add_permits(2);
            events.extend(at_once(&mut stream));
            if seen >= events.len() {
                break;
            }
        }
        let elsewhere = app.thread("t");
        let mut follower = elsewhere.events(STORED_AND_LIVE).after(events[seen].position).follow().start();
        let mut read = Vec::new();
        for _ in seen + 1..events.len() {
            read.push(next(&mut follower).await);
        }
        open.add_permits(9);
        let (rest, _) = watch(stream).await;
        for _ in 0..rest.len() {
            read.push(next(&mut follower).await);
        }
        let expected: Vec<_> = events[seen + 1..].iter().chain(&rest).cloned().collect();
        assert_eq!(positions(&read), positions(&expected), "after {seen}");
        assert_eq!(read, expected);
    }
}

/// A follower that was there before the run began sees all of it, and of the next one too.
#[tokio::test]
async fn a_follower_sees_every_run_that_is_watched() {
    let app = rounds(MemoryStore::new(), 3);
    let thread = app.thread("t");
    let (first, _) = watch(thread.input(|_| ()).stream(STORED_AND_LIVE).start()).await;
    let elsewhere = app.thread("t");
    let after = first.last().expect("there are events").position;
    let mut follower = elsewhere.events(STORED_AND_LIVE).after(after).follow().start();
    assert!(matches!(next(&mut follower).await.data, EventData::Gap), "what was told meanwhile nobody knows");
    for _ in 0..3 {
        let (run, read) = tokio::join!(watch(thread.input(|_| ()).stream(STORED_AND_LIVE).start()), async {
            let mut read = Vec::new();
            while read.len() < 4 {
                read.push(next(&mut follower).await);
            }
            read
        });
        let (mut run, mut read) = (told(&run.0), told(&read));
        assert_eq!(run.len(), 4, "{run:?}");
        run.sort();
        read.sort();
        assert_eq!(read, run);
    }
}

/// Runs that nobody watches are followed too: stored kinds, through the store.
#[tokio::test]
async fn a_follower_sees_runs_of_other_processes() {
    let store = MemoryStore::new();
    let here = rounds(store.clone(), 2).thread("t");
    here.input(|_| ()).run().await.expect("runs");
    let mut follower = here.events([Kind::Checkpoints]).follow().start();
    for step in 0..=2 {
        assert_eq!(told(&[next(&mut follower).await]), [format!("checkpoint {step}")]);
    }
    let elsewhere = rounds(store, 2).thread("t");
    let (_, event) = tokio::join!(async { elsewhere.input(|_| ()).run().await.expect("runs") }, next(&mut follower));
    assert_eq!(told(&[event]), ["checkpoint 3"]);
    assert_eq!(told(&[next(&mut follower).await]), ["checkpoint 4"]);
}

/// Of a run that tells more than is kept, a late follower sees one gap and then the newest.
#[tokio::test]
async fn what_is_not_kept_any_more_is_one_gap() {
    let (app, _) = flood(MemoryStore::new(), 20);
    let thread = app.thread("t");
    let mut stream = thread.input(|_| ()).stream([Kind::Custom]).start();
    let first = stream.next().await.expect("an event");
    let elsewhere = app.thread("t");
    let mut follower = elsewhere.events([Kind::Custom]).after(first.position).follow().start();
    let second = next_of_both(&mut stream, &mut follower).await;
    assert!(matches!(second.data, EventData::Custom(_)));
    for _ in 0..1990 {
        stream.next().await.expect("an event");
    }
    let mut read = Vec::new();
    while read.len() < 1000 {
        read.push(next(&mut follower).await);
    }
    assert!(matches!(read[0].data, EventData::Gap), "{:?}", read[0]);
    assert_eq!(gaps(&read), 1);
    drop(stream);
}

async fn next_of_both(
    stream: &mut stepmark::stream::EventStream<'_, Desk>,
    follower: &mut Events<'_, Desk>,
) -> Event<Desk> {
    stream.next().await.expect("an event");
    next(follower).await
}

#[tokio::test]
async fn a_follower_sees_questions_as_they_are_asked_and_again_after_one_of_them() {
    let thread = reviewed(MemoryStore::new()).thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    let kinds = [Kind::Interrupts, Kind::Tasks];
    let read = all(thread.events(kinds).start()).await;
    assert_eq!(told(&read), ["task first", "interrupt approve"]);
    let mut follower = thread.events(kinds).after(read[1].position).follow().start();
    let EventData::Interrupt(question) = &read[1].data else { panic!("it is one") };
    let (ask, elsewhere) = (question.typed::<Approve>().expect("its type"), thread.branch("main"));
    let answer = async { elsewhere.answer(&ask, true).run().await };
    let (answered, event) = tokio::join!(answer, next(&mut follower));
    assert!(answered.expect("goes on").is_done());
    assert_eq!(told(&[event]), ["task review"]);
    assert_eq!(
        told(&all(thread.events(kinds).start()).await),
        ["task first", "interrupt approve", "task review", "task last"]
    );
}

#[tokio::test]
async fn a_position_of_another_line_is_refused() {
    let store = MemoryStore::new();
    let (one, other) = (rounds(store.clone(), 2).thread("one"), rounds(store, 2).thread("other"));
    let (events, _) = watch(one.input(|_| ()).stream([Kind::Checkpoints]).start()).await;
    other.input(|_| ()).run().await.expect("runs");
    let mut events = other.events(Kind::ALL).after(events[1].position).start();
    let error = events.next().await.expect("an answer").expect_err("it is not there");
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert!(events.next().await.is_none(), "after an error it ends");
    let nobody = rounds(MemoryStore::new(), 2).thread("nobody");
    let error = nobody.events(Kind::ALL).start().next().await.expect("an answer").expect_err("there is no thread");
    assert_eq!(error.kind(), ErrorKind::Missing);
}

/// A state is kept until the next step changes it; who comes then misses it, unless it was seen before.
#[tokio::test]
async fn a_state_that_was_changed_before_anybody_followed_is_a_gap() {
    let (gated, open) = Gate::before(&MemoryStore::new(), 3);
    let app = rounds(gated, 4);
    let thread = app.thread("t");
    let mut stream = thread.input(|_| ()).stream([Kind::Values]).start();
    let seen = at_once(&mut stream);
    assert_eq!(told(&seen), ["values", "values"], "the third step waits for its commit");
    let elsewhere = app.thread("t");
    let follow = |at: usize| elsewhere.events([Kind::Values]).after(seen[at].position).follow().start();
    let (mut late, mut in_time) = (follow(0), follow(1));
    assert!(matches!(next(&mut late).await.data, EventData::Gap));
    assert!(in_time.next().now_or_never().is_none());
    open.add_permits(9);
    let third = stream.next().await.expect("it goes on");
    assert_eq!((next(&mut late).await, next(&mut in_time).await), (third.clone(), third));
}
