//! Fields and structs whose types do not do.

#![allow(unused)]

use stepmark::{Add, Append, ById, Merge, State};

#[derive(State, Clone, Default)]
struct WrongReducers {
    #[reduce(Append)]
    flag: bool,
    #[reduce(Add)]
    text: String,
    #[reduce(Merge)]
    list: Vec<u8>,
    #[reduce(ById)]
    numbers: Vec<u8>,
}

#[derive(Clone, Default)]
struct NotSerialize;

#[derive(State, Clone, Default)]
struct WrongValue {
    value: NotSerialize,
}

#[derive(State, Clone)]
struct NoDefault {}

#[derive(State, Default)]
struct NoClone {}

fn main() {}
