//! How does a run wait for people?
//!
//! A task that asked is set aside; its siblings go on. When nothing else can run, the run looks for answers: what was
//! answered runs again, and if nothing was, the run ends by one write that is refused if an answer came meanwhile. Static
//! stops are questions that the graph asks before or after a node; resuming answers them.

use std::sync::Arc;

use stepmark_core::checkpoint::{CheckpointRow, Manifest, Source, TaskEntry};
use stepmark_core::error::{ErrorKind as StoreKind, Subject};
use stepmark_core::id::{BranchId, InterruptId, TaskHash};
use stepmark_core::interrupt::{Answer, AskedInside, Asker, Question};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::store::{Load, Loaded, Place, Records, ThreadAddress};

use crate::compile::Program;
use crate::decide::{append_decided, store_of};
use crate::error::{Error, ErrorKind, Result};
use crate::execute::Finished;
use crate::flush::{self, Also, End};
use crate::interrupt::{OpenQuestion, QuestionPlace};
use crate::journal::{Asked, Entry, Journals};
use crate::run::Run;
use crate::thread::DECISIONS_MAX;

/// The branch that questions of a run without a thread name.
const MEMORY_BRANCH: BranchId = BranchId::new(1).expect("it is not 0");

impl Run {
    /// The identity of a planned task.
    pub(crate) fn task_hash(&self, task: usize) -> TaskHash {
        let (program, planned) = (&self.host.program, &self.position.next[task]);
        if let Some(line) = &self.line {
            return line.task_hash(program, &self.position, planned);
        }
        let activation = self.position.activations[planned.node as usize] + 1;
        let namespace = self.inside.as_ref().map_or("", |inside| &inside.namespace);
        TaskHash::of(namespace, &program.nodes[planned.node as usize].name, activation, planned.trigger)
    }

    /// Whether a planned task waits for an answer.
    pub(crate) fn task_waits(&self, task: usize) -> bool {
        if let Some(inside) = &self.inside {
            let (task, journal) = (self.task_hash(task), inside.journal());
            return journal.waits(|| task) || journal.earlier().is_some_and(|earlier| earlier.waits(Some(task)));
        }
        // Nearly every run has no journals, and a task's identity costs a hash.
        !self.journals.is_empty() && self.journals.get(self.task_hash(task)).is_some_and(|journal| journal.waits(None))
    }

    /// Takes over what a task and its sub-graphs asked.
    pub(crate) fn note_asked(&mut self, task: usize, asked: Vec<Asked>) {
        let (hash, now) = (self.task_hash(task), self.now());
        for Asked { ordinal, question, .. } in asked.into_iter().filter(|asked| !asked.is_known) {
            self.journals.of_task(hash).push_at(ordinal, Question { asked_at: now, ..question });
        }
    }

    /// The questions that wait, in the order of their tasks.
    pub(crate) fn open_questions(&self) -> Result<Vec<OpenQuestion>> {
        let (thread, branch, label) = match &self.line {
            Some(line) => (line.thread.name.clone(), line.branch.id, line.branch_label()),
            None => (String::new(), MEMORY_BRANCH, String::new()),
        };
        let place = QuestionPlace { thread: &thread, branch, label: &label };
        listed_questions(&self.journals, &place, Which::Open)
    }
}

/// Which questions to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those that wait.
    Open,
    /// The answered ones too.
    All,
}

/// The questions of journals in their newest wording: the root's before those of sub-graphs, by node, name and occurrence.
pub(crate) fn listed_questions(
    journals: &Journals,
    place: &QuestionPlace<'_>,
    which: Which,
) -> Result<Vec<OpenQuestion>> {
    let current = journals.iter().flat_map(|(_, journal)| journal.current());
    let mut listed: Vec<&Entry> = current.filter(|entry| which == Which::All || entry.answer.is_none()).collect();
    listed.sort_by_key(|entry| {
        let asked = &entry.question;
        let namespace = asked.inside.as_ref().map(|inside| Arc::clone(&inside.namespace));
        (namespace, Arc::clone(&asked.node), Arc::clone(&asked.name), asked.occurrence, asked.id)
    });
    listed.into_iter().map(|entry| OpenQuestion::new(place, entry)).collect()
}

