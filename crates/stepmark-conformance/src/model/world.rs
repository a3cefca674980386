//! How does a sequence of steps become calls, and who compares the answers?

use std::fmt::Debug;
use std::sync::Arc;

use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::error::Result;
use stepmark_core::id::{CheckpointId, ThreadUid};
use stepmark_core::rows::{RunRow, RunStatus};
use stepmark_core::store::{
    Channels, CheckpointStore, Commit, HistoryQuery, Line as Walk, Load, Loaded, NamedBranch, Outcome, Place, Records,
    RunWrite, ThreadAddress, ThreadQuery,
};
use stepmark_core::value::{ValueAddress, ValueRef, ValueRow};

use super::state::{Model, Thread, Verdict};
use super::{Growth, Log, Step, Writer};
use crate::StoreEnv;
use crate::make::{Draft, HEIGHT_CHANNEL, Line, START, appended, full, tip_of, value_of};

/// Value rows of commits begin here; flushed ones lie below.
const OWN_ORDINAL: u32 = 20;

/// More checkpoints than any sequence makes; a walk that goes on beyond does not end.
const HISTORY_MAX: usize = 100;

/// Names of threads and branches.
const NAMES: [&str; 3] = ["a", "b", "ä"];

/// What a writer believes: its branch, and what `log` holds there.
#[derive(Clone, Debug)]
struct Belief {
    line: Line,
    log: Option<(ValueRef, Vec<u64>)>,
}

/// A write that was sent.
#[derive(Clone, Debug)]
enum Sent {
    Commit(Box<Commit>),
    Records(Box<Records>),
}

/// A store, the model of it, and everybody who writes.
pub(super) struct World {
    store: Arc<dyn CheckpointStore>,
    model: Model,
    /// Per branch the beliefs of its writers, newest last.
    writers: Vec<Vec<Belief>>,
    sent: Vec<Sent>,
    /// What `log` holds at each checkpoint that has it.
    logs: Vec<(CheckpointId, Vec<u64>)>,
    items: u64,
}

impl World {
    /// Plays `steps` on a fresh store; panics where it differs from the model.
    pub(super) async fn play(env: &dyn StoreEnv, steps: &[Step]) {
        let store = env.fresh().await;
        let (writers, sent, logs) = (Vec::new(), Vec::new(), Vec::new());
        let mut world = Self { store, model: Model::default(), writers, sent, logs, items: 0 };
        for step in steps {
            if let Some(thread) = world.step(step).await {
                world.compare(thread).await;
            }
        }
        for thread in world.model.threads.iter().map(|thread| thread.row.uid).collect::<Vec<_>>() {
            world.compare(thread).await;
        }
        world.compare_listing().await;
    }

    async fn step(&mut self, step: &Step) -> Option<ThreadUid> {
        match step {
            Step::Create { name } => Some(self.create(*name).await),
            Step::Commit(growth) => self.grow(growth).await,
            Step::Claim { writer } => {
                let belief = self.belief(*writer)?;
                let log = belief.log.clone();
                Some(self.send_commit(belief.line.claim(), &belief, log).await)
            }
            Step::Fork { writer, back, name } => self.fork(*writer, *back, *name).await,
            Step::Flush { writer, number, text, value, run } => {
                let belief = self.belief(*writer)?;
                let append = flush(&belief.line, (*number, *text), *value, *run);
                self.send_append(append).await
            }
            Step::Repeat { write } => {
                let again = chosen(&self.sent, *write)?.clone();
                match again {
                    Sent::Commit(commit) => Some(self.answer_commit(&commit).await.0),
                    Sent::Records(append) => self.send_append(*append).await,
                }
            }
            Step::Forge { write, packed } => self.forge(*write, *packed).await,
            Step::Delete { thread } => {
                let uid = chosen(&self.model.threads, *thread)?.row.uid;
                self.store.delete_thread(uid).await.expect("a thread that is there is deleted");
                self.model.delete(uid);
                let gone = self.store.load(Load::head(ThreadAddress::Uid(uid))).await;
                assert!(gone.is_err(), "a deleted thread loads: {gone:?}");
                None
            }
        }
    }

    async fn grow(&mut self, growth: &Growth) -> Option<ThreadUid> {
        let belief = self.belief(growth.writer)?;
        let mut draft = belief.line.next().from_ordinal(if growth.collides { 1 } else { OWN_ORDINAL });
        if growth.claims {
            draft = draft.claiming();
        }
        if let Some((begins, id)) = growth.run {
            draft = draft.with_run(run_write(&belief.line, begins, id));
        }
        draft.commit.expect_head = growth.expects_head.then_some(belief.line.branch.id);
        let (draft, log) = self.write_log(draft, &belief, growth.log);
        Some(self.send_commit(draft.build(), &belief, log).await)
    }

