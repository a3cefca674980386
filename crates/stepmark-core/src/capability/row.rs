//! What is a stored row, of whichever class?

use std::fmt;

use crate::checkpoint::CheckpointRow;
use crate::child::ChildRow;
use crate::effect::EffectEntry;
use crate::error::{Error, Result, Subject};
use crate::id::BranchId;
use crate::ledger::entry_name;
use crate::load::damaged;
use crate::pending::PendingRow;
use crate::rows::{BranchRow, GraphRow, RunRow, TagRow, ThreadRow};
use crate::store::BlobUse;
use crate::value::{ValueAddress, ValueHead, ValueRow, decode_packed};

/// A class of rows. Orders by key compare texts and ids by their bytes, and numbers as signed ones, branch ids and lanes too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowClass {
    /// The thread itself.
    Thread,
    /// Its branches of all namespaces: by namespace, then in order of creation.
    Branch,
    /// Names of branches, by name.
    Ref,
    /// Its runs, in order of beginning.
    Run,
    /// The graphs that its runs name, by name and signature; they belong to no thread.
    Graph,
    /// Names of checkpoints, by name.
    Tag,
    /// Its ledger, by key and generation; each entry with its attempts.
    Effect,
    /// Pending rows, by namespace, base, lane, kind, task, ordinal.
    Pending,
    /// Where sub-graphs stood, by the root's branch, namespace, the root's height.
    Child,
    /// Checkpoints, also pruned ones that lend packed values to others: by namespace, then in order of arrival, so that a
    /// checkpoint comes after the one that it follows.
    Checkpoint,
    /// Value rows, by address.
    Value,
}

impl RowClass {
    /// All classes, in the order in which a thread is read while others write it: what a row names comes after it, or was
    /// there before it.
    pub const ALL: [Self; 11] = [
        Self::Thread,
        Self::Branch,
        Self::Ref,
        Self::Run,
        Self::Graph,
        Self::Tag,
        Self::Effect,
        Self::Pending,
        Self::Child,
        Self::Checkpoint,
        Self::Value,
    ];
}

/// A stored row with what it lies under.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// The thread.
    Thread(ThreadRow),
    /// A branch.
    Branch {
        /// The namespace.
        namespace: String,
        /// Its place in the order of creation, from 1. Numbers of branches that are gone are not given again: effects name
        /// them ([`crate::effect::MadeAt`]).
        number: u64,
        /// The branch.
        row: BranchRow,
    },
    /// A branch's name.
    Ref {
        /// The name.
        name: String,
        /// The branch, of the root namespace.
        branch: BranchId,
    },
    /// A run.
    Run(RunRow),
    /// A graph.
    Graph(GraphRow),
    /// A tag.
    Tag {
        /// The namespace of its checkpoint.
        namespace: String,
        /// The tag.
        row: TagRow,
    },
    /// An entry of the ledger with its attempts, in the order in which they were made.
    Effect(EffectEntry),
    /// A pending row.
    Pending {
        /// The namespace.
        namespace: String,
        /// The row.
        row: PendingRow,
    },
    /// Where a sub-graph stood.
    Child {
        /// The segment of the root's checkpoint that says so.
        root: BranchId,
        /// That checkpoint's height.
        height: u64,
        /// The row.
        row: ChildRow,
    },
    /// A checkpoint. One that was pruned has an empty manifest, and its hash is that over an empty one.
    Checkpoint {
        /// The namespace.
        namespace: String,
        /// The row.
        row: CheckpointRow,
    },
    /// A value row.
    Value {
        /// The namespace.
        namespace: String,
        /// The row; its body is empty where a blob holds it.
        row: ValueRow,
    },
}

impl Row {
    /// Its class.
    pub fn class(&self) -> RowClass {
        match self {
            Self::Thread(_) => RowClass::Thread,
            Self::Branch { .. } => RowClass::Branch,
            Self::Ref { .. } => RowClass::Ref,
            Self::Run(_) => RowClass::Run,
            Self::Graph(_) => RowClass::Graph,
            Self::Tag { .. } => RowClass::Tag,
            Self::Effect(_) => RowClass::Effect,
            Self::Pending { .. } => RowClass::Pending,
            Self::Child { .. } => RowClass::Child,
            Self::Checkpoint { .. } => RowClass::Checkpoint,
            Self::Value { .. } => RowClass::Value,
        }
    }

    /// What an error about it is about.
    pub fn subject(&self) -> Subject {
        match self {
            Self::Thread(_) => Subject::Thread,
            Self::Branch { .. } | Self::Ref { .. } => Subject::Branch,
            Self::Run(_) => Subject::Run,
            Self::Graph(_) => Subject::Graph,
            Self::Tag { .. } => Subject::Tag,
            Self::Effect(_) => Subject::Effect,
            Self::Pending { .. } => Subject::Pending,
            Self::Child { .. } | Self::Checkpoint { .. } => Subject::Checkpoint,
            Self::Value { .. } => Subject::Value,
        }
    }

