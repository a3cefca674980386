//! Stands in for `tls` where the feature is off: connections are plain, and a URL that demands more is refused.

use deadpool_postgres::{Manager, ManagerConfig};
use tokio_postgres::{Config, NoTls};

/// Nothing to configure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls(());

impl Tls {
    pub(crate) fn manager(self, config: Config, manager: ManagerConfig) -> Manager {
        let Self(()) = self;
        Manager::from_config(config, NoTls, manager)
    }
}
