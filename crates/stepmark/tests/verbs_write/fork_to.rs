//! Does a past moment begin another thread that shares nothing with the first?

use stepmark::run::{CheckpointInfo, Source};
use stepmark::store::ThreadAddress;
use stepmark::store::{Channels, Load};
use stepmark::{ErrorKind, Thread};
use stepmark_core::rows::RunStatus;

use crate::lab::{Desk, Lab, line, on_every_store, size, tip};

on_every_store! {
    another_thread_begins_with_the_state_of_that_moment,
    the_planned_tasks_keep_their_identity_and_reuse_nothing,
    waiting_joins_come_along,
    large_values_are_copied_whole,
    what_this_program_does_not_know_comes_along,
    a_taken_name_is_refused,
    what_is_unknown_is_named,
    a_finished_thread_goes_on_with_an_input,
    the_origin_is_told_once,
}

async fn root(thread: &Thread<Desk>) -> CheckpointInfo {
    thread.history().await.expect("readable").last().expect("has one").info().clone()
}

async fn another_thread_begins_with_the_state_of_that_moment(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|desk| desk.text.set("draft".into())).run().await.expect("runs");
    let before = line(&thread).await;
    let other = thread.at(&before[2]).fork_to("other").await.expect("forks");
    let state = other.state().await.expect("readable");
    assert_eq!((state.state().text.as_str(), state.state().log.len(), state.branch.as_str()), ("draft", 2, "main"));
    assert_eq!(state.next(), ["review"]);
    let root = root(&other).await;
    assert_eq!((root.step, root.source, root.parent.as_ref()), (0, Source::Fork, None));
    let origin = root.origin.expect("says where it came from");
    assert_eq!(origin.checkpoint, before[2]);
    let load = Load::head(ThreadAddress::Uid(origin.thread));
    assert_eq!(lab.store.load(load).await.expect("known").thread.name, "t");

    lab.orders.called();
    let outcome = lab.desk().thread("other").resume().await.expect("runs what is planned");
    assert_eq!((outcome.state().words, lab.orders.called()), (3, vec!["review".to_owned()]));
    assert_eq!((line(&thread).await, size(&thread).await), (before, (4, 1)));
    assert_eq!(lab.status("other").await, Some(RunStatus::Done));
}

async fn the_planned_tasks_keep_their_identity_and_reuse_nothing(lab: &Lab) {
    let thread = lab.pair().thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    lab.orders.fail("right", 2);
    thread.input(|_| ()).run().await.expect_err("fails");
    let mut first = lab.orders.tasks().split_off(3);
    let other = thread.at(tip(&thread).await).fork_to("other").await.expect("forks");
    assert_eq!(lab.status("other").await, Some(RunStatus::Drained));
    other.resume().await.expect_err("fails there, too");
    let mut second = lab.orders.tasks();
    first.sort();
    second.sort();
    assert_eq!((first.len(), &first), (2, &second));
}

async fn waiting_joins_come_along(lab: &Lab) {
    let thread = lab.pair().thread("t");
    let waits = thread.update(|desk| desk.log.push("left".into())).as_node("left").await.expect("writes");
    let other = thread.at(waits.checkpoint.expect("has one").id).fork_to("other").await.expect("forks");
    let written = other.update(|desk| desk.log.push("right".into())).as_node("right").await.expect("writes");
    assert_eq!(written.next(), ["both"]);
}

