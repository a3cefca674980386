//! Where does a node go by itself? Updates, routes, sends and edges together, from the node or from what it calls.

use stepmark::{App, Command, END, ErrorKind, Goto, Graph, In, NodeRef, Route, Update, to};

use crate::lab::{Log, note, notes};

/// What a graph ran, in order.
async fn ran(app: &App<Log>) -> Vec<String> {
    app.run_in_memory(|_| ()).await.expect("runs").state().ran.clone()
}

/// The message with which a graph fails.
async fn failure(graph: Graph<Log>) -> String {
    let error = graph.build().expect("a graph").run_in_memory(|_| ()).await.expect_err("it goes where it may not");
    assert_eq!(error.kind(), ErrorKind::NodeFailed);
    error.to_string()
}

async fn say(In(word): In<String>) -> Update<Log> {
    let mut update = Update::<Log>::default();
    update.ran.push(word);
    update
}

/// A graph whose start is `first`: it does what `command` says, may go to `side` and send to `said`, and an edge leads from
/// it to `next`.
fn commanding(
    command: impl Fn([NodeRef<Log>; 1], NodeRef<Log, String>) -> Command<Log> + Clone + Send + Sync + 'static,
) -> App<Log> {
    let (mut graph, [side, next]) = notes(["side", "next"]);
    let said = graph.node("said", say);
    let first = graph.node("first", move || {
        let command = command([side], said);
        async move { command }
    });
    graph.start(first);
    graph.edge(first, next);
    graph.goto(first, to![side, said, END]);
    graph.build().expect("a graph")
}

#[tokio::test]
async fn a_command_writes_goes_and_sends_beside_the_edges() {
    let app = commanding(|[side], said| {
        Command::<Log>::new()
            .write(|log| log.ran.push("first".into()))
            .goto(said.send("one".into()))
            .goto(side)
            .goto(said.send("two".into()))
    });
    assert_eq!(ran(&app).await, ["first", "side", "next", "one", "two"]);
}

#[tokio::test]
async fn a_command_is_the_update_and_the_goto_that_it_is_made_of() {
    let update = || {
        let mut update = Update::<Log>::default();
        update.ran.push("first".into());
        update
    };
    let in_one =
        commanding(move |[side], said| Command::new().update(update()).goto([side.into(), said.send("one".into())]));
    let (mut graph, [side, next]) = notes(["side", "next"]);
    let said = graph.node("said", say);
    let first =
        graph.node("first", move || async move { (update(), Goto::to([Route::from(side), said.send("one".into())])) });
    graph.start(first);
    graph.edge(first, next);
    graph.goto(first, to![side, said]);
    assert_eq!(ran(&in_one).await, ran(&graph.build().expect("a graph")).await);
}

#[tokio::test]
async fn a_goto_to_the_end_leaves_the_edges() {
    let app = commanding(|_, _| Command::new().goto(END));
    assert_eq!(ran(&app).await, ["next"]);
}

#[tokio::test]
async fn a_function_that_a_node_calls_may_command() {
    /// A tool: it hands the conversation over.
    fn hand_over(command: &mut Command<Log>, to: NodeRef<Log>) {
        command.update.ran.push("handed over".into());
        command.goto.push(to.into());
    }
    let app = commanding(|[side], _| {
        let mut command = Command::<Log>::new();
        hand_over(&mut command, side);
        command.write(|log| log.ran.push("and noted".into()))
    });
    assert_eq!(ran(&app).await, ["handed over", "and noted", "side", "next"]);
}

#[tokio::test]
async fn a_command_may_go_nowhere() {
    let app = commanding(|[side], _| Command::new().goto(None::<Route>).goto(Vec::<Route>::new()).goto(Some(side)));
    assert_eq!(ran(&app).await, ["side", "next"]);
}

#[tokio::test]
async fn an_undeclared_target_is_named() {
    let (mut graph, [side]) = notes(["side"]);
    let first = graph.node("first", move || async move { Goto::to(side) });
    graph.start(first);
    graph.edge(side, first);
    graph.goto(first, to![END]);
    graph.start(side);
    graph.branch(side, to![END], |_| END);
    let message = failure(graph).await;
    assert!(message.contains("node \"first\" went to \"side\", which is not among its declared targets"), "{message}");
}

#[tokio::test]
async fn a_node_of_another_graph_is_refused_by_name() {
    let foreign = Graph::<Log>::new("other").node("other", note);
    let mut graph = Graph::<Log>::new("own");
    let first = graph.node("first", move || async move { Goto::to(foreign) });
    graph.start(first);
    let message = failure(graph).await;
    assert!(message.contains("node \"first\" of graph \"own\" went to a node of another graph"), "{message}");
}

#[tokio::test]
async fn a_command_to_a_parent_needs_one() {
    let mut graph = Graph::<Log>::new("alone");
    let first = graph.node("first", || async move { Command::<Log>::new().to_parent(Command::<Log>::new().goto(END)) });
    graph.start(first);
    let message = failure(graph).await;
    assert!(
        message.contains("node \"first\" commands a parent graph, but graph \"alone\" does not run inside one"),
        "{message}"
    );
}
