//! Do several answers, and answers with an update, reach the tasks that asked, in one unit?

use std::cell::RefCell;

use serde::{Deserialize, Serialize};
use stepmark::interrupt::OpenQuestion;
use stepmark::run::Source;
use stepmark::{
    Append, Cx, Error, ErrorKind, Graph, In, NodeResult, Outcome, Question, Snap, State, Thread, Update, to,
};

use crate::lab::{Lab, killed_anywhere, on_every_store, told};

on_every_store! {
    several_answers_go_on_at_once,
    one_answer_that_does_not_fit_stores_none,
    a_question_is_answered_once_in_a_request,
    questions_of_several_branches_are_not_answered_together,
    an_update_reaches_the_tasks_that_asked_with_their_answers,
    what_is_not_answered_is_asked_again_under_its_id,
    earlier_answers_do_not_outlive_an_update,
    a_question_in_other_words_is_asked_anew,
    an_update_alone_is_stored_before_anything_runs,
    the_same_answers_and_writes_are_written_once,
    answers_lead_to_other_nodes_besides,
    answers_lead_to_nodes_with_payloads_and_to_those_that_wait,
    answers_that_lead_nowhere_store_nothing,
    a_fork_is_answered_with_an_update_of_its_own,
    what_waits_and_what_was_sent_stays_planned,
    only_input_may_be_written,
    a_crash_at_any_call_writes_answers_and_update_once,
    a_crash_that_somebody_resumed_from_writes_them_once,
}

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Desk {
    limit: u32,
    #[reduce(Append)]
    log: Vec<String>,
    #[state(ephemeral)]
    note: String,
    #[state(private)]
    secret: u32,
}

#[derive(Question, Clone, Debug, Serialize, Deserialize)]
#[question("approve", answer = bool)]
struct Approve {
    by: String,
    limit: Option<u32>,
}

fn log(line: String) -> Update<Desk> {
    let mut update = Update::<Desk>::default();
    update.log.push(line);
    update
}

async fn begin() -> Update<Desk> {
    let mut update = log("begin".into());
    update.note.set("a note".into());
    update
}

/// Asks in words that do not depend on the state.
async fn ask(desk: Snap<Desk>, cx: Cx<Desk>) -> NodeResult<Update<Desk>> {
    let said = cx.interrupt(Approve { by: cx.node().to_owned(), limit: None }).await?;
    Ok(log(format!("{}: {said} up to {} with {:?}", cx.node(), desk.limit, desk.note)))
}

/// Asks in words that do.
async fn ask_limit(desk: Snap<Desk>, cx: Cx<Desk>) -> NodeResult<Update<Desk>> {
    let said = cx.interrupt(Approve { by: cx.node().to_owned(), limit: Some(desk.limit) }).await?;
    Ok(log(format!("{}: {said} to {}", cx.node(), desk.limit)))
}

async fn plain(cx: Cx<Desk>) -> Update<Desk> {
    log(cx.node().to_owned())
}

/// begin → left, right (both ask) and plain beside each other → last.
fn pair() -> Graph<Desk> {
    let mut graph = Graph::<Desk>::new("pair");
    let begin = graph.node("begin", begin);
    let [left, right] = ["left", "right"].map(|name| graph.node(name, ask));
    let [beside, last] = ["beside", "last"].map(|name| graph.node(name, plain));
    graph.start(begin);
    for node in [left, right, beside] {
        graph.edge(begin, node);
    }
    graph.join(to![left, right, beside], last);
    graph.question::<Approve>();
    graph
}

/// A thread that waits for two answers, and the questions.
async fn waiting(lab: &Lab, name: &str) -> (Thread<Desk>, [OpenQuestion; 2]) {
    let thread = lab.app(pair()).thread(name);
    let outcome = thread.input(|desk| desk.limit.set(10)).await.expect("runs");
    (thread, questions(&outcome))
}

fn questions(outcome: &Outcome<Desk>) -> [OpenQuestion; 2] {
    outcome.questions().to_vec().try_into().expect("two questions")
}

async fn several_answers_go_on_at_once(lab: &Lab) {
    let (thread, [left, right]) = waiting(lab, "t").await;
    let done = thread.answer(left.typed::<Approve>().expect("its type"), true).and_open(&right, &false).author("ada");
    let done = done.await.expect("goes on");
    assert_eq!((done.is_done(), done.stats().executed, done.stats().reused), (true, 3, 1));
    let ended =
        ["begin", "left: true up to 10 with \"a note\"", "right: false up to 10 with \"a note\"", "beside", "last"];
    assert_eq!(done.state().log, ended);
}

