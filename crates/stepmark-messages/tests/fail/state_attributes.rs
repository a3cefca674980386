//! What the derive itself refuses.

#![allow(unused)]

use stepmark::State;

#[derive(State, Clone, Default)]
struct Tuple(u8);

#[derive(State, Clone, Default)]
struct Unit;

#[derive(State, Clone)]
enum Choice {
    A,
}

#[derive(State, Clone, Default)]
struct Generic<T> {
    value: T,
}

#[derive(State, Clone, Default)]
#[state(version = 0)]
struct VersionZero {}

#[derive(State, Clone, Default)]
#[state(version = "2")]
struct VersionText {}

#[derive(State, Clone, Default)]
#[state(version = 1, version = 2)]
struct VersionTwice {}

#[derive(State, Clone, Default)]
#[state(name = "other")]
struct UnknownOption {}

#[derive(State, Clone, Default)]
#[reduce(Append)]
struct ReducedStruct {}

#[derive(State, Clone, Default)]
struct Fields {
    #[reduce]
    unnamed: u8,
    #[reduce()]
    empty: u8,
    #[reduce(Append, Add)]
    two: Vec<u8>,
    #[reduce(Append)]
    #[reduce(Add)]
    twice: Vec<u8>,
    #[state(transient)]
    unknown: u8,
    #[state(ephemeral, untracked)]
    both: u8,
    #[state]
    bare: u8,
}

fn main() {}
