//! What does an attempt that runs ask and finish?
//!
//! Calls are known by name and by how often that name was called before, never by their place in the node. A node that runs
//! again must call the same steps in the same order; where it surely did not, it is told so.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::mem::take;
use std::sync::{Arc, MutexGuard};

use stepmark_core::id::{InterruptId, TaskHash, ThreadUid};
use stepmark_core::interrupt::{AskedInside, Asker, Question, question_hash};
use stepmark_core::memo::Memo;

use super::noted::Notes;
use super::{Journal, StepKey};
use crate::interrupt::QuestionSpec;
use crate::node_error::NodeError;
use crate::rare::Rare;

/// How many questions without an answer one attempt may ask: a loop that swallows the error would not end otherwise.
const ASKED_MAX: usize = 10_000;
/// How many steps a message about their order shows.
const SHOWN_MAX: usize = 12;

/// The journal of a running attempt, shared by the clones of its `Cx` and by the tasks of its sub-graphs.
#[derive(Default)]
pub(crate) struct Attempt {
    /// What earlier attempts asked and finished; absent for nearly every task.
    earlier: Option<Arc<Journal>>,
    /// How its step learns that there is something new; absent where the step has no other task.
    notes: Option<Notes>,
    live: Rare<Live>,
}

#[derive(Default)]
struct Live {
    /// Whether the step knows that there is something new.
    is_noted: bool,
    /// By task, or by the inside of a step.
    calls: HashMap<TaskHash, Calls>,
    /// Questions that the run has not taken yet.
    asked: Vec<Asked>,
    /// How many there were.
    asked_count: usize,
    /// Tasks that asked, and those whose sub-graphs wait.
    waiting: HashSet<TaskHash>,
    /// The place of the next record.
    next: u64,
    /// Steps that were finished in this process: those that the run has not taken yet, and all by key.
    finished: Vec<(u64, Arc<Memo>)>,
    known: HashMap<StepKey, Arc<Memo>>,
    returned: u64,
}

/// What a task called in an attempt, or a step in one of its own.
#[derive(Default)]
struct Calls {
    /// How often each name was called so far, by what is called.
    counts: HashMap<(What, Arc<str>), u32>,
    /// Steps in the order in which they were called.
    called: Vec<StepKey>,
    is_called: HashSet<StepKey>,
    /// Steps that run now, and whether another one ran beside each.
    running: HashMap<StepKey, bool>,
    has_failed: bool,
    /// Steps that it finished, and those that attempts before it finished in this process, with their places.
    finished: Vec<(u64, Arc<Memo>)>,
    before: Vec<(u64, Arc<Memo>)>,
    /// What earlier attempts finished with nothing beside it and this one has not called, the first of them last. Made at
    /// the first look; those that were called since are taken off when they are met.
    due: Option<Vec<Arc<Memo>>>,
}

/// What a name belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Question,
    Step,
    SubGraph,
    Effect,
    /// An effect whatever its name.
    AnyEffect,
}

/// A question that this attempt asked and nobody has answered.
pub(crate) struct Asked {
    /// Its place in the journal.
    pub(crate) ordinal: u64,
    pub(crate) question: Question,
    /// Whether the newest stored wording of its id is this one.
    pub(crate) is_known: bool,
}

/// Who asks: what an id is made of besides the question's name.
pub(crate) struct AskingTask<'a> {
    pub(crate) thread: ThreadUid,
    pub(crate) task: TaskHash,
    /// The task, or the inside of a step of it.
    pub(crate) place: TaskHash,
    pub(crate) node: &'a Arc<str>,
    /// The namespace, if it is a sub-graph's.
    pub(crate) inside: Option<Arc<str>>,
}

/// A step that was called: its name is counted from now on.
pub(crate) struct StepCall {
    pub(crate) key: StepKey,
    /// What it returned in an earlier attempt.
    pub(crate) memo: Option<Arc<Memo>>,
}

