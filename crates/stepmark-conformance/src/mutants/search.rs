//! Which mutants describe and find threads wrongly?

use std::ops::Bound;

use async_trait::async_trait;
use stepmark_core::capability::{AttributeValue, Condition, Cursor, Test};
use stepmark_core::error::{ErrorKind, Result, Subject};
use stepmark_core::store::CheckpointStore;

use crate::call::{Call, Intercept, Reply};

/// The tests of the attributes that a call asks for.
fn tests(call: &mut Call) -> impl Iterator<Item = &mut Test> {
    let conditions = match call {
        Call::Find(query) => &mut query.conditions[..],
        _ => &mut [],
    };
    conditions.iter_mut().filter_map(|condition| match condition {
        Condition::Attribute { test, .. } => Some(test),
        _ => None,
    })
}

changes! {
    /// Takes a text for a pattern.
    TextIsPattern: |_store, call| {
        for test in tests(&mut call) {
            if let Test::Contains(part) = test {
                part.retain(|letter| !matches!(letter, '%' | '_'));
            }
        }
    }

    /// Ends texts at their first zero.
    TextEndsAtZero: |_store, call| {
        for test in tests(&mut call) {
            if let Test::Is(AttributeValue::Text(text)) = test {
                text.truncate(text.find('\0').unwrap_or(text.len()));
            }
        }
    }

    /// Has no open ends.
    EndsIncluded: |_store, call| {
        for test in tests(&mut call) {
            let Test::Between(from, to) = test else { continue };
            for end in [from, to] {
                if let Bound::Excluded(value) = end {
                    *end = Bound::Included(value.clone());
                }
            }
        }
    }

    /// Passes over what it does not know.
    UndeclaredIgnored: |store, call| {
        if let (Call::Find(query), Some(search)) = (&mut call, store.search()) {
            let declared = search.declared(&query.scope).await?;
            query.conditions.retain(|condition| match condition {
                Condition::Attribute { name, .. } => declared.iter().any(|known| known.name == *name),
                _ => true,
            });
        }
    }

    /// Knows no times of threads.
    TimesIgnored: |_store, call| {
        if let Call::Find(query) = &mut call {
            query.conditions.retain(|condition| !matches!(condition, Condition::Updated(..)));
        }
    }

    /// Goes on by name, whatever the order.
    PageByNameAlone: |_store, call| {
        if let Call::Find(query) = &mut call {
            query.after = query.after.take().map(|after| Cursor { key: Vec::new(), ..after });
        }
    }

    /// Removes nothing.
    RemovalIgnored: |_store, call| {
        if let Call::SetAttributes { changes, .. } = &mut call {
            changes.retain(|change| change.value.is_some());
        }
    }

    /// Cuts what is too long.
    LongTextCut: |_store, call| {
        if let Call::SetAttributes { changes, .. } = &mut call {
            for change in changes {
                if let Some(AttributeValue::Text(text)) = &mut change.value {
                    text.truncate(text.floor_char_boundary(1024));
                }
            }
        }
    }

    /// Has one list of declarations for all scopes.
    DeclaredEverywhere: |_store, call| {
        if let Call::Declare { scope, .. } | Call::Declared { scope } = &mut call {
            scope.clear();
        }
    }
}

/// Writes changes one by one.
#[derive(Debug, Default)]
pub(super) struct SetOneByOne;

#[async_trait]
impl Intercept for SetOneByOne {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        let Call::SetAttributes { thread, changes } = call else { return call.run(store).await };
        for change in changes {
            Call::SetAttributes { thread, changes: vec![change] }.run(store).await?;
        }
        Ok(Reply::SetAttributes)
    }
}

/// Accepts what it refused.
async fn forgiven(store: &dyn CheckpointStore, call: Call, kind: ErrorKind, subject: Subject) -> Result<Reply> {
    let reply = match &call {
        Call::Declare { .. } => Reply::Declare,
        Call::SetAttributes { .. } => Reply::SetAttributes,
        _ => return call.run(store).await,
    };
    match call.run(store).await {
        Err(error) if error.is(kind, subject) => Ok(reply),
        answer => answer,
    }
}

/// Says nothing where a kind is not the declared one.
#[derive(Debug, Default)]
pub(super) struct OtherKindAccepted;

#[async_trait]
impl Intercept for OtherKindAccepted {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        forgiven(store, call, ErrorKind::Exists, Subject::Attribute).await
    }
}

/// Says nothing where a thread is gone.
#[derive(Debug, Default)]
pub(super) struct GoneThreadDescribed;

#[async_trait]
impl Intercept for GoneThreadDescribed {
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply> {
        forgiven(store, call, ErrorKind::Deleted, Subject::Thread).await
    }
}
