//! Is a manual update a step taken by hand?

use std::sync::Arc;

use stepmark::run::Source;
use stepmark::{Durability, END, ErrorKind, Thread};
use stepmark_conformance::{Fault, FaultPlan, FaultStore};
use stepmark_core::rows::RunStatus;

use crate::lab::{Desk, Lab, line, on_every_store, size, tip};

on_every_store! {
    an_update_at_a_tip_extends_its_branch,
    an_update_elsewhere_makes_a_branch_and_changes_nothing,
    branches_see_the_updated_state,
    joins_see_the_node_as_a_source,
    several_updates_are_one_checkpoint,
    an_update_counts_as_one_activation,
    an_update_before_an_unfinished_node_keeps_its_task,
    the_writer_is_inferred_where_one_alone_can_be_meant,
    as_input_plans_the_start,
    as_end_plans_nothing,
    an_update_creates_its_thread,
    a_thread_whose_first_input_was_lost_can_be_updated,
    a_shared_tip_means_the_head_or_the_branch_that_was_asked,
    the_branchs_run_stops_at_the_update_and_goes_on,
    an_update_of_a_finished_thread_begins_a_run,
    a_fork_that_is_updated_first_has_a_run_of_its_own,
    a_discarded_fork_can_be_updated,
    a_running_run_is_fenced,
    a_resident_handle_goes_on_from_the_update,
}

async fn an_update_at_a_tip_extends_its_branch(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|desk| desk.text.set("draft".into())).run().await.expect("runs");
    let before = tip(&thread).await;
    let edited = thread.update(|desk| desk.log.push("by hand".into())).as_node("write").author("Ada").await;
    let edited = edited.expect("writes");
    let info = edited.checkpoint.as_ref().expect("has one");
    assert_eq!((info.parent.as_ref(), info.step, info.source), (Some(&before), 4, Source::Update));
    assert_eq!((info.author.as_deref(), edited.branch.as_str()), (Some("Ada"), "main"));
    assert_eq!((info.tasks[0].node.as_str(), info.tasks[0].attempts), ("write", 0));
    assert_eq!(info.tasks[0].writes[0].items, Some((3, 1)));
    assert_eq!(edited.next(), ["review"]);
    let stored = thread.state().await.expect("readable");
    assert_eq!((stored.state(), stored.checkpoint.as_ref()), (edited.state(), edited.checkpoint.as_ref()));

    lab.orders.called();
    let outcome = lab.desk().thread("t").resume().await.expect("goes on");
    assert_eq!(outcome.state().log, ["plan", "write", "review", "by hand", "review"]);
    assert_eq!(lab.orders.called(), ["review"]);
    let last = &thread.history().await.expect("readable")[0];
    assert_eq!((last.author.as_deref(), last.source), (None, Source::Step));
}

async fn an_update_elsewhere_makes_a_branch_and_changes_nothing(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|desk| desk.text.set("draft".into())).run().await.expect("runs");
    let old = line(&thread).await;
    let edited = thread.at(&old[2]).update(|desk| desk.text.set("other".into())).as_node("write").await;
    let edited = edited.expect("writes");
    assert_ne!(edited.branch, "main");
    assert_eq!(edited.state().log, ["plan", "write"]);
    assert_eq!(line(&thread).await, old);
    assert_eq!(thread.state().await.expect("readable").state().text, "draft");

    let other = lab.desk().thread("t").branch(&edited.branch);
    let outcome = other.resume().await.expect("goes on");
    assert_eq!((outcome.state().text.as_str(), outcome.state().log.len()), ("other", 3));
    assert_eq!(line(&other).await[..3], old[..3]);
    assert_eq!(size(&thread).await, (6, 2));
}

async fn branches_see_the_updated_state(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    let refused = thread.update(|desk| desk.approved.set(false)).as_node("review").await.expect("writes");
    assert!(refused.next().is_empty());
    let approved = thread.update(|desk| desk.approved.set(true)).as_node("review").await.expect("writes");
    assert_eq!(approved.next(), ["publish"]);
}

