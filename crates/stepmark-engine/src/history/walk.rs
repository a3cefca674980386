//! How are a thread's checkpoints found, page by page?
//!
//! A walk reads rows of the store, never values. Nothing is held between pages: the next page begins at a checkpoint, and
//! what lies before a checkpoint never changes.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::error::Subject;
use stepmark_core::id::{CheckpointId, RunId, ThreadUid};
use stepmark_core::load::manifest_of;
use stepmark_core::store::{Channels, HistoryPage, HistoryQuery, Line, Load, Loaded, Place};

use super::filter::{Filter, Steps};
use super::{Checkpoint, CheckpointInfo};
use crate::decide::store_of;
use crate::error::{Error, ErrorKind, Result};
use crate::state::State;
use crate::thread::Thread;

/// How many checkpoints are fetched at a time, and what a page holds if it has no limit.
const PAGE_SIZE: u32 = 256;

/// A question about a thread's past; `.await` answers it with all checkpoints at once, [`History::page`] page by page.
/// Newest first, without values: [`Checkpoint::state`] reads those.
#[derive(Debug)]
pub struct History<'a, S> {
    thread: &'a Thread<S>,
    start: Start,
    limit: Option<u32>,
    steps: Steps,
    all_branches: bool,
    filters: Vec<Filter>,
}

/// Where a walk begins.
#[derive(Clone, Debug)]
enum Start {
    Tip,
    At(String),
    Before(String),
}

/// Some checkpoints, and where the next ones begin.
pub struct Page<S> {
    /// Newest first.
    pub checkpoints: Vec<Checkpoint<S>>,
    /// For [`History::before`]; absent at the end.
    pub next: Option<CheckpointId>,
}

impl<S> fmt::Debug for Page<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("checkpoints", &self.checkpoints).field("next", &self.next).finish()
    }
}

impl<'a, S: State> History<'a, S> {
    pub(crate) fn new(thread: &'a Thread<S>) -> Self {
        let (start, steps) = (Start::Tip, Steps::default());
        Self { thread, start, limit: None, steps, all_branches: false, filters: Vec::new() }
    }

    /// Begins at this checkpoint instead of the branch's tip.
    pub(crate) fn ending_at(mut self, checkpoint: String) -> Self {
        self.start = Start::At(checkpoint);
        self
    }

    /// At most this many; all without a limit.
    #[must_use]
    pub fn limit(mut self, checkpoints: u32) -> Self {
        self.limit = Some(checkpoints);
        self
    }

    /// Only steps below this one.
    #[must_use]
    pub fn below(mut self, step: u64) -> Self {
        self.steps = self.steps.and(Steps { from: 0, below: Some(step) });
        self
    }

    /// Begins at this step, or at the tip where that is lower.
    #[must_use]
    pub fn from_step(mut self, step: u64) -> Self {
        self.steps = self.steps.and(Steps { from: 0, below: step.checked_add(1) });
        self
    }

    /// Only what lies before this checkpoint: on its own lineage, wherever the branch points by now, or with
    /// [`History::all_branches`] what had arrived before it. The way to the next page.
    #[must_use]
    pub fn before(mut self, checkpoint: impl fmt::Display) -> Self {
        self.start = Start::Before(checkpoint.to_string());
        self
    }

    /// All branches of the thread, in order of arrival, newest first.
    #[must_use]
    pub fn all_branches(mut self) -> Self {
        self.all_branches = true;
        self
    }

    /// Only checkpoints that this filter accepts; of several filters, those that all accept.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    /// One page: as many as [`History::limit`] says (256 if nothing was said), and where the next page begins. Pages that
    /// follow each other hold every checkpoint once, whatever is written meanwhile.
    ///
    /// # Errors
    /// `Missing` names an unknown thread, branch, checkpoint, or run or node of a filter. `Invalid`: a limit of 0, or a
    /// filter that makes no sense.
    pub async fn page(self) -> Result<Page<S>> {
        let limit = self.limit.unwrap_or(PAGE_SIZE);
        if limit == 0 {
            return Err(Error::invalid("a page of no checkpoints leads nowhere: the limit is 0"));
        }
        self.walk(limit as usize).await
    }

