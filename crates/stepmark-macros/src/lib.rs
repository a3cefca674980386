//! Derive and attribute macros of Stepmark.
//!
//! Generated code names `::stepmark::__private` only, so a crate that uses these macros depends on `stepmark`.

use proc_macro::TokenStream;
use syn::parse_macro_input;

mod expand;
mod node;
mod parse;
mod question;

/// Makes a struct with named fields the state of a graph; every field is a channel.
///
/// Generates `<Name>Update` (one slot per field: what a node writes) and `<Name>Field` (the fields by name and number).
/// The struct derives `Default` and `Clone` too.
///
/// | attribute | on | meaning |
/// |---|---|---|
/// | `#[state(version = 3)]` | struct | version of the stored form, 1 if absent |
/// | `#[state(migrate(1 => f, 2 => g))]` | struct | how a state of an older version becomes one of the next |
/// | `#[state(migrate_writes(1 => f, 2 => g))]` | struct | the same for what a finished task of an unfinished step wrote |
/// | `#[reduce(Append)]` | field | how writes combine; any type `R: Reducer<T>`, `Replace` if absent |
/// | `#[state(default = expression)]` | field | the value in a state that never stored it, instead of the one in `Default` |
/// | `#[state(rename_from = "old")]` | field | what is stored as `old` is read as this field; may be repeated |
/// | `#[state(schema)]` | struct | stores the JSON schemas of its fields with the graph (feature `schemars`) |
/// | `#[state(private)]` | field | nodes alone write it: run input may not |
/// | `#[state(ephemeral)]` | field | the value lives for one step |
/// | `#[state(untracked)]` | field | the value is never stored |
///
/// The module `evolution` of `stepmark` says what may change when.
#[proc_macro_derive(State, attributes(state, reduce))]
pub fn derive_state(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as syn::DeriveInput);
    match parse::state(&input) {
        Ok(state) => expand::state(&state).into(),
        Err(error) => error.into_compile_error().into(),
    }
}

/// Makes a type a question that a node asks with `Cx::interrupt`. The type and its answer's type serialize.
///
/// | attribute | meaning |
/// |---|---|
/// | `#[question(answer = Reply)]` | the type of what answers it |
/// | `#[question("approve", answer = Reply)]` | its stored name, else the type's own: renaming the type keeps the id then |
/// | `#[question(answer = Reply, schema)]` | stores the JSON schema of `Reply` with it (feature `schemars`) |
#[proc_macro_derive(Question, attributes(question))]
pub fn derive_question(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as syn::DeriveInput);
    question::question(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Checks that an `async fn` is a node: every argument, the result, and that its future can be sent.
///
/// It changes nothing about the function; without it a mistake is reported where the function is added to a graph, as
/// one sentence. The state is read from a `Snap<S>`, `Cx<S>` or `Update<S>` in the signature, or named: `#[node(S)]`.
#[proc_macro_attribute]
pub fn node(arguments: TokenStream, item: TokenStream) -> TokenStream {
    node::node(arguments.into(), &item.into()).into()
}