impl Attempt {
    pub(crate) fn new(earlier: Option<Arc<Journal>>, notes: Option<Notes>) -> Self {
        Self { earlier, notes, live: Rare::default() }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        let next = || self.earlier.as_ref().map_or(0, |journal| journal.next_ordinal());
        let mut live = self.live.begun(|| Live { next: next(), ..Live::default() });
        if !live.is_noted {
            live.is_noted = true;
            self.notes.iter().for_each(Notes::note);
        }
        live
    }

    /// What is written from now on is something new again.
    pub(crate) fn begin_taking(&self) {
        self.live.look(|live| live.is_noted = false);
    }

    /// Begins a task or a step of it, also again: what it finished stays known, and its names are counted from the first.
    pub(crate) fn restart(&self, task: TaskHash) {
        self.live.look(|live| {
            if let Some(Calls { mut before, finished, .. }) = live.calls.remove(&task) {
                before.extend(finished);
                live.calls.insert(task, Calls { before, ..Calls::default() });
            }
            live.waiting.remove(&task);
        });
    }

    /// The answer that `read` understands, or `None` after noting that the question was asked.
    pub(crate) fn ask<A>(
        &self,
        task: AskingTask<'_>,
        spec: QuestionSpec,
        read: impl Fn(&[u8]) -> Option<A>,
    ) -> Option<A> {
        let occurrence = self.live().count(task.place, What::Question, &spec.name.into());
        self.ask_at((task, occurrence), spec, read)
    }

