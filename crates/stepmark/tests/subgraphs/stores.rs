//! Which stores do the tests run on?

use std::sync::Arc;

use async_trait::async_trait;
use stepmark::store::CheckpointStore;
use stepmark::{MemoryStore, Sqlite};
use stepmark_conformance::call::{Call, Intercept, Intercepted, Reply};
use stepmark_core::error::Result;
use tempfile::TempDir;

#[path = "../common/sealed.rs"]
mod sealed;

#[derive(Clone, Copy, Debug)]
pub(crate) enum On {
    Memory,
    /// In memory, behind a codec that compresses and seals.
    Sealed,
    Sqlite,
}

/// A store that several applications may hold.
pub(crate) type Store = Intercepted<Keeping>;

/// Keeps the file of an SQLite store, and that of a store around which this one was put.
#[derive(Debug)]
pub(crate) struct Keeping(#[expect(dead_code, reason = "held to be dropped last")] Option<TempDir>);

#[async_trait]
impl Intercept for Keeping {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        call.run(store).await
    }
}

impl On {
    /// An empty one.
    pub(crate) fn store(self) -> Store {
        match self {
            Self::Memory => shared(Arc::new(MemoryStore::new())),
            Self::Sealed => shared(Arc::new(sealed::sealed_memory())),
            Self::Sqlite => {
                let directory = tempfile::tempdir().expect("a directory");
                let store = Sqlite::open(directory.path().join("threads.db")).expect("it opens");
                Intercepted::around(Arc::new(store), Keeping(Some(directory)))
            }
        }
    }
}

/// A store that somebody else holds, too.
pub(crate) fn shared(store: Arc<dyn CheckpointStore>) -> Store {
    Intercepted::around(store, Keeping(None))
}

/// Runs each of these promises on each store.
macro_rules! on_each_store {
    ($($(#[$attribute:meta])* $name:ident,)*) => {
        mod memory {
            $($(#[$attribute])* #[tokio::test(start_paused = true)]
            async fn $name() {
                super::$name(crate::stores::On::Memory).await;
            })*
        }

        mod sealed {
            $($(#[$attribute])* #[tokio::test(start_paused = true)]
            async fn $name() {
                super::$name(crate::stores::On::Sealed).await;
            })*
        }

        mod sqlite {
            $($(#[$attribute])* #[tokio::test(start_paused = true)]
            async fn $name() {
                super::$name(crate::stores::On::Sqlite).await;
            })*
        }
    };
}
pub(crate) use on_each_store;
