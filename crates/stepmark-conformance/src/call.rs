//! How does one wrapper stand in front of all eight methods, and of the rows beside them?
//!
//! A call and its reply as values: counting, faults, witnesses and mutants each say once what happens around a call.

mod items;
mod retention;

use std::sync::Arc;

use async_trait::async_trait;
use stepmark_core::capability::{
    Attribute, AttributeChange, Declaration, FoundPage, Items, Restore, ResultCache, Retention, Rows, RowsPage,
    RowsQuery, Search, SearchQuery, Secrets,
};
use stepmark_core::effect::EffectWrite;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BranchId, ThreadUid};
use stepmark_core::store::{
    Appended, BlobCall, BlobReply, CheckpointStore, Commit, Expect, Fence, HistoryPage, HistoryQuery, Info, Load,
    Loaded, Outcome, Records, ThreadPage, ThreadQuery,
};

pub use items::{ItemCall, ItemReply};
pub use retention::{RetentionCall, RetentionReply};

/// One call of the seam.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the method of its name with its argument")]
pub enum Call {
    Commit(Box<Commit>),
    Records(Box<Records>),
    Load(Box<Load>),
    History(HistoryQuery),
    Threads(ThreadQuery),
    Blob(BlobCall),
    DeleteThread(ThreadUid),
    Info,
    Page(RowsQuery),
    Restore(Box<Restore>),
    Declare { scope: String, declarations: Vec<Declaration> },
    Declared { scope: String },
    SetAttributes { thread: ThreadUid, changes: Vec<AttributeChange> },
    Attributes(ThreadUid),
    Find(SearchQuery),
    Retention(Box<RetentionCall>),
    Item(ItemCall),
}

/// The answer to a [`Call`], in the same order.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is the answer of the method of its name")]
pub enum Reply {
    Commit(Outcome),
    Records(Appended),
    Load(Box<Loaded>),
    History(HistoryPage),
    Threads(ThreadPage),
    Blob(BlobReply),
    DeleteThread,
    Info(Info),
    Page(RowsPage),
    Restore(Outcome),
    Declare,
    Declared(Vec<Declaration>),
    SetAttributes,
    Attributes(Vec<Attribute>),
    Find(FoundPage),
    Retention(RetentionReply),
    Item(ItemReply),
}

/// Which method, as counters and witnesses see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallKind {
    /// `commit` with a checkpoint.
    Commit,
    /// `commit` with a checkpoint of a sub-graph.
    Child,
    /// `commit` without a checkpoint that raises an epoch.
    Claim,
    /// `commit` of a new branch without a checkpoint.
    Fork,
    /// `commit` without a checkpoint that leaves another branch: its name moves to a new line.
    Reset,
    /// `append` of a branch's owner with pending rows: results and questions.
    Flush,
    /// `append` of a run record alone.
    RunRecord,
    /// `append` of answers, from outside of a run.
    Answer,
    /// `append` that asks the ledger whether an effect may be done, with whatever else.
    Intent,
    /// `append` that tells the ledger how an attempt ended.
    Outcome,
    /// `append` that moves the head.
    Head,
    /// `append` of tags alone.
    Tag,
    /// `load`.
    Load,
    /// `history`.
    History,
    /// `threads`.
    Threads,
    /// `blob`.
    Blob,
    /// `delete_thread`.
    DeleteThread,
    /// `info`.
    Info,
    /// A page of stored rows.
    Page,
    /// Rows written as they are.
    Restore,
    /// Attributes declared, set or removed.
    Describe,
    /// Threads looked for, or what is said of them.
    Find,
    /// Checkpoints and branches cease to exist.
    Unlink,
    /// Rows that nothing reaches go.
    Remove,
    /// How old threads are.
    Age,
    /// When a thread may go.
    SetExpiry,
    /// Blobs that nothing uses go.
    Collect,
    /// An item or namespaces read, with whatever is refreshed.
    ItemRead,
    /// An item written, deleted or swept.
    ItemWrite,
}

impl CallKind {
    /// All of them, in order of declaration.
    pub const ALL: [Self; 29] = [
        Self::Commit,
        Self::Child,
        Self::Claim,
        Self::Fork,
        Self::Reset,
        Self::Flush,
        Self::RunRecord,
        Self::Answer,
        Self::Intent,
        Self::Outcome,
        Self::Head,
        Self::Tag,
        Self::Load,
        Self::History,
        Self::Threads,
        Self::Blob,
        Self::DeleteThread,
        Self::Info,
        Self::Page,
        Self::Restore,
        Self::Describe,
        Self::Find,
        Self::Unlink,
        Self::Remove,
        Self::Age,
        Self::SetExpiry,
        Self::Collect,
        Self::ItemRead,
        Self::ItemWrite,
    ];

    /// Whether it changes rows of a thread, or items.
    pub const fn writes(self) -> bool {
        !matches!(
            self,
            Self::Load
                | Self::History
                | Self::Threads
                | Self::Blob
                | Self::Info
                | Self::Page
                | Self::Find
                | Self::Age
                | Self::ItemRead
        )
    }
}

