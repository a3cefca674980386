//! What is written so that rows go?
//!
//! What is checked is read first, and the unit expects that it is still so. Everything that ceases to exist moves the mark,
//! and every new branch its counter: a unit that expects both sees only commits and tags come between.

use std::collections::{BTreeMap, HashSet};

use stepmark_core::capability::{CheckpointPlace, DropBranch, PendingKey, Removal, Repack, RowKey, Unlink, Unlinked};
use stepmark_core::checkpoint::{CheckpointRow, PackedPlace};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BranchId, Lane};
use stepmark_core::load::damaged;
use stepmark_core::pending::PendingRow;
use stepmark_core::rows::{TagRow, ThreadRow};
use stepmark_core::store::NamedBranch;
use stepmark_core::value::{ValueAddress, decode_packed};

use crate::bag::{Ask, Bag, Range, Rows};
use crate::error::overtaken;
use crate::keys::{self, Bytes};
use crate::link::Link;
use crate::records;
use crate::unit::Unit;
use crate::view::View;
use crate::write::ATTEMPTS_MAX;

impl Link {
    pub(crate) async fn unlink(&self, unlink: Unlink) -> Result<Unlinked> {
        for _ in 0..ATTEMPTS_MAX {
            let look = |bag: &Bag| Unlinking::of(bag)?.decide(&unlink);
            let (unit, unlinked) = self.read(unlink.thread, asks(), look).await?;
            let Some(unit) = unit else { return Ok(unlinked) };
            if self.write(unlink.thread, unit).await? {
                return Ok(unlinked);
            }
        }
        Err(overtaken(&self.place))
    }

    pub(crate) async fn remove(&self, removal: Removal) -> Result<()> {
        for _ in 0..ATTEMPTS_MAX {
            let unit = self.read(removal.thread, asks(), |bag| Removing::decide(bag, &removal)).await?;
            if self.write(removal.thread, unit).await? {
                return Ok(());
            }
        }
        Err(overtaken(&self.place))
    }
}

fn asks() -> Vec<Ask> {
    let counts = keys::branch_count("");
    [keys::THREAD, keys::MARK, &counts].map(|field| Ask::Row(field.to_vec())).to_vec()
}

/// Expects that a row is what was read.
fn still(unit: &mut Unit, bag: &Bag, field: Bytes) -> Result<()> {
    match bag.row(&field)?.map(<[u8]>::to_vec) {
        Some(stored) => unit.row("equal", field, Some(stored)),
        None => unit.row("absent", field, None),
    }
    Ok(())
}

fn moved(thread: &ThreadRow) -> Error {
    Error::conflict(Subject::Thread, &thread.name, "it moved since it was read; read it again")
}

/// Branches of a namespace with their numbers.
type Numbered = Vec<(u64, NamedBranch)>;

/// What ceases to exist, as far as that is decided.
struct Unlinking<'a> {
    bag: &'a Bag,
    unit: Unit,
    thread: ThreadRow,
    tags: Vec<(String, TagRow)>,
    /// Branches that stay so far, by namespace.
    branches: BTreeMap<String, Numbered>,
    gone: HashSet<(String, BranchId, u64)>,
}

impl<'a> Unlinking<'a> {
    fn of(bag: &'a Bag) -> Result<Self> {
        let thread = View::new(bag, "").known_thread()?;
        let (mut unit, range) = (Unit::default(), Range::of(&keys::tag("")));
        let mut tags = Vec::new();
        let members = bag.range(&range, &Rows::Same)?;
        let [from, to] = range.ends();
        unit.expect("count", [from, to, members.len().to_string().into_bytes()]);
        for member in members {
            let name = std::str::from_utf8(&member[1..]);
            let name = name.map_err(|_| Error::corrupt(Subject::Tag, bag.uid, "a tag's name is no text"))?;
            tags.extend(View::new(bag, "").tag(name)?);
            still(&mut unit, bag, member.clone())?;
        }
        for field in [keys::THREAD, keys::MARK] {
            still(&mut unit, bag, field.to_vec())?;
        }
        Ok(Self { bag, unit, thread, tags, branches: BTreeMap::new(), gone: HashSet::new() })
    }

