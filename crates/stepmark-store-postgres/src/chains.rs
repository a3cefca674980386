//! How are values fetched with everything that they follow from?
//!
//! All chains are walked at once as far as rows are at hand. Then the server follows what they miss to its end, in one
//! round trip however long that is, and they are walked again: what counts is the walk here, over rows whose hashes were
//! compared. Where the server could not follow, it is asked again from there.

use std::collections::HashMap;

use futures_util::future::try_join_all;
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
    packed: Vec<ValueAddress>,
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
    pub(crate) async fn chains(&mut self, wanted: &[ValueRef]) -> Result<Vec<Chain>> {
        let mut chains: Vec<Option<Chain>> = vec![None; wanted.len()];
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
            self.fetch().await?;
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
        let place = place_of(address);
        let Some(known) = self.packed.get_mut(&place) else {
            self.missed.packed.push(address);
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

    /// Fetches what was missed, and all that it follows from.
    async fn fetch(&mut self) -> Result<()> {
        let Missed { packed, rows, blobs } = std::mem::take(&mut self.missed);
        if !packed.is_empty() || !rows.is_empty() {
            self.fetch_nodes(&packed, &rows).await?;
        }
        let (session, scope) = (self.session, self.scope);
        let bytes = try_join_all(blobs.iter().map(|hash| blob(session, scope, *hash))).await?;
        self.blobs.extend(blobs.into_iter().zip(bytes));
        // Whatever was asked for and did not come is gone.
        for value in packed {
            self.packed.entry(place_of(value)).or_insert(None);
        }
        for value in rows {
            self.rows.entry(value).or_insert(None);
        }
        Ok(())
    }

    async fn fetch_nodes(&mut self, packed: &[ValueAddress], rows: &[ValueAddress]) -> Result<()> {
        let missed = packed.iter().map(|value| (value, 1)).chain(rows.iter().map(|value| (value, 0)));
        let (addresses, marks): (Vec<&ValueAddress>, Vec<i64>) = missed.unzip();
        let branches: Vec<i64> = addresses.iter().map(|value| value.branch.get() as i64).collect();
        let heights: Vec<i64> = addresses.iter().map(|value| value.height as i64).collect();
        let ordinals = addresses.iter().map(|value| i64::from(value.ordinal) << 1);
        let places: Vec<i64> = ordinals.zip(marks).map(|(ordinal, mark)| ordinal | mark).collect();
        let key = params![self.space.thread, self.space.namespace, branches, heights, places];
        for row in self.session.rows(queries::LOAD_CHAINS, key).await? {
            let cells = Cells::new(&row, Subject::Value, "value");
            let (branch, height) = (records::branch_id(&cells, 3)?, cells.number(4)?);
            if cells.get::<Option<i64>>(5)?.is_some() {
                let address = ValueAddress { branch, height, ordinal: cells.number32(5)? };
                self.rows.entry(address).or_insert(Some(row));
            } else {
                let packed = Packed { unverified: Some(RecordHash(cells.array(0)?)), bytes: cells.get(2)? };
                self.packed.entry(PackedPlace { branch, height }).or_insert(Some(packed));
            }
        }
        Ok(())
    }
}

fn place_of(value: ValueAddress) -> PackedPlace {
    PackedPlace { branch: value.branch, height: value.height }
}

impl Missed {
    fn count(&self) -> usize {
        self.packed.len() + self.rows.len() + self.blobs.len()
    }
}
