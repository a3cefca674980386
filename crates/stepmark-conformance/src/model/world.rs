//! How does a sequence of steps become calls, and who compares the answers?

use std::fmt::Debug;
use std::sync::Arc;

use stepmark_core::error::Result;
use stepmark_core::id::{CheckpointId, ThreadUid};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::EffectsMode;
use stepmark_core::store::{CheckpointStore, Commit, Load, NameWrite, Outcome, Records, ThreadAddress};
use stepmark_core::value::ValueRef;

use super::state::{Model, Verdict};
use super::{Growth, Log, Step, Writer, calls};
use crate::StoreEnv;
use crate::make::{Draft, Line, appended, full, tip_of};

/// Value rows of commits begin here; flushed ones lie below.
const OWN_ORDINAL: u32 = 20;

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
    pub(super) store: Arc<dyn CheckpointStore>,
    pub(super) model: Model,
    /// Per branch the beliefs of its writers, newest last.
    writers: Vec<Vec<Belief>>,
    sent: Vec<Sent>,
    /// Per branch of a sub-graph the beliefs of its writers, newest last.
    pub(super) callers: Vec<Vec<Line>>,
    /// What `log` holds at each checkpoint that has it.
    pub(super) logs: Vec<(CheckpointId, Vec<u64>)>,
    items: u64,
}

impl World {
    /// Plays `steps` on a fresh store; panics where it differs from the model.
    pub(super) async fn play(env: &dyn StoreEnv, steps: &[Step]) {
        let store = env.fresh().await;
        let (writers, sent, callers, logs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut world = Self { store, model: Model::default(), writers, sent, callers, logs, items: 0 };
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
            Step::Create { name, whole } => Some(self.create(*name, *whole).await),
            Step::Commit(growth) => self.grow(growth).await,
            Step::Claim { writer } => {
                let belief = self.belief(*writer)?;
                let log = belief.log.clone();
                Some(self.send_commit(belief.line.claim(), &belief, log).await)
            }
            Step::Fork { writer, back, name, again } => {
                let belief = self.belief(*writer)?;
                let from = name.and_then(|(_, taken)| taken.then_some(belief.line.branch.id));
                let write = |(name, _): (u8, bool)| NameWrite { name: NAMES[usize::from(name)].to_owned(), from };
                let name = name.map(write);
                let effects = if *again { EffectsMode::Again } else { EffectsMode::Ledger };
                let change =
                    move |_: &Line, commit: &mut Commit| (commit.name, commit.branch.effects) = (name, effects);
                self.fork(&belief, *back, change).await
            }
            Step::Reset { writer, back, name, head } => {
                let (belief, head) = (self.belief(*writer)?, *head);
                let name = name.map(|name| NAMES[usize::from(name)]);
                self.fork(&belief, *back, move |line, commit| calls::reset(line, commit, name, head)).await
            }
            Step::Flush { writer, number, text, value, run } => {
                let belief = self.belief(*writer)?;
                self.send_append(calls::flush(&belief.line, (*number, *text), *value, *run)).await
            }
            Step::Repeat { write } => {
                let again = chosen(&self.sent, *write)?.clone();
                match again {
                    Sent::Commit(commit) => Some(self.answer_commit(&commit).await.0),
                    Sent::Records(append) => self.send_append(*append).await,
                }
            }
            Step::Call(call) => self.call(call).await,
            Step::Forge { write, packed } => self.forge(*write, *packed).await,
            Step::Delete { thread } => {
                let uid = chosen(&self.model.threads, *thread)?.row.uid;
                self.store.delete_thread(uid).await.expect("a thread that is there is deleted");
                self.model.delete(uid);
                let gone = self.store.load(Load::head(ThreadAddress::Uid(uid))).await;
                assert!(gone.is_err(), "a deleted thread loads: {gone:?}");
                None
            }
            _ => self.step_beside(step).await,
        }
    }

    /// Questions, what answers and counts them, pointers that move beside runs, and the ledger.
    async fn step_beside(&mut self, step: &Step) -> Option<ThreadUid> {
        let append = match step {
            Step::Ask { writer, task } => calls::ask(&self.belief(*writer)?.line, *task),
            Step::Answer { question, beside, text } => {
                let questions = self.model.threads.iter().flat_map(|thread| {
                    let asked = |row: &&PendingRow| row.kind == PendingKind::Interrupt;
                    thread.pending.iter().filter(asked).map(move |row| (thread, row))
                });
                let questions: Vec<_> = questions.collect();
                let (thread, row) = *chosen(&questions, *question)?;
                calls::answer(thread, row, *beside, *text)?
            }
            Step::End { writer, run, known } => calls::end(&self.belief(*writer)?.line, *run, *known),
            Step::SetHead { to, from } => {
                let from = self.belief(*from)?.line.branch.id;
                self.belief(*to)?.line.head_from(from)
            }
            Step::Tag { writer, back, name } => self.tag(*writer, *back, *name)?,
            Step::Intend { writer, action, flush, forks } => {
                let mut belief = self.belief(*writer)?;
                if *forks {
                    let first = calls::intend(self.model.thread(belief.line.thread.uid), &belief.line, *action, *flush);
                    self.send_append(first).await;
                    self.fork(&belief, 0, |_, _| ()).await?;
                    belief = self.belief(Writer { branch: (self.writers.len() - 1) as u8, belief: 0 })?;
                }
                calls::intend(self.model.thread(belief.line.thread.uid), &belief.line, *action, *flush)
            }
            Step::Tell { attempt, end, nobody } => {
                let attempts = self.model.threads.iter().flat_map(|thread| {
                    thread.effects.iter().flat_map(|effect| &effect.attempts).map(move |attempt| (thread, attempt))
                });
                let (thread, attempt) = *chosen(&attempts.collect::<Vec<_>>(), *attempt)?;
                calls::tell(thread, attempt, *end, *nobody)
            }
            Step::Untag { writer, name } => self.belief(*writer)?.line.untag(NAMES[usize::from(*name)]),
            other => unreachable!("{other:?} is no step beside a run"),
        };
        self.send_append(append).await
    }

