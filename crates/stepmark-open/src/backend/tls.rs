//! Which connections to PostgreSQL are encrypted, and whom do they trust?

use stepmark_store_postgres::PostgresOptions;

use crate::error::{Error, Result};

/// What a URL says of encryption.
pub(super) struct Wanted {
    /// As the driver calls it.
    pub(super) mode: &'static str,
    root: Option<String>,
}

impl Wanted {
    pub(super) fn read(mode: Option<&str>, root: Option<String>) -> Result<Self> {
        let mode = match (mode, &root) {
            (None, None) | (Some("disable"), _) => "disable",
            (Some("prefer"), _) => "prefer",
            // A certificate is always checked, so the strictest mode is the ordinary one.
            (Some("require" | "verify-full"), _) | (None, Some(_)) => "require",
            (Some(_), _) => return Err(Error::option("sslmode", "it must be one of disable, prefer, require")),
        };
        if mode != "disable" && !cfg!(feature = "tls") {
            return Err(Error::feature(format_args!("sslmode={mode}"), "tls"));
        }
        Ok(Self { mode, root })
    }

    #[cfg(feature = "tls")]
    pub(super) fn set(&self, options: PostgresOptions) -> Result<PostgresOptions> {
        if self.mode == "disable" {
            return Ok(options);
        }
        Ok(options.tls(std::sync::Arc::new(trusting::client(self.root.as_deref())?)))
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unnecessary_wraps, reason = "with encryption it may fail")]
    pub(super) fn set(&self, options: PostgresOptions) -> Result<PostgresOptions> {
        let _ = &self.root;
        Ok(options)
    }
}

#[cfg(feature = "tls")]
mod trusting {
    //! Whom does a client trust?

    use std::sync::Arc;

    use rustls::crypto::ring;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use rustls::{ClientConfig, RootCertStore};

    use crate::error::{Error, Result};

    pub(super) fn client(root: Option<&str>) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        match root {
            Some(path) => {
                let unread = |_| Error::option("sslrootcert", "it must be a file of certificates in PEM");
                for certificate in CertificateDer::pem_file_iter(path).map_err(unread)? {
                    let unfit = |_| Error::option("sslrootcert", "a certificate in its file cannot be used");
                    roots.add(certificate.map_err(unread)?).map_err(unfit)?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() {
            return Err(Error::option(
                "sslrootcert",
                "no certificate is there to trust, neither here nor in the system",
            ));
        }
        let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| Error::option("sslmode", "no version of TLS is left"))?;
        Ok(versions.with_root_certificates(roots).with_no_client_auth())
    }
}
