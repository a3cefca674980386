//! SQLite store of Stepmark: one file, one writer thread, group commit.
