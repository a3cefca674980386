//! Writes and sends that do not exist.

#![allow(unused)]

use stepmark::{Add, Append, NodeRef, State, Update};

#[derive(State, Clone, Default)]
struct Report {
    topic: String,
    #[reduce(Append)]
    docs: Vec<String>,
    #[reduce(Add)]
    tokens: u32,
}

fn write(u: &mut Update<Report>) {
    u.docs.set(vec![]);
    u.tokens.push(1);
    u.topic.set(5);
    u.docs.push(5u8);
    u.missing.set(1);
}

fn send(summarise: NodeRef<Report, String>) {
    summarise.send(5u8);
}

fn main() {}