    fn decide(mut self, unlink: &Unlink) -> Result<(Option<Unit>, Unlinked)> {
        self.expect(unlink);
        let mark = View::new(self.bag, "").moving_mark()?;
        if unlink.mark.is_some_and(|expected| expected != mark) {
            return Err(moved(&self.thread));
        }
        if unlink.mark.is_some() {
            still(&mut self.unit, self.bag, keys::branch_count(""))?;
        }
        let mut unlinked = Unlinked { mark, ..Unlinked::default() };
        for dropped in &unlink.branches {
            if let Some(checkpoints) = self.drop_branch(dropped)? {
                unlinked.branches += 1;
                unlinked.checkpoints += checkpoints;
            }
        }
        for place in &unlink.checkpoints {
            unlinked.checkpoints += u64::from(self.unlink_checkpoint(place)?);
        }
        if unlinked.branches + unlinked.checkpoints == 0 {
            return Ok((None, unlinked));
        }
        self.unit.write("upkeep", []);
        self.unit.write("more", [keys::MARK.to_vec()]);
        unlinked.mark += 1;
        Ok((Some(self.unit), unlinked))
    }

    /// Notes what will be looked up, so that it is read at once.
    fn expect(&self, unlink: &Unlink) {
        let places = unlink.checkpoints.iter();
        self.bag.expect(places.map(|place| keys::checkpoint(&place.namespace, place.branch, place.height)));
    }

    fn branches_of(&mut self, namespace: &str) -> Result<&mut Numbered> {
        if !self.branches.contains_key(namespace) {
            let view = View::new(self.bag, namespace);
            let numbered = view.branch_numbers()?.into_iter().zip(view.branches()?).collect();
            still(&mut self.unit, self.bag, keys::branch_count(namespace))?;
            self.branches.insert(namespace.to_owned(), numbered);
        }
        Ok(self.branches.entry(namespace.to_owned()).or_default())
    }

    fn is_tagged(&self, namespace: &str, names: impl Fn(&TagRow) -> bool) -> bool {
        self.tags.iter().any(|(space, tag)| space == namespace && names(tag))
    }

    /// Drops a branch that nobody uses; answers how many checkpoints went with it.
    fn drop_branch(&mut self, dropped: &DropBranch) -> Result<Option<u64>> {
        let DropBranch { namespace, branch: id, epoch } = dropped;
        let (is_root, head) = (namespace.is_empty(), self.thread.head);
        let is_tagged = self.is_tagged(namespace, |tag| tag.branch == *id);
        let branches = self.branches_of(namespace)?;
        let is_left = branches.iter().any(|(_, branch)| branch.row.fork.is_some_and(|fork| fork.branch == *id));
        let Some(index) = branches.iter().position(|(_, branch)| branch.row.id == *id) else { return Ok(None) };
        let (number, branch) = &branches[index];
        let is_newest = is_root && index + 1 == branches.len();
        let is_named = is_root && (head == *id || branch.name.is_some());
        if is_named || is_tagged || is_newest || is_left || branch.row.epoch != *epoch {
            return Ok(None);
        }
        let (number, (first, end)) = (*number, branch.row.own_heights());
        branches.remove(index);
        let field = keys::branch(namespace, *id);
        still(&mut self.unit, self.bag, field.clone())?;
        if is_root {
            let [from, to] = Range::of(&keys::names_of(*id, "")).ends();
            self.unit.expect("count", [from, to, b"0".to_vec()]);
        }
        self.unit.write("drop", [field]);
        self.unit.write("drop", [keys::branch_number(namespace, *id)]);
        self.unit.write("leave", [keys::numbered_branch(namespace, number, *id)]);
        self.bag.expect((first..end).map(|height| keys::checkpoint(namespace, *id, height)));
        let mut gone = 0;
        for height in first..end {
            gone += u64::from(self.clear(&CheckpointPlace { namespace: namespace.clone(), branch: *id, height })?);
        }
        Ok(Some(gone))
    }

