//! Does a run begin where its input says?

use stepmark::{App, Durability, END, Error, ErrorKind, Graph, In, NodeRef, OnPending, Route, Thread, Update, to};

use crate::lab::{Lab, Log, killed_anywhere, note, notes, on_every_store, told};

on_every_store! {
    an_input_goes_to_a_node_in_place_of_the_start,
    an_input_goes_to_several_nodes_and_sends,
    an_input_goes_by_name,
    an_input_at_a_past_moment_goes_too,
    what_was_planned_and_waited_is_left_behind,
    a_run_id_stands_for_its_goto_too,
    a_run_that_is_killed_at_any_call_ends_as_a_clean_one,
    it_is_the_same_under_exit,
    an_unknown_node_is_named_and_nothing_is_written,
    a_goto_that_leads_nowhere_is_refused,
    a_goto_belongs_to_an_input,
}

struct Handles {
    b: NodeRef<Log>,
    last: NodeRef<Log>,
    said: NodeRef<Log, String>,
}

async fn say(In(word): In<String>) -> Update<Log> {
    let mut update = Update::<Log>::default();
    update.ran.push(word);
    update
}

/// a → b → c, and from a to `last`, which is deferred; b may send to `said`.
fn drawn() -> (Graph<Log>, Handles) {
    let (mut graph, [a, b, c, last]) = notes(["a", "b", "c", "last"]);
    let said = graph.node("said", say);
    graph.start(a);
    graph.edge(a, b);
    graph.edge(b, c);
    graph.edge(a, last);
    graph.branch_on(b, to![said, END], move |log, _| {
        if log.words.is_empty() {
            vec![Route::END]
        } else {
            log.words.iter().map(|word| said.send(word.clone())).collect()
        }
    });
    graph.defer(last);
    (graph, Handles { b, last, said })
}

fn app(lab: &Lab) -> (App<Log>, Handles) {
    let (graph, handles) = drawn();
    (lab.app(graph), handles)
}

async fn an_input_goes_to_a_node_in_place_of_the_start(lab: &Lab) {
    let (app, handles) = app(lab);
    let thread = app.thread("t");
    let outcome = thread.input(|log| log.words.set(vec!["x".into()])).goto(handles.b).await.expect("runs");
    assert_eq!(outcome.state().ran, ["b", "c", "x"]);
    assert_eq!(told(&thread).await, [" > b | ", "b.0 > c said | ", "c.0 said.1 >  | "]);
    // A deferred node waits for nothing where nothing else is planned.
    let outcome = thread.input(|_| ()).goto(handles.last).await.expect("runs");
    assert_eq!(outcome.state().ran[3..], ["last"]);
    assert_eq!(thread.input(|_| ()).await.expect("the next begins at the start").state().ran[4], "a");
}

async fn an_input_goes_to_several_nodes_and_sends(lab: &Lab) {
    let (app, Handles { b, last, said }) = app(lab);
    let thread = app.thread("t");
    let input = thread.input(|_| ()).goto(said.send("one".into())).goto([last, b, last]).goto(said.send("two".into()));
    assert_eq!(input.await.expect("runs").state().ran, ["b", "one", "two", "c", "last"]);
    assert_eq!(told(&thread).await[0], " > b said said | last");
}

async fn an_input_goes_by_name(lab: &Lab) {
    let (app, _) = app(lab);
    let thread = app.thread("t");
    let input = thread.input(|_| ()).goto_named("b").send_named("said", "one");
    assert_eq!(input.await.expect("runs").state().ran, ["b", "one", "c"]);
}

async fn an_input_at_a_past_moment_goes_too(lab: &Lab) {
    let (app, handles) = app(lab);
    let thread = app.thread("t");
    thread.input(|_| ()).await.expect("runs");
    let at = thread.at_step(1).await.expect("there");
    let outcome = at.input(|_| ()).goto(handles.said.send("here".into())).await.expect("runs");
    assert_eq!(outcome.state().ran, ["a", "here"]);
}

async fn what_was_planned_and_waited_is_left_behind(lab: &Lab) {
    let (app, handles) = app(lab);
    let thread = app.thread("t");
    thread.input(|_| ()).steps_max(1).await.expect("runs");
    let input = thread.input(|_| ()).goto(handles.said.send("only".into()));
    assert_eq!(input.on_pending(OnPending::Discard).await.expect("runs").state().ran, ["a", "only"]);
}

