//! How are connections encrypted? As the application's configuration of rustls says.

use std::sync::Arc;

use deadpool_postgres::{Manager, ManagerConfig};
use rustls::ClientConfig;
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The configuration, if there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls(pub(crate) Option<Arc<ClientConfig>>);

impl Tls {
    pub(crate) fn manager(self, config: Config, manager: ManagerConfig) -> Manager {
        match self.0 {
            Some(tls) => Manager::from_config(config, MakeRustlsConnect::new((*tls).clone()), manager),
            None => Manager::from_config(config, NoTls, manager),
        }
    }
}
