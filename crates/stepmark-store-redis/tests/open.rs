//! Which servers and prefixes are refused, and what does a call cost?

mod common;

use common::Home;
use redis::Commands;
use stepmark_conformance::make::{Line, appended, full};
use stepmark_core::error::{Error, ErrorKind, Subject};
use stepmark_core::store::{Load, ThreadAddress};
use stepmark_store_redis::RedisStore;
use stepmark_testbed::{Proxy, RedisServer};

async fn refusal(home: &Home) -> Error {
    home.options().open(&home.url).await.expect_err("it is refused")
}

#[tokio::test]
async fn newer_layout_and_foreign_prefix_are_refused() {
    let home = Home::new();
    home.open().await;
    for (stored, word) in [("2", "version 2"), ("something", "another program")] {
        let _: () = home.server().set(format!("{}:format", home.prefix), stored).expect("it is written");
        let refusal = refusal(&home).await;
        assert!(refusal.is(ErrorKind::Unsupported, Subject::Store), "{refusal}");
        assert!(refusal.to_string().contains(word), "{refusal}");
    }
}

#[tokio::test]
async fn server_that_evicts_keys_is_refused() {
    let server = RedisServer::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]).expect("a server");
    let home = Home::at(server.url());
    let refused = refusal(&home).await;
    assert!(refused.is(ErrorKind::Unsupported, Subject::Store), "{refused}");
    assert!(refused.to_string().contains("noeviction"), "{refused}");
    let _: () =
        redis::cmd("CONFIG").arg(&["SET", "maxmemory-policy", "noeviction"]).query(&mut home.server()).expect("set");
    home.open().await;
}

#[tokio::test]
async fn full_server_refuses_the_write_whole_and_goes_on_when_there_is_room() {
    let server = RedisServer::start(&[]).expect("a server");
    let home = Home::at(server.url());
    let store = home.store().await;
    let mut line = Line::grown(&store, "t", 2).await;
    let set = |bytes: &str| {
        let _: () = redis::cmd("CONFIG").arg(&["SET", "maxmemory", bytes]).query(&mut home.server()).expect("set");
    };
    set("1mb");
    let commit = line.next().stored("row", full(&"x".repeat(50_000))).build();
    let refused = store.commit(commit.clone()).await.expect_err("the memory is full");
    assert!(refused.is(ErrorKind::Unavailable, Subject::Store), "{refused}");
    line.assert_stored().await;
    set("0");
    line.apply(commit).await;
    line.assert_stored().await;
}

#[tokio::test]
async fn address_or_prefix_that_cannot_be_read_is_invalid() {
    let refused = RedisStore::open("nowhere").await.expect_err("no address");
    assert!(refused.is(ErrorKind::Invalid, Subject::Store), "{refused}");
    let home = Home::new();
    for prefix in ["", "a{b", "a}b", "a\nb"] {
        let refused = RedisStore::options().prefix(prefix).open(&home.url).await.expect_err("no prefix");
        assert!(refused.is(ErrorKind::Invalid, Subject::Store), "{refused}");
    }
}

#[tokio::test]
async fn errors_do_not_name_the_password() {
    let refused = RedisStore::open("redis://:secret@127.0.0.1:1/").await.expect_err("nobody listens");
    assert!(refused.is(ErrorKind::Unavailable, Subject::Store), "{refused}");
    assert!(!format!("{refused} {refused:?}").contains("secret"), "{refused:?}");
}

#[tokio::test]
async fn prefixes_share_nothing() {
    let (one, two) = (Home::new(), Home::new());
    let (first, second) = (one.store().await, two.store().await);
    let line = Line::grown(&first, "t", 3).await;
    let mut other = Line { store: second, ..line.clone() };
    assert!(other.send(other.next().build()).await.is_err_and(|error| error.kind() == ErrorKind::Missing));
    Line::born(&other.store, "t").await;
    line.assert_stored().await;
}

/// How many round trips some work takes.
async fn turns<T>(proxy: &Proxy, work: impl Future<Output = T>) -> u64 {
    let before = proxy.turns();
    work.await;
    proxy.turns() - before
}

#[tokio::test]
async fn commits_and_loads_are_one_round_trip() {
    let server = RedisServer::start(&[]).expect("a server");
    let proxy = Proxy::start(server.port()).expect("a proxy");
    let home = Home::at(format!("redis://127.0.0.1:{}/", proxy.port()));
    let store = home.store().await;
    let mut line = Line::born(&store, "t").await;
    // The server has seen the scripts once.
    line.assert_stored().await;
    let draft = line.next().packed("log", full(&[0u64; 0]));
    let mut base = draft.value("log");
    line.apply(draft.build()).await;
    for length in 0..100u64 {
        let draft = line.next();
        let draft = match length % 2 {
            0 => draft.packed("log", appended(base, length, &[length])),
            _ => draft.stored("log", appended(base, length, &[length])),
        };
        base = draft.value("log");
        let commit = draft.build();
        assert_eq!(turns(&proxy, line.apply(commit)).await, 1);
    }
    assert_eq!(turns(&proxy, store.append(line.flush(0, "x"))).await, 1);
    assert_eq!(turns(&proxy, line.read()).await, 1);
    let by_name = Load { thread: ThreadAddress::Name { scope: String::new(), name: "t".into() }, ..line.whole() };
    assert_eq!(turns(&proxy, store.load(by_name.clone())).await, 2);
    assert_eq!(turns(&proxy, store.load(by_name)).await, 1);
    assert_eq!(turns(&proxy, store.history(line.lineage(None, 20))).await, 2);
    let claim = line.claim();
    assert_eq!(turns(&proxy, line.apply(claim)).await, 1);
}
