//! How is a thread read at a place?
//!
//! Plain code over what the script brought; all of it is of one moment. Bodies of blobs and graph records lie elsewhere and
//! never change: they are fetched afterwards.

use std::collections::HashMap;

use stepmark_core::checkpoint::{CheckpointRow, PackedPlace};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::BranchId;
use stepmark_core::load::{damaged, head_of, walk_chain, wanted_values};
use stepmark_core::pending::PendingRow;
use stepmark_core::rows::{BranchRow, RunRow};
use stepmark_core::store::{Chain, Channels, Load, Loaded, Place, TagEntry};
use stepmark_core::value::{NumberedValue, ValueAddress, ValueNode, ValueRef, decode_packed};
use stepmark_core::wire::Writer;

use crate::bag::{Ask, Bag, PlaceAsk, Range, Rows};
use crate::view::{View, branch_ranges};
use crate::{children, keys, ledger, records};

/// A load, but for what lies outside of its thread.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) loaded: Loaded,
    /// Which graph record it asks for.
    pub(crate) graph: Option<(String, [u8; 16])>,
}

/// What a load asks for at first.
pub(crate) fn asks(load: &Load) -> Vec<Ask> {
    let mut asks = vec![Ask::Row(keys::THREAD.to_vec())];
    match &load.place {
        Place::Child { root, base } => asks.extend(children::asks(*root, base)),
        _ => asks.extend(place_ask(load)),
    }
    if let Some(run) = &load.run {
        asks.push(Ask::Row(keys::run(run)));
    }
    if load.branches {
        asks.extend(branch_ranges(&load.namespace).map(|(range, rows)| Ask::Range(range, rows)));
    }
    if load.tags {
        asks.push(Ask::Range(Range::of(&keys::tag("")), Rows::Same));
    }
    if load.effects {
        asks.extend([b"E", b"A"].map(|prefix| Ask::Range(Range::of(prefix), Rows::Same)));
    }
    asks
}

fn place_ask(load: &Load) -> Option<Ask> {
    let bits = |branch: BranchId| keys::bits(branch.get()).to_vec();
    let (kind, first, second) = match &load.place {
        Place::Head => ("head", Vec::new(), Vec::new()),
        Place::Branch(branch) => ("branch", bits(*branch), Vec::new()),
        Place::Named(name) => ("named", name.as_bytes().to_vec(), Vec::new()),
        Place::Checkpoint(id) => ("checkpoint", id.to_stored(), Vec::new()),
        Place::Moment { branch, checkpoint } => ("moment", bits(*branch), checkpoint.to_stored()),
        Place::Child { .. } => return None,
    };
    let channels = match &load.channels {
        Channels::None => Vec::new(),
        Channels::All => b"*".to_vec(),
        Channels::Named(names) => {
            let mut writer = Writer::new();
            for name in names {
                writer.str(name);
            }
            // Packed values are returned also where no channel is named.
            if names.is_empty() { b"\0".to_vec() } else { writer.into_vec() }
        }
    };
    let space = keys::space(&load.namespace);
    let ask = PlaceAsk { space, kind, first, second, channels, pending: load.pending };
    Some(Ask::Place(Box::new(ask)))
}