/// The rows of questions and finished steps that are not in the store yet.
pub(crate) fn unstored_rows(run: &Run) -> Vec<PendingRow> {
    let Some(line) = &run.line else { return Vec::new() };
    let Some(base) = line.manifest_id() else { return Vec::new() };
    let row = |(task, kind), ordinal, body| PendingRow {
        base: base.clone(),
        lane: line.branch.id.lane(),
        kind,
        task,
        ordinal,
        values: Vec::new(),
        body,
    };
    let mut rows = Vec::new();
    for (task, journal) in run.journals.unstored() {
        for entry in journal.new_questions() {
            rows.push(row((task, PendingKind::Interrupt), entry.ordinal, entry.question.encode()));
        }
        for entry in journal.new_memos() {
            rows.push(row((task, PendingKind::Memo), entry.ordinal, entry.memo.encode()));
        }
    }
    rows.sort_by_key(|row| (row.task, row.ordinal));
    rows
}

/// Ends the run as interrupted with everything that is not stored yet, unless an answer came: then a task can go on if all
/// that it asked has answers. `false`: the run has ended.
pub(crate) async fn await_answers(run: &mut Run, results: &mut [Option<Finished>]) -> Result<bool> {
    let waited = run.journals.waiting();
    while !end(run, results).await? {
        let waits = run.journals.waiting();
        if waited.iter().any(|asker| !waits.contains(asker)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Ends the run as interrupted, by one write. `false`: an answer was stored that the run did not know; it knows it now.
async fn end(run: &mut Run, results: &mut [Option<Finished>]) -> Result<bool> {
    // The root's run ends, and looks for answers.
    if run.inside.is_some() {
        return flush::flush_results(run, results, Also::default()).await.map(|_| true);
    }
    let also = Also { end: End::Interrupted, ..Also::default() };
    if flush::flush_results(run, results, also).await?.has_ended {
        return Ok(true);
    }
    let known = run.journals.answers;
    read_answers(run).await?;
    // Each turn of a caller's loop reads an answer more, so it ends.
    if run.journals.answers == known {
        return Err(Error::new(ErrorKind::Contended, "the store counts other answers than it returns"));
    }
    Ok(false)
}

/// Reads the questions and answers that are stored.
async fn read_answers(run: &mut Run) -> Result<()> {
    let Some(line) = &run.line else { return Ok(()) };
    let load =
        Load { place: Place::Branch(line.branch.id), pending: true, ..Load::head(ThreadAddress::Uid(line.thread.uid)) };
    let loaded = store_of(&run.host)?.load(load).await?;
    if loaded.branch.row != line.branch {
        return Err(Error::new(ErrorKind::Fenced, "another run took the branch over"));
    }
    run.journals = Journals::of_rows(&loaded.pending)?;
    Ok(())
}

/// Where the graph stops by itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stops {
    /// By node; empty if there are none.
    pub(crate) before: Vec<bool>,
    pub(crate) after: Vec<bool>,
}

impl Stops {
    pub(crate) fn has(stops: &[bool], node: u32) -> bool {
        stops.get(node as usize).copied().unwrap_or(false)
    }

    /// Adds a stop at a node of a graph of `nodes` nodes.
    pub(crate) fn add(stops: &mut Vec<bool>, node: u32, nodes: usize) {
        stops.resize(nodes, false);
        stops[node as usize] = true;
    }
}

/// Whether the run stops before the planned step; it has ended then. What was let go once does not stop again.
pub(crate) async fn stops(run: &mut Run) -> Result<bool> {
    let mut asked = Vec::new();
    for task in 0..run.position.next.len() {
        let node = run.position.next[task].node;
        // What has a stored result has run: there is nothing left to stop before.
        if Stops::has(&run.stops.before, node) && run.stored.get(task).is_none_or(Option::is_none) {
            asked.push((run.task_hash(task), node, Asker::Before));
        }
    }
    let after = std::mem::take(&mut run.applied);
    asked.extend(
        after
            .iter()
            .filter(|(_, node)| Stops::has(&run.stops.after, *node))
            .map(|(task, node)| (*task, *node, Asker::After)),
    );
    asked.retain(|(task, _, asker)| !run.was_let_go(*task, *asker));
    if asked.is_empty() {
        return Ok(false);
    }
    run.applied = after;
    for (task, node, asker) in asked {
        let question = stop_question(run, task, node, asker);
        if let Some(inside) = &run.inside {
            inside.journal().ask_stop(question);
            continue;
        }
        let journal = run.journals.of_task(task);
        if journal.newest(question.id).is_none() {
            journal.push(question);
        }
    }
    while !end(run, &mut []).await? {}
    Ok(true)
}

impl Run {
    /// Whether the graph stops anywhere by itself. Without a store it never does.
    pub(crate) fn has_stops(&self) -> bool {
        let has_place = self.line.is_some() || self.inside.is_some();
        has_place && !(self.stops.before.is_empty() && self.stops.after.is_empty())
    }

    fn was_let_go(&self, task: TaskHash, asker: Asker) -> bool {
        let (journal, inside) = match &self.inside {
            Some(inside) => (inside.journal().earlier(), Some(task)),
            None => (self.journals.get(task), None),
        };
        let is_stop = |asked: &Question| asked.asker == asker && asked.inside.as_ref().map(|it| it.task) == inside;
        journal.is_some_and(|journal| {
            journal.entries.iter().any(|entry| is_stop(&entry.question) && entry.answer.is_some())
        })
    }
}

fn stop_question(run: &Run, task: TaskHash, node: u32, asker: Asker) -> Question {
    let thread = run.thread_uid();
    Question {
        // No declared name is empty: a node's questions have other ids.
        id: InterruptId::of(thread, task, "", u32::from(asker.number())),
        asker,
        node: Arc::clone(&run.host.program.nodes[node as usize].name),
        name: "".into(),
        occurrence: 0,
        asked_at: run.now(),
        body: Vec::new(),
        answer_schema: None,
        inside: run.inside.as_ref().map(|inside| AskedInside { namespace: Arc::clone(&inside.namespace), task }),
    }
}

/// The tasks that a loaded tip applied in a step of this branch, of the nodes that every run stops after: a crash between
/// the step and the stop does not skip it. `namespace`: that of the sub-graph, empty for the root.
pub(crate) fn applied_by(
    program: &Program,
    namespace: &str,
    loaded: &Loaded,
    manifest: &Manifest,
) -> Vec<(TaskHash, u32)> {
    let is_own_step = |row: &CheckpointRow| row.source == Source::Step && row.branch == loaded.branch.row.id;
    if program.stops.after.is_empty() || !loaded.checkpoint.as_ref().is_some_and(is_own_step) {
        return Vec::new();
    }
    let applied = |task: &TaskEntry| {
        let entry = manifest.nodes.get(task.node as usize)?;
        let node = program.node(&entry.name).filter(|node| Stops::has(&program.stops.after, *node))?;
        Some((TaskHash::of(namespace, &entry.name, entry.activations, task.trigger), node))
    };
    manifest.tasks.iter().filter_map(applied).collect()
}

/// Lets the run go on from where the graph stopped it: a stop is answered by resuming. After the claim.
pub(crate) async fn let_go(run: &mut Run) -> Result<()> {
    for _ in 0..=DECISIONS_MAX {
        let answers = answers_to_stops(run);
        if answers.is_empty() {
            return Ok(());
        }
        let Some(line) = &run.line else { return Ok(()) };
        let append = Records { pending: answers, ..Records::from_outside(line.thread.uid, line.branch.id) };
        match append_decided(&run.host, append).await {
            Ok(()) => {}
            // Another resume lets it go at the same moment.
            Err(error) if error.is_store(StoreKind::Exists, Subject::Pending) => {}
            Err(error) if error.is_store(StoreKind::Missing, Subject::Pending) => {
                return Err(Error::new(ErrorKind::Fenced, "another run took the branch over"));
            }
            Err(error) => return Err(error),
        }
        read_answers(run).await?;
    }
    Err(Error::new(ErrorKind::Contended, "others kept letting the branch go on"))
}

/// The rows that answer where the graph stopped.
fn answers_to_stops(run: &Run) -> Vec<PendingRow> {
    let Some((line, base)) = run.line.as_ref().and_then(|line| Some((line, line.manifest_id()?))) else {
        return Vec::new();
    };
    let now = run.now();
    let mut rows = Vec::new();
    for (task, journal) in run.journals.iter() {
        let after = journal.next_ordinal();
        for entry in journal.open().filter(|entry| entry.question.asker != Asker::Task) {
            let (id, question) = (entry.question.id, entry.question.hash());
            let answer = Answer { id, question, after, answered_at: now, author: None, body: Vec::new() };
            rows.push(PendingRow {
                base: base.clone(),
                lane: line.branch.id.lane(),
                kind: PendingKind::Answer,
                task,
                ordinal: entry.ordinal,
                values: Vec::new(),
                body: answer.encode(),
            });
        }
    }
    rows.sort_by_key(|row| (row.task, row.ordinal));
    rows
}
