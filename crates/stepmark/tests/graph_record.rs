//! What does a store keep of a graph, and can a new program go on from what is stored?

use serde::{Deserialize, Serialize};
use stepmark::{App, Append, ErrorKind, Graph, MemoryStore, NodeResult, Snap, State, Update, to};

#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
struct Letter {
    #[reduce(Append)]
    lines: Vec<String>,
    is_sent: bool,
}

async fn write(letter: Snap<Letter>) -> NodeResult<Update<Letter>> {
    let mut update = letter.update();
    update.lines.push(format!("line {}", letter.lines.len()));
    Ok(update)
}

async fn fail() -> NodeResult<Update<Letter>> {
    Err(stepmark::NodeError::new("the post office is closed"))
}

async fn send(letter: Snap<Letter>) -> NodeResult<Update<Letter>> {
    let mut update = letter.update();
    update.is_sent.set(true);
    Ok(update)
}

/// Two nodes; the second has this name and fails or not.
fn app(name: &str, last: &str, older: Option<&str>, fails: bool, store: &MemoryStore) -> App<Letter> {
    let mut graph = Graph::<Letter>::new(name);
    let write = graph.node("write", write);
    let send = if fails { graph.node(last, fail) } else { graph.node(last, send) };
    graph.start(write);
    graph.branch(write, to![send], move |_| send);
    if let Some(older) = older {
        graph.alias(send, older);
    }
    graph.build().expect("a sound graph").with(store.clone())
}

#[tokio::test]
async fn the_graph_of_a_run_is_stored_as_data() {
    let store = MemoryStore::new();
    let first = app("post", "send", None, false, &store);
    first.thread("t").input(|letter| letter.lines.push("dear".into())).run().await.expect("a run");

    // A program of another graph reads it without the first one's code.
    let other = app("tool", "look", None, false, &store);
    let stored = other.thread("t").graph().await.expect("it is read").expect("it is stored");
    assert_eq!(&stored, first.graph());
    assert_eq!((stored.name.as_str(), stored.state.as_str(), stored.state_version), ("post", "Letter", 1));
    assert_eq!(stored.starts, ["write"]);
    assert_eq!(stored.nodes[0].branches, [[Some("send".to_owned())]]);
    let channels: Vec<_> = stored.channels.iter().map(|channel| (&*channel.name, &*channel.value_type)).collect();
    assert_eq!(channels, [("lines", "Vec<String>"), ("is_sent", "bool")]);
}

#[tokio::test]
async fn a_resumed_run_names_the_graph_that_went_on() {
    let store = MemoryStore::new();
    let thread = app("post", "send", None, true, &store).thread("t");
    thread.input(|_| ()).run().await.expect_err("the node fails");
    let renamed = app("post", "deliver", Some("send"), false, &store);
    assert!(renamed.thread("t").resume().run().await.expect("the alias leads on").state().is_sent);
    let stored = renamed.thread("t").graph().await.expect("it is read").expect("it is stored");
    assert_eq!(stored.nodes[1].name, "deliver");
    assert_eq!(stored.nodes[1].aliases, ["send"]);
}

#[tokio::test]
async fn what_a_new_program_cannot_go_on_from_is_listed_before_it_runs() {
    let store = MemoryStore::new();
    let old = app("post", "send", None, true, &store);
    for name in ["a", "b"] {
        old.thread(name).input(|_| ()).run().await.expect_err("the node fails");
    }
    old.thread("a").discard().await.expect("a is given up");
    app("tool", "look", None, false, &store).thread("c").input(|_| ()).run().await.expect("another graph's run");
    assert!(old.check_stored().await.expect("a check").is_ok());

    let renamed = app("post", "deliver", None, false, &store);
    let check = renamed.check_stored().await.expect("a check");
    assert_eq!((check.threads, check.readable, check.of_other_graphs), (3, 1, 1));
    let [problem] = &check.problems[..] else { panic!("one branch has a problem: {check:?}") };
    assert_eq!((&*problem.thread, &*problem.branch, problem.error.kind()), ("b", "main", ErrorKind::Missing));
    assert!(problem.error.to_string().contains("\"send\""), "{}", problem.error);

    let aliased = app("post", "deliver", Some("send"), false, &store);
    assert!(aliased.check_stored().await.expect("a check").is_ok());
}

/// What callers must give, and what nodes keep to themselves.
#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
struct Case {
    question: String,
    #[state(private)]
    draft: String,
    answer: String,
}

struct Ask(String);

impl stepmark::graph::Input<Case> for Ask {
    fn write(self, update: &mut Update<Case>) {
        update.question.set(self.0);
    }
}

async fn think(case: Snap<Case>) -> Update<Case> {
    let mut update = case.update();
    update.draft.set(format!("about {}", case.question));
    update
}

async fn reply(case: Snap<Case>) -> Update<Case> {
    let mut update = case.update();
    update.answer.set(case.draft.to_uppercase());
    update
}

#[tokio::test]
async fn input_has_a_type_and_private_channels_are_for_nodes() {
    let mut graph = Graph::<Case>::new("case");
    let (think, reply) = (graph.node("think", think), graph.node("reply", reply));
    graph.start(think);
    graph.edge(think, reply);
    let app = graph.build().expect("a sound graph").with(MemoryStore::new());
    let thread = app.thread("t");
    let refused = thread.input(|case| case.draft.set("mine".into())).run().await.expect_err("it is private");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains("\"draft\""), "{refused}");
    assert_eq!(thread.state().await.expect_err("nothing was written").kind(), ErrorKind::Missing);

    let outcome = thread.input_of(Ask("rust".into())).run().await.expect("a run");
    assert_eq!(outcome.state().answer, "ABOUT RUST");
    let refused = thread.update(|case| case.draft.set("mine".into())).as_input().await;
    assert!(refused.expect_err("input may not").to_string().contains("\"draft\""));
    let edited = thread.update(|case| case.draft.set("better".into())).as_node(think).await.expect("a node may");
    assert_eq!(edited.state().draft, "better");
    let channels = &app.graph().channels;
    assert_eq!(channels.iter().map(|channel| channel.is_private).collect::<Vec<_>>(), [false, true, false]);
}