async fn joins_see_the_node_as_a_source(lab: &Lab) {
    let thread = lab.pair().thread("t");
    thread.update(|desk| desk.words.add(1)).await.expect("creates it");
    let left = thread.update(|desk| desk.log.push("left".into())).as_node("left").await.expect("writes");
    assert!(left.next().is_empty());
    let right = thread.update(|desk| desk.log.push("right".into())).as_node("right").await.expect("writes");
    assert_eq!(right.next(), ["both"]);
    assert_eq!(thread.resume().await.expect("runs").state().log, ["left", "right", "both"]);
}

async fn several_updates_are_one_checkpoint(lab: &Lab) {
    let thread = lab.pair().thread("t");
    thread.update(|desk| desk.words.add(1)).await.expect("creates it");
    let update = thread.update(|desk| desk.log.push("r".into())).as_node("right");
    let written = update.and(|desk| desk.log.push("l".into())).as_node("left").author("both").await.expect("writes");
    assert_eq!(written.state().log, ["r", "l"]);
    assert_eq!(written.next(), ["both"]);
    let tasks: Vec<_> = written.checkpoint.as_ref().expect("has one").tasks.iter().map(|task| &task.node).collect();
    assert_eq!(tasks, ["right", "left"]);
    assert_eq!(size(&thread).await, (2, 1));
    assert_eq!(lab.orders.called(), Vec::<String>::new());
}

async fn an_update_counts_as_one_activation(lab: &Lab) {
    let (by_hand, by_run) = (lab.desk().thread("by hand"), lab.desk().thread("by run"));
    for thread in [&by_hand, &by_run] {
        thread.input(|_| ()).run().await.expect("runs");
    }
    by_hand.update(|_| ()).as_node("review").and(|_| ()).as_node("review").await.expect("writes");
    by_run.input(|_| ()).run().await.expect("runs");
    lab.orders.tasks();
    by_hand.input(|_| ()).run().await.expect("runs");
    let third_review = lab.orders.tasks()[2].clone();
    by_run.input(|_| ()).run().await.expect("runs");
    assert_eq!(lab.orders.tasks()[2], third_review);
}

async fn an_update_before_an_unfinished_node_keeps_its_task(lab: &Lab) {
    let thread = lab.desk().thread("t");
    lab.orders.fail("write", 1);
    thread.input(|desk| desk.text.set("draft".into())).run().await.expect_err("fails");
    let failed = lab.orders.tasks()[1].clone();
    let edited = thread.update(|desk| desk.text.set("better".into())).as_node("plan").await.expect("writes");
    assert_eq!(edited.next(), ["write"]);
    let outcome = thread.resume().await.expect("runs");
    assert_eq!((outcome.state().text.as_str(), outcome.stats().reused), ("better", 0));
    assert_eq!(lab.orders.tasks()[0], failed);
}

async fn the_writer_is_inferred_where_one_alone_can_be_meant(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    let line = line(&thread).await;
    let of = |at: usize| thread.at(&line[at]).update(|desk| desk.text.set("x".into()));
    assert_eq!(of(0).await.expect("more input").next(), ["plan"]);
    assert_eq!(of(1).await.expect("as plan").next(), ["write"]);
    assert_eq!(of(2).await.expect("as write").next(), ["review"]);
    assert!(of(3).await.expect("as review").next().is_empty());

    let pair = lab.pair().thread("pair");
    pair.input(|_| ()).run().await.expect("runs");
    let both = crate::lab::line(&pair).await[1].clone();
    let refused = pair.at(both).update(|_| ()).await.expect_err("two nodes");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains("left, right"), "{refused}");

    thread.update(|_| ()).as_node(END).await.expect("writes");
    let refused = thread.update(|_| ()).await.expect_err("nobody wrote");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains("plan, write, review, publish"), "{refused}");
}

