//! What do the tests of this folder run?

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use stepmark::{App, Append, Graph, MemoryStore, State, Update};

#[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Work {
    #[reduce(Append)]
    pub(crate) log: Vec<String>,
}

pub(crate) fn logged(text: impl Into<String>) -> Update<Work> {
    let mut update = Update::<Work>::default();
    update.log.push(text.into());
    update
}

pub(crate) fn built(graph: Graph<Work>) -> App<Work> {
    graph.build().expect("a sound graph").with(MemoryStore::new())
}

/// What nodes did, outside of the state.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Inner>);

#[derive(Default)]
struct Inner {
    count: AtomicU32,
    notes: Mutex<Vec<String>>,
}

impl Calls {
    /// Counts a call, from 1.
    pub(crate) fn count(&self) -> u32 {
        self.0.count.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn made(&self) -> u32 {
        self.0.count.load(Ordering::SeqCst)
    }

    pub(crate) fn note(&self, note: impl Into<String>) {
        self.0.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note.into());
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        self.0.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
