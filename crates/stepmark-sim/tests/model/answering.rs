//! What does an answer do to the model's world?

use stepmark::{Durability, ErrorKind};
use stepmark_core::rows::RunStatus;

use crate::asking::{Asks, Given};
use crate::command::{Answer, Command, Limits, Question, Value};
use crate::drawn::Stops;
use crate::story::{Reply, Teller};
use crate::world::{Spot, Tree};

/// Where a question lies on a branch's tip: task and place in its journal.
type Found = (usize, usize);

impl Teller<'_> {
    pub(crate) fn answer(&mut self, command: &Command, answer: &Answer) -> Reply {
        let branch = match self.store_answer(command, answer) {
            Ok(branch) => branch,
            Err(refused) => return Reply::Error(refused),
        };
        let tree = self.tree(command.thread);
        if !answer.runs {
            let run = tree.unfinished_run(branch);
            return Reply::Flag(tree.runs.get(&run).is_some_and(|run| run.status == RunStatus::Open));
        }
        let is_handles = tree.find(&command.spot) == Some(branch);
        let spot = if is_handles { command.spot.clone() } else { Spot::Id(branch) };
        let limits = Limits { steps_max: None, durability: Durability::Sync, stops: Stops::default() };
        self.resume(&Command { spot, ..command.clone() }, &limits)
    }

    fn store_answer(&mut self, command: &Command, answer: &Answer) -> Result<usize, ErrorKind> {
        let Answer { question, value, is_by_id, .. } = answer;
        let tree = self.world.tree(command.thread).ok_or(ErrorKind::Missing)?;
        let branch = if *is_by_id {
            tree.find(&command.spot).ok_or(ErrorKind::Missing)?
        } else {
            asked_branch(tree, &command.spot, question)?
        };
        let Some(at) = find(tree, branch, question) else {
            // A stop after a task is answered by resuming.
            return Err(self.stop_after(command.thread, branch, question));
        };
        let journal = &mut self.tree(command.thread).branches[branch].pending.journals[at.0];
        let (after, entry) = (journal.len(), &mut journal[at.1]);
        if !is_by_id && Some(entry.asks) != question.asks {
            return Err(ErrorKind::QuestionChanged);
        }
        match (entry.answer, value) {
            (Some(given), Value::Number(value)) if given.value == *value && entry.asks != Asks::Before => {
                return Ok(branch);
            }
            (Some(_), _) => return Err(ErrorKind::AlreadyAnswered),
            (None, _) => {}
        }
        match (entry.asks, value) {
            (Asks::Before, _) | (Asks::Task { .. }, Value::Word) => return Err(ErrorKind::Invalid),
            (Asks::Task { .. }, Value::Number(value)) => entry.answer = Some(Given { value: *value, after }),
        }
        self.stage("answer", None);
        Ok(branch)
    }

    fn stop_after(&mut self, thread: usize, branch: usize, question: &Question) -> ErrorKind {
        let tree = self.tree(thread);
        let Some(tip) = tree.tip(branch).filter(|_| tree.instance == question.instance).cloned() else {
            return ErrorKind::Missing;
        };
        let after = &tree.branches[branch].pending.after;
        let found = after.iter().find(|stop| question.asks.is_none() && stop.task(&tip.position) == question.task);
        match found {
            Some(stop) if stop.is_let_go => ErrorKind::AlreadyAnswered,
            Some(_) => ErrorKind::Invalid,
            None => ErrorKind::Missing,
        }
    }
}

/// The branch on which a question was read, for a handle that may mean it.
fn asked_branch(tree: &Tree, spot: &Spot, question: &Question) -> Result<usize, ErrorKind> {
    let is_here = question.instance == tree.instance;
    if *spot == Spot::Head {
        return if is_here { Ok(question.branch) } else { Err(ErrorKind::Missing) };
    }
    let branch = tree.find(spot).ok_or(ErrorKind::Missing)?;
    if is_here && branch == question.branch { Ok(branch) } else { Err(ErrorKind::Invalid) }
}

/// The place of the question with the same id on a branch's tip.
fn find(tree: &Tree, branch: usize, question: &Question) -> Option<Found> {
    let (tip, asks) = (tree.tip(branch)?, question.asks?);
    // The id holds the thread: that of another instance is another one.
    if question.instance != tree.instance {
        return None;
    }
    let task = tip.position.next.iter().position(|task| tip.position.hash(task) == question.task)?;
    let journal = &tree.branches[branch].pending.journals[task];
    Some((task, journal.iter().position(|entry| entry.asks.is_same(asks))?))
}
