//! Do head, branch names and tags move as they say, with no line lost?

use stepmark::run::BranchInfo;
use stepmark::{END, ErrorKind, Thread};
use stepmark_core::rows::RunStatus;

use crate::lab::{Desk, Lab, line, on_every_store, size, tip};

on_every_store! {
    the_head_moves_to_a_branch_by_name_or_id,
    a_running_run_ends_on_its_own_branch,
    a_resident_handle_notices_the_head,
    an_unknown_branch_is_named,
    a_reset_takes_the_branch_back_and_keeps_the_old_line,
    a_reset_moves_the_head_only_with_its_branch,
    a_reset_goes_anywhere_in_the_thread,
    a_reset_at_an_unfinished_tip_copies_results,
    a_reset_fences_the_running_run_and_gives_it_up,
    the_line_that_was_left_can_go_on,
    a_reset_of_an_unnamed_branch_is_refused,
    what_a_reset_does_not_know_is_named,
    an_unnamed_head_can_be_reset,
    tags_name_checkpoints,
    a_tag_never_moves,
    hostile_tags_are_refused,
    what_tags_do_not_know_is_named,
}

async fn branch_of(thread: &Thread<Desk>, label: &str) -> BranchInfo {
    let branches = thread.branches().await.expect("readable");
    branches.into_iter().find(|branch| branch.label() == label).expect("is listed")
}

/// Runs an input, and forks a side line at its start.
async fn two_branches(lab: &Lab) -> (Thread<Desk>, Thread<Desk>) {
    let thread = lab.desk().thread("t");
    thread.input(|desk| desk.text.set("main".into())).run().await.expect("runs");
    let side = thread.at(&line(&thread).await[1]).fork("side").await.expect("forks");
    side.update(|desk| desk.text.set("side".into())).as_node("publish").await.expect("writes");
    (thread, side)
}

async fn the_head_moves_to_a_branch_by_name_or_id(lab: &Lab) {
    let (thread, side) = two_branches(lab).await;
    thread.set_head("side").await.expect("moves");
    assert_eq!(thread.state().await.expect("readable").state().text, "side");
    assert!(branch_of(&thread, "side").await.is_head);
    assert_eq!(thread.history().await.expect("readable")[0].id, tip(&side).await);
    thread.set_head("side").await.expect("is there already");
    let main = branch_of(&thread, "main").await;
    assert!(!main.is_head);
    side.set_head(main.id.to_string()).await.expect("moves back");
    assert_eq!(thread.input(|_| ()).run().await.expect("runs").state().text, "main");
    assert_eq!(size(&thread).await, (9, 2));
}

async fn a_running_run_ends_on_its_own_branch(lab: &Lab) {
    let (thread, side) = two_branches(lab).await;
    let side_tip = tip(&side).await;
    lab.orders.hold("write");
    let (running, other) = (lab.desk().thread("t"), lab.desk().thread("t"));
    let moved = async {
        lab.orders.entered.notified().await;
        other.set_head("side").await.expect("moves");
        lab.orders.go_on.notify_one();
    };
    let (outcome, ()) = tokio::join!(running.input(|desk| desk.words.add(10)).run(), moved);
    assert_eq!(outcome.expect("ends").branch(), Some("main"));
    assert_eq!(thread.branch("main").state().await.expect("readable").state().words, 16);
    assert_eq!((tip(&thread).await, tip(&side).await), (side_tip.clone(), side_tip));
}

async fn a_resident_handle_notices_the_head(lab: &Lab) {
    let (thread, _side) = two_branches(lab).await;
    lab.desk().thread("t").set_head("side").await.expect("moves");
    assert_eq!(thread.state().await.expect("readable").state().text, "side");
    let outcome = thread.input(|_| ()).run().await.expect("runs");
    assert_eq!((outcome.state().text.as_str(), outcome.branch()), ("side", Some("side")));
}

async fn an_unknown_branch_is_named(lab: &Lab) {
    let thread = lab.desk().thread("t");
    assert_eq!(thread.set_head("main").await.expect_err("no such thread").kind(), ErrorKind::Missing);
    thread.input(|_| ()).run().await.expect("runs");
    for name in ["nowhere", "00000000000000ff", ""] {
        let unknown = thread.set_head(name).await.expect_err("no such branch");
        assert_eq!(unknown.kind(), ErrorKind::Missing);
        assert!(unknown.to_string().contains(name), "{unknown}");
    }
}