async fn one_answer_that_does_not_fit_stores_none(lab: &Lab) {
    let (thread, [left, right]) = waiting(lab, "t").await;
    let error = thread.answer_open(&left, &true).and_id(right.id, &"maybe").await.expect_err("it does not fit");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(thread.questions().await.expect("listed").len(), 2);
    // Nor does one that somebody else answered otherwise.
    thread.answer_open(&right, &false).store().await.expect("stored");
    let error = thread.answer_open(&left, &true).and_open(&right, &true).await.expect_err("another answer");
    assert_eq!(error.kind(), ErrorKind::AlreadyAnswered);
    assert_eq!(thread.questions().await.expect("listed").len(), 1);
    let done = thread.answer_open(&left, &true).and_open(&right, &false).await.expect("the same answer again");
    assert!(done.is_done());
}

async fn a_question_is_answered_once_in_a_request(lab: &Lab) {
    let (thread, [left, _]) = waiting(lab, "t").await;
    let error = thread.answer_open(&left, &true).and_open(&left, &true).await.expect_err("twice");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

async fn questions_of_several_branches_are_not_answered_together(lab: &Lab) {
    let (thread, [left, _]) = waiting(lab, "t").await;
    let tip = thread.history().await.expect("readable")[0].id.clone();
    let side = thread.at(tip).fork("side").await.expect("forks");
    let there = side.questions().await.expect("listed");
    let error = thread.answer_open(&left, &true).and_open(&there[1], &true).await.expect_err("two branches");
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("another branch"), "{error}");
}

async fn an_update_reaches_the_tasks_that_asked_with_their_answers(lab: &Lab) {
    let (thread, [left, right]) = waiting(lab, "t").await;
    let answers = thread.answer_open(&left, &true).and_open(&right, &false);
    let done = answers.update(|desk| desk.limit.set(99)).update(|desk| desk.log.push("by hand".into())).await;
    let done = done.expect("goes on");
    // `beside` had finished on the old state: it runs again.
    assert_eq!((done.stats().executed, done.stats().reused), (4, 0));
    let ended = [
        "begin",
        "by hand",
        "left: true up to 99 with \"a note\"",
        "right: false up to 99 with \"a note\"",
        "beside",
        "last",
    ];
    assert_eq!(done.state().log, ended);
    let plan = "left right beside | ";
    let story = [" > begin | ".into(), format!("begin.0 > {plan}"), format!(" > {plan}")];
    assert_eq!(told(&thread).await[..3], story);
}

async fn what_is_not_answered_is_asked_again_under_its_id(lab: &Lab) {
    let (thread, [left, right]) = waiting(lab, "t").await;
    let asked = thread.answer_open(&left, &true).update(|desk| desk.limit.set(99)).await.expect("goes on");
    let [open] = asked.questions() else { panic!("{asked:?}") };
    assert_eq!((open.id, open.hash), (right.id, right.hash));
    let done = thread.answer_open(&right, &true).await.expect("goes on");
    assert_eq!((done.stats().executed, done.stats().reused), (2, 2));
}

async fn earlier_answers_do_not_outlive_an_update(lab: &Lab) {
    let (thread, [left, right]) = waiting(lab, "t").await;
    thread.answer_open(&left, &true).store().await.expect("stored");
    let asked = thread.answer_open(&right, &true).update(|desk| desk.limit.set(99)).await.expect("goes on");
    assert_eq!(asked.questions().iter().map(|open| open.id).collect::<Vec<_>>(), [left.id]);
    assert!(thread.answer_open(&left, &false).await.expect("another answer may be given now").is_done());
}

async fn a_question_in_other_words_is_asked_anew(lab: &Lab) {
    let mut graph = Graph::<Desk>::new("limit");
    let only = graph.node("only", ask_limit);
    graph.start(only);
    let thread = lab.app(graph).thread("t");
    let asked = thread.input(|desk| desk.limit.set(10)).await.expect("runs");
    let old = asked.question::<Approve>().expect("open");
    let asked = thread.answer(&old, true).update(|desk| desk.limit.set(99)).await.expect("asks");
    let new = asked.question::<Approve>().expect("open");
    assert_eq!((new.id(), new.question().limit), (old.id(), Some(99)));
    let error = thread.answer(&old, true).await.expect_err("an old form");
    assert_eq!(error.kind(), ErrorKind::QuestionChanged);
    let done = thread.answer(new, false).await.expect("goes on");
    assert_eq!(done.state().log, ["only: false to 99"]);
}

