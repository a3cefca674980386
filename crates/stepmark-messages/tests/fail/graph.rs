//! Functions and handles that do not fit a graph.

#![allow(unused)]

use stepmark::{END, Graph, In, NodeRef, Route, Snap, State, Update, to};

#[derive(State, Clone, Default)]
struct Report {
    docs: Vec<String>,
}

#[derive(State, Clone, Default)]
struct Other {}

async fn search(s: Snap<Report>) -> Update<Report> {
    s.update()
}

async fn summarise(In(doc): In<String>) {}

async fn wrong_argument(s: Report) {}

async fn wrong_result(s: Snap<Report>) -> u32 {
    5
}

fn not_async(s: Snap<Report>) {}

fn main() {
    let mut g = Graph::<Report>::new("report");
    let search = g.node("search", search);
    let summarise = g.node("summarise", summarise);

    g.node("wrong_argument", wrong_argument);
    g.node("wrong_result", wrong_result);
    g.node("not_async", not_async);

    g.edge(search, summarise);
    g.start(summarise);
    g.branch(search, to![summarise], move |s| summarise.send(5u8));
    g.branch(search, to![summarise], move |s| summarise);
    g.branch(search, to![search, END], |s| "search");
    g.branch(search, to!["search"], |s| Route::END);
}

fn foreign(g: &mut Graph<Report>, search: NodeRef<Report>, other: NodeRef<Other>) {
    g.edge(search, other);
}
