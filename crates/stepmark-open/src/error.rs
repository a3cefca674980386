//! Why was a store not opened?

use std::fmt::Display;

/// Why a store was not opened. No message shows a password, a key, or a part of a URL that may hold one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The environment does not say which store. Set the variable.
    #[error("the environment variable {variable} does not name a store, such as sqlite:agents.db")]
    NotSet {
        /// The variable.
        variable: String,
    },
    /// It is no URL of a store. Correct it.
    #[error("the url of the store cannot be read: {reason}")]
    InvalidUrl {
        /// What is wrong with it.
        reason: String,
    },
    /// No store has this scheme. Take one that is known.
    #[error("no store has the scheme {scheme:?}; known are {}", .known.join(", "))]
    UnknownScheme {
        /// The scheme.
        scheme: String,
        /// Those that there are.
        known: Vec<&'static str>,
    },
    /// This program was built without it. Add the feature to `stepmark` in its `Cargo.toml`.
    #[error("{what} needs the feature {feature:?}, without which this program was built")]
    MissingFeature {
        /// What was asked for.
        what: String,
        /// What adds it.
        feature: &'static str,
    },
    /// The store has no such option. Take one that it has.
    #[error("{backend} has no option {option:?}; it has {}", .valid.join(", "))]
    UnknownOption {
        /// The option.
        option: String,
        /// The store's kind.
        backend: &'static str,
        /// Options that it has.
        valid: Vec<&'static str>,
    },
    /// The option's value is none. Correct it.
    #[error("the option {option:?} is invalid: {reason}")]
    InvalidOption {
        /// The option.
        option: String,
        /// What it must be.
        reason: String,
    },
    /// The store, or the provider of its keys, refused; its own kinds say what to do.
    #[error(transparent)]
    Store(#[from] stepmark_core::error::Error),
}

/// What opening answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn url(reason: impl Into<String>) -> Self {
        Self::InvalidUrl { reason: reason.into() }
    }

    pub(crate) fn option(option: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::InvalidOption { option: option.into(), reason: reason.into() }
    }

    #[allow(dead_code, reason = "with all features nothing is missing")]
    pub(crate) fn feature(what: impl Display, feature: &'static str) -> Self {
        Self::MissingFeature { what: what.to_string(), feature }
    }
}
