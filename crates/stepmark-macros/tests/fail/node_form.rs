//! What `#[node]` cannot be put on.

#![allow(unused)]

use stepmark::{Cx, In, Snap, State, node};

#[derive(State, Clone, Default)]
struct Report {}

#[node]
fn not_async(s: Snap<Report>) {}

#[node]
async fn generic<T>(s: Snap<Report>, value: T) {}

#[node]
async fn no_state() {}

#[node]
async fn payload_first(In(payload): In<u8>, s: Snap<Report>) {}

type C = Cx<Report>;

#[node(Report)]
async fn too_many(a: C, b: C, c: C, d: C, e: C, f: C, g: C, h: C, i: C) {}

#[node]
struct NotAFunction;

fn main() {}