async fn large_values_are_copied_whole(lab: &Lab) {
    let thread = lab.desk().thread("t");
    let text = "0123456789".repeat(20_000);
    thread.input(|desk| desk.text.set(text.clone())).run().await.expect("runs");
    for round in 0..3 {
        let lines = (0..100).map(|number| format!("{round} {number} {}", "-".repeat(60)));
        thread.update(|desk| desk.log.extend(lines)).as_node("publish").await.expect("writes");
    }
    let first = thread.state().await.expect("readable");
    let other = thread.at(tip(&thread).await).fork_to("other").await.expect("forks");
    let uid = lab.store.load(Load::head(uid_of("t"))).await.expect("known").thread.uid;
    lab.store.delete_thread(uid).await.expect("deletes");
    assert_eq!(other.state().await.expect("readable").state(), first.state());
    let loaded = lab.store.load(Load { channels: Channels::All, ..Load::head(uid_of("other")) }).await;
    assert!(loaded.expect("loads").chains.iter().all(|chain| chain.nodes.len() == 1));
    let grown = other.update(|desk| desk.log.push("more".into())).as_node("publish").await.expect("writes");
    assert_eq!(lab.desk().thread("other").state().await.expect("readable").state(), grown.state());
}

fn uid_of(name: &str) -> ThreadAddress {
    ThreadAddress::Name { scope: String::new(), name: name.to_owned() }
}

async fn what_this_program_does_not_know_comes_along(lab: &Lab) {
    let thread = lab.pair().thread("t");
    lab.orders.fail("right", 1);
    thread.input(|_| ()).run().await.expect_err("fails");
    // The nodes that are planned are not this program's.
    lab.desk().thread("t").at(tip(&thread).await).fork_to("other").await.expect("forks");
    assert_eq!(lab.desk().thread("other").resume().await.expect_err("cannot run").kind(), ErrorKind::Missing);
    assert_eq!(lab.pair().thread("other").resume().await.expect("runs").state().log, ["left", "right", "both"]);
}

async fn a_taken_name_is_refused(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    let place = tip(&thread).await;
    thread.at(&place).fork_to("other").await.expect("forks");
    for name in ["other", "t"] {
        let taken = thread.at(&place).fork_to(name).await.expect_err("taken");
        assert_eq!(taken.kind(), ErrorKind::Exists);
        assert!(taken.to_string().contains(name), "{taken}");
    }
    for name in ["", "a\u{0}b"] {
        assert_eq!(thread.at(&place).fork_to(name).await.expect_err("no name").kind(), ErrorKind::Invalid);
    }
}

async fn what_is_unknown_is_named(lab: &Lab) {
    let thread = lab.desk().thread("t");
    let unknown = thread.at("c").fork_to("other").await.expect_err("no such thread");
    assert_eq!(unknown.kind(), ErrorKind::Missing);
    thread.input(|_| ()).run().await.expect("runs");
    let unknown = thread.at("c").fork_to("other").await.expect_err("no such checkpoint");
    assert!(unknown.kind() == ErrorKind::Missing && unknown.to_string().contains("\"c\""), "{unknown}");
    assert_eq!(lab.status("other").await, None);
}

async fn a_finished_thread_goes_on_with_an_input(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|desk| desk.text.set("x".into())).run().await.expect("runs");
    let other = thread.at(tip(&thread).await).fork_to("other").await.expect("forks");
    assert_eq!(lab.status("other").await, Some(RunStatus::Done));
    let outcome = other.input(|_| ()).run().await.expect("runs");
    assert_eq!((outcome.state().text.as_str(), outcome.state().words), ("x", 6));
}

async fn the_origin_is_told_once(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    let other = thread.at(tip(&thread).await).fork_to("other").await.expect("forks");
    other.input(|_| ()).run().await.expect("runs");
    let third = other.at(tip(&other).await).fork_to("third").await.expect("forks");
    let with_origin = |info: &[stepmark::run::Checkpoint<Desk>]| {
        info.iter()
            .filter(|checkpoint| checkpoint.origin.is_some())
            .map(|checkpoint| checkpoint.step)
            .collect::<Vec<_>>()
    };
    assert_eq!(with_origin(&other.history().await.expect("readable")), [0]);
    assert_eq!(root(&third).await.origin.expect("has one").checkpoint, tip(&other).await);
    assert_eq!(with_origin(&thread.history().await.expect("readable")), [0; 0]);
}
