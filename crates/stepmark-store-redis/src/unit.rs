//! What does the writing script expect, and what does it write?
//!
//! A unit is made of a call alone where that says all; else of the call and what was read of the thread. Every row that is
//! written comes with its hash: the script compares bytes and knows no record.

use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::child::ChildPlace;
use stepmark_core::effect::EffectEntry;
use stepmark_core::error::Result;
use stepmark_core::id::{BranchId, CheckpointId, RunId};
use stepmark_core::pending::{PendingKind, PendingRow};
use stepmark_core::rows::ThreadRow;
use stepmark_core::store::{BlobUse, Commit, Expect, Fence, Records, RunWrite, TagWrite};
use stepmark_core::value::ValueRow;

use crate::bag::{Ask, Bag, Range};
use crate::keys::{self, Bytes};
use crate::ledger::Decided;
use crate::records::{self, Space};

/// Expectations and writes, as the script reads them.
#[derive(Debug, Default)]
pub(crate) struct Unit {
    expectations: u32,
    expected: Vec<Bytes>,
    written: Vec<Bytes>,
    /// Rows that the expectations are about.
    fields: Vec<Bytes>,
}

/// How a thread begins.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Birth {
    /// At which turn its name was reserved.
    pub(crate) turn: u64,
    /// How long it lives after its last write; for ever if absent.
    pub(crate) life_ms: Option<u64>,
}

impl Unit {
    /// The words by which the script is called.
    pub(crate) fn words(self) -> Vec<Bytes> {
        let mut words = vec![self.expectations.to_string().into_bytes()];
        words.extend(self.expected);
        words.extend(self.written);
        words
    }

    /// What has to be read to say why the expectations did not hold.
    pub(crate) fn asks(&self) -> Vec<Ask> {
        let thread = Ask::Row(keys::THREAD.to_vec());
        std::iter::once(thread).chain(self.fields.iter().cloned().map(Ask::Row)).collect()
    }

    pub(crate) fn expect(&mut self, what: &str, words: impl IntoIterator<Item = Bytes>) {
        self.expectations += 1;
        self.expected.push(what.as_bytes().to_vec());
        self.expected.extend(words);
    }

    pub(crate) fn row(&mut self, what: &str, field: Bytes, row: Option<Bytes>) {
        self.fields.push(field.clone());
        self.expect(what, std::iter::once(field).chain(row));
    }

    pub(crate) fn write<const N: usize>(&mut self, what: &str, words: [Bytes; N]) {
        self.written.push(what.as_bytes().to_vec());
        self.written.extend(words);
    }

    /// The unit of a commit. `birth` is of a new thread, `thread` the stored row where the head moves.
    pub(crate) fn of_commit(commit: &Commit, birth: Option<Birth>, thread: Option<&ThreadRow>) -> Self {
        let mut unit = Self::default();
        let space = Space { uid: commit.thread, namespace: &commit.namespace };
        unit.thread(commit, birth, thread);
        unit.parent(commit);
        unit.branches(commit, space);
        for row in [&commit.root, &commit.checkpoint].into_iter().flatten() {
            unit.checkpoint(row, space);
        }
        unit.names_and_runs(commit);
        unit.rows(&commit.pending, &commit.values, space, commit.claims());
        unit.blob_uses(commit);
        unit.children(commit);
        commit.effects.iter().for_each(|entry| unit.entry(entry, space));
        unit
    }

    fn thread(&mut self, commit: &Commit, birth: Option<Birth>, thread: Option<&ThreadRow>) {
        let field = keys::THREAD.to_vec();
        match (&commit.new_thread, thread, commit.expect_head) {
            (Some(row), ..) => {
                self.born(birth.unwrap_or_default());
                self.write("row", [field, records::encode_thread(row)]);
            }
            (None, Some(row), _) => {
                self.row("equal", field.clone(), Some(records::encode_thread(row)));
                let moved = ThreadRow { head: commit.branch.id, ..row.clone() };
                self.write("row", [field, records::encode_thread(&moved)]);
            }
            (None, None, Some(head)) => self.row("begins", field, Some(keys::bits(head.get()).to_vec())),
            (None, None, None) => self.row("there", field, None),
        }
    }

    /// The root's branch fences a sub-graph, and its row names the checkpoint.
    fn parent(&mut self, commit: &Commit) {
        let Some(parent) = &commit.parent else { return };
        let root = Space { uid: commit.thread, namespace: "" };
        let fence = records::fence_part(Some(&parent.tip), parent.epoch).into_vec();
        self.row("begins", keys::branch("", parent.root), Some(fence));
        self.rows(std::slice::from_ref(&parent.row), &[], root, false);
    }

