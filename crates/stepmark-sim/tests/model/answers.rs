//! Did the engine answer what the model says?

use stepmark::run::RunId;
use stepmark::{Error, ErrorKind, Outcome, Snapshot};

use crate::asking::Progress;
use crate::bench::{Bench, Failure};
use crate::board::Board;
use crate::command::{Command, Verb};
use crate::loose::{Admitted, Loose};
use crate::nodes::name;
use crate::process::Answer;
use crate::story::{Reply, Told};
use crate::world::{RunKey, Tree};

/// What refuses a writer that lost its branch, or its thread.
const REFUSALS: [ErrorKind; 4] = [ErrorKind::Fenced, ErrorKind::Contended, ErrorKind::Exists, ErrorKind::Missing];

impl Bench {
    pub(crate) fn check_answer(
        &self,
        (command, reply): (&Command, &Reply),
        loose: Option<&Loose>,
        admitted: Option<&(usize, Admitted)>,
        answer: &Result<Answer, Error>,
    ) -> Result<(), Failure> {
        let thread = command.thread;
        match (reply, answer) {
            (Reply::Error(kind), Err(error)) if error.kind() == *kind => Ok(()),
            (Reply::Fenced, Err(error)) if REFUSALS.contains(&error.kind()) => Ok(()),
            (Reply::Failed { branch }, Err(error)) if error.kind() == ErrorKind::NodeFailed => {
                let tasks = loose.zip(admitted).ok_or("a step failed, and nothing is stored of it")?;
                self.check_failure((thread, *branch), (tasks.0, &tasks.1.1), error)
            }
            (Reply::Outcome(told), Ok(Answer::Outcome(outcome))) => self.check_outcome(thread, told, outcome),
            (Reply::Snapshot { branch }, Ok(Answer::Snapshot(snapshot))) => {
                self.check_snapshot((thread, *branch), snapshot)
            }
            (Reply::Branch(branch), Ok(Answer::Branch(label))) => {
                // A reset answers with what it left, which has no name by now.
                let expected = match command.verb {
                    Verb::Reset { .. } => self.names.threads[thread].branches[*branch].to_string(),
                    _ => self.label(thread, *branch),
                };
                equal("branch", &expected, label)
            }
            (Reply::Flag(open), Ok(Answer::Flag(is_open))) => equal("whether a run is open", open, is_open),
            (Reply::Nothing, Ok(Answer::Nothing)) => Ok(()),
            (reply, answer) => Err(format!("the model answers {reply:?}, the engine {answer:?}")),
        }
    }

    pub(crate) fn label(&self, thread: usize, branch: usize) -> String {
        let name = self.world.tree(thread).and_then(|tree| tree.name_of(branch)).cloned();
        name.unwrap_or_else(|| self.names.threads[thread].branches[branch].to_string())
    }

    fn tree(&self, thread: usize) -> Result<&Tree, Failure> {
        self.world.tree(thread).ok_or_else(|| format!("thread {thread} is gone"))
    }

    fn check_failure(
        &self,
        (thread, branch): (usize, usize),
        (loose, admitted): (&Loose, &Admitted),
        error: &Error,
    ) -> Result<(), Failure> {
        let tasks = &admitted.pending.progress;
        let failed = |task: &&usize| matches!(tasks[**task], Progress::Failed(_));
        let strayed = loose.strayed.iter();
        let first = *strayed.chain(&admitted.started).find(failed).ok_or("no task failed")?;
        let Progress::Failed(attempt) = &tasks[first] else { return Err(format!("task {first} did not fail")) };
        let tip = self.tree(thread)?.tip(branch).ok_or("a run failed on a branch without checkpoints")?;
        let failure = error.failure().ok_or("the error does not say which task failed")?;
        let expected = (name(tip.position.next[first].node), *attempt);
        equal("failed task", &expected, &(failure.node.clone(), failure.attempt))?;
        let place = error.place().ok_or("the error does not say where")?;
        equal("branch of the error", &self.label(thread, branch), &place.branch)?;
        let id = self.tree(thread)?.branches[branch].tip.map(|tip| &self.names.threads[thread].checkpoints[tip]);
        equal("checkpoint of the error", &id, &place.checkpoint.as_ref())?;
        if self.has_struck && error.state::<Board>().is_none() {
            // It is read for the error if it can be.
            return Ok(());
        }
        equal("state of the error", &Some(&tip.position.board), &error.state::<Board>())
    }

    fn check_outcome(&self, thread: usize, told: &Told, outcome: &Outcome<Board>) -> Result<(), Failure> {
        equal("ending", &told.ending, &outcome.ending())?;
        equal("state", &told.board, outcome.state())?;
        self.check_questions(thread, told, outcome)?;
        equal("branch", &Some(&*self.label(thread, told.branch)), &outcome.branch())?;
        let id = told.checkpoint.map(|at| &self.names.threads[thread].checkpoints[at]);
        equal("checkpoint", &id, &outcome.checkpoint())?;
        let stats = outcome.stats();
        equal("stats", &told.stats, &(stats.steps, stats.executed, stats.reused))?;
        match &told.run {
            Some(RunKey::Named(id)) => equal("run", &Some(id.clone()), &outcome.run_id().map(RunId::to_string)),
            Some(_) | None => Ok(()),
        }
    }

    /// The open questions of a run that was interrupted.
    fn check_questions(&self, thread: usize, told: &Told, outcome: &Outcome<Board>) -> Result<(), Failure> {
        let tree = self.tree(thread)?;
        let mut open = Vec::new();
        // An earlier run's questions are gone if its branch has moved on.
        let here = told.questions.filter(|branch| tree.branches[*branch].tip == told.checkpoint);
        if let Some((branch, tip)) = here.and_then(|branch| Some((branch, tree.tip(branch)?))) {
            let uid = self.names.threads[thread].uid.ok_or("the thread has no id")?;
            open = tree.branches[branch].pending.listed(uid, &tip.position);
            open.retain(|(_, listed)| !listed.is_answered);
        }
        let mut asked: Vec<_> = outcome.questions().iter().map(crate::look::listed).collect();
        asked.sort_by_key(|(id, _)| id.0);
        equal("open questions", &open, &asked)
    }

    fn check_snapshot(&self, (thread, branch): (usize, usize), snapshot: &Snapshot<Board>) -> Result<(), Failure> {
        let tree = self.tree(thread)?;
        let tip = tree.tip(branch);
        let board = tip.map_or_else(Board::default, |tip| tip.position.board.clone());
        equal("state of the snapshot", &board, snapshot.state())?;
        equal("branch of the snapshot", &self.label(thread, branch), &snapshot.branch)?;
        let id = tree.branches[branch].tip.map(|tip| &self.names.threads[thread].checkpoints[tip]);
        equal("checkpoint of the snapshot", &id, &snapshot.checkpoint.as_ref().map(|info| &info.id))?;
        let next = tip.map_or(&[][..], |tip| &tip.position.next);
        let next: Vec<String> = next.iter().map(|task| name(task.node)).collect();
        equal("next of the snapshot", &&next[..], &snapshot.next())
    }
}

/// Nothing, or what differs.
pub(crate) fn equal<T: PartialEq + std::fmt::Debug>(what: &str, model: &T, engine: &T) -> Result<(), Failure> {
    if model == engine { Ok(()) } else { Err(format!("{what}: the model has\n{model:?}, the engine\n{engine:?}")) }
}
