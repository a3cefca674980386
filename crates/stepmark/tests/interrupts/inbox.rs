//! Can open questions be found across threads, and answered by what was listed alone?

use stepmark::interrupt::{Asker, OpenQuestion};
use stepmark::{Ending, ErrorKind};

use crate::bench::{Bench, asking_both, beside, line, reviewing, verdict};

on_every_store! {
    what_is_listed_is_enough_to_answer,
    every_branch_is_listed,
    pages_have_every_question_once,
    answered_questions_are_listed_if_asked_for,
}

async fn what_is_listed_is_enough_to_answer(bench: &Bench) {
    for name in ["a", "b", "c"] {
        bench.app(reviewing()).thread(name).input(|desk| desk.topic.set(name.into())).run().await.expect("runs");
    }
    bench.app(beside("shaky")).run_in_memory(|_| ()).await.expect("nothing of it is stored");
    // A program with another graph over the same store.
    let inbox = bench.app(line());
    let questions = inbox.questions().await.expect("readable");
    let threads: Vec<&str> = questions.iter().map(|question| &*question.thread).collect();
    assert_eq!(threads, ["a", "b", "c"]);
    let OpenQuestion { node, name, question, asker, branch_label, answer_schema, is_answered, .. } = &questions[1];
    assert_eq!((&**node, &**name, &**branch_label, *asker), ("review", "approve", "main", Asker::Task));
    assert_eq!((question.get("topic").expect("a field").to_string(), *is_answered), ("\"b\"".to_owned(), false));
    assert!(answer_schema.is_none() && questions[1].asked_at > 0);

    let told: Vec<String> = questions.iter().map(|question| question.id.to_string()).collect();
    let id = stepmark::interrupt::InterruptId::parse(&told[1]).expect("an id reads back");
    let answer = serde_json::json!({"ok": true, "note": "by mail"});
    let thread = inbox.thread("b").branch("main");
    assert!(!thread.answer_id(id, &answer).wording(questions[1].hash).store().await.expect("stored"));
    let outcome = bench.app(reviewing()).thread("b").resume().await.expect("goes on");
    assert_eq!(outcome.state().log, ["true by mail"]);
    assert_eq!(inbox.questions().await.expect("readable").len(), 2);
    assert_eq!(inbox.thread("nobody").questions().await.expect_err("no thread").kind(), ErrorKind::Missing);
}

async fn every_branch_is_listed(bench: &Bench) {
    let thread = bench.app(line()).thread("t");
    let outcome = thread.input(|_| ()).run().await.expect("runs");
    thread.at(outcome.checkpoint().expect("a tip")).fork("side").await.expect("forks");
    let questions = bench.app(line()).questions().await.expect("readable");
    let mut branches: Vec<&str> = questions.iter().map(|question| &*question.branch_label).collect();
    branches.sort_unstable();
    assert_eq!(branches, ["main", "side"]);
    assert_eq!(questions[0].id, questions[1].id);
}

async fn pages_have_every_question_once(bench: &Bench) {
    let app = bench.app(asking_both());
    for number in 0..7 {
        app.thread(format!("t{number}")).input(|_| ()).run().await.expect("runs");
    }
    bench.app(line()).thread("t3x").update(|_| ()).as_input().await.expect("a thread that does not wait");
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut questions = app.questions().threads_max(2);
        if let Some(after) = &after {
            questions = questions.after(after);
        }
        let page = questions.page().await.expect("readable");
        assert!(page.questions.len() <= 4, "two threads of two questions");
        found.extend(page.questions);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, app.questions().threads_max(3).await.expect("readable"));
    assert_eq!(found.len(), 14);
}

async fn answered_questions_are_listed_if_asked_for(bench: &Bench) {
    let app = bench.app(asking_both());
    let thread = app.thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    let open = app.questions().await.expect("readable");
    let confirm = open.iter().find(|question| question.name == "Confirm").expect("it is open");
    thread.answer_open(confirm, &true).store().await.expect("stored");
    let names = |questions: Vec<OpenQuestion>| -> Vec<(String, bool)> {
        questions.into_iter().map(|question| (question.name, question.is_answered)).collect()
    };
    assert_eq!(names(app.questions().await.expect("readable")), [("approve".to_owned(), false)]);
    let all = names(app.questions().with_answered().await.expect("readable"));
    assert_eq!(all, [("Confirm".to_owned(), true), ("approve".to_owned(), false)]);
    assert_eq!(names(thread.questions().await.expect("readable")).len(), 1);
    let approve = open.iter().find(|question| question.name == "approve").expect("it is open");
    let done = thread.answer_open(approve, &verdict(true, "")).run().await.expect("goes on");
    assert_eq!(done.ending(), Ending::Done);
    assert!(app.questions().with_answered().await.expect("readable").is_empty());
}