    fn branches(&mut self, commit: &Commit, space: Space<'_>) {
        let (branch, namespace) = (&commit.branch, space.namespace);
        let field = keys::branch(namespace, branch.id);
        match &commit.expect {
            Expect::At { tip, epoch } => {
                let part = records::branch_part((tip.as_ref(), *epoch), branch);
                self.row("begins", field.clone(), Some(part));
            }
            Expect::New => {
                self.row("absent", field.clone(), None);
                if let Some(fork) = branch.fork {
                    let point = keys::checkpoint(namespace, fork.branch, fork.height);
                    match branch.tip.as_ref().filter(|tip| tip.height == fork.height) {
                        Some(tip) => self.row("begins", point, Some(records::id_part(&tip.id))),
                        None => self.row("there", point, None),
                    }
                }
                if commit.new_thread.is_none() {
                    commit.pending.iter().for_each(|row| self.copied(row, namespace));
                }
                let id = keys::bits(branch.id.get()).to_vec();
                self.write("branch", [keys::space(namespace), id]);
            }
        }
        self.write("row", [field, records::encode_branch(branch, space)]);
        if let Some(left) = &commit.leaves {
            let field = keys::branch(namespace, left.row.id);
            let part = records::branch_part((left.row.tip.as_ref(), left.epoch), &left.row);
            self.row("begins", field.clone(), Some(part));
            self.write("row", [field, records::encode_branch(&left.row, space)]);
        }
    }

    /// What a new branch copies must be there: a sweep may have come between.
    fn copied(&mut self, row: &PendingRow, namespace: &str) {
        for value in &row.values {
            let address = value.address;
            if value.packed {
                let field = keys::packed(namespace, address.branch, address.height);
                self.row("packs", field, Some(address.ordinal.to_string().into_bytes()));
            } else {
                self.row("there", keys::value(namespace, address), None);
            }
        }
        // One that does not read is malformed, which is said last.
        if let (PendingKind::Child, Ok(place)) = (row.kind, ChildPlace::decode(&row.body)) {
            self.row("there", keys::checkpoint(&place.namespace, place.branch, place.height), None);
        }
    }

    fn checkpoint(&mut self, row: &CheckpointRow, space: Space<'_>) {
        let field = keys::checkpoint(space.namespace, row.branch, row.height);
        let id = keys::place_of(space.namespace, &row.id);
        self.row("absent", id.clone(), None);
        self.row("absent", field.clone(), None);
        self.write("row", [id, keys::place(row.branch, row.height).to_vec()]);
        self.write("checkpoint", [field, records::encode_checkpoint(row)]);
        let packed = keys::packed(space.namespace, row.branch, row.height);
        self.write("row", [packed, records::encode_packed(row)]);
    }

    fn names_and_runs(&mut self, commit: &Commit) {
        if let Some(name) = &commit.name {
            let field = keys::name(&name.name);
            match name.from {
                None => self.row("absent", field.clone(), None),
                Some(from) => {
                    let stored = records::encode_name(commit.thread, &name.name, from);
                    self.row("equal", field.clone(), Some(stored));
                    self.write("leave", [keys::names_of(from, &name.name)]);
                }
            }
            let id = commit.branch.id;
            self.write("row", [field, records::encode_name(commit.thread, &name.name, id)]);
            self.write("member", [keys::names_of(id, &name.name)]);
            self.write("member", [keys::name(&name.name)]);
        }
        for run in &commit.runs {
            let (row, field) = (run.row(), keys::run(&run.row().id));
            match run {
                RunWrite::Begin(row) => {
                    self.row("absent", field.clone(), None);
                    self.write("run", [row.id.to_stored()]);
                }
                RunWrite::Update(_) => self.row("there", field.clone(), None),
            }
            self.write("row", [field, records::encode_run(row, commit.thread)]);
        }
    }

    /// Pending rows and value rows; equal ones may be there, but no value of a writer who claims.
    fn rows(&mut self, pending: &[PendingRow], values: &[ValueRow], space: Space<'_>, claims: bool) {
        for row in values {
            let (field, stored) = (keys::value(space.namespace, row.address), records::encode_value(row, space));
            if claims {
                self.row("absent", field.clone(), None);
            } else {
                self.row("kept", field.clone(), Some(stored.clone()));
            }
            self.write("new", [field.clone(), stored]);
            self.write("member", [field]);
        }
        for row in pending {
            let (field, stored) = (keys::pending(space.namespace, row), records::encode_pending(row, space));
            self.row("kept", field.clone(), Some(stored.clone()));
            self.write("new", [field.clone(), stored]);
            self.write("member", [field]);
        }
    }