async fn as_input_plans_the_start(lab: &Lab) {
    let thread = lab.pair().thread("t");
    thread.update(|_| ()).as_node("left").await.expect("creates it");
    let begun = thread.update(|desk| desk.text.set("new".into())).as_input().await.expect("writes");
    assert_eq!(begun.next(), ["left", "right"]);
    // The join has forgotten `left`: both run, then it.
    assert_eq!(thread.resume().await.expect("runs").state().log, ["left", "right", "both"]);
}

async fn as_end_plans_nothing(lab: &Lab) {
    let thread = lab.desk().thread("t");
    lab.orders.fail("write", 1);
    thread.input(|_| ()).run_id("order").run().await.expect_err("fails");
    let ended = thread.update(|desk| desk.text.set("by hand".into())).as_node(END).await.expect("writes");
    assert!(ended.next().is_empty());
    assert!(ended.checkpoint.expect("has one").tasks.is_empty());
    assert_eq!(thread.resume().await.expect("nothing to do").stats().steps, 0);
    assert_eq!(lab.status("t").await, Some(RunStatus::Done));
    let again = thread.input(|_| ()).run_id("order").run().await.expect("is done");
    assert_eq!((again.state().text.as_str(), again.stats().executed), ("by hand", 0));
}

async fn an_update_creates_its_thread(lab: &Lab) {
    let thread = lab.desk().thread("new");
    let seeded = thread.update(|desk| desk.text.set("seed".into())).as_node(END).await.expect("creates it");
    let info = seeded.checkpoint.expect("has one");
    assert_eq!((info.step, info.source, info.parent), (0, Source::Update, None));
    let outcome = thread.input(|_| ()).run().await.expect("runs");
    assert_eq!((outcome.state().text.as_str(), outcome.branch()), ("seed", Some("main")));
    let planned = lab.desk().thread("planned").update(|_| ()).await.expect("creates it");
    assert_eq!(planned.next(), ["plan"]);
    let missing = lab.desk().thread("other").branch("main").update(|_| ()).await.expect_err("no such branch");
    assert_eq!(missing.kind(), ErrorKind::Missing);
}

async fn a_thread_whose_first_input_was_lost_can_be_updated(lab: &Lab) {
    let faults = FaultStore::new(Arc::clone(&lab.store), FaultPlan::nth_write(1, Fault::CrashBefore));
    let dying = lab.over(Arc::new(faults)).thread("t");
    let order = async |thread: &Thread<Desk>| thread.input(|_| ()).run_id("order").durability(Durability::Exit).await;
    order(&dying).await.expect_err("dies with its input");
    let thread = lab.desk().thread("t");
    assert!(thread.state().await.expect("readable").checkpoint.is_none());
    let seeded = thread.update(|desk| desk.words.add(7)).as_node(END).author("Ada").await.expect("writes");
    assert_eq!((seeded.checkpoint.expect("has one").step, seeded.branch.as_str()), (0, "main"));
    assert_eq!(order(&thread).await.expect("begins anew").state().words, 10);
}

async fn a_shared_tip_means_the_head_or_the_branch_that_was_asked(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    let shared = tip(&thread).await;
    let side = thread.at(&shared).fork("side").await.expect("forks");
    let on_side = side.at(&shared).update(|_| ()).as_node("plan").await.expect("writes");
    assert_eq!((on_side.branch.as_str(), tip(&thread).await), ("side", shared.clone()));
    let on_head = thread.at(&shared).update(|_| ()).as_node("plan").await.expect("writes");
    assert_eq!(on_head.branch, "main");
    // By now it is nobody's tip.
    let unnamed = thread.at(&shared).update(|_| ()).as_node("plan").await.expect("writes");
    assert_eq!((unnamed.branch.len(), size(&thread).await), (16, (7, 3)));
}

