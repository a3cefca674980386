//! Which actions of which threads does nobody know the end of?

use std::future::IntoFuture;

use futures_util::future::BoxFuture;
use stepmark_core::capability::{Condition, Cursor, SearchQuery};
use stepmark_core::store::{Load, ThreadAddress};

use super::{PAGE_SIZE, search_of};
use crate::app::App;
use crate::decide::store_of;
use crate::effect::{EffectInfo, EffectState};
use crate::error::Result;
use crate::state::State;

/// The actions across threads whose end is unknown: see [`App::unknown_effects`]. `.await` finds all,
/// [`page`](Self::page) those of some threads.
#[derive(Debug)]
#[must_use = "nothing is read before `.await`"]
pub struct UnknownEffects<'a, S> {
    app: &'a App<S>,
    query: SearchQuery,
}

/// An action of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadEffect {
    /// The thread.
    pub thread: String,
    /// What its ledger knows.
    pub effect: EffectInfo,
}

/// The actions of some threads.
#[derive(Clone, Debug, PartialEq)]
pub struct EffectPage {
    /// By thread name, key and generation.
    pub effects: Vec<ThreadEffect>,
    /// The thread to go on [`after`](UnknownEffects::after); absent at the end.
    pub next: Option<String>,
}

impl<S: State> App<S> {
    /// The actions of all threads of the store of which an attempt ended and nobody knows whether it did them, by thread
    /// name, key and generation; also those of other graphs. Looks into every thread's ledger.
    pub fn unknown_effects(&self) -> UnknownEffects<'_, S> {
        let conditions = vec![Condition::OpenEffects];
        UnknownEffects { app: self, query: SearchQuery { conditions, ..SearchQuery::new("", PAGE_SIZE) } }
    }
}

impl<S: State> UnknownEffects<'_, S> {
    /// Only threads whose names come after this one.
    pub fn after(mut self, thread: impl Into<String>) -> Self {
        self.query.after = Some(Cursor { key: Vec::new(), name: thread.into() });
        self
    }

    /// How many threads a page has at most; 100 at first, at least 1.
    pub fn threads_max(mut self, threads: u32) -> Self {
        self.query.limit = threads;
        self
    }

    /// The actions of one page of threads. One thread is read after the other: each as it is then.
    ///
    /// # Errors
    /// `Store`: the store does not answer, cannot search, or an entry is damaged.
    pub async fn page(&self) -> Result<EffectPage> {
        let host = self.app.host();
        let page = search_of(host)?.find(self.query.clone()).await?;
        let mut effects = Vec::new();
        for found in page.threads {
            let thread = found.entry.thread;
            let load = Load { effects: true, branches: true, ..Load::head(ThreadAddress::Uid(thread.uid)) };
            let loaded = store_of(host)?.load(load).await?;
            let known = loaded.effects.into_iter().map(|entry| EffectInfo::of(entry, &loaded.branches));
            let unknown = known.filter(|effect| effect.state == EffectState::Unknown);
            effects.extend(unknown.map(|effect| ThreadEffect { thread: thread.name.clone(), effect }));
        }
        Ok(EffectPage { effects, next: page.next.map(|next| next.name) })
    }

    async fn all(mut self) -> Result<Vec<ThreadEffect>> {
        let mut effects = Vec::new();
        loop {
            let page = self.page().await?;
            effects.extend(page.effects);
            match page.next {
                Some(next) => self = self.after(next),
                None => return Ok(effects),
            }
        }
    }
}

impl<'a, S: State> IntoFuture for UnknownEffects<'a, S> {
    type Output = Result<Vec<ThreadEffect>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.all())
    }
}
