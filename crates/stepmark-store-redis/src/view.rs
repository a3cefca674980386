//! Which records of a thread are there?
//!
//! Looks rows up in what was read of a thread, by the names that records have in one namespace. Every record comes
//! verified.

use std::collections::HashMap;

use stepmark_core::checkpoint::{CheckpointRow, PackedPlace};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BranchId, CheckpointId, Lane, RunId};
use stepmark_core::load::damaged;
use stepmark_core::pending::PendingRow;
use stepmark_core::rows::{BranchRow, ForkPoint, RunRow, TagRow, ThreadRow};
use stepmark_core::store::NamedBranch;
use stepmark_core::value::{ValueAddress, find_packed};

use crate::bag::{Ask, Bag, Range, Rows};
use crate::keys::{self, Parts};
use crate::records::{self, Space};

/// A namespace of a thread, as far as it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) bag: &'a Bag,
    pub(crate) namespace: &'a str,
}

impl<'a> View<'a> {
    pub(crate) fn new(bag: &'a Bag, namespace: &'a str) -> Self {
        Self { bag, namespace }
    }

    /// The root namespace of the same thread.
    pub(crate) fn root(self) -> Self {
        Self { namespace: "", ..self }
    }

    pub(crate) fn space(self) -> Space<'a> {
        Space { uid: self.bag.uid, namespace: self.namespace }
    }

    pub(crate) fn thread(self) -> Result<Option<ThreadRow>> {
        let stored = self.bag.row(keys::THREAD)?;
        stored.map(|stored| records::thread(stored, self.bag.uid)).transpose()
    }

    pub(crate) fn known_thread(self) -> Result<ThreadRow> {
        self.thread()?.ok_or_else(|| self.bag.missing_thread())
    }

    pub(crate) fn branch(self, id: BranchId) -> Result<Option<BranchRow>> {
        let stored = self.bag.row(&keys::branch(self.namespace, id))?;
        stored.map(|stored| records::branch(stored, self.space(), id)).transpose()
    }

    /// The same of a branch whose ancestors are wanted too.
    pub(crate) fn branch_of_line(self, id: BranchId) -> Result<Option<BranchRow>> {
        let ask = || Ask::Line(keys::space(self.namespace), id);
        let stored = self.bag.looked_up(&keys::branch(self.namespace, id), ask)?;
        stored.map(|stored| records::branch(stored, self.space(), id)).transpose()
    }

    /// A branch that the caller names.
    pub(crate) fn known_branch(self, id: BranchId) -> Result<BranchRow> {
        self.branch(id)?.ok_or_else(|| Error::missing(Subject::Branch, id, ""))
    }

    /// The branch that a segment was forked from. Fork points fall strictly along a lineage, so damaged rows can never make a
    /// loop.
    pub(crate) fn parent(self, fork: ForkPoint) -> Result<BranchRow> {
        let gone = || Error::corrupt(Subject::Branch, fork.branch, "a branch was forked from it but it is gone");
        let parent = self.branch_of_line(fork.branch)?.ok_or_else(gone)?;
        if parent.fork.is_some_and(|older| older.height >= fork.height) {
            return Err(Error::corrupt(Subject::Branch, parent.id, "it begins above the fork of its child"));
        }
        Ok(parent)
    }

    /// The branch that has a name.
    pub(crate) fn named(self, name: &str) -> Result<Option<BranchId>> {
        let stored = self.bag.row(&keys::name(name))?;
        stored.map(|stored| records::name(stored, self.bag.uid, name)).transpose()
    }

    /// A branch with the first of its names.
    pub(crate) fn with_name(self, row: BranchRow) -> Result<NamedBranch> {
        let (range, rows) = first_name(row.id);
        let name = self.bag.range(&range, &rows)?.first().map(|member| self.name_in(member, row.id)).transpose()?;
        Ok(NamedBranch { row, name })
    }

    /// The name that a member of the order gives a branch.
    fn name_in(self, member: &[u8], branch: BranchId) -> Result<String> {
        let name = std::str::from_utf8(&member[keys::names_of(branch, "").len()..]);
        let name = name.map_err(|_| Error::corrupt(Subject::Branch, branch, "its name is no text"))?;
        let gone = || Error::corrupt(Subject::Branch, name, "a branch has this name but it is gone");
        if self.named(name)?.ok_or_else(gone)? != branch {
            return Err(Error::corrupt(Subject::Branch, name, "two branches have this name"));
        }
        Ok(name.to_owned())
    }

    /// The numbers of all branches, rising.
    pub(crate) fn branch_numbers(self) -> Result<Vec<u64>> {
        let [(numbers, rows), _] = branch_ranges(self.namespace);
        let malformed = || Error::corrupt(Subject::Branch, self.bag.uid, "a branch has no number");
        let number = |member: &[u8]| {
            let end = member.len().checked_sub(8)?;
            member[..end].last_chunk().map(|bits| keys::from_bits(*bits))
        };
        self.bag.range(&numbers, &rows)?.iter().map(|member| number(member).ok_or_else(malformed)).collect()
    }

    /// All branches, in order of creation.
    pub(crate) fn branches(self) -> Result<Vec<NamedBranch>> {
        let [(numbers, rows), (names, name_rows)] = branch_ranges(self.namespace);
        let members = self.bag.range(&names, &name_rows)?;
        // Names of one branch come rising: the first one stays.
        let mut first: HashMap<BranchId, &[u8]> = HashMap::new();
        for member in members {
            if let Some(id) = Parts(&member[1..]).branch() {
                first.entry(id).or_insert(member);
            }
        }
        let mut found = Vec::new();
        for member in self.bag.range(&numbers, &rows)? {
            let malformed = || Error::corrupt(Subject::Branch, self.bag.uid, "a branch has no id");
            let id =
                member.last_chunk().and_then(|bits| BranchId::new(keys::from_bits(*bits))).ok_or_else(malformed)?;
            let gone = || Error::corrupt(Subject::Branch, id, "it was made but it is gone");
            let row = self.branch(id)?.ok_or_else(gone)?;
            let name = first.get(&id).map(|member| self.name_in(member, id)).transpose()?;
            found.push(NamedBranch { row, name });
        }
        Ok(found)
    }

    pub(crate) fn run(self, id: &RunId) -> Result<Option<RunRow>> {
        let stored = self.bag.row(&keys::run(id))?;
        stored.map(|stored| records::run(stored, self.bag.uid, id)).transpose()
    }

    /// The run that began last on the thread.
    pub(crate) fn last_run(self) -> Result<Option<RunRow>> {
        let Some(member) = self.bag.range(&Range::of(keys::RUNS).last(1), &Rows::None)?.first() else {
            return Ok(None);
        };
        let stored = member.get(keys::RUNS.len() + 8..).unwrap_or_default();
        let malformed = |error| damaged(Subject::Run, self.bag.uid, error);
        self.run(&RunId::from_stored(stored).map_err(malformed)?)
    }

    pub(crate) fn tag(self, name: &str) -> Result<Option<(String, TagRow)>> {
        let stored = self.bag.row(&keys::tag(name))?;
        stored.map(|stored| records::tag(stored, self.bag.uid, name)).transpose()
    }

    /// Where the checkpoint with an id lies.
    pub(crate) fn place_of(self, id: &CheckpointId, values: bool) -> Result<Option<(BranchId, u64)>> {
        let ask = || Ask::Id(keys::space(self.namespace), id.to_stored(), values);
        let Some(stored) = self.bag.looked_up(&keys::place_of(self.namespace, id), ask)? else { return Ok(None) };
        let place = stored.try_into().ok().and_then(records::place);
        place.map(Some).ok_or_else(|| Error::corrupt(Subject::Checkpoint, id, "its place is malformed"))
    }

    /// The checkpoint with an id, with its packed values or without.
    pub(crate) fn checkpoint(self, id: &CheckpointId, values: bool) -> Result<Option<CheckpointRow>> {
        let Some((branch, height)) = self.place_of(id, values)? else { return Ok(None) };
        let gone = || Error::corrupt(Subject::Checkpoint, id, "its id is there but it is gone");
        let (_, row) = self.checkpoint_at(branch, height)?.ok_or_else(gone)?;
        if row.id != *id {
            return Err(Error::corrupt(Subject::Checkpoint, id, "its id leads to another"));
        }
        if values { self.with_packed(row).map(Some) } else { Ok(Some(row)) }
    }

    /// A checkpoint with its packed values.
    pub(crate) fn with_packed(self, mut row: CheckpointRow) -> Result<CheckpointRow> {
        let place = PackedPlace { branch: row.branch, height: row.height };
        let gone = || Error::corrupt(Subject::Checkpoint, &row.id, "its packed values are gone");
        let stored = self.bag.row(&keys::packed(self.namespace, row.branch, row.height))?.ok_or_else(gone)?;
        row.packed = records::packed(stored, self.space(), place, Some(row.packed_hash))?;
        Ok(row)
    }

    /// The checkpoint at a height of a segment without its packed part, and its arrival.
    pub(crate) fn checkpoint_at(self, branch: BranchId, height: u64) -> Result<Option<(u64, CheckpointRow)>> {
        let stored = self.bag.row(&keys::checkpoint(self.namespace, branch, height))?;
        stored.map(|stored| records::checkpoint(stored, self.space(), (branch, height))).transpose()
    }

    /// The pending rows of a checkpoint in a branch's lane, in key order.
    pub(crate) fn pending_of(self, base: &CheckpointId, branch: BranchId) -> Result<Vec<PendingRow>> {
        let lane = branch.lane();
        let prefix = keys::pending_of(self.namespace, base, lane);
        self.pending_in(&Range::of(&prefix), prefix.len(), (base, lane))
    }

    /// Those of them that a range has.
    pub(crate) fn pending_in(self, range: &Range, key_at: usize, of: (&CheckpointId, Lane)) -> Result<Vec<PendingRow>> {
        let members = self.bag.range(range, &Rows::Same)?;
        let read = |member: &Vec<u8>| {
            let gone = || Error::corrupt(Subject::Pending, of.0, "its key is there but it is gone");
            let stored = self.bag.row(member)?.ok_or_else(gone)?;
            records::pending(stored, &member[key_at..], self.space(), of)
        };
        members.iter().map(read).collect()
    }

    /// The next free ordinal of a height, over value rows that are there.
    pub(crate) fn next_ordinal(self, branch: BranchId, height: u64) -> Result<u32> {
        let range = Range::of(&keys::values_at(self.namespace, branch, height)).last(1);
        let largest = self.bag.range(&range, &Rows::None)?.first().and_then(|member| member.last_chunk());
        let next = largest.map_or(0, |largest| keys::from_bits(*largest).saturating_add(1));
        Ok(u32::try_from(next).unwrap_or(u32::MAX))
    }

    /// Whether a packed value is there.
    pub(crate) fn packs(self, address: ValueAddress) -> Result<bool> {
        let place = PackedPlace { branch: address.branch, height: address.height };
        let stored = self.bag.row(&keys::packed(self.namespace, address.branch, address.height))?;
        let Some(stored) = stored else { return Ok(false) };
        let packed = records::packed(stored, self.space(), place, None)?;
        let found = find_packed(&packed, address.ordinal);
        found.map(|found| found.is_some()).map_err(|error| damaged(Subject::Value, address, error))
    }

    /// How often something ceased to exist in the thread.
    pub(crate) fn mark(self) -> Result<u64> {
        self.count(keys::MARK)
    }

    /// Greater once something ceased to exist in the thread, or a branch of its root was made.
    pub(crate) fn moving_mark(self) -> Result<u64> {
        Ok(self.mark()? + self.count(&keys::branch_count(""))?)
    }

    fn count(self, field: &[u8]) -> Result<u64> {
        let Some(digits) = self.bag.row(field)? else { return Ok(0) };
        let read = || std::str::from_utf8(digits).ok()?.parse().ok();
        read().ok_or_else(|| Error::corrupt(Subject::Thread, self.bag.uid, "one of its counters is malformed"))
    }

    /// Whether a value row is there.
    pub(crate) fn has_value(self, address: ValueAddress) -> Result<bool> {
        self.bag.has(&keys::value(self.namespace, address))
    }
}

/// Where the first name of a branch is found.
fn first_name(branch: BranchId) -> (Range, Rows) {
    let prefix = keys::names_of(branch, "");
    let rows = Rows::Behind(keys::name(""), prefix.len());
    (Range::of(&prefix).first(1), rows)
}

/// Where all branches of a namespace and their names are found.
pub(crate) fn branch_ranges(namespace: &str) -> [(Range, Rows); 2] {
    let prefix = keys::branches(namespace);
    let mut rows = prefix.clone();
    if let Some(letter) = rows.first_mut() {
        *letter = b'B';
    }
    let numbers = (Range::of(&prefix), Rows::Behind(rows, prefix.len() + 8));
    [numbers, (Range::of(b"n"), Rows::Behind(keys::name(""), 9))]
}
