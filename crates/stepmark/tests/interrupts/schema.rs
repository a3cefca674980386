//! Is the schema of an answer stored with its question, and does it hold in every program?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stepmark::{Cx, ErrorKind, Graph, NodeResult, Question, Snap, Update};

use crate::bench::{Bench, Desk, line};

on_every_store! {
    a_schema_is_stored_and_listed,
    an_answer_by_id_must_fit_the_schema,
}

#[derive(Question, Clone, Debug, Serialize, Deserialize)]
#[question("rate", answer = Rating, schema)]
struct Rate {
    what: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Rating {
    #[schemars(range(min = 1, max = 5))]
    stars: u8,
    mood: Mood,
    #[serde(default)]
    note: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
enum Mood {
    Fine,
    Because(String),
}

async fn rate(desk: Snap<Desk>, cx: Cx<Desk>) -> NodeResult<Update<Desk>> {
    let Rating { stars, mood, note } = cx.interrupt(Rate { what: desk.topic.clone() }).await?;
    let mut update = desk.update();
    update.log.push(format!("{stars} {mood:?} {note:?}"));
    Ok(update)
}

fn rating() -> Graph<Desk> {
    let mut graph = Graph::<Desk>::new("rating");
    let rate = graph.node("rate", rate);
    graph.start(rate);
    graph
}

async fn a_schema_is_stored_and_listed(bench: &Bench) {
    bench.app(rating()).thread("t").input(|_| ()).run().await.expect("runs");
    let listed = bench.app(line()).questions().await.expect("readable");
    let schema = listed[0].answer_schema.as_ref().expect("it has one");
    let schema: serde_json::Value = serde_json::from_str(schema).expect("it is JSON");
    assert_eq!(schema["properties"]["stars"]["maximum"], 5);
    assert_eq!(schema["required"], serde_json::json!(["stars", "mood"]));
}

async fn an_answer_by_id_must_fit_the_schema(bench: &Bench) {
    bench.app(rating()).thread("t").input(|_| ()).run().await.expect("runs");
    // A program that knows neither the question nor its graph.
    let thread = bench.app(line()).thread("t");
    let question = thread.questions().await.expect("readable").remove(0);
    for unfit in [
        serde_json::json!(null),
        serde_json::json!({"stars": 3}),
        serde_json::json!({"stars": 6, "mood": "Fine"}),
        serde_json::json!({"stars": 3, "mood": "Cross"}),
        serde_json::json!({"stars": "3", "mood": "Fine"}),
        serde_json::json!({"stars": 3, "mood": {"Because": 7}}),
    ] {
        let refused = thread.answer_id(question.id, &unfit).store().await.expect_err("it does not fit");
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{unfit}: {refused}");
    }
    let typed = question.typed::<Rate>().expect("it is one");
    let refused = thread.answer(typed, Rating { stars: 0, mood: Mood::Fine, note: None }).store().await;
    assert_eq!(refused.expect_err("also where the type allows it").kind(), ErrorKind::Invalid);

    let fit = serde_json::json!({"note": null, "stars": 4, "mood": {"Because": "sun"}});
    thread.answer_id(question.id, &fit).store().await.expect("it fits");
    let outcome = bench.app(rating()).thread("t").resume().await.expect("goes on");
    assert_eq!(outcome.state().log, ["4 Because(\"sun\") None"]);
}
