//! How are threads found by what is said of them?
//!
//! Attributes are typed values that an application gives to threads, under names that it declared for their scope. They are
//! plain text in every store, also behind a codec that seals everything else: declare nothing that is secret. What a thread
//! is by itself (its times, the status and graph of its last run, whether it waits) is read from the rows that are there
//! anyway, so no step writes anything for a search.

mod attribute;
mod collect;
mod query;
mod register;

use std::fmt;

use async_trait::async_trait;

pub use attribute::{
    ATTRIBUTE_BYTES_MAX, Attribute, AttributeChange, AttributeKind, AttributeValue, Declaration, StoredAttribute,
    check_changes, check_declarations, check_stored, undeclared,
};
pub use collect::{Candidate, Collector, Driver};
pub use query::{Condition, Cursor, Order, SearchQuery, Test};
pub use register::{
    changed_attributes, decode_attributes, decode_declarations, encode_attributes, encode_declarations,
    with_declarations,
};

use crate::checkpoint::Timestamp;
use crate::error::Result;
use crate::id::ThreadUid;
use crate::store::ThreadEntry;

/// Finds threads by declared attributes, status, times and graph.
#[async_trait]
pub trait Search: fmt::Debug + Send + Sync {
    /// Declares attributes of a scope's threads, for ever and for every handle (`declarations_outlive_the_handle`).
    ///
    /// # Atomicity
    /// All of them or none (`declared_again_with_another_kind_is_refused`).
    ///
    /// # Idempotence
    /// A name that is declared with the same kind stays as it is.
    ///
    /// # Ordering
    /// Of two that declare a name with different kinds at once, one is refused.
    ///
    /// # Errors
    /// `Exists` (attribute): the name is declared with another kind. `Invalid` (attribute): a name that is empty, too long
    /// or has control characters (`malformed_attributes_are_refused`).
    async fn declare(&self, scope: &str, declarations: Vec<Declaration>) -> Result<()>;

    /// The declared attributes of a scope, by name.
    ///
    /// # Errors
    /// `Corrupt` (attribute): a hash does not match.
    async fn declared(&self, scope: &str) -> Result<Vec<Declaration>>;

    /// Sets and removes attributes of a thread; the others stay (`attributes_read_back`). They go with their thread
    /// (`attributes_go_with_their_thread`).
    ///
    /// # Atomicity
    /// All changes or none (`undeclared_attribute_is_refused`).
    ///
    /// # Idempotence
    /// What is set again is as it was; what is removed again is not there.
    ///
    /// # Ordering
    /// The last call wins. No run is fenced, and none is waited for (`attributes_fence_nobody`).
    ///
    /// # Errors
    /// `Missing`, `Deleted` (thread); `Missing` (attribute) names one that is not declared; `Invalid` (attribute) names one
    /// whose value is of another kind, too long or no number, or that the call names twice.
    async fn set_attributes(&self, thread: ThreadUid, changes: Vec<AttributeChange>) -> Result<()>;

    /// The attributes of a thread, by name.
    ///
    /// # Errors
    /// `Missing`, `Deleted` (thread); `Corrupt` (attribute): a hash does not match.
    async fn attributes(&self, thread: ThreadUid) -> Result<Vec<Attribute>>;

    /// One page of the threads of a scope for which all conditions hold (`threads_are_found_by_attributes`,
    /// `threads_are_found_by_what_they_are`). Texts compare by their bytes, and whatever they hold they mean themselves
    /// (`hostile_texts_mean_themselves`).
    ///
    /// # Atomicity
    /// Where the store has an index a page is one moment; elsewhere each thread is as it is when it is looked at. Nothing is
    /// held between pages.
    ///
    /// # Idempotence
    /// Writes nothing.
    ///
    /// # Ordering
    /// By the query's order, then by name. A thread that exists, and does not move in the order, during the whole walk is
    /// found exactly once (`found_threads_are_paged_once`).
    ///
    /// # Errors
    /// `Missing` (attribute) names one that is not declared (`undeclared_attribute_is_refused`); `Invalid` (attribute) names
    /// one that is asked for a value of another kind.
    async fn find(&self, query: SearchQuery) -> Result<FoundPage>;
}

/// A thread that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundThread {
    /// The thread, its tip and the status of the run that last began; not what it waits for.
    pub entry: ThreadEntry,
    /// The graph of the run that last began.
    pub graph: Option<String>,
    /// When the tip of its head was made, or the thread, where that has no checkpoint.
    pub updated_at: Timestamp,
    /// Its attributes, by name.
    pub attributes: Vec<Attribute>,
}

/// One page.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundPage {
    /// In the query's order.
    pub threads: Vec<FoundThread>,
    /// Where the next page begins; absent at the end.
    pub next: Option<Cursor>,
}