/// Reads a thread at a place.
pub(crate) fn load(bag: &Bag, load: &Load) -> Result<Read> {
    let view = View::new(bag, &load.namespace);
    let thread = view.known_thread()?;
    let (branch, checkpoint) = place(view, load)?;
    let pending = match &checkpoint {
        Some(row) if load.pending => view.pending_of(&row.id, branch.id)?,
        _ => Vec::new(),
    };
    let height = checkpoint.as_ref().map_or(0, |row| row.height + 1);
    // All parts are looked up before the first that is missed ends it, so that they are asked for at once.
    let next_ordinal = view.next_ordinal(branch.id, height);
    let chains = chains(view, load, checkpoint.as_ref(), &pending);
    let branches = if load.branches { view.branches() } else { Ok(Vec::new()) };
    let branch_numbers = if load.branches { view.branch_numbers() } else { Ok(Vec::new()) };
    let tags = if load.tags { tags(view) } else { Ok(Vec::new()) };
    let run = load.run.as_ref().map(|id| view.run(id)).transpose();
    let children = match &checkpoint {
        Some(row) if load.children && load.namespace.is_empty() => children::of_moment(view, &branch, row),
        _ => Ok(Vec::new()),
    };
    let effects = if load.effects { ledger::entries(bag) } else { Ok(Vec::new()) };
    let branch = view.with_name(branch);
    let loaded = Loaded {
        thread,
        branch: branch?,
        checkpoint,
        chains: chains?,
        pending,
        next_ordinal: next_ordinal?,
        branches: branches?,
        branch_numbers: branch_numbers?,
        tags: tags?,
        run: run?.flatten(),
        graph: None,
        children: children?,
        effects: effects?,
    };
    let graph = if load.graph { graph_of(view, load, loaded.checkpoint.as_ref())? } else { None };
    Ok(Read { loaded, graph })
}

/// Which graph record a load asks for: of the run that it names, else of the checkpoint's run.
fn graph_of(view: View<'_>, load: &Load, row: Option<&CheckpointRow>) -> Result<Option<(String, [u8; 16])>> {
    let id = match (&load.run, row) {
        (Some(id), _) => id.clone(),
        (None, Some(row)) => head_of(row)?.run,
        (None, None) => return Ok(None),
    };
    Ok(match view.run(&id)? {
        Some(RunRow { graph, graph_signature: Some(signature), .. }) => Some((graph, signature)),
        _ => None,
    })
}

type Found = (BranchRow, Option<CheckpointRow>);

fn place(view: View<'_>, load: &Load) -> Result<Found> {
    let values = load.channels != Channels::None;
    let branch = match &load.place {
        Place::Head => named_by_row(view, view.known_thread()?.head)?,
        Place::Branch(id) => view.known_branch(*id)?,
        Place::Named(name) => {
            let id = view.named(name)?.ok_or_else(|| Error::missing(Subject::Branch, name, ""))?;
            named_by_row(view, id)?
        }
        Place::Checkpoint(id) => {
            let row = view.checkpoint(id, values)?.ok_or_else(|| Error::missing(Subject::Checkpoint, id, ""))?;
            let head = view.branch(view.known_thread()?.head)?;
            if let Some(head) = head.filter(|head| head.tip.as_ref().is_some_and(|tip| tip.id == *id)) {
                return Ok((head, Some(row)));
            }
            let gone = || Error::corrupt(Subject::Branch, row.branch, "a checkpoint names it but it is gone");
            return Ok((view.branch(row.branch)?.ok_or_else(gone)?, Some(row)));
        }
        Place::Moment { branch, checkpoint: id } => {
            let row = view.checkpoint(id, values)?.ok_or_else(|| Error::missing(Subject::Checkpoint, id, ""))?;
            return Ok((view.known_branch(*branch)?, Some(row)));
        }
        Place::Child { root, base } => {
            let (branch, row) = children::place(view, (*root, base), values)?;
            return Ok((branch, Some(row)));
        }
    };
    let Some(tip) = &branch.tip else { return Ok((branch, None)) };
    let row = view.checkpoint(&tip.id, values)?;
    let row = row.ok_or_else(|| Error::corrupt(Subject::Checkpoint, &tip.id, "a branch names it but it is gone"))?;
    Ok((branch, Some(row)))
}

/// A branch that another row names. The head and the refs of a thread name branches of its root namespace.
fn named_by_row(view: View<'_>, id: BranchId) -> Result<BranchRow> {
    let gone = || match view.namespace {
        "" => Error::corrupt(Subject::Branch, id, "its thread names it but it is gone"),
        _ => Error::missing(Subject::Branch, id, ""),
    };
    view.branch(id)?.ok_or_else(gone)
}

