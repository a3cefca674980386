//! What does a kill between reserving a name and making its thread leave?

mod common;

use common::Home;
use redis::Commands;
use stepmark_conformance::make::Line;
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::store::{CheckpointStore, Load, Outcome, ThreadAddress, ThreadQuery};

fn by_name(name: &str) -> Load {
    Load::head(ThreadAddress::Name { scope: String::new(), name: name.into() })
}

/// Leaves what a creator leaves that was killed after it had reserved its name.
fn reserve(home: &Home, line: &Line) {
    let mut server = home.server();
    let turn: u64 = server.incr(format!("{}:{{s/}}:turns", home.prefix), 1).expect("a turn");
    let held = [&line.thread.uid.0[..], turn.to_string().as_bytes()].concat();
    let _: () = server.hset(home.names(), &line.thread.name, held).expect("the name is reserved");
    let _: () = server.zadd(format!("{}:{{s/}}:listing", home.prefix), &line.thread.name, 0).expect("it is listed");
}

fn holds(home: &Home, line: &Line) -> bool {
    home.holder(&line.thread.name).is_some_and(|held| held.starts_with(&line.thread.uid.0))
}

async fn listed(store: &dyn CheckpointStore) -> Vec<String> {
    let query = ThreadQuery { scope: String::new(), after: None, limit: 10, waiting: false };
    let page = store.threads(query).await.expect("a page");
    page.threads.into_iter().map(|entry| entry.thread.name).collect()
}

#[tokio::test]
async fn reserved_name_without_its_thread_is_nobodys() {
    let home = Home::new();
    let store = home.store().await;
    let killed = Line::unborn(&store, "", "t");
    reserve(&home, &killed);
    let refusal = store.load(by_name("t")).await.expect_err("no thread has it");
    assert!(refusal.is(ErrorKind::Missing, Subject::Thread), "{refusal}");
    let line = Line::born(&store, "t").await;
    assert!(holds(&home, &line));
    assert_eq!(store.load(by_name("t")).await.expect("it loads").thread.uid, line.thread.uid);
}

#[tokio::test]
async fn retry_uses_its_own_reservation() {
    let home = Home::new();
    let store = home.store().await;
    let mut line = Line::unborn(&store, "", "t");
    reserve(&home, &line);
    let birth = line.birth().build();
    line.apply(birth.clone()).await;
    assert!(holds(&home, &line));
    assert_eq!(store.commit(birth).await.expect("it is there"), Outcome::Repeated);
}

#[tokio::test]
async fn creator_that_lost_its_name_meanwhile_is_refused() {
    let home = Home::new();
    let store = home.store().await;
    let mut slow = Line::unborn(&store, "", "t");
    reserve(&home, &slow);
    let quick = Line::born(&store, "t").await;
    let refusal = slow.send(slow.birth().build()).await.expect_err("the name is another's now");
    assert!(refusal.is(ErrorKind::Exists, Subject::Thread), "{refusal}");
    assert!(holds(&home, &quick));
    assert!(!home.keys().contains(&home.key(slow.thread.uid, "rows")), "nothing of it is written");
}

#[tokio::test]
async fn creator_takes_a_name_back_that_was_taken_for_nothing() {
    let home = Home::new();
    let store = home.store().await;
    let (mut first, second) = (Line::unborn(&store, "", "t"), Line::unborn(&store, "", "t"));
    reserve(&home, &first);
    // Somebody saw to it that this reservation comes to nothing, reserved the name, and was killed too.
    let _: () = home.server().set(home.key(first.thread.uid, "gone"), 1).expect("its turn is over");
    reserve(&home, &second);
    first.apply(first.birth().build()).await;
    assert!(holds(&home, &first));
    first.assert_stored().await;
}

#[tokio::test]
async fn own_reservation_whose_turn_is_over_is_made_anew() {
    let home = Home::new();
    let store = home.store().await;
    let mut line = Line::unborn(&store, "", "t");
    reserve(&home, &line);
    let _: () = home.server().set(home.key(line.thread.uid, "gone"), 1).expect("its turn is over");
    line.apply(line.birth().build()).await;
    assert!(holds(&home, &line));
}

#[tokio::test]
async fn listing_passes_over_names_that_lead_nowhere_and_takes_them_back() {
    let home = Home::new();
    let store = home.store().await;
    for name in ["b", "d"] {
        reserve(&home, &Line::unborn(&store, "", name));
    }
    for name in ["a", "c", "e"] {
        Line::born(&store, name).await;
    }
    assert_eq!(listed(&*store).await, ["a", "c", "e"]);
    assert_eq!((home.holder("b"), home.holder("d")), (None, None));
    assert_eq!(listed(&*store).await, ["a", "c", "e"]);
}

#[tokio::test]
async fn name_of_a_deleted_thread_is_free_though_its_deleter_was_killed() {
    let home = Home::new();
    let store = home.store().await;
    let old = Line::born(&store, "t").await;
    let held = home.holder("t").expect("it has a name");
    store.delete_thread(old.thread.uid).await.expect("it is there");
    assert_eq!(home.holder("t"), None);
    // As it was between the two scripts.
    let _: () = home.server().hset(home.names(), "t", held).expect("the name is back");
    let refusal = store.load(by_name("t")).await.expect_err("it leads to a tombstone");
    assert!(refusal.is(ErrorKind::Missing, Subject::Thread), "{refusal}");
    let new = Line::born(&store, "t").await;
    assert!(holds(&home, &new));
}

#[tokio::test]
async fn renamed_hint_of_another_handle_is_not_believed() {
    let home = Home::new();
    let (store, other) = (home.store().await, home.store().await);
    let old = Line::born(&store, "t").await;
    assert_eq!(other.load(by_name("t")).await.expect("it loads").thread.uid, old.thread.uid);
    store.delete_thread(old.thread.uid).await.expect("it is there");
    let new = Line::born(&store, "t").await;
    assert_eq!(other.load(by_name("t")).await.expect("it loads").thread.uid, new.thread.uid);
}
