//! Which store does a URL name, and which options has it?

mod memory;

use std::sync::Arc;

use async_trait::async_trait;
use stepmark_core::store::CheckpointStore;

use crate::address::Address;
use crate::error::{Error, Result};
use crate::given::Given;

/// Takes the place of a module whose feature is left out.
macro_rules! absent {
    ($module:ident, $feature:literal) => {
        #[cfg(not(feature = $feature))]
        mod $module {
            use super::{Address, Backend, Error, Given, Result};

            pub(super) fn read(address: &Address, _: &Given) -> Result<Box<dyn Backend>> {
                Err(Error::feature(format_args!("{}:", address.scheme), $feature))
            }
        }
    };
}

/// Sets the options that were given; fields are named as the methods that set them.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
macro_rules! set {
    ($options:expr, $given:expr, $($name:ident),*) => {{
        let options = $options;
        $(let options = match $given.$name.clone() {
            Some(value) => options.$name(value),
            None => options,
        };)*
        options
    }};
}

#[cfg(feature = "object")]
mod directory;
absent!(directory, "object");
#[cfg(feature = "postgres")]
mod postgres;
absent!(postgres, "postgres");
#[cfg(feature = "redis")]
mod redis;
absent!(redis, "redis");
#[cfg(feature = "s3")]
mod s3;
absent!(s3, "s3");
#[cfg(feature = "sqlite")]
mod sqlite;
absent!(sqlite, "sqlite");
#[cfg(feature = "postgres")]
mod tls;

/// A store that is not opened yet.
#[async_trait]
pub(crate) trait Backend: Send + Sync {
    /// As the store calls itself.
    fn name(&self) -> &'static str;

    async fn open(&self) -> Result<Arc<dyn CheckpointStore>>;
}

const SCHEMES: [&str; 6] = ["memory:", "sqlite:", "postgres://", "redis://", "s3://", "file:"];

/// What an address names; every option that is left must be one of its own.
pub(crate) fn read(address: &Address, given: &Given) -> Result<Box<dyn Backend>> {
    match address.scheme.as_str() {
        "memory" => memory::read(address, given),
        "sqlite" => sqlite::read(address, given),
        "postgres" | "postgresql" => postgres::read(address, given),
        "redis" | "redis+unix" => redis::read(address, given),
        "s3" => s3::read(address, given),
        "file" => directory::read(address, given),
        scheme => Err(Error::UnknownScheme { scheme: scheme.to_owned(), known: SCHEMES.to_vec() }),
    }
}

#[cfg(all(test, not(feature = "sqlite")))]
mod tests {
    use crate::{Config, Error};

    #[test]
    fn missing_feature_is_named() {
        let refusal = Config::parse("sqlite:agents.db").expect_err("it is left out");
        assert!(matches!(&refusal, Error::MissingFeature { feature: "sqlite", .. }), "{refusal:?}");
        assert_eq!(refusal.to_string(), "sqlite: needs the feature \"sqlite\", without which this program was built");
        for (option, feature) in
            [("compression=zstd", "compression"), ("keys=env:K", "encryption"), ("metrics", "metrics")]
        {
            let refusal = Config::parse(&format!("memory:?{option}")).expect_err("it is left out");
            assert!(refusal.to_string().contains(&format!("needs the feature {feature:?}")), "{refusal}");
        }
    }
}
