//! Is a question inside answered from outside?

use stepmark::Question;
use stepmark::graph::SubGraph;

use crate::bench::{Approve, approving, around, looped};
use crate::stores::{On, on_each_store};

on_each_store! {
    a_question_inside_is_answered_from_the_outermost_thread,
    each_turn_of_a_loop_asks_its_own_question,
}

async fn a_question_inside_is_answered_from_the_outermost_thread(on: On) {
    for graph in
        [SubGraph::new(&approving()), SubGraph::new(&approving()).persistent(), SubGraph::new(&approving()).stateless()]
    {
        let (app, lab) = around(graph, on.store());
        let thread = app.thread("t");
        let outcome = thread.input(|report| report.topic.set("rust".into())).run().await.expect("it asks");
        assert!(outcome.is_interrupted());
        assert_eq!(outcome.questions()[0].name, Approve::NAME);
        assert!(outcome.questions()[0].namespace.starts_with("draft"), "{:?}", outcome.questions());
        let question = outcome.question::<Approve>().expect("it is open");
        let outcome = thread.answer(&question, true).run().await.expect("it goes on");
        assert!(outcome.is_done());
        assert_eq!(outcome.state().log, ["opened", "about rust", "approved", "closed after 3"]);
        assert!(lab.ran().iter().filter(|name| *name == "open").count() == 1);
    }
}

async fn each_turn_of_a_loop_asks_its_own_question(on: On) {
    let (app, _) = looped(SubGraph::new(&approving()).persistent(), on.store());
    let mut outcome = app.thread("t").input(|_| ()).run().await.expect("it asks");
    let mut answered = Vec::new();
    while outcome.is_interrupted() {
        let question = outcome.question::<Approve>().expect("it is open");
        assert!(!answered.contains(&question.id()), "it was answered");
        answered.push(question.id());
        outcome = app.thread("t").answer(&question, answered.len() != 2).run().await.expect("it goes on");
    }
    // A persistent sub-graph gives all its lines again at each turn.
    assert!(outcome.state().log.iter().filter(|line| *line == "approved").count() >= 3);
}
