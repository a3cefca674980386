//! Are JSON schemas of states and answers stored for tools?
#![cfg(feature = "schemars")]

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stepmark::{Cx, Graph, MemoryStore, NodeResult, Question, State, Update};

#[derive(State, Clone, Debug, Default, Serialize, Deserialize)]
#[state(schema)]
struct Order {
    amount: u32,
    tags: Vec<String>,
}

#[derive(Question, Debug, Clone, Serialize, Deserialize)]
#[question("approve", answer = Reply, schema)]
struct Approve {
    amount: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Reply {
    ok: bool,
}

async fn pay(cx: Cx<Order>) -> NodeResult<Update<Order>> {
    let reply = cx.interrupt(Approve { amount: 40 }).await?;
    let mut update = Update::<Order>::default();
    update.amount.set(u32::from(reply.ok));
    Ok(update)
}

#[tokio::test]
async fn schemas_are_stored_with_graphs_and_questions() {
    let mut graph = Graph::<Order>::new("order");
    let pay = graph.node("pay", pay);
    graph.start(pay);
    graph.question::<Approve>();
    let app = graph.build().expect("a sound graph").with(MemoryStore::new());
    app.thread("t").input(|_| ()).run().await.expect("a run");

    let stored = app.thread("t").graph().await.expect("it is read").expect("it is stored");
    let schema = |text: &Option<String>| -> serde_json::Value {
        serde_json::from_str(text.as_deref().expect("a schema")).expect("JSON")
    };
    assert_eq!(schema(&stored.channels[0].schema)["type"], "integer");
    assert_eq!(schema(&stored.channels[1].schema)["items"]["type"], "string");
    let question = &app.questions().await.expect("a list")[0];
    assert_eq!(schema(&question.answer_schema)["properties"]["ok"]["type"], "boolean");
    assert_eq!(stored.questions[0].answer_schema, question.answer_schema);
}
