//! How much does a thread take, channel by channel?
//!
//! Counted from its rows as they lie in the store, a page at a time; sealed bytes are counted, not opened.

use std::collections::{BTreeMap, HashMap};

use stepmark_core::capability::{Row, RowClass, Rows, RowsQuery};
use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::error::{Error as StoreError, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::load::{damaged, head_of};
use stepmark_core::value::{ValueAddress, ValueNode, decode_packed};

use crate::decide::store_of;
use crate::error::Result;
use crate::state::State;
use crate::thread::Thread;

/// How many rows are read at a time.
const PAGE_SIZE: u32 = 256;

/// What a thread takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadSizes {
    /// How many checkpoints it has, those of its sub-graphs included.
    pub checkpoints: u64,
    /// What says what they are: bytes beside their values.
    pub checkpoint_bytes: u64,
    /// How many rows hold results, questions and answers of steps.
    pub pending_rows: u64,
    /// Their bytes.
    pub pending_bytes: u64,
    /// Values by sub-graph and channel; those that belong to no channel of a checkpoint, such as payloads, last.
    pub channels: Vec<ChannelSize>,
}

/// What the values of a channel take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelSize {
    /// Where the sub-graph lies; empty for the thread's own graph.
    pub namespace: String,
    /// The channel; absent for values of none.
    pub channel: Option<String>,
    /// How many rows hold its values: one for each checkpoint that changed it.
    pub rows: u64,
    /// Their bytes before a codec compressed them.
    pub bytes: u64,
    /// Their bytes as they are stored, in blobs too.
    pub stored_bytes: u64,
}

impl ThreadSizes {
    /// All bytes as they are stored, without keys and columns.
    pub fn stored_bytes(&self) -> u64 {
        let values: u64 = self.channels.iter().map(|channel| channel.stored_bytes).sum();
        self.checkpoint_bytes + self.pending_bytes + values
    }
}

impl<S: State> Thread<S> {
    /// What the thread takes: reads all of its rows, whose bytes stay as they are.
    ///
    /// # Errors
    /// `Missing` names an unknown thread. `Store`: a row is damaged, or the store does not show its rows.
    pub async fn sizes(&self) -> Result<ThreadSizes> {
        let none = || StoreError::unsupported(Subject::Store, "rows", "this store does not show its rows");
        let rows = store_of(&self.host)?.rows().ok_or_else(none)?;
        let mut count = Count::default();
        let thread = self.uid().await?;
        for class in [RowClass::Pending, RowClass::Checkpoint, RowClass::Value] {
            count.all(rows, thread, class).await?;
        }
        Ok(count.sizes())
    }
}

type Channel = (String, Option<String>);

#[derive(Default)]
struct Count {
    sizes: ThreadSizes,
    channels: BTreeMap<Channel, ChannelSize>,
    /// Whose the values are that lie in rows of their own.
    owners: HashMap<(String, ValueAddress), String>,
}

impl Count {
    async fn all(&mut self, rows: &dyn Rows, thread: ThreadUid, class: RowClass) -> Result<()> {
        let mut after = None;
        loop {
            let page = rows.page(RowsQuery { thread, class, after, limit: PAGE_SIZE }).await?;
            for row in page.rows {
                self.row(row?)?;
            }
            match page.next {
                None => return Ok(()),
                next => after = next,
            }
        }
    }

    fn row(&mut self, row: Row) -> Result<()> {
        match row {
            Row::Pending { row, .. } => {
                self.sizes.pending_rows += 1;
                self.sizes.pending_bytes += row.body.len() as u64;
            }
            Row::Checkpoint { namespace, row } => self.checkpoint(&namespace, &row)?,
            Row::Value { namespace, row } => {
                let owner = self.owners.remove(&(namespace.clone(), row.address));
                self.value((namespace, owner), &row.node);
            }
            _ => {}
        }
        Ok(())
    }

    fn checkpoint(&mut self, namespace: &str, row: &CheckpointRow) -> Result<()> {
        let mut packed_in = HashMap::new();
        if row.is_linked() {
            self.sizes.checkpoints += 1;
            self.sizes.checkpoint_bytes += row.manifest.len() as u64;
            for entry in head_of(row)?.channels {
                let (address, channel) = (entry.value.address, entry.name.to_string());
                if entry.value.packed {
                    packed_in.insert(address, channel);
                } else {
                    self.owners.entry((namespace.to_owned(), address)).or_insert(channel);
                }
            }
        }
        let unread = |error| damaged(Subject::Value, format!("{} (packed values)", row.id), error);
        for value in decode_packed(&row.packed).map_err(unread)? {
            let address = ValueAddress { branch: row.branch, height: row.height, ordinal: value.ordinal };
            self.value((namespace.to_owned(), packed_in.remove(&address)), &value.node);
        }
        Ok(())
    }

    fn value(&mut self, channel: Channel, node: &ValueNode) {
        let stored = node.head.blob.map_or(node.body.len() as u64, |(_, length)| length);
        let size = self.channels.entry(channel).or_default();
        size.rows += 1;
        size.stored_bytes += stored;
        size.bytes += node.head.coding.compressed_from.unwrap_or(stored);
    }

    fn sizes(self) -> ThreadSizes {
        let named = |((namespace, channel), size)| ChannelSize { namespace, channel, ..size };
        let mut channels: Vec<ChannelSize> = self.channels.into_iter().map(named).collect();
        channels.sort_by_key(|size| size.channel.is_none());
        ThreadSizes { channels, ..self.sizes }
    }
}