fn tags(view: View<'_>) -> Result<Vec<TagEntry>> {
    let mut rows = Vec::new();
    for member in view.bag.range(&Range::of(&keys::tag("")), &Rows::Same)? {
        let name = std::str::from_utf8(&member[1..]);
        let name = name.map_err(|_| Error::corrupt(Subject::Tag, view.bag.uid, "a tag's name is no text"))?;
        let gone = || Error::corrupt(Subject::Tag, name, "its name is there but it is gone");
        rows.push(view.tag(name)?.ok_or_else(gone)?);
    }
    rows.retain(|(namespace, _)| namespace == view.namespace);
    view.bag.expect(rows.iter().map(|(_, row)| keys::checkpoint(view.namespace, row.branch, row.height)));
    let entry = |(_, row): (String, _)| {
        let stepmark_core::rows::TagRow { branch, height, name } = &row;
        let gone = || Error::corrupt(Subject::Checkpoint, name, "a tag names it but it is gone");
        let (_, named) = view.checkpoint_at(*branch, *height)?.ok_or_else(gone)?;
        Ok(TagEntry { row, checkpoint: named.id })
    };
    rows.into_iter().map(entry).collect()
}

/// The chains that a load asks for; bodies that lie in blobs are still to come.
fn chains(
    view: View<'_>,
    load: &Load,
    checkpoint: Option<&CheckpointRow>,
    pending: &[PendingRow],
) -> Result<Vec<Chain>> {
    let manifest = checkpoint.map(head_of).transpose()?;
    let mut nodes = Nodes { view, packed: HashMap::new() };
    let wanted = wanted_values(&load.channels, manifest.as_ref(), pending);
    nodes.expect(&wanted);
    wanted.into_iter().map(|newest| walk_chain(newest, |place| nodes.node(place))).collect()
}

/// Looks value nodes up; packed parts are verified and taken apart once, chains of several channels pass through the same
/// ones.
struct Nodes<'a> {
    view: View<'a>,
    packed: HashMap<PackedPlace, HashMap<u32, ValueNode>>,
}

impl Nodes<'_> {
    /// Notes what is missed of all chains, before the first of them stops for it.
    fn expect(&self, wanted: &[ValueRef]) {
        for value in wanted {
            // Whatever is missed is noted; nothing else matters yet.
            let _ = self.stored(*value);
        }
    }

    fn stored(&self, value: ValueRef) -> Result<Option<&[u8]>> {
        let (namespace, address) = (self.view.namespace, value.address);
        let field = if value.packed {
            keys::packed(namespace, address.branch, address.height)
        } else {
            keys::value(namespace, address)
        };
        self.view.bag.looked_up(&field, || Ask::Chain(keys::space(namespace), value))
    }

    fn node(&mut self, value: ValueRef) -> Result<ValueNode> {
        let address = value.address;
        let gone = || Error::corrupt(Subject::Value, address, "a row names it but it is gone");
        if value.packed {
            return self.packed_node(value)?.ok_or_else(gone);
        }
        let stored = self.stored(value)?.ok_or_else(gone)?;
        records::value(stored, self.view.space(), address)
    }

    fn packed_node(&mut self, value: ValueRef) -> Result<Option<ValueNode>> {
        let ValueAddress { branch, height, ordinal } = value.address;
        let place = PackedPlace { branch, height };
        if !self.packed.contains_key(&place) {
            let Some(stored) = self.stored(value)? else { return Ok(None) };
            let packed = records::packed(stored, self.view.space(), place, None)?;
            let values = decode_packed(&packed).map_err(|error| damaged(Subject::Value, value.address, error))?;
            let numbered = |NumberedValue { ordinal, node }| (ordinal, node);
            self.packed.insert(place, values.into_iter().rev().map(numbered).collect());
        }
        Ok(self.packed[&place].get(&ordinal).cloned())
    }
}
