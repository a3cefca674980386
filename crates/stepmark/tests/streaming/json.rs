//! Can what is watched be sent to a program that has none of the types?

use std::collections::BTreeMap;

use serde_json::{Value, json, to_value};
use stepmark::MemoryStore;
use stepmark::stream::{Kind, Position};

use crate::bench::{office, reviewed, watch};

#[tokio::test]
async fn events_are_sent_as_json_and_go_on_from_their_positions() {
    let thread = office(MemoryStore::new()).thread("t");
    let (events, _) = watch(thread.input(|_| ()).stream(Kind::ALL).start()).await;
    let mut first = BTreeMap::<String, Value>::new();
    for event in &events {
        let json = to_value(event).expect("it has a form");
        let position = json["position"].as_str().expect("text").parse::<Position>().expect("a position");
        assert_eq!(position, event.position);
        assert_eq!((&json["thread"], &json["namespace"], &json["step"]), (&json!("t"), &json!(""), &json!(event.step)));
        first.entry(json["kind"].as_str().expect("text").to_owned()).or_insert_with(|| json["data"].clone());
    }
    let kinds: Vec<_> = first.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["checkpoint", "custom", "debug", "message", "task", "update", "values"]);
    assert_eq!((&first["checkpoint"]["source"], &first["checkpoint"]["next"]), (&json!("input"), &json!(["first"])));
    let log = json!({ "items": { "first": 0, "values": ["first"] } });
    assert_eq!(first["update"]["writes"], json!({ "log": log, "steps": { "write": { "add": 1 } } }));
    assert_eq!((&first["task"]["node"], &first["task"]["attempts"]), (&json!("first"), &json!(1)));
    assert_eq!(first["values"], json!({ "topic": "", "steps": 1, "log": ["first"] }));
    assert_eq!((&first["custom"]["name"], &first["custom"]["value"]), (&json!("progress"), &json!("first begins")));
    let message = &first["message"];
    assert_eq!(
        (&message["message"], &message["chunk"], &message["metadata"]),
        (&json!("m1"), &json!("Hello "), &json!(0))
    );
    assert_eq!(message["task"].as_str().map(str::len), Some(32));
}

#[tokio::test]
async fn a_question_is_sent_with_what_an_answer_needs() {
    let thread = reviewed(MemoryStore::new()).thread("t");
    let (events, outcome) = watch(thread.input(|_| ()).stream([Kind::Interrupts]).start()).await;
    let data = to_value(&events[0]).expect("it has a form")["data"].take();
    let outcome = outcome.expect("it asks");
    let question = &outcome.questions()[0];
    assert_eq!((&data["id"], &data["name"]), (&json!(question.id.to_string()), &json!("approve")));
    assert_eq!((&data["asker"], &data["question"]), (&json!("task"), &to_value(&question.question).expect("a value")));
}
