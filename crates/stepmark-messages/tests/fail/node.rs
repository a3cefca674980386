//! What `#[node]` says about a function.

#![allow(unused)]

use std::rc::Rc;

use stepmark::{Cx, In, NodeResult, Snap, State, Update, node};

#[derive(State, Clone, Default)]
struct Report {
    topic: String,
}

struct Opaque;

#[node]
async fn wrong_argument(s: Report) -> Update<Report> {
    Update::<Report>::default()
}

#[node]
async fn wrong_reference(s: Snap<Report>, topic: &str) {}

#[node]
async fn wrong_result(s: Snap<Report>) -> u32 {
    5
}

#[node]
async fn wrong_inner_result(s: Snap<Report>) -> NodeResult<u32> {
    Ok(5)
}

#[node]
async fn wrong_payload(s: Snap<Report>, In(payload): In<Opaque>) {}

#[node]
async fn not_sendable(cx: Cx<Report>) {
    let r = Rc::new(5);
    std::future::ready(()).await;
    drop(r);
}

#[node(Vec<u8>)]
async fn not_a_state() {}

fn main() {}
