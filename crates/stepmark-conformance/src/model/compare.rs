//! Does the store show what the model knows, from every place?

use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::id::{CheckpointId, ThreadUid};
use stepmark_core::pending::PendingKind;
use stepmark_core::rows::TagRow;
use stepmark_core::store::{
    Channels, HistoryQuery, Line as Walk, Load, Loaded, NamedBranch, Place, TagEntry, ThreadAddress, ThreadQuery,
    WaitingBranch,
};

use super::state::Thread;
use super::world::World;
use crate::make::{HEIGHT_CHANNEL, value_of};

/// More checkpoints than any sequence makes; a walk that goes on beyond does not end.
const HISTORY_MAX: usize = 100;

impl World {
    /// Compares every branch of a thread, and all that is walked from it.
    pub(super) async fn compare(&self, uid: ThreadUid) {
        let Some(thread) = self.model.thread(uid) else { return };
        for branch in &thread.branches {
            let load = Load {
                place: Place::Branch(branch.row.id),
                channels: Channels::All,
                pending: true,
                branches: true,
                tags: true,
                graph: true,
                children: true,
                effects: true,
                run: thread.begun.last().cloned(),
                ..Load::head(ThreadAddress::Uid(uid))
            };
            let loaded = self.store.load(load.clone()).await.expect("a branch that is there loads");
            self.compare_branch(thread, branch, &loaded);
            let found = self.walk(uid, Walk::Lineage { branch: branch.row.id, below: None }).await;
            assert_eq!(found, ids(&thread.lineage(branch.row.id)), "lineage of {}", branch.row.id);
        }
        let arrived: Vec<&CheckpointRow> = thread.checkpoints.iter().rev().collect();
        assert_eq!(self.walk(uid, Walk::All { before: None }).await, ids(&arrived), "arrivals");
        self.compare_children(thread).await;
    }

    /// Ids along a line, in pages of three.
    async fn walk(&self, thread: ThreadUid, line: Walk) -> Vec<CheckpointId> {
        let mut query = HistoryQuery { thread, namespace: String::new(), line, limit: 3 };
        let mut found = Vec::new();
        loop {
            let page = self.store.history(query.clone()).await.expect("a line that is there has a history");
            found.extend(page.entries.into_iter().map(|entry| entry.checkpoint.id));
            match page.next {
                Some(next) if found.len() < HISTORY_MAX => query.line = next,
                _ => return found,
            }
        }
    }

    fn compare_branch(&self, thread: &Thread, branch: &NamedBranch, loaded: &Loaded) {
        assert_eq!(loaded.thread, thread.row);
        assert_eq!(&loaded.branch, branch);
        assert_eq!(loaded.branches, thread.branches);
        assert_eq!(loaded.tags, tags_of(thread));
        assert_eq!(loaded.effects, thread.ledger());
        let run = thread.begun.last().and_then(|id| thread.run(id));
        assert_eq!(loaded.run.as_ref(), run);
        if let Some(run) = run {
            assert_eq!(loaded.graph.as_ref(), self.model.graph(run));
        }
        let tip = branch.row.tip.as_ref().expect("every branch here has a tip");
        assert_eq!(loaded.checkpoint.as_ref(), thread.checkpoint(&tip.id));
        assert_eq!(value_of::<u64>(loaded, HEIGHT_CHANNEL), tip.height);
        let log = self.logs.iter().find(|(id, _)| *id == tip.id).map(|(_, log)| log);
        let held = log.map(|_| value_of::<Vec<u64>>(loaded, "log"));
        assert_eq!(held.as_ref(), log, "log at {}", tip.id);
        assert_eq!(loaded.pending, thread.pending_of(&tip.id, branch.row.id));
        assert_eq!(loaded.children, thread.places(branch.row.id, &tip.id));
        assert_eq!(loaded.next_ordinal, thread.next_ordinal(branch.row.id, tip.height + 1));
    }

    /// Compares the listing of threads, and of those that wait.
    pub(super) async fn compare_listing(&self) {
        let mut expected: Vec<_> = self.model.threads.iter().map(|thread| (thread, waiting_of(thread))).collect();
        expected.sort_by(|(a, _), (b, _)| a.row.name.cmp(&b.row.name));
        for waiting in [false, true] {
            let query = ThreadQuery { scope: String::new(), after: None, limit: 50, waiting };
            let listed = self.store.threads(query).await.expect("the store answers").threads;
            expected.retain(|(_, branches)| !waiting || !branches.is_empty());
            assert_eq!(listed.len(), expected.len());
            for (entry, (thread, branches)) in listed.iter().zip(&expected) {
                assert_eq!(entry.thread, thread.row);
                let head = thread.branch(thread.row.head).and_then(|head| head.row.tip.clone());
                let status = thread.begun.last().and_then(|id| thread.run(id)).map(|run| run.status);
                assert_eq!((&entry.tip, entry.status), (&head, status));
                assert!(if waiting { entry.waiting == *branches } else { entry.waiting.is_empty() }, "{entry:?}");
            }
        }
    }
}

/// Tags by name, with the ids of their checkpoints.
fn tags_of(thread: &Thread) -> Vec<TagEntry> {
    let entry = |row: &TagRow| {
        let named = thread.checkpoints.iter().find(|there| (there.branch, there.height) == (row.branch, row.height));
        TagEntry { row: row.clone(), checkpoint: named.expect("only what is there has a tag").id.clone() }
    };
    let mut tags: Vec<_> = thread.tags.iter().map(entry).collect();
    tags.sort_by(|a, b| a.row.name.cmp(&b.row.name));
    tags
}

/// Branches on whose tips questions lie, with these and their answers.
fn waiting_of(thread: &Thread) -> Vec<WaitingBranch> {
    let of_branch = |branch: &NamedBranch| {
        let mut rows = thread.pending_of(&branch.row.tip.as_ref()?.id, branch.row.id);
        rows.retain(|row| [PendingKind::Interrupt, PendingKind::Answer].contains(&row.kind));
        let asked = rows.iter().any(|row| row.kind == PendingKind::Interrupt);
        asked.then(|| WaitingBranch { branch: branch.clone(), rows })
    };
    thread.branches.iter().filter_map(of_branch).collect()
}

fn ids(rows: &[&CheckpointRow]) -> Vec<CheckpointId> {
    rows.iter().map(|row| row.id.clone()).collect()
}
