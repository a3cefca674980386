//! How do attributes come along when a thread moves to another store?
//!
//! A thread that is being restored is found by nobody, so what is said of it is set once it is there; whoever was killed
//! between repeats the move, which adds what lacks.

use super::attribute::{Attribute, AttributeChange, Declaration};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::id::ThreadUid;
use crate::store::CheckpointStore;

/// What is said of a thread; nothing where its store cannot search.
///
/// # Errors
/// Those of [`Search::attributes`](super::Search::attributes).
pub async fn carried_attributes(store: &dyn CheckpointStore, thread: ThreadUid) -> Result<Vec<Attribute>> {
    match store.search() {
        Some(search) => search.attributes(thread).await,
        None => Ok(Vec::new()),
    }
}

/// Declares what a thread brings along, before anything of it is written.
///
/// # Errors
/// `Exists` (attribute): one is declared with another kind. `Unsupported` (attribute): the store cannot search, and would
/// lose it. Both name it, and nothing is declared.
pub async fn declare_carried(store: &dyn CheckpointStore, scope: &str, carried: &[Attribute]) -> Result<()> {
    let Some(first) = carried.first() else { return Ok(()) };
    let search = store.search().ok_or_else(|| {
        let reason = "this store cannot search, so attributes are not kept; remove them before the thread moves";
        Error::unsupported(Subject::Attribute, &first.name, reason)
    })?;
    let declaration =
        |attribute: &Attribute| Declaration { name: attribute.name.clone(), kind: attribute.value.kind() };
    search.declare(scope, carried.iter().map(declaration).collect()).await
}

/// Adds the attributes that a thread lacks; answers whether it is there. What it has besides stays.
///
/// # Errors
/// `Exists` (attribute) names one that has another value, which is kept; then nothing is added.
pub async fn set_carried(store: &dyn CheckpointStore, thread: ThreadUid, carried: &[Attribute]) -> Result<bool> {
    let Some(search) = store.search().filter(|_| !carried.is_empty()) else { return Ok(true) };
    let there = match search.attributes(thread).await {
        Err(error) if error.is(ErrorKind::Missing, Subject::Thread) => return Ok(false),
        there => there?,
    };
    let mut changes = Vec::new();
    for Attribute { name, value } in carried {
        match there.iter().find(|known| known.name == *name) {
            None => changes.push(AttributeChange { name: name.clone(), value: Some(value.clone()) }),
            Some(known) if known.value == *value => {}
            Some(known) => {
                let reason = format!("thread {thread} has it as {:?}, what is brought says {value:?}", known.value);
                return Err(Error::exists(Subject::Attribute, name, reason));
            }
        }
    }
    if !changes.is_empty() {
        search.set_attributes(thread, changes).await?;
    }
    Ok(true)
}
