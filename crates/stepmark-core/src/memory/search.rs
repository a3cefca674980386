//! How does the memory store find threads?

use async_trait::async_trait;

use super::read::{thread_entry, waiting};
use super::thread::Thread;
use super::{Fold, Inner, MemoryStore};
use crate::capability::{
    Attribute, AttributeChange, Candidate, Collector, Declaration, FoundPage, Search, SearchQuery, StoredAttribute,
    check_changes, check_declarations,
};
use crate::effect::EffectStatus;
use crate::error::Result;
use crate::id::ThreadUid;
use crate::store::ThreadEntry;

#[async_trait]
impl Search for MemoryStore {
    async fn declare(&self, scope: &str, declarations: Vec<Declaration>) -> Result<()> {
        check_declarations(&declarations)?;
        self.lock().declare(scope, declarations)
    }

    async fn declared(&self, scope: &str) -> Result<Vec<Declaration>> {
        Ok(self.lock().declared(scope))
    }

    async fn set_attributes(&self, thread: ThreadUid, changes: Vec<AttributeChange>) -> Result<()> {
        self.lock().set_attributes(thread, &changes)
    }

    async fn attributes(&self, thread: ThreadUid) -> Result<Vec<Attribute>> {
        let inner = self.lock();
        let thread = inner.threads.get(&thread).ok_or_else(|| inner.missing_thread(thread))?;
        let declared = inner.declared(&thread.row.scope);
        stored(thread).into_iter().map(|attribute| attribute.read(&declared)).collect()
    }

    async fn find(&self, query: SearchQuery) -> Result<FoundPage> {
        self.lock().search(&query)
    }
}

impl Inner {
    fn declare(&mut self, scope: &str, declarations: Vec<Declaration>) -> Result<()> {
        for Declaration { name, kind } in &declarations {
            match self.declared.get(&(scope.to_owned(), name.clone())) {
                Some(declared) if declared != kind => {
                    return Err(Declaration { name: name.clone(), kind: *declared }.taken());
                }
                _ => {}
            }
        }
        self.declared.extend(declarations.into_iter().map(|new| ((scope.to_owned(), new.name), new.kind)));
        Ok(())
    }

    fn declared(&self, scope: &str) -> Vec<Declaration> {
        let ours = self.declared.iter().filter(|((other, _), _)| other == scope);
        ours.map(|((_, name), kind)| Declaration { name: name.clone(), kind: *kind }).collect()
    }

    fn set_attributes(&mut self, uid: ThreadUid, changes: &[AttributeChange]) -> Result<()> {
        let thread = self.threads.get(&uid).ok_or_else(|| self.missing_thread(uid))?;
        let changes = check_changes(&self.declared(&thread.row.scope), changes)?;
        if let Some(thread) = self.threads.get_mut(&uid) {
            for (name, value) in changes {
                match value {
                    Some(attribute) => thread.attributes.insert(name, attribute.value),
                    None => thread.attributes.remove(&name),
                };
            }
        }
        Ok(())
    }

    fn search(&self, query: &SearchQuery) -> Result<FoundPage> {
        let mut collector = Collector::new(query, self.declared(&query.scope))?;
        let after = collector.next().unwrap_or_default();
        let ours = |thread: &&Thread| thread.row.scope == query.scope && *thread.row.name > *after;
        let mut batch: Vec<_> = self.threads.values().filter(ours).map(candidate).collect();
        batch.sort_by(|a, b| a.name.cmp(&b.name));
        collector.take(batch, true);
        collector.page(|thread| Ok(thread_entry(thread, false)))
    }
}

pub(super) fn stored(thread: &Thread) -> Vec<StoredAttribute> {
    let stored = |(name, value): (&String, &Vec<u8>)| StoredAttribute { name: name.clone(), value: value.clone() };
    thread.attributes.iter().map(stored).collect()
}

impl Fold {
    /// The thread as a search sees it, while it exists.
    pub fn candidate(&self) -> Option<Candidate<ThreadEntry>> {
        let known = candidate(self.folded()?);
        Some(Candidate {
            handle: thread_entry(known.handle, false),
            name: known.name,
            created_at: known.created_at,
            tip_at: known.tip_at,
            run: known.run,
            is_waiting: known.is_waiting,
            has_open_effects: known.has_open_effects,
            attributes: known.attributes,
        })
    }

    /// What is said of the thread, by name.
    ///
    /// # Errors
    /// `Missing`, `Deleted` (thread).
    pub fn attributes(&self) -> Result<Vec<StoredAttribute>> {
        self.folded().map(stored).ok_or_else(|| self.missing())
    }
}

fn candidate(thread: &Thread) -> Candidate<&Thread> {
    let space = thread.spaces.get("");
    let tip = space.and_then(|space| space.branch(thread.row.head)).and_then(|head| head.tip.as_ref());
    let tip = tip.and_then(|tip| space.and_then(|space| space.checkpoint(&tip.id)));
    Candidate {
        handle: thread,
        name: thread.row.name.clone(),
        created_at: thread.row.created_at,
        tip_at: tip.map(|row| row.created_at),
        run: thread.last_run().map(|run| (run.status, run.graph.clone())),
        is_waiting: !waiting(thread).is_empty(),
        has_open_effects: thread.ledger.values().any(|entry| entry.row.status == EffectStatus::Open),
        attributes: stored(thread),
    }
}
