//! Is a sub-graph part of its parent's past?

use stepmark::graph::SubGraph;

use crate::bench::{Approve, approving, around, drafting};
use crate::stores::{On, on_each_store};

on_each_store! {
    a_fork_at_a_question_inside_takes_another_answer,
    a_fork_of_the_past_sees_the_sub_graph_as_it_was,
    a_replay_runs_the_sub_graph_again,
}

async fn a_fork_at_a_question_inside_takes_another_answer(on: On) {
    for graph in [SubGraph::new(&approving()), SubGraph::new(&approving()).persistent()] {
        let (app, lab) = around(graph, on.store());
        let thread = app.thread("t");
        let outcome = thread.input(|_| ()).run().await.expect("it asks");
        let tip = outcome.checkpoint().expect("it is stored").to_string();
        let fork = thread.at(&tip).fork("other").await.expect("it is free");
        let question = outcome.question::<Approve>().expect("it is open");
        let main = thread.answer(&question, true).run().await.expect("it goes on");
        assert_eq!(main.state().log[2], "approved");
        let open = fork.questions().await.expect("they are there");
        let question = open[0].typed::<Approve>().expect("it is one");
        let other = fork.answer(&question, false).run().await.expect("it goes on");
        assert_eq!(other.state().log[2], "rejected");
        assert_eq!(lab.ran().iter().filter(|name| *name == "write").count(), 1);
    }
}

async fn a_fork_of_the_past_sees_the_sub_graph_as_it_was(on: On) {
    let (app, _) = around(SubGraph::new(&drafting()).persistent(), on.store());
    let thread = app.thread("t");
    let first = thread.input(|report| report.topic.set("a".into())).run().await.expect("it runs");
    let past = first.checkpoint().expect("it is stored").to_string();
    thread.input(|report| report.topic.set("b".into())).run().await.expect("it runs");
    let fork = thread.at(&past).fork("other").await.expect("it is free");
    let other = fork.input(|report| report.topic.set("c".into())).run().await.expect("it runs");
    let log = &other.state().log;
    assert_eq!(log[5..9], ["about a", "1 lines", "about c", "3 lines"]);
    let main = thread.input(|report| report.topic.set("d".into())).run().await.expect("it runs");
    assert!(main.state().log.ends_with(&["5 lines".into(), format!("closed after {}", main.state().log.len() - 1)]));
}

async fn a_replay_runs_the_sub_graph_again(on: On) {
    let (app, lab) = around(SubGraph::new(&drafting()), on.store());
    let thread = app.thread("t");
    let outcome = thread.input(|report| report.topic.set("a".into())).run().await.expect("it runs");
    let page = thread.history().await.expect("it has one");
    let before = page.iter().find(|info| info.step == 1).expect("the step before").id.to_string();
    let again = thread.at(&before).replay().await.expect("it runs");
    assert_eq!(again.state(), outcome.state());
    assert_eq!(lab.ran(), ["open", "write", "polish", "close", "write", "polish", "close"]);
}
