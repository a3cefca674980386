//! Do deferred nodes and commands do what they say, on every store and after every crash?

mod lab;
#[path = "../common/sealed.rs"]
mod sealed;

mod answers;
mod deferred;
mod deferred_stored;
mod inputs;
mod nodes;
mod parents;