    async fn walk(&self, limit: usize) -> Result<Page<S>> {
        let steps = self.filters.iter().fold(self.steps, |steps, filter| steps.and(filter.range()));
        let mut begin = self.begin(steps).await?;
        let handle = Arc::new(self.thread.same_place());
        let mut page = Page { checkpoints: Vec::new(), next: None };
        let mut line = Some(begin.line).filter(|_| limit > 0);
        'walk: while let Some(from) = line {
            let read = self.fetch(begin.thread, from, limit - page.checkpoints.len()).await?;
            let last = read.entries.len().saturating_sub(1);
            for (place, entry) in read.entries.iter().enumerate() {
                let info = CheckpointInfo::new(&entry.checkpoint, manifest_of(&entry.checkpoint)?)?;
                let (id, is_lowest) = (info.id.clone(), !self.all_branches && info.step <= steps.from);
                begin.strangers.retain(|node| !info.knows(node));
                if steps.contains(info.step) && self.accepts(&info) {
                    page.checkpoints.push(Checkpoint { thread: Arc::clone(&handle), info });
                }
                if page.checkpoints.len() == limit {
                    let is_last = is_lowest || (place == last && read.next.is_none());
                    page.next = (!is_last).then_some(id);
                    return Ok(page);
                }
                if is_lowest {
                    break 'walk;
                }
            }
            line = read.next;
        }
        begin.refuse_strangers(&self.thread.name)?;
        Ok(page)
    }

    fn accepts(&self, info: &CheckpointInfo) -> bool {
        self.filters.iter().all(|filter| filter.accepts(&self.thread.host.program, info))
    }

    async fn fetch(&self, thread: ThreadUid, line: Line, wanted: usize) -> Result<HistoryPage> {
        let wanted = u32::try_from(wanted).unwrap_or(PAGE_SIZE).min(PAGE_SIZE);
        // How many rows hold that many accepted ones, nobody knows.
        let limit = if self.filters.is_empty() { wanted } else { PAGE_SIZE };
        let query = HistoryQuery { thread, namespace: String::new(), line, limit };
        Ok(store_of(&self.thread.host)?.history(query).await?)
    }

    /// Checks the question and finds the place where its answer begins.
    async fn begin(&self, steps: Steps) -> Result<Begin> {
        self.filters.iter().try_for_each(Filter::check)?;
        let loaded = match &self.start {
            Start::Tip => self.thread.load(Channels::None).await?,
            Start::At(id) | Start::Before(id) => self.load_at(id).await?,
        };
        self.check_runs().await?;
        let strangers = self.strangers(&loaded)?;
        let thread = loaded.thread.uid;
        // A row at the beginning is its own branch's: what follows it is its lineage, wherever the name points by now.
        let (branch, top) = match (&self.start, &loaded.checkpoint) {
            (Start::Tip, _) | (_, None) => (loaded.branch.row.id, None),
            (Start::At(_), Some(row)) => (row.branch, Some(row.height + 1)),
            (Start::Before(_), Some(row)) => (row.branch, Some(row.height)),
        };
        let line = match (self.all_branches, &loaded.checkpoint) {
            (false, _) => Line::Lineage { branch, below: steps.and(Steps { from: 0, below: top }).below },
            (true, Some(row)) if top.is_some() => self.arrival(thread, row).await?,
            (true, _) => Line::All { before: None },
        };
        Ok(Begin { thread, line, strangers })
    }

    async fn load_at(&self, checkpoint: &str) -> Result<Loaded> {
        let place = Place::Checkpoint(CheckpointId::parse(checkpoint)?);
        Ok(store_of(&self.thread.host)?.load(self.thread.request_of(place)).await?)
    }

    /// Where the walk by arrival goes on from a checkpoint. Its row, alone on a page of its lineage, says when it arrived.
    async fn arrival(&self, thread: ThreadUid, row: &CheckpointRow) -> Result<Line> {
        let here = Line::Lineage { branch: row.branch, below: Some(row.height + 1) };
        let query = HistoryQuery { thread, namespace: String::new(), line: here, limit: 1 };
        let page = store_of(&self.thread.host)?.history(query).await?;
        let entry = page.entries.first().filter(|entry| entry.checkpoint.id == row.id);
        let arrival = entry.map(|entry| entry.arrival);
        let gone = || Error::unreadable(Subject::Checkpoint, &row.id, "its own lineage does not have it");
        let included = u64::from(matches!(self.start, Start::At(_)));
        Ok(Line::All { before: Some(arrival.ok_or_else(gone)? + included) })
    }

    /// A run of a filter that the thread never had is an error, not a run without checkpoints.
    async fn check_runs(&self) -> Result<()> {
        for run in self.filters.iter().filter_map(|filter| filter.run.as_ref()) {
            let load = Load { run: Some(RunId::parse(run)?), ..self.thread.request_of(Place::Head) };
            if store_of(&self.thread.host)?.load(load).await?.run.is_none() {
                let message = format!("thread {:?} has no run {run:?}", self.thread.name);
                return Err(Error::new(ErrorKind::Missing, message));
            }
        }
        Ok(())
    }

    /// Nodes of filters that neither the program knows nor the checkpoint at which the walk begins. A checkpoint names all
    /// nodes of its lineage.
    fn strangers(&self, loaded: &Loaded) -> Result<Vec<String>> {
        let is_planned = |node: &String| self.thread.host.program.node(node).is_some();
        let mut nodes: Vec<String> = self.filters.iter().filter_map(|filter| filter.node.clone()).collect();
        nodes.retain(|node| !is_planned(node));
        if let Some(row) = loaded.checkpoint.as_ref().filter(|_| !nodes.is_empty()) {
            let info = CheckpointInfo::new(row, manifest_of(row)?)?;
            nodes.retain(|node| !info.knows(node));
        }
        Ok(nodes)
    }
}

/// The beginning of a walk.
struct Begin {
    thread: ThreadUid,
    line: Line,
    strangers: Vec<String>,
}

impl Begin {
    fn refuse_strangers(&self, thread: &str) -> Result<()> {
        let Some(node) = self.strangers.first() else { return Ok(()) };
        let message = format!("node {node:?} is neither in the graph nor in the history of thread {thread:?}");
        Err(Error::new(ErrorKind::Missing, message))
    }
}

impl CheckpointInfo {
    fn knows(&self, node: &str) -> bool {
        self.activations.iter().any(|(name, _)| name == node)
    }
}

impl<'a, S: State> IntoFuture for History<'a, S> {
    type Output = Result<Vec<Checkpoint<S>>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let limit = self.limit.map_or(usize::MAX, |limit| limit as usize);
        Box::pin(async move { Ok(self.walk(limit).await?.checkpoints) })
    }
}
