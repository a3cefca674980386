//! Do the verbs that write to a thread's past and to its pointers do what they say, on every store?

mod deeds;
mod lab;
#[path = "../common/sealed.rs"]
mod sealed;

mod at_input;
mod attributes;
mod faults;
mod fork_to;
mod pointers;
mod races;
mod update;
mod update_errors;