    fn unlink_checkpoint(&mut self, place: &CheckpointPlace) -> Result<bool> {
        let CheckpointPlace { namespace, branch, height } = place;
        let view = View::new(self.bag, namespace);
        let Some((_, row)) = view.checkpoint_at(*branch, *height)? else { return Ok(false) };
        let names = |tag: &TagRow| (tag.branch, tag.height) == (*branch, *height);
        let is_tip = |(_, branch): &(u64, NamedBranch)| branch.row.tip.as_ref().is_some_and(|tip| tip.id == row.id);
        if self.is_tagged(namespace, names) || self.branches_of(namespace)?.iter().any(is_tip) {
            return Ok(false);
        }
        let of_no_lane = Range::of(&keys::pending_of(namespace, &row.id, Lane(0)));
        if !self.bag.range(&of_no_lane, &Rows::None)?.is_empty() {
            return Ok(false);
        }
        let [from, to] = of_no_lane.ends();
        self.unit.expect("count", [from, to, b"0".to_vec()]);
        self.clear(place)
    }

    /// Takes the manifest away; answers whether there was a checkpoint.
    fn clear(&mut self, place: &CheckpointPlace) -> Result<bool> {
        let CheckpointPlace { namespace, branch, height } = place;
        let found = View::new(self.bag, namespace).checkpoint_at(*branch, *height)?;
        let Some((arrival, row)) = found else { return Ok(false) };
        if !self.gone.insert((namespace.clone(), *branch, *height)) {
            return Ok(false);
        }
        let id = keys::place_of(namespace, &row.id);
        let mut row = CheckpointRow { manifest: Vec::new(), ..row };
        row.manifest_hash = row.hash_manifest(self.bag.uid, namespace);
        let stored = [&records::encode_checkpoint(&row)[..], &keys::bits(arrival)].concat();
        self.unit.write("drop", [keys::checkpoint(namespace, *branch, *height)]);
        self.unit.write("drop", [id]);
        self.unit.write("row", [keys::pruned(namespace, *branch, *height), stored]);
        Ok(true)
    }
}

/// Rows that go.
struct Removing<'a> {
    bag: &'a Bag,
    unit: Unit,
    gone: HashSet<Bytes>,
}

impl<'a> Removing<'a> {
    fn decide(bag: &'a Bag, removal: &Removal) -> Result<Unit> {
        let view = View::new(bag, "");
        let thread = view.known_thread()?;
        if view.moving_mark()? != removal.mark {
            return Err(moved(&thread));
        }
        let mut removing = Self { bag, unit: Unit::default(), gone: HashSet::new() };
        removing.unit.row("there", keys::THREAD.to_vec(), None);
        for field in [keys::MARK.to_vec(), keys::branch_count("")] {
            still(&mut removing.unit, bag, field)?;
        }
        removing.expect(removal);
        removing.unit.write("upkeep", []);
        removal.rows.iter().try_for_each(|key| removing.row(key))?;
        removal.repacks.iter().try_for_each(|repack| removing.repack(repack))?;
        Ok(removing.unit)
    }

    /// Notes what will be looked up, so that it is read at once.
    fn expect(&self, removal: &Removal) {
        for key in &removal.rows {
            match key {
                RowKey::Value { namespace, address } => self.bag.expect([keys::blob_use(namespace, *address)]),
                RowKey::Checkpoint(place) => self.bag.expect(fields(place)),
                RowKey::Pending { .. } | RowKey::Child { .. } => {}
            }
        }
        removal.repacks.iter().for_each(|repack| self.bag.expect(fields(&repack.place)));
    }

    fn listed(&mut self, field: Bytes) {
        self.unit.write("drop", [field.clone()]);
        self.unit.write("leave", [field]);
    }

    fn row(&mut self, key: &RowKey) -> Result<()> {
        match key {
            RowKey::Value { namespace, address } => {
                self.listed(keys::value(namespace, *address));
                self.forget_use(namespace, *address)?;
            }
            RowKey::Pending { namespace, key } => self.listed(keys::pending(namespace, &row_of(key))),
            RowKey::Child { root, height, namespace } => self.listed(keys::child(*root, namespace, *height)),
            RowKey::Checkpoint(place) => self.checkpoint(place)?,
        }
        Ok(())
    }

