//! How does a case ask, answer, tag, move a head or reset a branch in one word?

use stepmark_core::id::{BranchId, ClaimToken, InterruptId, TaskHash, hash16};
use stepmark_core::interrupt::{Answer, Asker, Question};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::{BranchRow, TagRow, Tip};
use stepmark_core::store::{Commit, LeftBranch, NameWrite, Records, TagWrite};

use super::{Line, START, bytes16, encoded, full};

impl Line {
    /// A question that task `task` of the tip asks as the first thing in its journal.
    pub fn question(&self, task: u64, text: &str) -> PendingRow {
        let row = self.pending(0, "");
        let task = TaskHash::of(&self.namespace, "ask", task + 1, 0);
        let question = Question {
            id: InterruptId(hash16(&task.0)),
            asker: Asker::Task,
            node: "ask".into(),
            name: "approve".into(),
            occurrence: 0,
            asked_at: START,
            body: encoded(&text),
            answer_schema: None,
            inside: None,
        };
        PendingRow { kind: PendingKind::Interrupt, task, body: question.encode(), ..row }
    }

    /// Asks, as the owner of the branch, and answers with the question's row.
    pub async fn ask(&self, task: u64, text: &str) -> PendingRow {
        let question = self.question(task, text);
        self.store.append(self.append(vec![question.clone()])).await.expect("the owner asks");
        question
    }

    /// An append from outside that writes nothing yet.
    pub fn outside(&self) -> Records {
        Records { namespace: self.namespace.clone(), ..Records::from_outside(self.thread.uid, self.branch.id) }
    }

    /// An answer to `question` from outside.
    pub fn answer(&self, question: &PendingRow, text: &str) -> Records {
        Records { pending: vec![answer_row(question, text)], ..self.outside() }
    }

    /// Makes this branch the head in place of `from`.
    pub fn head_from(&self, from: BranchId) -> Records {
        Records { head_from: Some(from), ..self.outside() }
    }

    /// The tag `name` on the tip.
    pub fn tag_row(&self, name: &str) -> TagRow {
        let height = self.branch.tip.as_ref().expect("only a checkpoint has a tag").height;
        TagRow { name: name.to_owned(), branch: self.segment, height }
    }

    /// Tags the tip.
    pub fn tag(&self, name: &str) -> Records {
        Records { tags: vec![TagWrite::Set(self.tag_row(name))], ..self.outside() }
    }

    /// Takes a tag away.
    pub fn untag(&self, name: &str) -> Records {
        Records { tags: vec![TagWrite::Remove(name.to_owned())], ..self.outside() }
    }

    /// This branch with the next epoch and a new claim, as a unit leaves it.
    pub fn left(&self) -> LeftBranch {
        let row = BranchRow { epoch: self.branch.epoch + 1, claim: ClaimToken(bytes16()), ..self.branch.clone() };
        LeftBranch { epoch: self.branch.epoch, row }
    }

    /// The unit that begins this thread with its input at height 0 and its end at height 1.
    pub fn whole_run(&self) -> Commit {
        let root = self.birth().packed("log", full(&"input")).build();
        let mut end = Self { branch: root.branch, ..self.clone() }.next().packed("log", full(&"end"));
        (end.commit.expect, end.commit.new_thread, end.commit.root) = (root.expect, root.new_thread, root.checkpoint);
        end.build()
    }

    /// A new branch at a checkpoint of `segment` that takes this one's name and head, and the commit that makes it.
    pub fn reset(&self, segment: BranchId, tip: Tip, name: &str) -> (Self, Commit) {
        let (line, mut commit) = self.fork_at(segment, tip, None);
        commit.name = Some(NameWrite { name: name.to_owned(), from: Some(self.branch.id) });
        commit.expect_head = Some(self.branch.id);
        commit.becomes_head = true;
        commit.leaves = Some(self.left());
        (line, commit)
    }
}

/// An answer to a question, in its lane.
pub fn answer_row(question: &PendingRow, text: &str) -> PendingRow {
    let asked = Question::decode(&question.body).expect("the kit asked it");
    let (id, hash, after) = (asked.id, asked.hash(), question.ordinal + 1);
    let answer = Answer { id, question: hash, after, answered_at: START + 1, author: None, body: encoded(&text) };
    PendingRow { kind: PendingKind::Answer, body: answer.encode(), ..question.clone() }
}