async fn an_update_alone_is_stored_before_anything_runs(lab: &Lab) {
    let (thread, [left, right]) = waiting(lab, "t").await;
    let answers = thread.answer_open(&left, &true).and_open(&right, &true).author("ada");
    assert!(!answers.update(|desk| desk.limit.set(99)).store().await.expect("stored"), "no run is open");
    let snapshot = thread.state().await.expect("readable");
    let info = snapshot.checkpoint.as_ref().expect("has one");
    assert_eq!((info.source, info.author.as_deref(), snapshot.state().limit), (Source::Update, Some("ada"), 99));
    assert!(thread.questions().await.expect("listed").is_empty());
    assert!(lab.app(pair()).thread("t").resume().await.expect("goes on").is_done());
}

async fn the_same_answers_and_writes_are_written_once(lab: &Lab) {
    let (thread, [left, right]) = waiting(lab, "t").await;
    let answers = |app: &stepmark::App<Desk>| app.thread("t");
    let (here, there) = (lab.app(pair()), lab.app(pair()));
    for thread in [answers(&here), answers(&there)] {
        let request = thread.answer_open(&right, &true).and_open(&left, &true).author("whoever");
        request.update(|desk| desk.log.push("by hand".into())).store().await.expect("stored once");
    }
    // Other writes are another update.
    let more = thread.answer_open(&left, &true).update(|desk| desk.log.push("more".into()));
    let asked = more.await.expect("goes on");
    assert_eq!(asked.state().log, ["begin", "by hand", "more"]);
    assert_eq!(asked.questions().len(), 1);
}

async fn answers_lead_to_other_nodes_besides(lab: &Lab) {
    let (thread, [left, right]) = waiting(lab, "t").await;
    for stored in 0..2 {
        // Twice, as after a crash: written once. `beside` is planned already and runs once.
        let answers = thread.answer_open(&left, &true).and_open(&right, &true).goto_named("last").goto_named("beside");
        let is_open = answers.store().await.expect("stored");
        assert!(!is_open && thread.history().await.expect("readable").len() == 3, "call {stored}");
    }
    assert_eq!(told(&thread).await[2], " > left right beside last | ");
    let done = lab.app(pair()).thread("t").resume().await.expect("goes on");
    let said = "true up to 10 with \"a note\"";
    assert_eq!(done.state().log[1..], [&format!("left: {said}"), &format!("right: {said}"), "beside", "last", "last"]);
}

async fn answers_lead_to_nodes_with_payloads_and_to_those_that_wait(lab: &Lab) {
    let mut graph = Graph::<Desk>::new("sent");
    let asks = graph.node("asks", ask);
    let part = graph.node("part", async |In(word): In<String>| log(word));
    let late = graph.node("late", plain);
    graph.defer(late);
    graph.start(asks);
    graph.goto(asks, to![part, late]);
    let thread = lab.app(graph).thread("t");
    let asked = thread.input(|_| ()).await.expect("runs");
    let open = &asked.questions()[0];
    let answer = thread.answer_open(open, &true).goto(part.send("one".into())).send_named("part", "two").goto(late);
    assert_eq!(answer.await.expect("goes on").state().log[1..], ["one", "two", "late"]);
    assert_eq!(told(&thread).await[2..], ["asks.0 part.1 part.2 > late | ", "late.0 >  | "]);
}

async fn answers_that_lead_nowhere_store_nothing(lab: &Lab) {
    let (thread, [left, _]) = waiting(lab, "t").await;
    let error = thread.answer_open(&left, &true).goto_named("nobody").await.expect_err("no such node");
    assert!(error.kind() == ErrorKind::Missing && error.to_string().contains("nobody"), "{error}");
    assert_eq!(thread.questions().await.expect("listed").len(), 2);
}

async fn a_fork_is_answered_with_an_update_of_its_own(lab: &Lab) {
    let (thread, [left, right]) = waiting(lab, "t").await;
    let tip = thread.history().await.expect("readable")[0].id.clone();
    let side = thread.at(tip).fork("side").await.expect("forks");
    let there = side.questions().await.expect("listed");
    let answers = side.answer_open(&there[0], &true).and_open(&there[1], &true).update(|desk| desk.limit.set(7));
    assert_eq!(answers.await.expect("goes on").state().limit, 7);
    // The thread's own handle answers there too, and the head stays.
    let answers = thread.answer_open(&left, &true).and_open(&right, &true).update(|desk| desk.limit.set(7));
    assert_eq!(answers.await.expect("goes on").branch(), Some("main"));
    assert_eq!((told(&side).await, told(&thread).await.len()), (told(&thread).await, 5));
}