async fn a_reset_takes_the_branch_back_and_keeps_the_old_line(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|desk| desk.text.set("x".into())).run().await.expect("runs");
    let old = line(&thread).await;
    let left = thread.reset(&old[1]).await.expect("resets");
    assert_eq!(line(&thread).await, old[..2]);
    assert_eq!(thread.state().await.expect("readable").next(), ["write"]);
    let main = branch_of(&thread, "main").await;
    assert!(main.is_head && main.id != left);
    assert_eq!(main.fork, Some((left, 1)));
    let unnamed = branch_of(&thread, &left.to_string()).await;
    assert_eq!((unnamed.name, unnamed.is_head, unnamed.tip), (None, false, Some((3, old[3].clone()))));
    assert_eq!(line(&thread.branch(left.to_string())).await, old);
    assert_eq!(size(&thread).await, (4, 2));

    let outcome = thread.resume().await.expect("goes on");
    assert_eq!((outcome.stats().executed, outcome.branch()), (2, Some("main")));
    thread.set_head(left.to_string()).await.expect("goes back");
    assert_eq!(line(&thread).await, old);
}

async fn a_reset_moves_the_head_only_with_its_branch(lab: &Lab) {
    let (thread, side) = two_branches(lab).await;
    let (main, start) = (line(&thread).await, line(&side).await[0].clone());
    let left = side.reset(&start).await.expect("resets");
    assert_eq!((line(&thread).await, line(&side).await), (main, vec![start]));
    assert!(branch_of(&thread, "main").await.is_head);
    assert_eq!(branch_of(&thread, &left.to_string()).await.name, None);
}

async fn a_reset_goes_anywhere_in_the_thread(lab: &Lab) {
    let (thread, side) = two_branches(lab).await;
    let there = tip(&side).await;
    thread.reset(&there).await.expect("resets");
    assert_eq!(line(&thread).await, line(&side).await);
    assert_eq!(thread.update(|_| ()).as_node(END).await.expect("writes").branch, "main");
    assert_eq!(tip(&side).await, there);
    // Its own tip is a place like any other.
    let own = tip(&thread).await;
    thread.reset(&own).await.expect("resets");
    assert_eq!((tip(&thread).await, thread.branches().await.expect("readable").len()), (own, 4));
}

async fn a_reset_at_an_unfinished_tip_copies_results(lab: &Lab) {
    let thread = lab.pair().thread("t");
    lab.orders.fail("right", 1);
    thread.input(|_| ()).run().await.expect_err("fails");
    let left = thread.reset(tip(&thread).await).await.expect("resets");
    let outcome = thread.resume().await.expect("goes on");
    assert_eq!((outcome.stats().reused, outcome.stats().executed), (1, 2));
    let old = thread.branch(left.to_string()).resume().await.expect("goes on");
    assert_eq!((old.stats().reused, old.stats().executed), (1, 2));
}

async fn a_reset_fences_the_running_run_and_gives_it_up(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    let start = line(&thread).await[0].clone();
    lab.orders.hold("write");
    let (running, other) = (lab.desk().thread("t"), lab.desk().thread("t"));
    let order = || running.input(|_| ()).run_id("order").run();
    let reset = async {
        lab.orders.entered.notified().await;
        let left = other.reset(&start).await.expect("resets");
        lab.orders.go_on.notify_one();
        left
    };
    let (run, left) = tokio::join!(order(), reset);
    assert_eq!(run.expect_err("was fenced").kind(), ErrorKind::Fenced);
    assert_eq!(line(&thread).await, [start]);
    assert_eq!(line(&thread.branch(left.to_string())).await.len(), 6);
    assert_eq!(lab.status("t").await, Some(RunStatus::Cancelled));
    assert_eq!(order().await.expect_err("was given up").kind(), ErrorKind::RunIdReused);
}

async fn the_line_that_was_left_can_go_on(lab: &Lab) {
    let thread = lab.desk().thread("t");
    lab.orders.fail("review", 2);
    thread.input(|_| ()).run_id("order").run().await.expect_err("fails");
    let left = thread.reset(&line(&thread).await[0]).await.expect("resets");
    assert_eq!(lab.status("t").await, Some(RunStatus::Cancelled));
    let old = thread.branch(left.to_string());
    old.resume().await.expect_err("fails again");
    assert_eq!(lab.status("t").await, Some(RunStatus::Failed));
    let outcome = old.resume().await.expect("goes on");
    assert_eq!(outcome.state().log, ["plan", "write", "review"]);
    assert_eq!(lab.status("t").await, Some(RunStatus::Done));
    assert_ne!(outcome.run_id().expect("has one").to_string(), "order");
}

async fn a_reset_of_an_unnamed_branch_is_refused(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    let start = line(&thread).await[0].clone();
    let left = thread.reset(&start).await.expect("resets");
    let before = size(&thread).await;
    let refused = thread.branch(left.to_string()).reset(&start).await.expect_err("has no name");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains(&left.to_string()), "{refused}");
    assert_eq!(size(&thread).await, before);
}