async fn a_run_id_stands_for_its_goto_too(lab: &Lab) {
    let (app, handles) = app(lab);
    let thread = app.thread("t");
    let input = || thread.input(|_| ()).run_id("r");
    let first = input().goto(handles.b).await.expect("runs");
    assert_eq!(first.stats().executed, 2);
    for again in [input().goto(handles.b), input().goto_named("b"), input().goto([handles.b, handles.b])] {
        assert_eq!(again.await.expect("it ran").stats().executed, 0);
    }
    let word = || handles.said.send("x".into());
    for other in [input(), input().goto(handles.last), input().goto(handles.b).goto(word()), input().goto(word())] {
        assert_eq!(other.await.expect_err("another input").kind(), ErrorKind::RunIdReused);
    }
    let sent = || thread.input(|_| ()).run_id("s");
    sent().goto(word()).await.expect("runs");
    assert_eq!(sent().send_named("said", "x").await.expect("it ran").stats().executed, 0);
    let other = sent().send_named("said", "y").await.expect_err("another payload");
    assert_eq!(other.kind(), ErrorKind::RunIdReused);
}

async fn a_run_that_is_killed_at_any_call_ends_as_a_clean_one(lab: &Lab) {
    async fn begin(thread: &Thread<Log>) -> Result<(), Error> {
        let input = thread.input(|log| log.words.set(vec!["x".into()])).run_id("r");
        input.goto_named("b").send_named("said", "one").goto_named("last").await.map(drop)
    }
    let clean = app(lab).0.thread("clean");
    begin(&clean).await.expect("runs");
    let (story, ended) = (told(&clean).await, clean.state().await.expect("readable").state().clone());
    assert_eq!(ended.ran, ["b", "one", "c", "x", "last"]);
    let go_on = async |thread: &Thread<Log>| {
        if thread.resume().await.is_err() {
            begin(thread).await.expect("nothing of it was stored");
        }
        assert_eq!((told(thread).await, thread.state().await.expect("readable").state()), (story.clone(), &ended));
    };
    assert!(killed_anywhere(lab, || drawn().0, (begin, go_on)).await > 10);
}

async fn it_is_the_same_under_exit(lab: &Lab) {
    let (app, handles) = app(lab);
    let input = app.thread("t").input(|_| ()).goto(handles.b).durability(Durability::Exit).run_id("r").await;
    assert_eq!(input.expect("runs").state().ran, ["b", "c"]);
}

async fn an_unknown_node_is_named_and_nothing_is_written(lab: &Lab) {
    let (app, _) = app(lab);
    let thread = app.thread("t");
    for input in [thread.input(|_| ()).goto_named("d"), thread.input(|_| ()).send_named("d", "x")] {
        let error = input.await.expect_err("no such node");
        assert_eq!(error.kind(), ErrorKind::Missing);
        assert!(error.to_string().contains("\"d\"") && error.to_string().contains("a, b, c, last, said"), "{error}");
    }
    let foreign = Graph::<Log>::new("other").node("b", note);
    let error = thread.input(|_| ()).goto(foreign).await.expect_err("a handle of another graph");
    assert!(error.to_string().contains("the input goes to a node of another graph than \"notes\""), "{error}");
    assert_eq!(thread.state().await.expect_err("no thread").kind(), ErrorKind::Missing);
}

async fn a_goto_that_leads_nowhere_is_refused(lab: &Lab) {
    let (app, _) = app(lab);
    let thread = app.thread("t");
    let gotos = [
        (thread.input(|_| ()).goto(END), "cannot go to END"),
        (thread.input(|_| ()).goto(Vec::<Route>::new()), "goes to no node"),
    ];
    for (input, said) in gotos {
        let error = input.await.expect_err("it goes nowhere");
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(said), "{error}");
    }
    // A payload that the node does not take fails the node.
    let error = thread.input(|_| ()).send_named("said", &7).await.expect_err("no text");
    assert_eq!(error.kind(), ErrorKind::NodeFailed);
}

async fn a_goto_belongs_to_an_input(lab: &Lab) {
    let (app, handles) = app(lab);
    let thread = app.thread("t");
    thread.input(|_| ()).steps_max(1).await.expect("runs");
    let error = thread.resume().goto(handles.b).await.expect_err("no input");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(thread.resume().await.expect("runs").state().ran, ["a", "b", "c", "last"]);
}