async fn what_waits_and_what_was_sent_stays_planned(lab: &Lab) {
    async fn part(In(word): In<String>, cx: Cx<Desk>) -> NodeResult<Update<Desk>> {
        let said = cx.interrupt(Approve { by: word[..3].to_owned(), limit: None }).await?;
        Ok(log(format!("{} {said}", &word[..3])))
    }
    let mut graph = Graph::<Desk>::new("sends");
    let begin = graph.node("begin", begin);
    let part = graph.node("part", async |cx: Cx<Desk>, word: In<String>| part(word, cx).await);
    let last = graph.node("last", plain);
    graph.start(begin);
    graph.edge(begin, last);
    graph.branch_on(begin, to![part], move |_, _| {
        ["one", "two"].map(|word| part.send(format!("{word}{}", "!".repeat(9_000))))
    });
    graph.defer(last);
    let thread = lab.app(graph).thread("t");
    let mut asked = questions(&thread.input(|_| ()).await.expect("runs"));
    // Tasks of one node are listed by id.
    asked.sort_by_key(|open| open.typed::<Approve>().expect("its type").question().by.clone());
    let [one, two] = asked;
    let answers = thread.answer_open(&one, &true).and_open(&two, &false);
    let done = answers.update(|desk| desk.log.push("by hand".into())).await.expect("goes on");
    assert_eq!(done.state().log, ["begin", "by hand", "one true", "two false", "last"]);
    assert_eq!(told(&thread).await[2..4], [" > part part | last", "part.1 part.2 > last | "]);
}

async fn only_input_may_be_written(lab: &Lab) {
    let (thread, [left, _]) = waiting(lab, "t").await;
    let error = thread.answer_open(&left, &true).update(|desk| desk.secret.set(1)).await.expect_err("it is private");
    assert!(error.kind() == ErrorKind::Store || error.kind() == ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("secret"), "{error}");
    assert_eq!(thread.questions().await.expect("listed").len(), 2);
}

/// Answers what a thread was asked, and writes.
async fn answer(thread: &Thread<Desk>, [left, right]: &[OpenQuestion; 2]) -> Result<(), Error> {
    let answers = thread.answer_open(left, &true).and_open(right, &false);
    answers.update(|desk| desk.log.push("by hand".into())).await.map(drop)
}

async fn a_crash_at_any_call_writes_answers_and_update_once(lab: &Lab) {
    crash_anywhere(lab, false).await;
}

async fn a_crash_that_somebody_resumed_from_writes_them_once(lab: &Lab) {
    crash_anywhere(lab, true).await;
}

/// Whoever was killed, or somebody else, makes the same call again.
async fn crash_anywhere(lab: &Lab, resumes_first: bool) {
    let asked: RefCell<Option<[OpenQuestion; 2]>> = RefCell::default();
    let input = async |thread: &Thread<Desk>| thread.input(|desk| desk.limit.set(10)).run_id("r").await;
    let clean = lab.app(pair()).thread("clean");
    let outcome = input(&clean).await.expect("runs");
    answer(&clean, &questions(&outcome)).await.expect("goes on");
    let (story, ended) = (told(&clean).await, clean.state().await.expect("readable").state().clone());
    let begin = async |thread: &Thread<Desk>| {
        asked.take();
        let outcome = input(thread).await?;
        asked.replace(Some(questions(&outcome)));
        answer(thread, &questions(&outcome)).await
    };
    let go_on = async |thread: &Thread<Desk>| {
        let known = asked.take();
        if resumes_first || known.is_none() {
            drop(thread.resume().await);
        }
        let questions = match known {
            Some(questions) => questions,
            None => questions(&input(thread).await.expect("runs")),
        };
        match answer(thread, &questions).await {
            // Its task has gone on from the answer.
            Err(error) if error.kind() == ErrorKind::Missing => drop(thread.resume().await.expect("goes on")),
            answered => answered.expect("answers"),
        }
        assert_eq!((told(thread).await, thread.state().await.expect("readable").state()), (story.clone(), &ended));
    };
    assert!(killed_anywhere(lab, pair, (begin, go_on)).await > 20);
}
