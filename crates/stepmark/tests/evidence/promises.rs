//! Did the store keep what it acknowledged?
//!
//! Reads a journal as it grows, says in which phase a process was killed, and collects what was acknowledged.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use stepmark::{App, MemoryStore, Result};

use crate::graphs::{Mode, OTHER, Setup, Shape, Trail};
use crate::journal::{Event, Journal, Pages, Phase, StoreWrite, Task};

/// A checkpoint whose commit was acknowledged.
#[derive(Clone, Debug)]
struct Acknowledged {
    thread: String,
    branch: String,
    checkpoint: String,
}

/// What the processes of a journal were promised.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    /// Whether a commit stores everything that its branch's tasks did before it: one task at a time, and `Exit`.
    commits_cover: bool,
    /// Tasks of the last process that ended and were not acknowledged as durable.
    undurable: Vec<Task>,
    /// How many tasks, with the running one, a kill could lose at most. Counts steps where they are one task each.
    pub(crate) behind_max: usize,
    acknowledged: Vec<Acknowledged>,
    /// Tasks whose results were acknowledged as durable.
    durable: HashSet<Task>,
    repeated: Vec<Task>,
    starts_of: HashMap<Task, u32>,
    thread: String,
    /// How often tasks started.
    pub(crate) starts: usize,
    /// How many threads were finished.
    pub(crate) done: u32,
    /// The thread that was last turned to.
    pub(crate) turned: u32,
    /// How many tasks were not durable when their driver was told that their thread is finished.
    pub(crate) behind_at_end: usize,
    /// What the last process was doing: its running tasks and the write that it waits for.
    running: HashMap<Task, usize>,
    waiting: Option<StoreWrite>,
    last: Option<Event>,
}

/// Whether each step of a graph is one task.
pub(crate) fn is_one_by_one(shape: Shape) -> bool {
    matches!(shape, Shape::Linear | Shape::Fork)
}

impl Promises {
    /// What a graph that is run so promises.
    pub(crate) fn of(setup: Setup) -> Self {
        Self { commits_cover: is_one_by_one(setup.shape) && setup.mode == Mode::Exit, ..Self::default() }
    }

    pub(crate) fn hear(&mut self, event: Event) {
        match &event {
            Event::Began => (self.running, self.waiting, self.undurable) = (HashMap::new(), None, Vec::new()),
            Event::Turned { thread } => {
                self.thread.clone_from(thread);
                self.turned = self.turned.max(number(thread));
            }
            Event::Done { thread } => {
                self.done = self.done.max(number(thread) + 1);
                self.behind_at_end = self.behind_at_end.max(self.undurable.len());
                self.undurable.clear();
            }
            Event::Started(task) => {
                self.starts += 1;
                *self.starts_of.entry(task.clone()).or_default() += 1;
                *self.running.entry(task.clone()).or_default() += 1;
                self.behind_max = self.behind_max.max(self.undurable.len() + 1);
                if self.durable.contains(task) {
                    self.repeated.push(task.clone());
                }
            }
            Event::Ended(task) => {
                self.running.remove(task);
                self.undurable.push(task.clone());
            }
            Event::SetAside(task) => {
                self.running.remove(task);
            }
            Event::Sent(write) => self.waiting = Some(*write),
            Event::Accepted { branch, checkpoint, tasks, .. } => {
                self.waiting = None;
                let task = |task: &String| Task { branch: branch.clone(), task: task.clone() };
                self.durable.extend(tasks.iter().map(task));
                if checkpoint.is_some() && self.commits_cover {
                    self.durable.extend(self.undurable.iter().filter(|task| task.branch == *branch).cloned());
                }
                self.undurable.retain(|task| !self.durable.contains(task));
                if let Some(checkpoint) = checkpoint.clone() {
                    let (thread, branch) = (self.thread.clone(), branch.clone());
                    self.acknowledged.push(Acknowledged { thread, branch, checkpoint });
                }
            }
            Event::Refused { .. } => self.waiting = None,
        }
        self.last = Some(event);
    }

    /// Where the last process was when it ended; `None` between the phases.
    pub(crate) fn phase(&self) -> Option<Phase> {
        match (self.waiting, &self.last) {
            (Some(StoreWrite::Commit), _) if !self.running.is_empty() => Some(Phase::TaskBesideCommit),
            (Some(StoreWrite::Commit), _) => Some(Phase::CommitSent),
            (Some(StoreWrite::Flush), _) => Some(Phase::FlushSent),
            (Some(StoreWrite::Claim), _) => Some(Phase::ClaimSent),
            (Some(StoreWrite::Answer), _) => Some(Phase::AnswerSent),
            (None, Some(Event::Accepted { write: StoreWrite::Commit, .. })) => Some(Phase::CommitAcknowledged),
            (None, _) if !self.running.is_empty() => Some(Phase::TaskRunning),
            _ => None,
        }
    }

