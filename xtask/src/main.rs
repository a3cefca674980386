//! Tasks of the repository: `cargo xtask test`, `tidy`, `bench`.

fn main() {}
