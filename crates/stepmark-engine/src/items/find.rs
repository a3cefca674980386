//! How are items and namespaces found?

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use stepmark_core::capability::{Filter, ItemCursor, ItemOrder, ItemSearch, Namespace, NamespaceQuery};

use super::{Item, Items, typed};
use crate::error::Result;

/// How many are found at once where nothing else is said.
const LIMIT_DEFAULT: u32 = 100;

/// What to look for; awaiting it looks.
#[must_use = "nothing is found until it is awaited"]
pub struct FindItems<'a, T> {
    items: &'a Items,
    search: ItemSearch,
    value: PhantomData<fn() -> T>,
}

/// A page of items.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FoundItems<T> {
    /// In order.
    pub items: Vec<Item<T>>,
    /// Give it to [`FindItems::after`] for the next page; absent on the last.
    pub next: Option<ItemCursor>,
}

impl<'a, T: DeserializeOwned> FindItems<'a, T> {
    pub(super) fn new(items: &'a Items, prefix: Namespace) -> Self {
        let search = ItemSearch { prefix, limit: LIMIT_DEFAULT, refresh: true, ..ItemSearch::default() };
        Self { items, search, value: PhantomData }
    }

    /// Finds only what is so; said several times, all of them hold.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.search.filters.push(filter);
        self
    }

    /// Finds only values of which a text contains this, whatever the case.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.search.text = Some(text.into());
        self
    }

    /// Finds values near to this vector. No store can yet: it is `Store`, and names the vector query.
    pub fn vector(mut self, vector: impl Into<Vec<f32>>) -> Self {
        self.search.vector = Some(vector.into());
        self
    }

    /// Last written first, and not by namespace and key.
    pub fn newest_first(mut self) -> Self {
        self.search.order = ItemOrder::Newest;
        self
    }

    /// Goes on where a page ended.
    pub fn after(mut self, cursor: ItemCursor) -> Self {
        self.search.after = Some(cursor);
        self
    }

    /// How many at most; 100 if nothing is said.
    pub fn limit(mut self, limit: u32) -> Self {
        self.search.limit = limit;
        self
    }

    /// Lets what is found live no longer than it would.
    pub fn without_refresh(mut self) -> Self {
        self.search.refresh = false;
        self
    }
}

impl<'a, T: DeserializeOwned + 'a> IntoFuture for FindItems<'a, T> {
    type Output = Result<FoundItems<T>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { items, search, .. } = self;
        Box::pin(async move {
            let page = items.kept()?.search(search).await?;
            let items = page.items.into_iter().map(typed).collect::<Result<_>>()?;
            Ok(FoundItems { items, next: page.next })
        })
    }
}

impl<T> fmt::Debug for FindItems<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FindItems").field(&self.search).finish()
    }
}

/// Which namespaces to list; awaiting it lists.
#[derive(Debug)]
#[must_use = "nothing is listed until it is awaited"]
pub struct FindNamespaces<'a> {
    items: &'a Items,
    query: NamespaceQuery,
}

/// A page of namespaces.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FoundNamespaces {
    /// In order, each once.
    pub namespaces: Vec<Namespace>,
    /// Give it to [`FindNamespaces::after`] for the next page; absent on the last.
    pub next: Option<Namespace>,
}

impl<'a> FindNamespaces<'a> {
    pub(super) fn new(items: &'a Items) -> Self {
        Self { items, query: NamespaceQuery { limit: LIMIT_DEFAULT, ..NamespaceQuery::default() } }
    }

    /// Those that begin with these labels.
    pub fn prefix(mut self, prefix: impl Into<Namespace>) -> Self {
        self.query.prefix = prefix.into();
        self
    }

    /// Those that end with these labels.
    pub fn suffix(mut self, suffix: impl Into<Namespace>) -> Self {
        self.query.suffix = suffix.into();
        self
    }

    /// Cuts deeper ones to so many labels.
    pub fn depth_max(mut self, labels: u32) -> Self {
        self.query.depth_max = Some(labels);
        self
    }

    /// Goes on where a page ended.
    pub fn after(mut self, namespace: Namespace) -> Self {
        self.query.after = Some(namespace);
        self
    }

    /// How many at most; 100 if nothing is said.
    pub fn limit(mut self, limit: u32) -> Self {
        self.query.limit = limit;
        self
    }
}

impl<'a> IntoFuture for FindNamespaces<'a> {
    type Output = Result<FoundNamespaces>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let page = self.items.kept()?.namespaces(self.query).await?;
            Ok(FoundNamespaces { namespaces: page.namespaces, next: page.next })
        })
    }
}