    async fn grow(&mut self, growth: &Growth) -> Option<ThreadUid> {
        let belief = self.belief(growth.writer)?;
        let mut draft = belief.line.next().from_ordinal(if growth.collides { 1 } else { OWN_ORDINAL });
        if growth.claims {
            draft = draft.claiming();
        }
        if let Some((begins, id)) = growth.run {
            draft = draft.with_run(calls::run_write(&belief.line, begins, id));
            draft.commit.graph = begins.then(|| calls::graph(id, growth.claims));
        }
        draft.commit.expect_head = growth.expects_head.then_some(belief.line.branch.id);
        if let Some(right) = growth.names {
            draft.commit.children = self.named_children(&belief.line, !right).unwrap_or_default();
        }
        let (draft, log) = self.write_log(draft, &belief, growth.log);
        Some(self.send_commit(draft.build(), &belief, log).await)
    }

    /// The belief that `writer` chooses; writers of deleted threads stay, and are refused.
    fn belief(&self, writer: Writer) -> Option<Belief> {
        let beliefs = chosen(&self.writers, writer.branch)?;
        let newest = beliefs.len() - 1;
        Some(beliefs[newest.saturating_sub(usize::from(writer.belief))].clone())
    }

    /// The line that `writer` chooses.
    pub(super) fn line_of(&self, writer: Writer) -> Option<Line> {
        self.belief(writer).map(|belief| belief.line)
    }

    /// Sends a commit of a sub-graph; answers whether it was applied.
    pub(super) async fn send_child(&mut self, commit: &Commit) -> bool {
        self.sent.push(Sent::Commit(Box::new(commit.clone())));
        self.answer_commit(commit).await.1
    }

    async fn create(&mut self, name: u8, whole: bool) -> ThreadUid {
        let line = Line::unborn(&self.store, "", NAMES[usize::from(name)]);
        let belief = Belief { line, log: None };
        let mut commit = if whole { belief.line.whole_run() } else { belief.line.birth().build() };
        commit.name = (name == 0).then(|| NAMES[0].into());
        self.send_commit(commit, &belief, None).await
    }

    /// Forks below the tip of a belief; `change` says what else the unit does.
    async fn fork(&mut self, belief: &Belief, back: u8, change: impl FnOnce(&Line, &mut Commit)) -> Option<ThreadUid> {
        let thread = self.model.thread(belief.line.thread.uid)?;
        let lineage = thread.lineage(belief.line.branch.id);
        let place = lineage.get(usize::from(back).min(lineage.len().checked_sub(1)?))?;
        let (line, mut commit) = belief.line.fork_at(place.branch, tip_of(place), None);
        if back == 0 {
            commit.pending = calls::copied(&thread.pending_of(&place.id, belief.line.branch.id), line.branch.id);
        }
        change(&belief.line, &mut commit);
        let manifest = place.read_manifest().expect("the model keeps what was sealed");
        let held = self.logs.iter().find(|(id, _)| *id == place.id).map(|(_, held)| held.clone());
        let log = manifest.channel("log").zip(held);
        Some(self.send_commit(commit, &Belief { line, log: log.clone() }, log).await)
    }

    fn tag(&self, writer: Writer, back: i8, name: u8) -> Option<Records> {
        let line = self.belief(writer)?.line;
        let lineage = self.model.thread(line.thread.uid)?.lineage(line.branch.id);
        let place = usize::try_from(back).ok().and_then(|back| lineage.get(back));
        let segment = place.map_or(line.segment, |row| row.branch);
        Some(calls::tag(&line, segment, back, NAMES[usize::from(name)]))
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
        if let (Verdict::Told(told), Ok(appended)) = (&verdict, &answer) {
            assert_eq!(appended.effect.as_ref(), Some(told), "the ledger to {append:#?}");
        } else {
            let outcome = if let Verdict::Done(outcome) = &verdict { *outcome } else { Outcome::Applied };
            assert_verdict(&verdict, answer.map(|_| outcome), &append);
        }
        let thread = append.thread;
        self.sent.push(Sent::Records(Box::new(append)));
        Some(thread)
    }
}

pub(super) fn chosen<T>(from: &[T], number: u8) -> Option<&T> {
    from.get(usize::from(number).checked_rem(from.len())?)
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