    /// The belief that `writer` chooses; writers of deleted threads stay, and are refused.
    fn belief(&self, writer: Writer) -> Option<Belief> {
        let beliefs = chosen(&self.writers, writer.branch)?;
        let newest = beliefs.len() - 1;
        Some(beliefs[newest.saturating_sub(usize::from(writer.belief))].clone())
    }

    async fn create(&mut self, name: u8) -> ThreadUid {
        let line = Line::unborn(&self.store, "", NAMES[usize::from(name)]);
        let belief = Belief { line, log: None };
        let commit = belief.line.birth().build();
        self.send_commit(commit, &belief, None).await
    }

    async fn fork(&mut self, writer: Writer, back: u8, name: Option<u8>) -> Option<ThreadUid> {
        let belief = self.belief(writer)?;
        let thread = self.model.thread(belief.line.thread.uid)?;
        let lineage = thread.lineage(belief.line.branch.id);
        let place = lineage.get(usize::from(back).min(lineage.len().checked_sub(1)?))?;
        let name = name.map(|name| NAMES[usize::from(name)]);
        let (line, mut commit) = belief.line.fork_at(place.branch, tip_of(place), name);
        if back == 0 {
            let found = thread.pending_of(&place.id, belief.line.branch.id);
            commit.pending = found.iter().map(|row| row.in_lane(line.branch.id.lane())).collect();
        }
        let manifest = place.read_manifest().expect("the model keeps what was sealed");
        let held = self.logs.iter().find(|(id, _)| *id == place.id).map(|(_, held)| held.clone());
        let log = manifest.channel("log").zip(held);
        Some(self.send_commit(commit, &Belief { line, log: log.clone() }, log).await)
    }

    /// Sends the id of a checkpoint that is there with other bytes.
    async fn forge(&mut self, write: u8, packed: bool) -> Option<ThreadUid> {
        let Sent::Commit(original) = chosen(&self.sent, write)?.clone() else { return None };
        let row = original.checkpoint.as_ref()?;
        self.model.thread(original.thread)?.checkpoint(&row.id)?;
        let mut forged = original.clone();
        let mut other = row.clone();
        if packed {
            other.packed.clear();
        } else {
            let mut manifest = row.read_manifest().expect("the model keeps what was sealed");
            manifest.author = Some("a forger".into());
            other.manifest = manifest.encode(row.created_at);
        }
        forged.checkpoint = Some(other.sealed(forged.thread, &forged.namespace));
        Some(self.answer_commit(&forged).await.0)
    }

    fn write_log(&mut self, draft: Draft, belief: &Belief, log: Log) -> (Draft, Option<(ValueRef, Vec<u64>)>) {
        let put = |draft: Draft, packed: bool, node| {
            if packed { draft.packed("log", node) } else { draft.stored("log", node) }
        };
        let (draft, held) = match (log, &belief.log) {
            (Log::Keep, None) => return (draft, None),
            (Log::Keep, Some((value, held))) => (draft.keep("log", *value), held.clone()),
            (Log::Full { packed } | Log::Records { packed, .. }, None) | (Log::Full { packed }, Some(_)) => {
                let held = self.new_items(2);
                (put(draft, packed, full(&held)), held)
            }
            (Log::Records { cut, items, packed }, Some((base, held))) => {
                let keep = held.len().saturating_sub(usize::from(cut));
                let new = self.new_items(items);
                let node = appended(*base, keep as u64, &new);
                (put(draft, packed, node), [&held[..keep], &new].concat())
            }
        };
        let value = draft.value("log");
        self.logs.push((draft.id.clone(), held.clone()));
        (draft, Some((value, held)))
    }

    fn new_items(&mut self, count: u8) -> Vec<u64> {
        let first = self.items;
        self.items += u64::from(count);
        (first..self.items).collect()
    }

    async fn send_commit(&mut self, commit: Commit, belief: &Belief, log: Option<(ValueRef, Vec<u64>)>) -> ThreadUid {
        let (thread, applied) = self.answer_commit(&commit).await;
        self.sent.push(Sent::Commit(Box::new(commit.clone())));
        if applied {
            let mut line = belief.line.clone();
            if commit.checkpoint.is_some() {
                line.segment = commit.branch.id;
            }
            line.branch = commit.branch;
            let belief = Belief { line, log };
            let ours = |beliefs: &&mut Vec<Belief>| {
                let newest = &beliefs[beliefs.len() - 1].line;
                (newest.thread.uid, newest.branch.id) == (thread, belief.line.branch.id)
            };
            match self.writers.iter_mut().find(ours) {
                Some(beliefs) => beliefs.push(belief),
                None => self.writers.push(vec![belief]),
            }
        }
        thread
    }

