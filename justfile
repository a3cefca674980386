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

# The tests that take long, ten thousand simulated seeds among them
slow:
    cargo nextest run --workspace --release --profile slow --run-ignored all

# Random bytes for every decoder of stored bytes
fuzz *args:
    cargo xtask fuzz {{ args }}

# Measured figures
bench *args:
    cargo xtask bench {{ args }}

# The main job on this workspace
audit *args:
    cargo run --release --example dependency_audit -- {{ args }}
