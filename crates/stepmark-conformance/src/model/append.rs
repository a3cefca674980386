//! What does the seam promise of appends, in the same plain words?

use stepmark_core::effect::EffectWrite;
use stepmark_core::error::{ErrorKind, Subject};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::{BranchRow, TagRow};
use stepmark_core::store::{Fence, Outcome, Records, TagWrite};

use super::state::{Model, Thread, Verdict, fence};

type Reasons = Vec<(ErrorKind, Subject)>;

impl Model {
    pub(super) fn append(&mut self, append: &Records) -> Verdict {
        if self.deleted.contains(&append.thread) {
            return Verdict::Refused(vec![(ErrorKind::Deleted, Subject::Thread)]);
        }
        let Some(thread) = self.threads.iter_mut().find(|thread| thread.row.uid == append.thread) else {
            return Verdict::Refused(vec![(ErrorKind::Missing, Subject::Thread)]);
        };
        if let Some(EffectWrite::Outcome(outcome)) = &append.effect {
            let told = thread.hear(outcome).map(Verdict::Told);
            return told.unwrap_or(Verdict::Refused(vec![(ErrorKind::Missing, Subject::Effect)]));
        }
        let Some(branch) = thread.branch(append.branch).map(|branch| branch.row.clone()) else {
            return Verdict::Refused(vec![(ErrorKind::Missing, Subject::Branch)]);
        };
        let refused = match &append.fence {
            Fence::Owner { tip, epoch } => {
                let fenced = fence(&branch, tip.as_ref(), *epoch);
                fenced.or_else(|| thread.miscounted(&branch, append)).into_iter().collect()
            }
            Fence::Outside => thread.refused_outside(&branch, append),
        };
        if !refused.is_empty() {
            let repeated = append.effect.is_none() && thread.holds(append);
            return if repeated { Verdict::Done(Outcome::Repeated) } else { Verdict::Refused(refused) };
        }
        let mut reasons = Vec::new();
        thread.refuse_rows(&append.pending, &append.values, &mut reasons);
        if append.run.as_ref().is_some_and(|run| thread.run(&run.id).is_none()) {
            reasons.push((ErrorKind::Missing, Subject::Run));
        }
        let intent = match &append.effect {
            Some(EffectWrite::Intent(intent)) => Some(intent),
            Some(EffectWrite::Outcome(_)) | None => None,
        };
        if intent.is_some_and(|intent| thread.is_over(&branch, intent)) {
            reasons.push((ErrorKind::Exists, Subject::Effect));
        }
        if !reasons.is_empty() {
            return Verdict::Refused(reasons);
        }
        thread.write_append(append);
        if let Some(intent) = intent {
            return Verdict::Told(thread.intend(&branch, intent));
        }
        Verdict::Done(Outcome::Applied)
    }
}

impl Thread {
    fn tag(&self, name: &str) -> Option<&TagRow> {
        self.tags.iter().find(|tag| tag.name == name)
    }

    /// Whether another number of answers lies on the branch's tip than its owner knows.
    fn miscounted(&self, branch: &BranchRow, append: &Records) -> Option<(ErrorKind, Subject)> {
        let tip = branch.tip.as_ref()?;
        let rows = self.pending_of(&tip.id, branch.id);
        let answers = rows.iter().filter(|row| row.kind == PendingKind::Answer).count() as u64;
        (append.expect_answers? != answers).then_some((ErrorKind::Conflict, Subject::Pending))
    }

    fn refused_outside(&self, branch: &BranchRow, append: &Records) -> Reasons {
        let mut reasons: Reasons = append.pending.iter().filter_map(|row| self.refused_answer(branch, row)).collect();
        let moved = append.head_from.is_some_and(|from| ![from, append.branch].contains(&self.row.head));
        reasons.extend(moved.then_some((ErrorKind::Conflict, Subject::Thread)));
        for tag in &append.tags {
            let TagWrite::Set(row) = tag else { continue };
            if !self.checkpoints.iter().any(|there| (there.branch, there.height) == (row.branch, row.height)) {
                reasons.push((ErrorKind::Missing, Subject::Checkpoint));
            }
            if self.tag(&row.name).is_some_and(|stored| stored != row) {
                reasons.push((ErrorKind::Exists, Subject::Tag));
            }
        }
        reasons
    }

    fn refused_answer(&self, branch: &BranchRow, answer: &PendingRow) -> Option<(ErrorKind, Subject)> {
        if let Some(stored) = self.pending_like(answer) {
            return (stored != answer).then_some((ErrorKind::Exists, Subject::Pending));
        }
        let question = PendingRow { kind: PendingKind::Interrupt, ..answer.clone() };
        let open = branch.tip.as_ref().is_some_and(|tip| tip.id == answer.base);
        let asked = open && self.pending_like(&question).is_some();
        (!asked).then_some((ErrorKind::Missing, Subject::Pending))
    }

    /// Whether everything that an append says is there.
    fn holds(&self, append: &Records) -> bool {
        let rows = append.pending.iter().all(|row| self.pending_like(row) == Some(row));
        let run = append.run.as_ref().is_none_or(|run| self.run(&run.id) == Some(run));
        let head = append.head_from.is_none() || self.row.head == append.branch;
        let tags = append.tags.iter().all(|tag| match tag {
            TagWrite::Set(row) => self.tag(&row.name) == Some(row),
            TagWrite::Remove(name) => self.tag(name).is_none(),
        });
        let nothing = append.pending.is_empty() && append.run.is_none() && append.tags.is_empty();
        rows && run && head && tags && !(nothing && append.head_from.is_none())
    }

    fn write_append(&mut self, append: &Records) {
        self.write_rows(&append.pending, &append.values);
        append.run.iter().for_each(|run| self.write_run(run.clone()));
        if append.head_from.is_some() {
            self.row.head = append.branch;
        }
        for tag in &append.tags {
            self.tags.retain(|stored| stored.name != tag.name());
            if let TagWrite::Set(row) = tag {
                self.tags.push(row.clone());
            }
        }
    }
}
