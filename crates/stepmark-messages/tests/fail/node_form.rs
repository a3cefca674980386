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

macro_rules! too_many {
    ($($name:ident)*) => {
        #[node]
        async fn too_many($($name: Cx<Report>),*) {}
    };
}

too_many!(a b c d e f g h i);

#[node]
struct NotAFunction;

fn main() {}
