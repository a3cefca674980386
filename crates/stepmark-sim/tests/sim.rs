//! Do all features together keep their promises, whatever happens?

use stepmark_sim::{On, simulate};

#[test]
fn sim_in_memory() {
    simulate(On::Memory, 250, "sim_in_memory");
}

#[test]
fn sim_on_sqlite() {
    simulate(On::Sqlite, 3, "sim_on_sqlite");
}

#[test]
fn sim_moves_between_stores() {
    simulate(On::Moving, 8, "sim_moves_between_stores");
}

/// More than every run has time for: `cargo nextest run --release --profile slow --run-ignored all`.
#[test]
#[ignore = "takes many minutes; the profile `slow` runs it"]
fn slow_ten_thousand_seeds() {
    simulate(On::Memory, 10_000, "sim_in_memory");
}
