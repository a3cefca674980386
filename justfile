# Short names for the commands in CONTRIBUTING.md; nothing here is more than one of those.

# List what there is
default:
    @just --list

# Everything that CI checks
check:
    cargo xtask test

# Layout, limits and dependency direction alone
tidy:
    cargo xtask tidy

# Licences, duplicates and advisories (needs cargo-deny)
deny:
    cargo xtask check-deny

# The tests that take long, and ten thousand simulated seeds
slow: sim
    cargo nextest run --workspace --profile slow

# Random bytes for every decoder of stored bytes
fuzz *args:
    cargo xtask fuzz {{ args }}

# Ten thousand simulated seeds
sim:
    STEPMARK_SIM_SEEDS=10000 cargo test --release -p stepmark-sim --test sim -- sim_in_memory --nocapture

# Measured figures
bench *args:
    cargo xtask bench {{ args }}

# The main job on this workspace
audit *args:
    cargo run --release --example dependency_audit -- {{ args }}
