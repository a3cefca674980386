//! How are values fetched with everything that they follow from?
//!
//! A chain is known only as it is walked, and every look at the server is a round trip. So all chains are walked at once as
//! far as rows are at hand; then what they miss is fetched, each time with more of the rows that lie below it, and they are
//! walked again. Rows that nobody asked for are verified when they are used, not before: damage there is not this call's.

use std::collections::HashMap;

use stepmark_core::checkpoint::{CheckpointRow, PackedPlace};
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BlobHash, RecordHash};
use stepmark_core::load::{check_hash, damaged, walk_chain};
use stepmark_core::store::Chain;
use stepmark_core::value::{ValueAddress, ValueNode, ValueRef, find_packed};
use tokio_postgres::Row;

use crate::queries;
use crate::read::blob;
use crate::records::{self, Space, place_name};
use crate::session::{Cells, Session, params};

/// How many rows one look brings of each chain at most; the first brings one, each further one twice as many.
const WINDOW_MAX: i64 = 64;

/// Value nodes, as far as they were fetched.
pub(crate) struct Nodes<'a> {
    session: Session<'a>,
    space: Space<'a>,
    scope: &'a str,
    packed: HashMap<PackedPlace, Option<Packed>>,
    rows: HashMap<ValueAddress, Option<Row>>,
    blobs: HashMap<BlobHash, Option<Vec<u8>>>,
    /// What was asked for and is not at hand.
    missed: Missed,
}

struct Packed {
    bytes: Vec<u8>,
    /// Absent once it was compared.
    unverified: Option<RecordHash>,
}

#[derive(Default)]
struct Missed {
    packed: Vec<PackedPlace>,
    rows: Vec<ValueAddress>,
    blobs: Vec<BlobHash>,
}

impl<'a> Nodes<'a> {
    pub(crate) fn new(session: Session<'a>, space: Space<'a>, scope: &'a str) -> Self {
        let (packed, rows, blobs) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { session, space, scope, packed, rows, blobs, missed: Missed::default() }
    }

    /// Brings the packed part of a verified row along.
    pub(crate) fn bring(&mut self, row: &CheckpointRow) {
        let place = PackedPlace { branch: row.branch, height: row.height };
        self.packed.insert(place, Some(Packed { bytes: row.packed.clone(), unverified: None }));
    }

    /// The chains of these values, in their order.
    pub(crate) async fn chains(mut self, wanted: &[ValueRef]) -> Result<Vec<Chain>> {
        let mut chains: Vec<Option<Chain>> = vec![None; wanted.len()];
        let mut window = 1;
        loop {
            for (chain, newest) in chains.iter_mut().zip(wanted).filter(|(chain, _)| chain.is_none()) {
                let missed_before = self.missed.count();
                let walked = walk_chain(*newest, |place| self.node(place));
                if self.missed.count() == missed_before {
                    *chain = Some(walked?);
                }
            }
            if self.missed.count() == 0 {
                return Ok(chains.into_iter().flatten().collect());
            }
            self.fetch(window).await?;
            window = (window * 2).min(WINDOW_MAX);
        }
    }

    /// The node at a place; a place that was not fetched is noted, and ends the walk with an error that nobody sees.
    fn node(&mut self, place: ValueRef) -> Result<ValueNode> {
        let address = place.address;
        let found = if place.packed { self.packed_node(address)? } else { self.row_node(address)? };
        let mut node = found.ok_or_else(|| Error::corrupt(Subject::Value, address, "a row names it but it is gone"))?;
        if let Some((hash, _)) = node.head.blob {
            let Some(bytes) = self.blobs.get(&hash) else {
                self.missed.blobs.push(hash);
                return Ok(node);
            };
            let gone = || Error::corrupt(Subject::Blob, hash, "a value names it but it is gone");
            node.body.clone_from(bytes.as_ref().ok_or_else(gone)?);
        }
        Ok(node)
    }

    fn packed_node(&mut self, address: ValueAddress) -> Result<Option<ValueNode>> {
        let place = PackedPlace { branch: address.branch, height: address.height };
        let Some(known) = self.packed.get_mut(&place) else {
            self.missed.packed.push(place);
            return Ok(None);
        };
        let Some(packed) = known else { return Ok(None) };
        if let Some(stored) = packed.unverified {
            let name = format!("{} (packed values)", place_name(place.branch, place.height));
            let now = place.hash_packed(self.space.uid, self.space.namespace, &packed.bytes);
            check_hash(stored, now, Subject::Checkpoint, name)?;
            packed.unverified = None;
        }
        find_packed(&packed.bytes, address.ordinal).map_err(|error| damaged(Subject::Value, address, error))
    }

    fn row_node(&mut self, address: ValueAddress) -> Result<Option<ValueNode>> {
        let Some(known) = self.rows.get(&address) else {
            self.missed.rows.push(address);
            return Ok(None);
        };
        known.as_ref().map(|row| records::value(row, self.space, address)).transpose()
    }

    /// Fetches what was missed, and up to `window` rows of each segment from there downwards.
    async fn fetch(&mut self, window: i64) -> Result<()> {
        let Missed { packed, rows, blobs } = std::mem::take(&mut self.missed);
        if !packed.is_empty() {
            self.fetch_packed(packed, window).await?;
        }
        if !rows.is_empty() {
            self.fetch_rows(rows, window).await?;
        }
        for hash in blobs {
            let bytes = blob(self.session, self.scope, hash).await?;
            self.blobs.insert(hash, bytes);
        }
        Ok(())
    }

    async fn fetch_packed(&mut self, places: Vec<PackedPlace>, window: i64) -> Result<()> {
        let branches: Vec<i64> = places.iter().map(|place| place.branch.get() as i64).collect();
        let heights: Vec<i64> = places.iter().map(|place| place.height as i64).collect();
        let key = params![self.space.thread, self.space.namespace, branches, heights, window];
        for row in self.session.rows(queries::LOAD_PACKED, key).await? {
            let cells = Cells::new(&row, Subject::Checkpoint, "packed values");
            let place = PackedPlace { branch: records::branch_id(&cells, 0)?, height: cells.number(1)? };
            let unverified = Some(RecordHash(cells.array(2)?));
            let bytes = cells.get(3)?;
            self.packed.entry(place).or_insert(Some(Packed { bytes, unverified }));
        }
        for place in places {
            self.packed.entry(place).or_insert(None);
        }
        Ok(())
    }

    async fn fetch_rows(&mut self, addresses: Vec<ValueAddress>, window: i64) -> Result<()> {
        let branches: Vec<i64> = addresses.iter().map(|address| address.branch.get() as i64).collect();
        let heights: Vec<i64> = addresses.iter().map(|address| address.height as i64).collect();
        let ordinals: Vec<i64> = addresses.iter().map(|address| i64::from(address.ordinal)).collect();
        let key = params![self.space.thread, self.space.namespace, branches, heights, ordinals, window];
        for row in self.session.rows(queries::LOAD_VALUES, key).await? {
            let cells = Cells::new(&row, Subject::Value, "value");
            let (branch, height) = (records::branch_id(&cells, 3)?, cells.number(4)?);
            let address = ValueAddress { branch, height, ordinal: cells.number32(5)? };
            self.rows.entry(address).or_insert(Some(row));
        }
        for address in addresses {
            self.rows.entry(address).or_insert(None);
        }
        Ok(())
    }
}

impl Missed {
    fn count(&self) -> usize {
        self.packed.len() + self.rows.len() + self.blobs.len()
    }
}
