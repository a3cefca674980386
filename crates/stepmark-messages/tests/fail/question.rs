//! What is wrong with a question.

#![allow(unused)]

use serde::{Deserialize, Serialize};
use stepmark::{Cx, NodeResult, Question, State};

#[derive(Question, Serialize, Deserialize)]
struct NoAnswer {}

#[derive(Question, Serialize, Deserialize)]
#[question("", answer = bool)]
struct NoName {}

#[derive(Question, Serialize, Deserialize)]
#[question("one", "two", answer = bool)]
struct TwoNames {}

#[derive(Question, Serialize, Deserialize)]
#[question(reply = bool)]
struct Unknown {}

#[derive(Question, Serialize, Deserialize)]
#[question(answer = bool)]
struct Generic<T> {
    value: T,
}

#[derive(State, Clone, Default, Serialize, Deserialize)]
struct Report {}

#[derive(Question, Serialize, Deserialize)]
#[question("approve", answer = bool)]
struct Approve {}

async fn asks_text(cx: Cx<Report>) -> NodeResult<()> {
    cx.interrupt("approve?").await?;
    Ok(())
}

async fn wants_another_answer(cx: Cx<Report>) -> NodeResult<()> {
    let answer: String = cx.interrupt(Approve {}).await?;
    Ok(())
}

fn main() {}
