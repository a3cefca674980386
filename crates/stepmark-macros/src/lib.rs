//! Derive and attribute macros of Stepmark.