impl Call {
    /// Delivers the call.
    pub async fn run(self, store: &dyn CheckpointStore) -> Result<Reply> {
        Ok(match self {
            Self::Commit(commit) => Reply::Commit(store.commit(*commit).await?),
            Self::Records(append) => Reply::Records(store.append(*append).await?),
            Self::Load(load) => Reply::Load(Box::new(store.load(*load).await?)),
            Self::History(query) => Reply::History(store.history(query).await?),
            Self::Threads(query) => Reply::Threads(store.threads(query).await?),
            Self::Blob(call) => Reply::Blob(store.blob(call).await?),
            Self::DeleteThread(thread) => {
                store.delete_thread(thread).await?;
                Reply::DeleteThread
            }
            Self::Info => Reply::Info(store.info().await?),
            Self::Page(query) => Reply::Page(rows_of(store)?.page(query).await?),
            Self::Restore(restore) => Reply::Restore(rows_of(store)?.restore(*restore).await?),
            Self::Declare { scope, declarations } => {
                search_of(store)?.declare(&scope, declarations).await?;
                Reply::Declare
            }
            Self::Declared { scope } => Reply::Declared(search_of(store)?.declared(&scope).await?),
            Self::SetAttributes { thread, changes } => {
                search_of(store)?.set_attributes(thread, changes).await?;
                Reply::SetAttributes
            }
            Self::Attributes(thread) => Reply::Attributes(search_of(store)?.attributes(thread).await?),
            Self::Find(query) => Reply::Find(search_of(store)?.find(query).await?),
            Self::Retention(call) => Reply::Retention(call.run(store).await?),
            Self::Item(call) => Reply::Item(call.run(store).await?),
        })
    }

    /// Which method, and what it is used for.
    pub fn kind(&self) -> CallKind {
        match self {
            Self::Commit(commit) if commit.parent.is_some() => CallKind::Child,
            Self::Commit(commit) if commit.checkpoint.is_some() => CallKind::Commit,
            Self::Commit(commit) if commit.leaves.is_some() => CallKind::Reset,
            Self::Commit(commit) if commit.expect == Expect::New => CallKind::Fork,
            Self::Commit(_) => CallKind::Claim,
            Self::Records(append) => kind_of(append),
            Self::Load(_) => CallKind::Load,
            Self::History(_) => CallKind::History,
            Self::Threads(_) => CallKind::Threads,
            Self::Blob(_) => CallKind::Blob,
            Self::DeleteThread(_) => CallKind::DeleteThread,
            Self::Info => CallKind::Info,
            Self::Page(_) => CallKind::Page,
            Self::Restore(_) => CallKind::Restore,
            Self::Declare { .. } | Self::SetAttributes { .. } => CallKind::Describe,
            Self::Declared { .. } | Self::Attributes(_) | Self::Find(_) => CallKind::Find,
            Self::Retention(call) => call.kind(),
            Self::Item(call) if call.writes() => CallKind::ItemWrite,
            Self::Item(_) => CallKind::ItemRead,
        }
    }

    /// The branch that a write is fenced on.
    pub fn branch(&self) -> Option<BranchId> {
        match self {
            Self::Commit(commit) => Some(commit.branch.id),
            Self::Records(append) => Some(append.branch),
            _ => None,
        }
    }
}

fn rows_of(store: &dyn CheckpointStore) -> Result<&dyn Rows> {
    store.rows().ok_or_else(|| Error::unsupported(Subject::Store, "rows", "this store has none"))
}

fn search_of(store: &dyn CheckpointStore) -> Result<&dyn Search> {
    store.search().ok_or_else(|| Error::unsupported(Subject::Store, "search", "this store has none"))
}

fn kind_of(append: &Records) -> CallKind {
    match &append.effect {
        Some(EffectWrite::Intent(_)) => return CallKind::Intent,
        Some(EffectWrite::Outcome(_)) => return CallKind::Outcome,
        None => {}
    }
    let outside = append.fence == Fence::Outside;
    match (outside, append.pending.is_empty()) {
        (false, false) => CallKind::Flush,
        (false, true) => CallKind::RunRecord,
        (true, false) => CallKind::Answer,
        (true, true) if append.head_from.is_some() => CallKind::Head,
        (true, true) => CallKind::Tag,
    }
}

/// What happens around a call.
#[async_trait]
pub trait Intercept: std::fmt::Debug + Send + Sync + 'static {
    /// Answers `call`, by delivering it to `store` or otherwise.
    async fn intercept(&self, store: &dyn CheckpointStore, call: Call) -> Result<Reply>;

    /// Where results are kept: where the store keeps them, if nothing else is said. What a cache forgets is made again, so
    /// few have a reason to.
    fn cache<'a>(&'a self, store: &'a dyn CheckpointStore) -> Option<&'a dyn ResultCache> {
        store.cache()
    }
}