    /// The value there uses no blob any more.
    fn forget_use(&mut self, namespace: &str, address: ValueAddress) -> Result<()> {
        let field = keys::blob_use(namespace, address);
        let Some(stored) = self.bag.row(&field)? else { return Ok(()) };
        let other = || Error::corrupt(Subject::Value, address, "the blob that it uses has no hash");
        let hash = stored.try_into().map(stepmark_core::id::BlobHash).map_err(|_| other())?;
        self.unit.write("leave", [keys::user_of(hash, &field)]);
        self.unit.write("drop", [field]);
        Ok(())
    }

    /// A checkpoint that does not exist any more, with its arrival and its packed part, unless this call removes it.
    fn unlinked(&mut self, place: &CheckpointPlace) -> Result<Option<(u64, CheckpointRow)>> {
        let [pruned, _] = fields(place);
        let CheckpointPlace { namespace, branch, height } = place;
        let Some(stored) = self.bag.row(&pruned)?.filter(|_| !self.gone.contains(&pruned)) else { return Ok(None) };
        let view = View::new(self.bag, namespace);
        let (arrival, row) = records::checkpoint(stored, view.space(), (*branch, *height))?;
        Ok(Some((arrival, view.with_packed(row)?)))
    }

    /// Forgets what packed values use that are there no more.
    fn forget_packed(&mut self, place: &CheckpointPlace, before: &[u8], after: &[u8]) -> Result<()> {
        let CheckpointPlace { namespace, branch, height } = place;
        let read = |packed| {
            let name = || records::place_name(*branch, *height);
            decode_packed(packed).map_err(|error| damaged(Subject::Value, name(), error))
        };
        let left: HashSet<u32> = read(after)?.iter().map(|value| value.ordinal).collect();
        let gone = read(before)?.into_iter().map(|value| value.ordinal).filter(|ordinal| !left.contains(ordinal));
        let addresses = gone.map(|ordinal| ValueAddress { branch: *branch, height: *height, ordinal });
        let addresses: Vec<_> = addresses.collect();
        self.bag.expect(addresses.iter().map(|address| keys::blob_use(namespace, *address)));
        addresses.into_iter().try_for_each(|address| self.forget_use(namespace, address))
    }

    fn checkpoint(&mut self, place: &CheckpointPlace) -> Result<()> {
        let Some((arrival, row)) = self.unlinked(place)? else { return Ok(()) };
        let [pruned, packed] = fields(place);
        still(&mut self.unit, self.bag, pruned.clone())?;
        self.forget_packed(place, &row.packed, &[])?;
        self.unit.write("drop", [pruned.clone()]);
        self.unit.write("drop", [packed]);
        let at = keys::place(place.branch, place.height);
        self.unit.write("leave", [keys::arrived(&place.namespace, arrival, at)]);
        self.gone.insert(pruned);
        Ok(())
    }

    fn repack(&mut self, repack: &Repack) -> Result<()> {
        let place = &repack.place;
        let Some((arrival, row)) = self.unlinked(place)? else { return Ok(()) };
        if row.packed_hash != repack.was {
            return Ok(());
        }
        let [pruned, packed] = fields(place);
        still(&mut self.unit, self.bag, pruned.clone())?;
        self.forget_packed(place, &row.packed, &repack.packed)?;
        let packed_place = PackedPlace { branch: place.branch, height: place.height };
        let packed_hash = packed_place.hash_packed(self.bag.uid, &place.namespace, &repack.packed);
        let row = CheckpointRow { packed: repack.packed.clone(), packed_hash, ..row };
        let stored = [&records::encode_checkpoint(&row)[..], &keys::bits(arrival)].concat();
        self.unit.write("row", [pruned.clone(), stored]);
        self.unit.write("row", [packed, records::encode_packed(&row)]);
        self.gone.insert(pruned);
        Ok(())
    }
}

/// Where a checkpoint that does not exist any more lies, and its packed part.
fn fields(place: &CheckpointPlace) -> [Bytes; 2] {
    [keys::pruned, keys::packed].map(|field| field(&place.namespace, place.branch, place.height))
}

/// A row with this key.
fn row_of(key: &PendingKey) -> PendingRow {
    let PendingKey { base, lane, kind, task, ordinal } = key.clone();
    PendingRow { base, lane, kind, task, ordinal, values: Vec::new(), body: Vec::new() }
}
