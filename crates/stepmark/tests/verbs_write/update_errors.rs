//! Is a manual update that cannot be written refused by name, with nothing written?

use stepmark::{END, Error, ErrorKind, Graph, Snapshot};

use crate::lab::{Desk, Lab, line, on_every_store, size};

on_every_store! {
    what_is_unknown_is_named,
    what_can_not_be_routed_is_refused,
    two_replacing_writes_conflict_by_name,
    input_and_end_stand_alone,
    handles_of_other_graphs_are_refused,
    a_long_author_is_refused,
}

/// The refusal, which names all of `words`.
fn refused(written: Result<Snapshot<Desk>, Error>, kind: ErrorKind, words: &[&str]) {
    let error = written.expect_err("is refused");
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{error} does not name {word}");
    }
}

async fn what_is_unknown_is_named(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    let before = size(&thread).await;
    refused(thread.update(|_| ()).as_node("rite").await, ErrorKind::Missing, &["rite", "plan, write, review"]);
    refused(thread.at("nothing").update(|_| ()).as_node("write").await, ErrorKind::Missing, &["nothing"]);
    refused(thread.branch("side").update(|_| ()).as_node("write").await, ErrorKind::Missing, &["side"]);
    let unknown = lab.desk().thread("nobody");
    refused(unknown.at("nothing").update(|_| ()).await, ErrorKind::Missing, &["nobody"]);
    refused(lab.desk().thread("").update(|_| ()).await, ErrorKind::Invalid, &[]);
    assert_eq!(size(&thread).await, before);
}

async fn what_can_not_be_routed_is_refused(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    let before = line(&thread).await;
    let text = |text: &str| thread.update(|desk| desk.text.set(text.to_owned())).as_node("review");
    refused(text("!").await, ErrorKind::Invalid, &["review", "no text"]);
    refused(text("?").await, ErrorKind::Invalid, &["review", "plan"]);
    let two = text("!").and(|desk| desk.words.add(1)).as_node("plan");
    refused(two.await, ErrorKind::Invalid, &["review", "no text"]);
    assert_eq!(line(&thread).await, before);
    assert_eq!(thread.state().await.expect("readable").state().text, "");
    thread.input(|_| ()).run().await.expect("nothing is stuck");
}

async fn two_replacing_writes_conflict_by_name(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    let before = line(&thread).await;
    let first = thread.update(|desk| desk.text.set("a".into())).as_node("plan");
    let both = first.and(|desk| desk.text.set("b".into())).as_node("write");
    refused(both.await, ErrorKind::Invalid, &["plan", "write", "text"]);
    assert_eq!(line(&thread).await, before);
    let adding = thread.update(|desk| desk.words.add(1)).as_node("plan").and(|desk| desk.words.add(2)).as_node("write");
    assert_eq!(adding.await.expect("writes").state().words, 6);
}

async fn input_and_end_stand_alone(lab: &Lab) {
    let thread = lab.desk().thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    let before = line(&thread).await;
    let update = || thread.update(|_| ()).as_node("plan").and(|_| ());
    refused(update().as_node(END).await, ErrorKind::Invalid, &["stands alone"]);
    refused(update().as_input().await, ErrorKind::Invalid, &["stands alone"]);
    assert_eq!(line(&thread).await, before);
}

async fn handles_of_other_graphs_are_refused(lab: &Lab) {
    async fn nothing() {}
    let foreign = Graph::<Desk>::new("other").node("plan", nothing);
    let thread = lab.desk().thread("t");
    thread.input(|_| ()).run().await.expect("runs");
    refused(thread.update(|_| ()).as_node(foreign).await, ErrorKind::Invalid, &["another graph"]);
}

async fn a_long_author_is_refused(lab: &Lab) {
    let thread = lab.desk().thread("t");
    let update = |bytes: usize| thread.update(|_| ()).as_node(END).author("a".repeat(bytes));
    refused(update(1025).await, ErrorKind::Invalid, &["1024"]);
    update(1024).await.expect("writes");
}