    /// How often the task that started most often did.
    pub(crate) fn starts_max(&self) -> u32 {
        self.starts_of.values().copied().max().unwrap_or_default()
    }

    /// Panics if a task whose result was acknowledged as durable started again.
    pub(crate) fn assert_nothing_repeated(&self) {
        assert!(self.repeated.is_empty(), "these tasks were durable and started again: {:?}", self.repeated);
    }

    /// Panics unless every acknowledged checkpoint, from `since` on, is there and its lineage leads to the root.
    /// Returns how many there are.
    pub(crate) async fn assert_checkpoints(&self, app: &App<Trail>, since: usize) -> usize {
        let mut lines: HashMap<(&str, &str), HashSet<String>> = HashMap::new();
        for Acknowledged { thread, branch, checkpoint } in &self.acknowledged[since..] {
            let info = app.thread(thread).at(checkpoint).info().await;
            let info = info.unwrap_or_else(|error| panic!("{checkpoint} of {thread} was acknowledged: {error}"));
            assert_eq!(info.branch.to_string(), *branch, "the branch of {checkpoint}");
            if !lines.contains_key(&(&**thread, &**branch)) {
                lines.insert((thread, branch), lineage(app, thread, branch).await);
            }
            let line = &lines[&(&**thread, &**branch)];
            assert!(line.contains(checkpoint), "{checkpoint} was acknowledged and is not in the line of {branch}");
        }
        self.acknowledged.len()
    }
}

/// The checkpoints from a branch's tip to the root.
async fn lineage(app: &App<Trail>, thread: &str, branch: &str) -> HashSet<String> {
    let thread = app.thread(thread).branch(branch);
    let history = thread.history().await.expect("the history is readable");
    for pair in history.windows(2) {
        assert_eq!(pair[0].step, pair[1].step + 1, "a step is missing from the lineage");
        assert_eq!(pair[0].parent.as_ref(), Some(&pair[1].id), "a parent is not the checkpoint before");
    }
    let root = history.last().expect("a branch has checkpoints");
    assert_eq!((root.step, &root.parent), (0, &None), "the lineage does not end at the root");
    history.iter().map(|checkpoint| checkpoint.id.to_string()).collect()
}

/// The final state of a thread, by branch.
pub(crate) async fn states(setup: Setup, app: &App<Trail>, name: &str) -> Result<Vec<Trail>> {
    let thread = app.thread(name);
    let mut states = vec![thread.state().await?.state().clone()];
    if setup.shape == Shape::Fork {
        states.push(thread.branch(OTHER).state().await?.state().clone());
    }
    Ok(states)
}

/// The final states of a run that nothing happened to, and whose every step was stored.
pub(crate) async fn clean_states(setup: Setup) -> Vec<Trail> {
    let setup = Setup { mode: Mode::Sync, ..setup };
    let app = setup.app(unread_journal()).with(MemoryStore::new());
    setup.drive(&app, "clean").await.expect("a clean run");
    states(setup, &app, "clean").await.expect("readable")
}

/// A journal for nodes whose events nobody asks for.
pub(crate) fn unread_journal() -> Journal {
    Journal::new(MemoryPages::default(), None)
}

fn number(thread: &str) -> u32 {
    thread.trim_start_matches("thread-").parse().expect("threads are numbered")
}

/// A journal in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryPages(Arc<Mutex<Vec<Event>>>);

impl MemoryPages {
    /// What was noted.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().expect("nobody panics with the journal").clone()
    }
}

impl Pages for MemoryPages {
    fn write(&self, event: &Event) {
        self.0.lock().expect("nobody panics with the journal").push(event.clone());
    }
}

/// A journal's file, read on from where the last reading ended.
#[derive(Debug)]
pub(crate) struct JournalFile {
    path: PathBuf,
    read: usize,
}

impl JournalFile {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), read: 0 }
    }

    /// Cuts off the end of a line that a kill tore where a page ends: it was not noted, and its process did nothing after
    /// it. Only for a journal whose writer is dead.
    pub(crate) fn cut_torn(&self) {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            let file = std::fs::OpenOptions::new().write(true).open(&self.path).expect("the journal is there");
            file.set_len(whole as u64).expect("the journal can be cut");
        }
    }

    /// The events since the last reading, up to the last whole line.
    pub(crate) fn read(&mut self) -> Vec<Event> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let new = &text[self.read..whole];
        self.read = whole;
        new.lines().map(|line| serde_json::from_str(line).expect("a line of the journal is an event")).collect()
    }
}
