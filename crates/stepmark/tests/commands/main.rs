//! Do deferred nodes and commands do what they say, on every store and after every crash?

mod lab;

mod deferred;
mod deferred_stored;
mod nodes;
