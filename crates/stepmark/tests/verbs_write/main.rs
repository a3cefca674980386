//! Do the verbs that write to a thread's past and to its pointers do what they say, on every store?

mod lab;

mod at_input;
mod update;
mod update_errors;