async fn what_a_reset_does_not_know_is_named(lab: &Lab) {
    let thread = lab.desk().thread("t");
    assert_eq!(thread.reset("c").await.expect_err("no such thread").kind(), ErrorKind::Missing);
    thread.input(|_| ()).run().await.expect("runs");
    for (handle, name) in [(lab.desk().thread("t"), "\"c\""), (thread.branch("side"), "\"side\"")] {
        let unknown = handle.reset("c").await.expect_err("unknown");
        assert_eq!(unknown.kind(), ErrorKind::Missing);
        assert!(unknown.to_string().contains(name), "{unknown}");
    }
    let foreign = lab.desk().thread("other");
    foreign.input(|_| ()).run().await.expect("runs");
    assert_eq!(thread.reset(tip(&foreign).await).await.expect_err("not here").kind(), ErrorKind::Missing);
    assert_eq!(size(&thread).await, (4, 1));
}

async fn an_unnamed_head_can_be_reset(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    let all = line(&thread).await;
    let left = thread.reset(&all[0]).await.expect("resets");
    thread.set_head(left.to_string()).await.expect("goes back");
    let again = thread.reset(&all[2]).await.expect("resets the head");
    assert_eq!((again, line(&thread).await), (left, all[..3].to_vec()));
    assert_eq!(line(&thread.branch("main")).await, all[..1]);
}

async fn tags_name_checkpoints(lab: &Lab) {
    let (thread, side) = two_branches(lab).await;
    assert!(thread.tags().await.expect("readable").is_empty());
    let (main, there) = (line(&thread).await, tip(&side).await);
    thread.tag("v1", &main[2]).await.expect("tags");
    thread.tag("ä release", &there).await.expect("tags");
    thread.tag("latest", &main[2]).await.expect("one checkpoint may have two");
    let tags = lab.desk().thread("t").tags().await.expect("readable");
    let shown: Vec<_> = tags.iter().map(|tag| (tag.name.as_str(), tag.step, &tag.checkpoint)).collect();
    assert_eq!(shown, [("latest", 2, &main[2]), ("v1", 2, &main[2]), ("ä release", 2, &there)]);
    assert_eq!(tags[2].branch, branch_of(&thread, "side").await.id);
    let at = thread.at_tag("ä release").await.expect("known");
    assert_eq!(at.state().await.expect("readable").state().text, "side");
    let fork = thread.at_tag("v1").await.expect("known").fork("from v1").await.expect("forks");
    assert_eq!(tip(&fork).await, main[2]);
    thread.untag("v1").await.expect("takes it away");
    let names: Vec<_> = thread.tags().await.expect("readable").into_iter().map(|tag| tag.name).collect();
    assert_eq!(names, ["latest", "ä release"]);
    assert_eq!(thread.at(&main[2]).info().await.expect("stays").step, 2);
}

async fn a_tag_never_moves(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    let all = line(&thread).await;
    thread.tag("v1", &all[1]).await.expect("tags");
    thread.tag("v1", &all[1]).await.expect("says it again");
    let taken = thread.tag("v1", &all[2]).await.expect_err("another checkpoint's");
    assert!(taken.kind() == ErrorKind::Exists && taken.to_string().contains("v1"), "{taken}");
    assert_eq!(thread.tags().await.expect("readable")[0].checkpoint, all[1]);
    thread.untag("v1").await.expect("takes it away");
    thread.tag("v1", &all[2]).await.expect("is free");
    // A tag holds on to its checkpoint wherever the branches go.
    thread.reset(&all[0]).await.expect("resets");
    assert_eq!(thread.at_tag("v1").await.expect("known").info().await.expect("readable").id, all[2]);
}

async fn hostile_tags_are_refused(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    let place = tip(&thread).await;
    for name in ["", "a\nb", "a\u{0}", &"x".repeat(513)] {
        assert_eq!(thread.tag(name, &place).await.expect_err("no name").kind(), ErrorKind::Invalid, "{name:?}");
    }
    for name in ["'; drop table tag; --", "%", "../../x", &"x".repeat(512)] {
        thread.tag(name, &place).await.expect("a name like any other");
        assert_eq!(thread.at_tag(name).await.expect("known").info().await.expect("readable").id, place);
    }
    assert_eq!(thread.tags().await.expect("readable").len(), 4);
}

async fn what_tags_do_not_know_is_named(lab: &Lab) {
    let thread = lab.desk().thread("t");
    assert_eq!(thread.tags().await.expect_err("no such thread").kind(), ErrorKind::Missing);
    assert_eq!(thread.tag("v1", "c").await.expect_err("no such thread").kind(), ErrorKind::Missing);
    thread.input(|_| ()).run().await.expect("runs");
    let unknown = thread.tag("v1", "c").await.expect_err("no such checkpoint");
    assert!(unknown.kind() == ErrorKind::Missing && unknown.to_string().contains("\"c\""), "{unknown}");
    let untagged =
        [thread.untag("v1").await.expect_err("no such tag"), thread.at_tag("v1").await.expect_err("no such tag")];
    for unknown in untagged {
        assert!(unknown.kind() == ErrorKind::Missing && unknown.to_string().contains("\"v1\""), "{unknown}");
    }
}
