//! On which runtime is the work done?

use tokio::runtime::{Builder, Runtime};

use crate::Result;

/// One thread, for work that is one thing after another.
pub(crate) fn single() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_time().build()?)
}

/// As many threads as the machine has processors, for work side by side.
pub(crate) fn parallel() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().enable_time().build()?)
}

/// The same for stores behind a network.
pub(crate) fn connected() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().enable_all().build()?)
}
