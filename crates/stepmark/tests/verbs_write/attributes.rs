//! Are threads found by what callers say of them, and is nothing else said?

use std::sync::Arc;

use stepmark::search::{AttributeKind, AttributeValue, Order, RunStatus, ThreadInfo, Threads};
use stepmark::{App, Durability, ErrorKind};
use stepmark_conformance::call::CallKind;
use stepmark_conformance::fault::{Counted, When};
use stepmark_conformance::{Fault, FaultPlan, FaultStore};

use crate::lab::{Desk, Lab, on_every_store};

on_every_store! {
    threads_are_found_by_what_is_said_of_them,
    what_cannot_be_said_refuses_the_input,
    a_thread_that_its_run_makes_at_its_end_is_described_then,
    what_a_crash_left_unsaid_is_said_by_whoever_repeats_or_resumes,
    what_is_said_of_a_discarded_run_stays_unsaid,
    found_threads_come_page_by_page,
    sizes_say_what_each_channel_takes,
}

async fn declared(lab: &Lab) -> App<Desk> {
    let desk = lab.desk();
    desk.declare_attributes([("who", AttributeKind::Text), ("size", AttributeKind::Integer)]).await.expect("declared");
    desk
}

async fn names(threads: Threads<'_, Desk>) -> Vec<String> {
    threads.await.expect("found").into_iter().map(|thread: ThreadInfo| thread.name).collect()
}

async fn threads_are_found_by_what_is_said_of_them(lab: &Lab) {
    let desk = declared(lab).await;
    for (name, who, size) in [("a", "ann", 1), ("b", "bob's", 2), ("c", "ann", 3)] {
        let thread = desk.thread(name);
        let request = thread.input(|desk| desk.text.set("draft".into()));
        request.attributes([("who", who.into()), ("size", size.into())]).run().await.expect("runs");
    }
    let (a, b) = (desk.thread("a"), desk.thread("b"));
    a.set_attributes([("size", 7.into())]).await.expect("set");
    b.remove_attributes(["size", "who"]).await.expect("removed");
    b.set_attributes([("who", "bob 100%".into())]).await.expect("set");
    let other = lab.desk();
    assert_eq!(names(other.threads().attribute("who", "ann")).await, ["a", "c"]);
    assert_eq!(names(other.threads().attribute("who", "ann").attribute_in("size", ..=3)).await, ["c"]);
    assert_eq!(names(other.threads().attribute_contains("who", "0%")).await, ["b"]);
    assert_eq!(names(other.threads().order(Order::Attribute("size".into())).descending()).await, ["a", "c"]);
    assert_eq!(names(other.threads().graph("desk").status(RunStatus::Done)).await, ["a", "b", "c"]);
    assert!(names(other.threads().graph("pair")).await.is_empty());
    let all = other.threads().await.expect("found");
    let last = a.history().await.expect("readable")[0].info().clone();
    assert_eq!((all[0].updated_at, all[0].tip.clone()), (last.created_at, Some((last.step, last.id))));
    assert!(all[0].created_at <= all[0].updated_at);
    let said = other.thread("a").attributes().await.expect("read");
    assert_eq!(said, all[0].attributes);
    assert_eq!(said["size"], AttributeValue::Integer(7));
    assert_eq!(names(other.threads().updated(last.created_at..).created(..=all[0].created_at)).await, ["a"]);
}