    /// The same for a question whose occurrence something else decides: what does not ask any more must not move others.
    pub(crate) fn ask_at<A>(
        &self,
        (task, occurrence): (AskingTask<'_>, u32),
        spec: QuestionSpec,
        read: impl Fn(&[u8]) -> Option<A>,
    ) -> Option<A> {
        let mut live = self.live();
        let id = InterruptId::of(task.thread, task.place, spec.name, occurrence);
        let earlier = self.earlier.as_ref().and_then(|journal| journal.newest(id));
        let same = earlier.filter(|entry| entry.question.hash() == question_hash(&spec.body));
        let answer = same.and_then(|entry| entry.answer.as_ref());
        if let Some(answer) = answer.and_then(|answer| read(&answer.body)) {
            return Some(answer);
        }
        let question = Question {
            id,
            asker: Asker::Task,
            node: Arc::clone(task.node),
            name: spec.name.into(),
            occurrence,
            asked_at: 0,
            body: spec.body,
            answer_schema: spec.answer_schema.map(String::into_bytes),
            inside: task.inside.map(|namespace| AskedInside { namespace, task: task.task }),
        };
        // An answer that this program cannot read is asked for anew.
        let is_known = same.is_some() && answer.is_none();
        live.waiting.insert(task.task);
        live.push(question, is_known);
        None
    }

    /// Asks where a sub-graph stops by itself.
    pub(crate) fn ask_stop(&self, question: Question) {
        let is_known = self.earlier.as_ref().is_some_and(|journal| journal.newest(question.id).is_some());
        self.live().push(question, is_known);
    }

    /// Notes that a task waits for its sub-graph's answers.
    pub(crate) fn wait(&self, task: TaskHash) {
        self.live().waiting.insert(task);
    }

    /// Whether a task asked something that nobody has answered, or a sub-graph of it did.
    pub(crate) fn waits(&self, task: impl FnOnce() -> TaskHash) -> bool {
        self.live.look(|live| !live.waiting.is_empty() && live.waiting.contains(&task()))
    }

    /// The place of a record that is written elsewhere.
    pub(crate) fn next_record(&self) -> u64 {
        self.live().next_record()
    }

    /// Counts a call of a sub-graph.
    pub(crate) fn call_sub_graph(&self, task: TaskHash, name: &str) -> u32 {
        self.live().count(task, What::SubGraph, &name.into())
    }

    /// Counts a call of an effect: among those of its name, and among all of its task.
    pub(crate) fn call_effect(&self, task: TaskHash, name: &Arc<str>) -> (u32, u32) {
        let mut live = self.live();
        (live.count(task, What::Effect, name), live.count(task, What::AnyEffect, &Arc::default()))
    }

    /// What earlier attempts left.
    pub(crate) fn earlier(&self) -> Option<&Journal> {
        self.earlier.as_deref()
    }

    /// What was asked and not answered, and not taken yet.
    pub(crate) fn take_asked(&self) -> Vec<Asked> {
        self.live.look(|live| take(&mut live.asked))
    }

    /// Calls a step.
    pub(crate) fn call_step(&self, task: TaskHash, name: &str) -> StepCall {
        let (mut live, name) = (self.live(), Arc::from(name));
        let occurrence = live.count(task, What::Step, &name);
        let key = (task, name, occurrence);
        let calls = live.calls.entry(task).or_default();
        calls.called.push(key.clone());
        calls.is_called.insert(key.clone());
        let earlier = || self.earlier.as_ref().and_then(|journal| journal.memos.get(&key));
        let memo = live.known.get(&key).cloned().or_else(|| earlier().map(|entry| Arc::clone(&entry.memo)));
        live.returned += u64::from(memo.is_some());
        StepCall { key, memo }
    }

    /// Lets a step run that has no memo; an error if an earlier attempt surely finished another one before.
    pub(crate) fn start_step(&self, key: &StepKey) -> Result<(), NodeError> {
        let mut live = self.live();
        let calls = live.calls.entry(key.0).or_default();
        if let Some(missed) = self.missed(calls, key.0) {
            return Err(self.out_of_order(calls, &missed, Some(key)));
        }
        let running = &mut calls.running;
        let is_beside = !running.is_empty();
        for beside in running.values_mut() {
            *beside = true;
        }
        running.insert(key.clone(), is_beside);
        Ok(())
    }

    /// Whether nothing else of the task ran beside a step that ends now.
    pub(crate) fn end_step(&self, key: &StepKey, is_done: bool) -> bool {
        let mut live = self.live();
        let calls = live.calls.entry(key.0).or_default();
        let is_ordered = calls.running.remove(key) == Some(false) && !calls.has_failed;
        calls.has_failed |= !is_done;
        is_ordered
    }

    /// Keeps what a step returned.
    pub(crate) fn keep_memo(&self, memo: Memo) {
        let (memo, mut live) = (Arc::new(memo), self.live());
        let ordinal = live.next_record();
        live.known.insert(super::key_of(&memo), Arc::clone(&memo));
        live.calls.entry(memo.task).or_default().finished.push((ordinal, Arc::clone(&memo)));
        live.finished.push((ordinal, memo));
    }

    /// Whether it asked or called anything.
    pub(crate) fn is_begun(&self) -> bool {
        self.live.get().is_some()
    }

    /// The place of the next record, if this attempt has made any.
    pub(crate) fn taken(&self) -> Option<u64> {
        self.live.look(|live| Some(live.next)).filter(|next| *next > 0)
    }

    /// The steps that the run does not know yet.
    pub(crate) fn take_memos(&self) -> Vec<(u64, Arc<Memo>)> {
        self.live.look(|live| take(&mut live.finished))
    }

    /// How many steps returned what they had returned before, since the last look.
    pub(crate) fn take_returned(&self) -> u64 {
        self.live.look(|live| take(&mut live.returned))
    }

    /// A task that ended well has called every step that an earlier attempt finished by itself.
    pub(crate) fn check_called(&self, task: TaskHash) -> Result<(), NodeError> {
        let (mut nothing, mut live) = (Calls::default(), self.live.get());
        // A task that waits runs again.
        if live.as_ref().is_some_and(|live| live.waiting.contains(&task)) {
            return Ok(());
        }
        let calls = live.as_mut().and_then(|live| live.calls.get_mut(&task)).unwrap_or(&mut nothing);
        self.missed(calls, task).map_or(Ok(()), |missed| Err(self.out_of_order(calls, &missed, None)))
    }

    /// Whether earlier attempts left something to be checked.
    pub(crate) fn has_earlier(&self) -> bool {
        self.earlier.is_some()
    }

    /// What a task finished in earlier attempts, with its place, in no order.
    fn before<'a>(&'a self, calls: &'a Calls, task: TaskHash) -> impl Iterator<Item = (u64, &'a Arc<Memo>)> {
        let stored = self.earlier.iter().flat_map(|journal| journal.memos.values());
        let stored = stored.map(|entry| (entry.ordinal, &entry.memo)).filter(move |(_, memo)| memo.task == task);
        stored.chain(calls.before.iter().map(|(ordinal, memo)| (*ordinal, memo)))
    }

