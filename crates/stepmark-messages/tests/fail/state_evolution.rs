//! What the derive refuses of what is said about older forms.

#![allow(unused)]

use stepmark::State;
use stepmark::evolution::{RawError, RawState};

fn step(_: &mut RawState) -> Result<(), RawError> {
    Ok(())
}

fn by_value(_: RawState) -> Result<(), RawError> {
    Ok(())
}

fn without_result(_: &mut RawState) {}

#[derive(State, Clone, Default)]
#[state(version = 2, migrate(1 => step, 2 => step))]
struct MigratesItself {}

#[derive(State, Clone, Default)]
#[state(migrate(1 => step))]
struct MigratesWithoutVersion {}

#[derive(State, Clone, Default)]
#[state(version = 5, migrate(2 => step))]
struct EndsTooEarly {}

#[derive(State, Clone, Default)]
#[state(version = 5, migrate(1 => step, 3 => step, 4 => step))]
struct HasAGap {}

#[derive(State, Clone, Default)]
#[state(version = 3, migrate(2 => step), migrate(2 => step))]
struct MigratesTwice {}

#[derive(State, Clone, Default)]
#[state(version = 3, migrate(0 => step))]
struct MigratesFromZero {}

#[derive(State, Clone, Default)]
#[state(version = 3, migrate())]
struct MigratesNothing {}

#[derive(State, Clone, Default)]
#[state(version = 3, migrate(2 = step))]
struct MigratesOddly {}

#[derive(State, Clone, Default)]
#[state(version = 3, migrate_writes(1 => step))]
struct WritesEndTooEarly {}

#[derive(State, Clone, Default)]
struct Options {
    #[state(rename_from = "")]
    a: u8,
    #[state(rename_from = old)]
    b: u8,
    #[state(default = 1, default = 2)]
    c: u8,
}

#[derive(State, Clone, Default)]
struct Names {
    #[state(rename_from = "b")]
    a: u8,
    b: u8,
    #[state(rename_from = "c")]
    c: u8,
    #[state(rename_from = "old", rename_from = "older")]
    d: u8,
    #[state(rename_from = "old")]
    e: u8,
    #[state(untracked, rename_from = "f0")]
    f: u8,
}

#[derive(State, Clone, Default)]
#[state(version = 2, migrate(1 => by_value))]
struct TakesByValue {}

#[derive(State, Clone, Default)]
#[state(version = 2, migrate(1 => without_result))]
struct ReturnsNothing {}

#[derive(State, Clone, Default)]
struct Defaults {
    #[state(default = "one")]
    count: u32,
}

fn main() {}