    fn blob_uses(&mut self, commit: &Commit) {
        for used in &commit.blobs {
            if commit.claims() && !commit.values.iter().any(|row| row.address == used.value) {
                self.row("absent", keys::value(&commit.namespace, used.value), None);
            }
            self.uses(&commit.namespace, used);
        }
    }

    /// Where a commit of the root says that sub-graphs stand.
    fn children(&mut self, commit: &Commit) {
        let Some(checkpoint) = &commit.checkpoint else { return };
        let (root, height) = (checkpoint.branch, checkpoint.height);
        for row in &commit.children {
            self.row("there", keys::checkpoint(&row.namespace, row.branch, row.height), None);
            let field = keys::child(root, &row.namespace, height);
            self.write("row", [field.clone(), records::encode_child(row, commit.thread, root, height)]);
            self.write("member", [field]);
        }
    }

    /// An entry of the ledger that a new thread brings.
    fn entry(&mut self, entry: &EffectEntry, space: Space<'_>) {
        let row = &entry.row;
        let field = keys::effect(&row.key, row.generation);
        self.write("row", [field.clone(), records::encode_effect(row, space.uid)]);
        self.write("member", [field]);
        for (number, attempt) in (0..).zip(&entry.attempts) {
            let field = keys::attempt(&row.key, row.generation, number);
            self.write("row", [field.clone(), records::encode_attempt(attempt, space.uid)]);
            self.write("member", [field]);
        }
        self.write("more", [keys::effect_turns(&row.key)]);
    }

    /// The beginning of a unit that restores a thread, with its `birth` where nothing of it is there.
    pub(crate) fn of_restored(row: &ThreadRow, birth: Option<Birth>, publish: bool) -> Self {
        let mut unit = Self::default();
        let (field, stored) = (keys::RESTORED.to_vec(), records::encode_thread(row));
        match birth {
            Some(birth) => unit.born(birth),
            None => unit.row("equal", field.clone(), Some(stored.clone())),
        }
        match (publish, birth) {
            (true, _) => {
                unit.write("drop", [field]);
                unit.write("row", [keys::THREAD.to_vec(), stored]);
            }
            (false, Some(_)) => unit.write("row", [field, stored]),
            (false, None) => {}
        }
        unit
    }

    /// Expects that a row is there.
    pub(crate) fn needs(&mut self, field: Bytes) {
        self.row("there", field, None);
    }

    /// Expects that a row is not there.
    pub(crate) fn forbids(&mut self, field: Bytes) {
        self.row("absent", field, None);
    }

    /// Writes a row that must not be there, in its place in the order if its class has one.
    pub(crate) fn adds(&mut self, field: Bytes, row: Bytes) {
        self.forbids(field.clone());
        match field.first() {
            Some(b'C') => self.write("checkpoint", [field, row]),
            Some(b'c') => {
                self.write("checkpoint", [field, row]);
                self.pruned();
            }
            Some(b'B' | b'I' | b'P' | b'R') => self.write("row", [field, row]),
            _ => {
                self.write("row", [field.clone(), row]);
                self.write("member", [field]);
            }
        }
    }

    /// Lets walks through history pass over what is not there.
    pub(crate) fn pruned(&mut self) {
        self.write("raise", [keys::MARK.to_vec(), b"1".to_vec()]);
    }

    /// Gives a run its place, before its row is written.
    pub(crate) fn begins(&mut self, id: &RunId) {
        self.write("run", [id.to_stored()]);
    }

    /// Gives a branch a number that it had elsewhere.
    pub(crate) fn numbers(&mut self, namespace: &str, number: u64, id: BranchId) {
        self.write("row", [keys::branch_number(namespace, id), keys::bits(number).to_vec()]);
        self.write("member", [keys::numbered_branch(namespace, number, id)]);
        self.write("raise", [keys::branch_count(namespace), number.to_string().into_bytes()]);
    }

    /// Lets a branch be found by its name's reverse.
    pub(crate) fn names(&mut self, name: &str, branch: BranchId) {
        self.write("member", [keys::names_of(branch, name)]);
    }

    pub(crate) fn counts(&mut self, field: Bytes) {
        self.write("more", [field]);
    }

    pub(crate) fn uses(&mut self, namespace: &str, used: &BlobUse) {
        let field = keys::blob_use(namespace, used.value);
        self.write("member", [keys::user_of(used.hash, &field)]);
        self.write("row", [field, used.hash.0.to_vec()]);
    }

    fn born(&mut self, Birth { turn, life_ms }: Birth) {
        self.expect("turn", [turn.to_string().into_bytes()]);
        if let Some(life_ms) = life_ms {
            self.write("row", [keys::LIFE.to_vec(), life_ms.to_string().into_bytes()]);
        }
    }