async fn the_branchs_run_stops_at_the_update_and_goes_on(lab: &Lab) {
    let thread = lab.desk().thread("t");
    lab.orders.fail("review", 1);
    let order = || thread.input(|desk| desk.text.set("draft".into())).run_id("order").run();
    order().await.expect_err("fails");
    let edited = thread.update(|desk| desk.text.set("better".into())).as_node("write").await.expect("writes");
    assert_eq!(edited.checkpoint.expect("has one").run.to_string(), "order");
    assert_eq!(lab.status("t").await, Some(RunStatus::Drained));
    assert_eq!(order().await.expect_err("not yet").kind(), ErrorKind::Unfinished);
    thread.resume().await.expect("goes on");
    assert_eq!(lab.status("t").await, Some(RunStatus::Done));
    assert_eq!(order().await.expect("is done").state().text, "better");
}

async fn an_update_of_a_finished_thread_begins_a_run(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|_| ()).run_id("order").run().await.expect("runs");
    let edited = thread.update(|_| ()).as_node("plan").await.expect("writes");
    assert_ne!(edited.checkpoint.expect("has one").run.to_string(), "order");
    assert_eq!(lab.status("t").await, Some(RunStatus::Drained));
    thread.resume().steps_max(1).await.expect("goes on");
    assert_eq!(lab.status("t").await, Some(RunStatus::OutOfSteps));
    thread.resume().await.expect("goes on");
    assert_eq!(lab.status("t").await, Some(RunStatus::Done));
    let order = thread.input(|_| ()).run_id("order").run().await.expect("is done");
    assert_eq!(order.state().words, 3);
}

async fn a_fork_that_is_updated_first_has_a_run_of_its_own(lab: &Lab) {
    let main = lab.desk().thread("t");
    lab.orders.fail("write", 2);
    main.input(|_| ()).run_id("order").run().await.expect_err("fails");
    let fork = main.at(tip(&main).await).fork("side").await.expect("forks");
    fork.update(|_| ()).as_node("plan").await.expect("writes");
    fork.resume().await.expect_err("fails on the fork, too");
    fork.update(|_| ()).as_node("plan").await.expect("writes");
    fork.resume().await.expect("goes on");
    assert_eq!(lab.status("t").await, Some(RunStatus::Done));
    let order = main.input(|_| ()).run_id("order").run().await.expect_err("main is where it was");
    assert_eq!(order.kind(), ErrorKind::Unfinished);
    main.resume().await.expect("goes on");
}

async fn a_discarded_fork_can_be_updated(lab: &Lab) {
    let main = lab.desk().thread("t");
    lab.orders.fail("write", 1);
    main.input(|_| ()).run_id("order").run().await.expect_err("fails");
    let fork = main.at(tip(&main).await).fork("side").await.expect("forks");
    fork.discard().await.expect("discards");
    fork.update(|_| ()).as_node("write").await.expect("writes");
    fork.resume().await.expect("goes on");
    let order = main.input(|_| ()).run_id("order").run().await.expect_err("main is where it was");
    assert_eq!(order.kind(), ErrorKind::Unfinished);
}

async fn a_running_run_is_fenced(lab: &Lab) {
    lab.orders.hold("write");
    let (running, thread) = (lab.desk().thread("t"), lab.desk().thread("t"));
    let by_hand = async {
        lab.orders.entered.notified().await;
        let edited = thread.update(|desk| desk.text.set("mine".into())).as_node("plan").await.expect("writes");
        lab.orders.go_on.notify_one();
        edited
    };
    let (run, edited) = tokio::join!(running.input(|_| ()).run(), by_hand);
    assert_eq!(run.expect_err("was fenced").kind(), ErrorKind::Fenced);
    assert_eq!(tip(&thread).await, edited.checkpoint.expect("has one").id);
    lab.orders.go_on.notify_one();
    assert_eq!(thread.resume().await.expect("goes on").state().text, "mine");
}

async fn a_resident_handle_goes_on_from_the_update(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    lab.desk().thread("t").update(|desk| desk.text.set("other".into())).as_node(END).await.expect("writes");
    assert_eq!(thread.state().await.expect("readable").state().text, "other");
    let outcome = thread.input(|_| ()).run().await.expect("runs");
    assert_eq!((outcome.state().text.as_str(), outcome.state().words), ("other", 6));
}
