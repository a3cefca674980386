//! Stands in for `meter` where the feature `metrics` is off: nothing is told.

/// So many writes wait now.
#[inline]
pub fn queued(_backend: &'static str, _depth: usize) {}

/// So many were written as one group.
#[inline]
pub fn grouped(_backend: &'static str, _members: usize) {}

/// A call is sent again, by the engine or by a store.
#[inline]
pub fn retried(_by: &'static str) {}
