//! One URL opens any store of Stepmark.
//!
//! ```
//! use stepmark_core::store::CheckpointStore;
//! use stepmark_open::Error;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = stepmark_open::open("memory:").await?; // or "sqlite:agents.db?readers=8"
//! assert_eq!(store.info().await?.backend, "memory");
//!
//! let refusal = stepmark_open::open("memory:?colour=red").await.expect_err("no such option");
//! assert!(matches!(refusal, Error::UnknownOption { option, .. } if option == "colour"));
//! # Ok(())
//! # }
//! ```
//!
//! | URL | opens | feature |
//! | --- | --- | --- |
//! | `memory:` | a store of its own in memory, for tests | |
//! | `sqlite:agents.db`, `sqlite:///var/lib/agents.db` | a file | `sqlite` |
//! | `postgres://user:password@host:port/database` | a schema of a database | `postgres` |
//! | `redis://:password@host:port/database`, `redis+unix:///socket` | keys of a server | `redis` |
//! | `file:///var/lib/agents`, `file:agents` | objects in a directory | `object` |
//! | `s3://bucket/prefix` | objects in a bucket that speaks S3 | `s3` |
//!
//! # Options
//!
//! Options stand in the query (`?readers=8&keys=env:AGENT_KEYS`) or beside the URL in a configuration file, which
//! [`Config`] is read from. They are named as the methods of the store's own options, where what they do is explained; an
//! option that a store does not know is an error that lists those it knows.
//!
//! | of | options |
//! | --- | --- |
//! | every store | `compression` (`zstd`, `zstd:LEVEL`, or `none`, which only reads what was compressed), `metrics` (`true`: what goes through the store is told to `metrics` and `tracing`), `keys` (`env:NAME` or `file:PATH`: master keys), `key_directory` (a key per thread in this directory, wrapped by the master keys) |
//! | `sqlite` | `busy_timeout_ms`, `readers`, `group_max`, `read_only`, `page_max`, `wal_checkpoint_pages`, `synchronous` (`full`, `normal`) |
//! | `postgres` | `schema`, `connections`, `workers`, `group_max`, `statement_timeout_ms`, `connect_timeout_ms`, `reconnect_ms`, `prepared`, `sslmode` (`disable`, `prefer`, `require`), `sslrootcert`, and what such URLs otherwise say, such as `application_name` and `target_session_attrs` |
//! | `redis` | `prefix`, `patience_ms`, `life_ms`; `protocol`; for sockets `db`, `user`, `pass` |
//! | `s3` | `region`, `endpoint`, `allow_http`, `virtual_hosted_style`, `access_key_id`, `secret_access_key`, `session_token`; what is not said comes from the environment (`AWS_REGION` …) |
//!
//! In a URL all of them, and user names and passwords, are percent-encoded. No error and no `Debug` shows a password or a key.
//!
//! Encrypted connections to PostgreSQL need the feature `tls` and `sslmode=require` (or `prefer`, which goes on without where
//! the server has none). The server's certificate is always checked: against the certificates in the file `sslrootcert`, or the system's.
//!
//! Read in this order: `config`, `address`, `given`, then `backend/` and `dressing`.

mod config;
mod error;

mod address;
mod given;

mod backend;
mod dressing;

pub use config::{Config, URL_VARIABLE, open, open_from_env};
pub use error::{Error, Result};
