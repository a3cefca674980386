//! How is told what goes through a store?

use std::sync::Arc;

use stepmark_core::store::CheckpointStore;

type Store = Arc<dyn CheckpointStore>;

#[cfg(feature = "metrics")]
pub(super) fn of_calls(backend: &'static str, store: Store) -> Store {
    Arc::new(stepmark_core::meter::Metered::calls(backend, store))
}

#[cfg(feature = "metrics")]
pub(super) fn of_stored_bytes(backend: &'static str, store: Store) -> Store {
    Arc::new(stepmark_core::meter::Metered::stored_bytes(backend, store))
}

#[cfg(not(feature = "metrics"))]
pub(super) fn of_calls(_: &'static str, store: Store) -> Store {
    store
}

#[cfg(not(feature = "metrics"))]
pub(super) fn of_stored_bytes(_: &'static str, store: Store) -> Store {
    store
}
