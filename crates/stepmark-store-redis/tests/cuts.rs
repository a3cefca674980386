//! What does a connection that breaks before or after a script leave?
//!
//! Every call is cut off at each of its round trips, on both sides of the server, and made again: the second answer is that
//! of a call that was made once or twice, and the thread is as after one.

mod common;

use common::Home;
use stepmark_conformance::make::{Line, blob_node, full, intent};
use stepmark_core::effect::{EffectReply, EffectWrite};
use stepmark_core::error::{Error, ErrorKind};
use stepmark_core::store::{BlobCall, Commit, Load, Outcome, Records};
use stepmark_testbed::{Cut, Proxy, RedisServer};

/// More round trips than any call here takes.
const TURNS_MAX: u64 = 12;

/// Makes a call again until it is answered.
async fn answered<T>(call: impl AsyncFn() -> Result<T, Error>) -> T {
    for _ in 0..5 {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
        }
    }
    panic!("the connection was cut once")
}

struct Bench {
    _server: RedisServer,
    proxy: Proxy,
    home: Home,
    serial: u64,
}

impl Bench {
    fn new() -> Self {
        let server = RedisServer::start(&[]).expect("a server");
        let proxy = Proxy::start(server.port()).expect("a proxy");
        let home = Home::at(format!("redis://127.0.0.1:{}/", proxy.port()));
        Self { _server: server, proxy, home, serial: 0 }
    }

    /// A line of a new thread, through the proxy.
    async fn line(&mut self) -> Line {
        self.serial += 1;
        let store = self.home.store().await;
        Line::grown(&store, &format!("t{}", self.serial), 1).await
    }

    /// Whether the next cut still happened in the call before.
    fn was_cut(&self) -> bool {
        let cut = !self.proxy.is_armed();
        self.proxy.cut_all();
        cut
    }
}

/// Cuts `call` at every turn that it takes, on both sides. What it needs is prepared before.
async fn cut_everywhere<T>(prepare: impl AsyncFn(&mut Line) -> T, call: impl AsyncFn(&mut Line, T)) {
    let mut bench = Bench::new();
    for cut in [Cut::BeforeRequest, Cut::BeforeReply] {
        for turn in 1..=TURNS_MAX {
            let mut line = bench.line().await;
            let prepared = prepare(&mut line).await;
            bench.proxy.cut(turn, cut);
            call(&mut line, prepared).await;
            let was_cut = bench.was_cut();
            line.store = bench.home.store().await;
            line.assert_stored().await;
            line.step().await;
            if !was_cut {
                assert!(turn > 1, "the first turn is always taken");
                break;
            }
        }
    }
}

#[tokio::test]
async fn cut_commit_is_made_once() {
    cut_everywhere(
        async |line| line.next().stored("row", full(&"x")).build(),
        async |line, commit| {
            answered(async || line.store.commit(commit.clone()).await).await;
            line.branch = commit.branch;
        },
    )
    .await;
}

#[tokio::test]
async fn cut_creation_makes_one_thread() {
    cut_everywhere(
        async |line| *line = Line::unborn(&line.store, "", &format!("{} too", line.thread.name)),
        async |line, ()| {
            let birth = line.birth().build();
            for _ in 0..2 {
                answered(async || line.store.commit(birth.clone()).await).await;
            }
            assert_eq!(answered(async || line.store.commit(birth.clone()).await).await, Outcome::Repeated);
            line.branch = birth.branch;
        },
    )
    .await;
}

#[tokio::test]
async fn cut_claim_with_a_blob_is_made_once() {
    cut_everywhere(
        async |line| {
            let (node, bytes) = blob_node(&line.thread.name);
            line.store.blob(BlobCall::Put { scope: String::new(), bytes }).await.expect("the blob is kept");
            line.next().stored("blob", node).claiming().build()
        },
        async |line, commit| {
            answered(async || line.store.commit(commit.clone()).await).await;
            line.branch = commit.branch;
        },
    )
    .await;
}

#[tokio::test]
async fn cut_answer_is_given_once() {
    cut_everywhere(
        async |line| line.ask(0, "really?").await,
        async |line, question| {
            for _ in 0..2 {
                answered(async || line.store.append(line.answer(&question, "yes")).await).await;
            }
        },
    )
    .await;
}

#[tokio::test]
async fn cut_intent_is_one_attempt() {
    cut_everywhere(
        async |_| intent("pay", "ten"),
        async |line, intent| {
            let asked = || Records { effect: Some(EffectWrite::Intent(intent.clone())), ..line.append(Vec::new()) };
            for _ in 0..2 {
                let answer = answered(async || line.store.append(asked()).await).await;
                assert!(matches!(answer.effect, Some(EffectReply::Granted(_))), "{answer:?}");
            }
            let load = Load { effects: true, ..line.whole() };
            let loaded = answered(async || line.store.load(load.clone()).await).await;
            assert_eq!(loaded.effects.iter().map(|entry| entry.attempts.len()).collect::<Vec<_>>(), [1]);
        },
    )
    .await;
}

#[tokio::test]
async fn cut_deletion_frees_the_name() {
    cut_everywhere(
        async |line| successor(line),
        async |line, (next, birth)| {
            let uid = line.thread.uid;
            answered(async || line.store.delete_thread(uid).await).await;
            answered(async || line.store.commit(birth.clone()).await).await;
            *line = next;
            line.branch = birth.branch;
        },
    )
    .await;
}

/// Another thread that wants the same name.
fn successor(line: &Line) -> (Line, Commit) {
    let line = Line::unborn(&line.store, "", &line.thread.name);
    let birth = line.birth().build();
    (line, birth)
}