    /// The unit of an append that its owner's fence guards, or of one from outside whose rows were read and found well.
    pub(crate) fn of_append(append: &Records, read: Option<(&Bag, &ThreadRow)>) -> Result<Self> {
        let mut unit = Self::default();
        let space = Space { uid: append.thread, namespace: &append.namespace };
        let branch = keys::branch(space.namespace, append.branch);
        match &append.fence {
            Fence::Owner { tip, epoch } => {
                unit.row("there", keys::THREAD.to_vec(), None);
                unit.row("begins", branch.clone(), Some(records::fence_part(tip.as_ref(), *epoch).into_vec()));
                match tip {
                    Some(tip) => unit.answers(append, &tip.id),
                    // No answer lies on a branch without a tip: whoever expects one is refused.
                    None if append.expect_answers.is_some_and(|count| count > 0) => unit.row("absent", branch, None),
                    None => {}
                }
            }
            Fence::Outside => unit.outside(append, read, branch)?,
        }
        unit.rows(&append.pending, &append.values, space, false);
        for used in &append.blobs {
            unit.uses(space.namespace, used);
        }
        if let Some(run) = &append.run {
            unit.row("there", keys::run(&run.id), None);
            unit.write("row", [keys::run(&run.id), records::encode_run(run, append.thread)]);
        }
        append.tags.iter().for_each(|tag| unit.tag(tag, space));
        Ok(unit)
    }

    fn answers(&mut self, append: &Records, base: &CheckpointId) {
        let Some(count) = append.expect_answers else { return };
        let lane = append.branch.lane();
        let [from, to] = Range::of(&keys::pending_kind(&append.namespace, base, lane, PendingKind::Answer)).ends();
        self.expect("count", [from, to, count.to_string().into_bytes()]);
    }

    /// What was read of the thread and the branch must still be so.
    fn outside(&mut self, append: &Records, read: Option<(&Bag, &ThreadRow)>, branch: Bytes) -> Result<()> {
        let Some((bag, thread)) = read else { return Ok(()) };
        let field = keys::THREAD.to_vec();
        if append.head_from.is_some() {
            self.row("equal", field.clone(), Some(records::encode_thread(thread)));
            let moved = ThreadRow { head: append.branch, ..thread.clone() };
            self.write("row", [field, records::encode_thread(&moved)]);
        } else {
            self.row("there", field, None);
        }
        if !append.pending.is_empty()
            && let Some(stored) = bag.row(&branch)?
        {
            self.row("equal", branch, Some(stored.to_vec()));
        }
        Ok(())
    }

    fn tag(&mut self, tag: &TagWrite, space: Space<'_>) {
        match tag {
            TagWrite::Set(row) => {
                let (field, stored) = (keys::tag(&row.name), records::encode_tag(row, space));
                self.row("there", keys::checkpoint(space.namespace, row.branch, row.height), None);
                self.row("kept", field.clone(), Some(stored.clone()));
                self.write("row", [field.clone(), stored]);
                self.write("member", [field]);
            }
            TagWrite::Remove(name) => {
                self.write("drop", [keys::tag(name)]);
                self.write("leave", [keys::tag(name)]);
            }
        }
    }

    /// Adds what the ledger decided on what was read, which must still be so.
    pub(crate) fn decided(&mut self, bag: &Bag, decision: &Decided) -> Result<()> {
        let Decided { key, decision, numbers, branches } = decision;
        let turns = keys::effect_turns(key);
        match bag.row(&turns)? {
            Some(stored) => self.row("equal", turns.clone(), Some(stored.to_vec())),
            None => self.row("absent", turns.clone(), None),
        }
        if let Some(stored) = branches {
            self.row("equal", keys::branch_count(""), Some(stored.clone()));
        }
        let uid = bag.uid;
        if let Some(row) = &decision.row {
            let field = keys::effect(&row.key, row.generation);
            self.write("row", [field.clone(), records::encode_effect(row, uid)]);
            self.write("member", [field]);
        }
        for (attempt, number) in decision.attempts.iter().zip(numbers) {
            let field = keys::attempt(&attempt.key, attempt.generation, *number);
            self.write("row", [field.clone(), records::encode_attempt(attempt, uid)]);
            self.write("member", [field]);
        }
        if decision.row.is_some() || !decision.attempts.is_empty() {
            self.write("more", [turns]);
        }
        Ok(())
    }

    /// The unit of an outcome: it needs nothing but its entry.
    pub(crate) fn of_outcome(bag: &Bag, decided: &Decided) -> Result<Self> {
        let mut unit = Self::default();
        unit.row("there", keys::THREAD.to_vec(), None);
        unit.decided(bag, decided)?;
        Ok(unit)
    }
}