/// A store with an [`Intercept`] in front of it. Clones share both.
#[derive(Debug)]
pub struct Intercepted<I> {
    store: Arc<dyn CheckpointStore>,
    intercept: Arc<I>,
}

impl<I> Clone for Intercepted<I> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), intercept: Arc::clone(&self.intercept) }
    }
}

impl<I: Intercept> Intercepted<I> {
    /// Puts `intercept` in front of `store`.
    pub fn around(store: Arc<dyn CheckpointStore>, intercept: I) -> Self {
        Self { store, intercept: Arc::new(intercept) }
    }

    /// What stands in front.
    pub fn intercept(&self) -> &I {
        &self.intercept
    }

    async fn call(&self, call: Call) -> Result<Reply> {
        self.intercept.intercept(&*self.store, call).await
    }
}

/// The reply of the method that was called; an intercept that answers with another one is a bug of the kit.
macro_rules! reply {
    ($reply:expr, $pattern:pat => $value:expr) => {
        match $reply {
            $pattern => Ok($value),
            other => unreachable!("an intercept answered {other:?}"),
        }
    };
}

#[async_trait]
impl<I: Intercept> CheckpointStore for Intercepted<I> {
    async fn commit(&self, commit: Commit) -> Result<Outcome> {
        reply!(self.call(Call::Commit(Box::new(commit))).await?, Reply::Commit(outcome) => outcome)
    }

    async fn append(&self, append: Records) -> Result<Appended> {
        reply!(self.call(Call::Records(Box::new(append))).await?, Reply::Records(appended) => appended)
    }

    async fn load(&self, load: Load) -> Result<Loaded> {
        reply!(self.call(Call::Load(Box::new(load))).await?, Reply::Load(loaded) => *loaded)
    }

    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage> {
        reply!(self.call(Call::History(query)).await?, Reply::History(page) => page)
    }

    async fn threads(&self, query: ThreadQuery) -> Result<ThreadPage> {
        reply!(self.call(Call::Threads(query)).await?, Reply::Threads(page) => page)
    }

    async fn blob(&self, call: BlobCall) -> Result<BlobReply> {
        reply!(self.call(Call::Blob(call)).await?, Reply::Blob(reply) => reply)
    }

    async fn delete_thread(&self, thread: ThreadUid) -> Result<()> {
        reply!(self.call(Call::DeleteThread(thread)).await?, Reply::DeleteThread => ())
    }

    async fn info(&self) -> Result<Info> {
        reply!(self.call(Call::Info).await?, Reply::Info(info) => info)
    }

    fn cache(&self) -> Option<&dyn ResultCache> {
        self.intercept.cache(&*self.store)
    }

    fn rows(&self) -> Option<&dyn Rows> {
        self.store.rows().map(|_| self as &dyn Rows)
    }

    fn search(&self) -> Option<&dyn Search> {
        self.store.search().map(|_| self as &dyn Search)
    }

    fn retention(&self) -> Option<&dyn Retention> {
        self.store.retention().map(|_| self as &dyn Retention)
    }

    fn items(&self) -> Option<&dyn Items> {
        self.store.items().map(|_| self as &dyn Items)
    }

    fn secrets(&self) -> Option<&dyn Secrets> {
        self.store.secrets()
    }
}

#[async_trait]
impl<I: Intercept> Rows for Intercepted<I> {
    async fn page(&self, query: RowsQuery) -> Result<RowsPage> {
        reply!(self.call(Call::Page(query)).await?, Reply::Page(page) => page)
    }

    async fn restore(&self, restore: Restore) -> Result<Outcome> {
        reply!(self.call(Call::Restore(Box::new(restore))).await?, Reply::Restore(outcome) => outcome)
    }
}

#[async_trait]
impl<I: Intercept> Search for Intercepted<I> {
    async fn declare(&self, scope: &str, declarations: Vec<Declaration>) -> Result<()> {
        let call = Call::Declare { scope: scope.to_owned(), declarations };
        reply!(self.call(call).await?, Reply::Declare => ())
    }

    async fn declared(&self, scope: &str) -> Result<Vec<Declaration>> {
        let call = Call::Declared { scope: scope.to_owned() };
        reply!(self.call(call).await?, Reply::Declared(declared) => declared)
    }

    async fn set_attributes(&self, thread: ThreadUid, changes: Vec<AttributeChange>) -> Result<()> {
        reply!(self.call(Call::SetAttributes { thread, changes }).await?, Reply::SetAttributes => ())
    }

    async fn attributes(&self, thread: ThreadUid) -> Result<Vec<Attribute>> {
        reply!(self.call(Call::Attributes(thread)).await?, Reply::Attributes(attributes) => attributes)
    }

    async fn find(&self, query: SearchQuery) -> Result<FoundPage> {
        reply!(self.call(Call::Find(query)).await?, Reply::Find(page) => page)
    }
}