    async fn answer_commit(&mut self, commit: &Commit) -> (ThreadUid, bool) {
        let verdict = self.model.commit(commit);
        let answer = self.store.commit(commit.clone()).await;
        assert_verdict(&verdict, answer, commit);
        (commit.thread, verdict == Verdict::Done(Outcome::Applied))
    }

    async fn send_append(&mut self, append: Records) -> Option<ThreadUid> {
        let verdict = self.model.append(&append);
        let answer = self.store.append(append.clone()).await;
        let outcome = match &verdict {
            Verdict::Done(outcome) => *outcome,
            Verdict::Refused(_) => Outcome::Applied,
        };
        assert_verdict(&verdict, answer.map(|()| outcome), &append);
        let thread = append.thread;
        self.sent.push(Sent::Records(Box::new(append)));
        Some(thread)
    }

    async fn compare(&self, uid: ThreadUid) {
        let Some(thread) = self.model.thread(uid) else { return };
        for branch in &thread.branches {
            let load = Load {
                place: Place::Branch(branch.row.id),
                channels: Channels::All,
                pending: true,
                branches: true,
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
        assert_eq!(loaded.run.as_ref(), thread.begun.last().and_then(|id| thread.run(id)));
        let tip = branch.row.tip.as_ref().expect("every branch here has a tip");
        assert_eq!(loaded.checkpoint.as_ref(), thread.checkpoint(&tip.id));
        assert_eq!(value_of::<u64>(loaded, HEIGHT_CHANNEL), tip.height);
        let log = self.logs.iter().find(|(id, _)| *id == tip.id).map(|(_, log)| log);
        let held = log.map(|_| value_of::<Vec<u64>>(loaded, "log"));
        assert_eq!(held.as_ref(), log, "log at {}", tip.id);
        assert_eq!(loaded.pending, thread.pending_of(&tip.id, branch.row.id));
        assert_eq!(loaded.next_ordinal, thread.next_ordinal(branch.row.id, tip.height + 1));
    }

    async fn compare_listing(&self) {
        let query = ThreadQuery { scope: String::new(), after: None, limit: 50, waiting: false };
        let listed = self.store.threads(query).await.expect("the store answers").threads;
        let mut expected: Vec<_> = self.model.threads.iter().collect();
        expected.sort_by(|a, b| a.row.name.cmp(&b.row.name));
        assert_eq!(listed.len(), expected.len());
        for (entry, thread) in listed.iter().zip(expected) {
            assert_eq!(entry.thread, thread.row);
            let head = thread.branch(thread.row.head).and_then(|head| head.row.tip.clone());
            let status = thread.begun.last().and_then(|id| thread.run(id)).map(|run| run.status);
            assert_eq!((&entry.tip, entry.status), (&head, status));
        }
    }
}

fn ids(rows: &[&CheckpointRow]) -> Vec<CheckpointId> {
    rows.iter().map(|row| row.id.clone()).collect()
}

fn chosen<T>(from: &[T], number: u8) -> Option<&T> {
    from.get(usize::from(number).checked_rem(from.len())?)
}

fn run_write(line: &Line, begins: bool, id: u8) -> RunWrite {
    let id = format!("run {id}");
    if begins {
        RunWrite::Begin(line.run(&id, RunStatus::Open))
    } else {
        RunWrite::Update(line.run(&id, RunStatus::Failed))
    }
}

fn flush(line: &Line, (number, text): (u8, u8), value: bool, run: Option<u8>) -> Records {
    let mut append = line.flush(u64::from(number), &format!("text {text}"));
    append.run = run.map(|id| RunRow {
        ended_at: Some(START + i64::from(text)),
        ..line.run(&format!("run {id}"), RunStatus::Done)
    });
    if value {
        let height = line.branch.tip.as_ref().map_or(0, |tip| tip.height + 1);
        let address = ValueAddress { branch: line.branch.id, height, ordinal: u32::from(number) + 1 };
        append.pending[0].values.push(ValueRef { address, packed: false });
        append.values.push(ValueRow { address, node: full(&text) });
    }
    append
}

#[track_caller]
fn assert_verdict(verdict: &Verdict, answer: Result<Outcome>, call: &dyn Debug) {
    match (verdict, answer) {
        (Verdict::Done(outcome), Ok(answer)) => assert_eq!(answer, *outcome, "outcome of {call:#?}"),
        (Verdict::Refused(reasons), Err(error)) => {
            let told = (error.kind(), error.subject());
            assert!(reasons.contains(&told), "refused with {error}, not for one of {reasons:?}: {call:#?}");
        }
        (verdict, answer) => panic!("the model says {verdict:?}, the store {answer:?}: {call:#?}"),
    }
}