async fn what_cannot_be_said_refuses_the_input(lab: &Lab) {
    let desk = declared(lab).await;
    let thread = desk.thread("t");
    for (name, kind) in [("sise", ErrorKind::Missing), ("size", ErrorKind::Invalid)] {
        let request = thread.input(|_| ()).attributes([(name, "1".into())]);
        let error = request.run().await.expect_err("refused");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    assert!(desk.threads().await.expect("found").is_empty());
    let error = thread.set_attributes([("size", 1.into())]).await.expect_err("no thread");
    assert_eq!(error.kind(), ErrorKind::Missing, "{error}");
    let error = desk.threads().attribute("sise", 1).await.expect_err("refused");
    assert!(error.kind() == ErrorKind::Missing && error.to_string().contains("sise"), "{error}");
    let again = desk.declare_attributes([("size", AttributeKind::Text)]).await.expect_err("refused");
    assert!(again.kind() == ErrorKind::Exists && again.to_string().contains("integer"), "{again}");
    thread.input(|_| ()).run().await.expect("runs");
    let request = thread.resume().attributes([("sise", 1.into())]);
    assert_eq!(request.run().await.expect_err("refused").kind(), ErrorKind::Missing);
}

/// Stores the input of run `order`, and dies before it is described.
async fn killed(lab: &Lab, name: &str) {
    let plan = FaultPlan { of: Counted::Kind(CallKind::Describe), when: When::Nth(0, Fault::CrashBefore) };
    let dying = lab.over(Arc::new(FaultStore::new(Arc::clone(&lab.store), plan)));
    let thread = dying.thread(name);
    let request = thread.input(|_| ()).run_id("order").attributes([("size", 1.into())]);
    assert_eq!(request.run().await.expect_err("dies").kind(), ErrorKind::Store);
    assert!(lab.orders.called().is_empty());
    assert!(lab.desk().thread(name).attributes().await.expect("the input is there").is_empty());
}

async fn what_a_crash_left_unsaid_is_said_by_whoever_repeats_or_resumes(lab: &Lab) {
    let desk = declared(lab).await;
    let repeated = async |name: &str| {
        let thread = desk.thread(name);
        thread.input(|_| ()).run_id("order").attributes([("size", 1.into())]).run().await
    };
    let sized = async || names(desk.threads().attribute("size", 1)).await;
    for name in ["repeated", "resumed", "recovered"] {
        killed(lab, name).await;
    }
    assert_eq!(repeated("repeated").await.expect_err("is open").kind(), ErrorKind::RunActive);
    assert_eq!(sized().await, ["repeated"]);
    assert!(desk.thread("repeated").resume().await.expect("goes on").is_done());
    let resumed = desk.thread("resumed");
    assert!(resumed.resume().attributes([("size", 1.into())]).run().await.expect("goes on").is_done());
    assert_eq!(sized().await, ["repeated", "resumed"]);
    // Who resumed it knew nothing of attributes.
    desk.thread("recovered").resume().await.expect("goes on");
    assert_eq!(sized().await, ["repeated", "resumed"]);
    assert_eq!(repeated("recovered").await.expect("is done").stats().executed, 0);
    assert_eq!(sized().await, ["recovered", "repeated", "resumed"]);
    // A thread that was there before.
    desk.thread("known").input(|_| ()).run().await.expect("runs");
    lab.orders.called();
    killed(lab, "known").await;
    repeated("known").await.expect_err("is open");
    assert_eq!(sized().await.len(), 4);
}

async fn what_is_said_of_a_discarded_run_stays_unsaid(lab: &Lab) {
    let desk = declared(lab).await;
    killed(lab, "t").await;
    let thread = desk.thread("t");
    thread.discard().await.expect("discards");
    let request = thread.input(|_| ()).run_id("order").attributes([("size", 1.into())]);
    assert_eq!(request.run().await.expect_err("discarded").kind(), ErrorKind::RunIdReused);
    assert!(thread.attributes().await.expect("readable").is_empty());
}

async fn a_thread_that_its_run_makes_at_its_end_is_described_then(lab: &Lab) {
    let desk = declared(lab).await;
    let thread = desk.thread("t");
    let request = thread.input(|_| ()).durability(Durability::Exit);
    request.attributes([("size", 1.into())]).run().await.expect("runs");
    lab.orders.fail("plan", 1);
    let thread = desk.thread("u");
    let request = thread.input(|_| ()).attributes([("size", 2.into())]);
    request.run().await.expect_err("fails");
    assert_eq!(names(desk.threads().attribute_in("size", 0..)).await, ["t", "u"]);
    assert_eq!(names(desk.threads().status(RunStatus::Failed)).await, ["u"]);
}

async fn found_threads_come_page_by_page(lab: &Lab) {
    let desk = declared(lab).await;
    for index in 0..5 {
        let thread = desk.thread(format!("t{index}"));
        let request = thread.input(|_| ());
        request.attributes([("size", (index / 2).into())]).run().await.expect("runs");
    }
    let search = || desk.threads().order(Order::Attribute("size".into())).limit(2);
    let first = search().page().await.expect("found");
    let second = search().after(first.next.clone().expect("more")).page().await.expect("found");
    let third = search().after(second.next.clone().expect("more")).page().await.expect("found");
    let found: Vec<_> = [&first, &second, &third].into_iter().flat_map(|page| &page.threads).collect();
    assert_eq!(found.iter().map(|thread| &*thread.name).collect::<Vec<_>>(), ["t0", "t1", "t2", "t3", "t4"]);
    assert_eq!(third.next, None);
    assert_eq!(names(search()).await.len(), 5);
}

async fn sizes_say_what_each_channel_takes(lab: &Lab) {
    let thread = lab.desk().thread("t");
    let text = "x".repeat(5_000);
    thread.input(|desk| desk.text.set(text.clone())).run().await.expect("runs");
    let before = thread.sizes().await.expect("counted");
    thread.input(|desk| desk.text.set(text.clone())).run().await.expect("runs");
    let sizes = thread.sizes().await.expect("counted");
    assert_eq!(sizes.checkpoints, thread.history().await.expect("readable").len() as u64);
    let of = |channel: &str| sizes.channels.iter().find(|size| size.channel.as_deref() == Some(channel));
    let (text, log) = (of("text").expect("has a text"), of("log").expect("has a log"));
    // What is compressed takes less, and what is sealed a little more.
    assert!(text.bytes > 10_000 && (1..=text.bytes).contains(&text.stored_bytes) && text.rows >= 2, "{text:?}");
    assert!(log.rows > text.rows && log.bytes < text.bytes, "{log:?}");
    assert!(sizes.stored_bytes() > before.stored_bytes());
    let error = lab.desk().thread("nobody").sizes().await.expect_err("unknown");
    assert_eq!(error.kind(), ErrorKind::Missing, "{error}");
}
