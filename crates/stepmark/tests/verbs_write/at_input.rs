//! Is an input at a past moment a run on a branch of its own?

use stepmark::run::Source;
use stepmark::{Ending, ErrorKind, OnPending};

use crate::lab::{Lab, line, on_every_store, size, tip};

on_every_store! {
    an_input_at_a_past_moment_runs_on_its_own_branch,
    an_input_at_an_unfinished_tip_reuses_nothing,
    a_run_id_is_one_run_at_one_place,
    what_is_unknown_is_named,
    a_stopped_run_goes_on_by_its_branch,
    an_unknown_planned_node_is_left_behind,
}

async fn an_input_at_a_past_moment_runs_on_its_own_branch(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|desk| desk.text.set("first".into())).run().await.expect("runs");
    let main = line(&thread).await;
    let outcome = thread.at(&main[1]).input(|desk| desk.text.set("second".into())).run().await.expect("runs");
    assert_eq!(outcome.state().log, ["plan", "plan", "write", "review"]);
    assert_eq!((outcome.state().text.as_str(), outcome.ending()), ("second", Ending::Done));
    assert_eq!((line(&thread).await, size(&thread).await), (main.clone(), (8, 2)));
    assert_eq!(thread.state().await.expect("readable").state().text, "first");
    let branch = lab.desk().thread("t").branch(outcome.branch().expect("has one"));
    let history = branch.history().await.expect("readable");
    assert_eq!((history[3].source, history[3].parent.as_ref(), history[3].step), (Source::Input, Some(&main[1]), 2));
    assert_eq!(branch.state().await.expect("readable").state(), outcome.state());

    let at_tip = thread.at(&main[3]).input(|_| ()).await.expect("runs");
    assert_eq!((line(&thread).await, size(&thread).await), (main, (12, 3)));
    assert_ne!(at_tip.branch(), Some("main"));
}

async fn an_input_at_an_unfinished_tip_reuses_nothing(lab: &Lab) {
    let thread = lab.pair().thread("t");
    lab.orders.fail("right", 1);
    thread.input(|_| ()).run().await.expect_err("fails");
    let old = lab.orders.tasks();
    let outcome = thread.at(tip(&thread).await).input(|_| ()).run().await.expect("runs");
    assert_eq!((outcome.stats().executed, outcome.stats().reused), (3, 0));
    let new = lab.orders.tasks();
    assert!(old.iter().all(|task| !new.contains(task)), "abandoned tasks keep their identity");
    let resumed = thread.resume().await.expect("main is as it was");
    assert_eq!((resumed.stats().executed, resumed.stats().reused), (2, 1));
}

async fn a_run_id_is_one_run_at_one_place(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    let main = line(&thread).await;
    let run = |at: usize, text: &str| {
        let (thread, place, text) = (lab.desk().thread("t"), main[at].clone(), text.to_owned());
        async move { thread.at(place).input(|desk| desk.text.set(text)).run_id("order").run().await }
    };
    let first = run(1, "x").await.expect("runs");
    lab.orders.called();
    let again = run(1, "x").await.expect("is the same run");
    assert_eq!(
        (again.state(), again.branch(), again.checkpoint()),
        (first.state(), first.branch(), first.checkpoint())
    );
    assert_eq!((lab.orders.called().len(), size(&thread).await), (0, (8, 2)));
    for (at, text) in [(2, "x"), (1, "y")] {
        assert_eq!(run(at, text).await.expect_err("another run").kind(), ErrorKind::RunIdReused);
    }
    let at_head = thread.input(|desk| desk.text.set("x".into())).run_id("order").run().await;
    assert_eq!(at_head.expect_err("another place").kind(), ErrorKind::RunIdReused);
}

async fn what_is_unknown_is_named(lab: &Lab) {
    let thread = lab.desk().thread("t");
    let unknown = thread.at("c").input(|_| ()).run().await.expect_err("no such thread");
    assert_eq!(unknown.kind(), ErrorKind::Missing);
    assert!(unknown.to_string().contains("\"t\""), "{unknown}");
    thread.input(|_| ()).run().await.expect("runs");
    let unknown = thread.at("c").input(|_| ()).run().await.expect_err("no such checkpoint");
    assert_eq!(unknown.kind(), ErrorKind::Missing);
    assert!(unknown.to_string().contains("\"c\""), "{unknown}");
    let request = thread.at(tip(&thread).await).input(|_| ()).on_pending(OnPending::Discard);
    assert_eq!(request.run().await.expect_err("means nothing").kind(), ErrorKind::Invalid);
    assert_eq!(size(&thread).await, (4, 1));
}

async fn a_stopped_run_goes_on_by_its_branch(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    let main = line(&thread).await;
    let stopped = thread.at(&main[0]).input(|_| ()).steps_max(1).run().await.expect("stops");
    assert_eq!(stopped.ending(), Ending::OutOfSteps);
    let branch = lab.desk().thread("t").branch(stopped.branch().expect("has one"));
    let rest = branch.resume().await.expect("goes on");
    assert_eq!((rest.state().words, rest.run_id()), (3, stopped.run_id()));
}

async fn an_unknown_planned_node_is_left_behind(lab: &Lab) {
    let thread = lab.pair().thread("t");
    lab.orders.fail("right", 1);
    thread.input(|_| ()).run().await.expect_err("fails");
    let place = tip(&thread).await;
    let desk = lab.desk().thread("t");
    assert_eq!(desk.resume().await.expect_err("has no such node").kind(), ErrorKind::Missing);
    let outcome = desk.at(place).input(|_| ()).run().await.expect("runs");
    assert_eq!(outcome.state().log, ["plan", "write", "review"]);
}