    /// What it is known by within its thread and class. Keys compare, byte by byte, as the class's order by key says; of
    /// classes in another order they only tell rows apart.
    pub fn key(&self) -> Vec<u8> {
        let mut key = Key::default();
        match self {
            Self::Thread(row) => key.bytes(&row.uid.0),
            Self::Branch { namespace, row, .. } => key.text(namespace).bits(row.id.get()),
            Self::Ref { name, .. } | Self::Tag { row: TagRow { name, .. }, .. } => key.text(name),
            Self::Run(row) => key.bytes(&row.id.to_stored()),
            Self::Graph(row) => key.text(&row.name).bytes(&row.signature),
            Self::Effect(entry) => key.bytes(&entry.row.key.encode()).bits(u64::from(entry.row.generation)),
            Self::Pending { namespace, row } => {
                key.text(namespace).bytes(&row.base.to_stored()).bits(row.lane.0);
                key.bits(u64::from(row.kind.number())).bytes(&row.task.0).bits(row.ordinal)
            }
            Self::Child { root, height, row } => key.bits(root.get()).text(&row.namespace).bits(*height),
            Self::Checkpoint { namespace, row } => key.text(namespace).bits(row.branch.get()).bits(row.height),
            Self::Value { namespace, row } => {
                let ValueAddress { branch, height, ordinal } = row.address;
                key.text(namespace).bits(branch.get()).bits(height).bits(u64::from(ordinal))
            }
        };
        key.0
    }

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        const COLUMNS: usize = 128;
        let large = match self {
            Self::Graph(row) => row.record.len(),
            Self::Effect(entry) => entry.row.result.as_ref().map_or(0, Vec::len) + entry.attempts.len() * COLUMNS,
            Self::Pending { row, .. } => row.body.len() + row.values.len() * 20,
            Self::Checkpoint { row, .. } => row.manifest.len() + row.packed.len(),
            Self::Value { row, .. } => row.node.body.len(),
            _ => 0,
        };
        COLUMNS + large
    }

    /// The blobs that its values use.
    ///
    /// # Errors
    /// `Corrupt`, `Unsupported` (value): a packed part cannot be read.
    pub fn blobs(&self) -> Result<Vec<BlobUse>> {
        let used = |value: ValueAddress, head: &ValueHead| head.blob.map(|(hash, _)| BlobUse { value, hash });
        match self {
            Self::Value { row, .. } => Ok(used(row.address, &row.node.head).into_iter().collect()),
            Self::Checkpoint { row, .. } => {
                let place = || format!("{} at height {} (packed values)", row.branch, row.height);
                let packed = decode_packed(&row.packed).map_err(|error| damaged(Subject::Value, place(), error))?;
                let address = |ordinal| ValueAddress { branch: row.branch, height: row.height, ordinal };
                Ok(packed.iter().filter_map(|value| used(address(value.ordinal), &value.node.head)).collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The refusal of a row under whose key lies another one.
    pub fn taken(&self) -> Error {
        Error::exists(self.subject(), self, "under its key lies another row, which is kept")
    }
}

/// The row in words, as errors name it.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread(row) => f.write_str(&row.name),
            Self::Branch { row, .. } => row.id.fmt(f),
            Self::Ref { name, .. } | Self::Tag { row: TagRow { name, .. }, .. } => f.write_str(name),
            Self::Run(row) => row.id.fmt(f),
            Self::Graph(row) => f.write_str(&row.name),
            Self::Effect(entry) => f.write_str(&entry_name(&entry.row.key, entry.row.generation)),
            Self::Pending { row, .. } => write!(f, "{} lane {:016x} number {}", row.base, row.lane.0, row.ordinal),
            Self::Child { row, .. } => write!(f, "of sub-graph {}", row.namespace),
            Self::Checkpoint { row, .. } => row.id.fmt(f),
            Self::Value { row, .. } => row.address.fmt(f),
        }
    }
}

/// Writes fields one after another so that keys compare, byte by byte, as their fields do one after another.
#[derive(Default)]
pub(crate) struct Key(pub(crate) Vec<u8>);

impl Key {
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// A zero is followed by a one, and the end is two zeros: it comes before whatever goes on.
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        for byte in bytes {
            self.0.push(*byte);
            if *byte == 0 {
                self.0.push(1);
            }
        }
        self.0.extend_from_slice(&[0, 0]);
        self
    }

    /// A signed number.
    pub(crate) fn bits(&mut self, bits: u64) -> &mut Self {
        self.0.extend_from_slice(&(bits ^ 1 << 63).to_be_bytes());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    fn key(text: &str, bits: u64) -> Vec<u8> {
        let mut key = Key::default();
        key.text(text).bits(bits);
        key.0
    }

    #[test]
    fn keys_compare_as_their_fields() {
        let minus_one = u64::MAX;
        let ascending =
            [("", 5), ("a", minus_one), ("a", 0), ("a", 1), ("a\0", 0), ("a\u{1}", 0), ("aa", minus_one), ("b", 0)];
        for pair in ascending.windows(2) {
            assert!(key(pair[0].0, pair[0].1) < key(pair[1].0, pair[1].1), "{pair:?}");
        }
    }
}