    /// The first step that an earlier attempt finished with nothing beside it, and that this one has not called.
    fn missed(&self, calls: &mut Calls, task: TaskHash) -> Option<Arc<Memo>> {
        let mut due = calls.due.take().unwrap_or_else(|| self.ordered(calls, task));
        while due.last().is_some_and(|memo| calls.is_called.contains(&super::key_of(memo))) {
            due.pop();
        }
        let missed = due.last().cloned();
        calls.due = Some(due);
        missed
    }

    /// What a task finished in earlier attempts with nothing beside it, the first last.
    fn ordered(&self, calls: &Calls, task: TaskHash) -> Vec<Arc<Memo>> {
        let mut ordered: Vec<_> = self.before(calls, task).filter(|(_, memo)| memo.is_ordered).collect();
        ordered.sort_by_key(|(ordinal, _)| std::cmp::Reverse(*ordinal));
        ordered.into_iter().map(|(_, memo)| Arc::clone(memo)).collect()
    }

    fn out_of_order(&self, calls: &Calls, missed: &Memo, came: Option<&StepKey>) -> NodeError {
        let finished = calls.finished.iter().map(|(ordinal, memo)| (*ordinal, memo));
        let mut recorded: Vec<_> = self.before(calls, missed.task).chain(finished).collect();
        recorded.sort_by_key(|(ordinal, _)| *ordinal);
        let recorded = listed(recorded.iter().map(|(_, memo)| (&*memo.name, memo.occurrence)));
        let called = listed(calls.called.iter().map(|(_, name, occurrence)| (&**name, *occurrence)));
        let expected = label(&missed.name, missed.occurrence);
        let came = came.map_or_else(|| "the end".to_owned(), |(_, name, occurrence)| label(name, *occurrence));
        NodeError::new(format_args!(
            "the node does not call its steps as in an earlier attempt: expected {expected}, {came} came\n  \
             recorded: {recorded}\n  called now: {called}\nits code has changed, or depends on time or chance outside of a \
             step; discard the unfinished tasks, or replay their checkpoint, which uses no recorded steps"
        ))
        .fatal()
    }
}

fn label(name: &str, occurrence: u32) -> String {
    if occurrence == 0 { format!("step {name:?}") } else { format!("step {name:?} number {}", occurrence + 1) }
}

fn listed<'a>(steps: impl Iterator<Item = (&'a str, u32)>) -> String {
    let mut names: Vec<String> = steps
        .map(|(name, occurrence)| if occurrence == 0 { name.to_owned() } else { format!("{name}#{}", occurrence + 1) })
        .collect();
    if names.len() > SHOWN_MAX {
        let more = names.len() - SHOWN_MAX;
        names.truncate(SHOWN_MAX);
        names.push(format!("and {more} more"));
    }
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

impl Live {
    fn next_record(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn push(&mut self, question: Question, is_known: bool) {
        if self.asked_count < ASKED_MAX {
            self.asked_count += 1;
            let ordinal = if is_known { self.next } else { self.next_record() };
            self.asked.push(Asked { ordinal, question, is_known });
        }
    }

    fn count(&mut self, task: TaskHash, what: What, name: &Arc<str>) -> u32 {
        let counts = &mut self.calls.entry(task).or_default().counts;
        let next = counts.entry((what, Arc::clone(name))).or_default();
        let occurrence = *next;
        *next += 1;
        occurrence
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("earlier", &self.earlier).finish_non_exhaustive()
    }
}
