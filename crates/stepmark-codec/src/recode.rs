//! How does a thread get other keys, or is sealed that was not?
//!
//! Row by row, from a store into another one that does not have it, while nobody writes it: every record is opened as it
//! is, and made again as the other codec makes it. Nothing else changes: ids, hashes of what stays plain, orders.

mod items;

use stepmark_core::capability::{Carried, Restore, Row, RowClass, Rows, RowsQuery};
use stepmark_core::checkpoint::CheckpointRow;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::ThreadUid;
use stepmark_core::load::damaged;
use stepmark_core::rows::ThreadRow;
use stepmark_core::store::{BlobCall, BlobReply, Outcome, ThreadQuery};
use stepmark_core::value::{NumberedValue, ValueAddress, ValueNode, decode_packed, encode_packed};

pub use items::recode_items;

use crate::place::{Space, ValuePlace};
use crate::seal::KeyOwner;
use crate::store::CodecStore;
use crate::values::Coder;

/// How many rows are read and written at once.
const ROWS_AT_ONCE: u32 = 200;

/// Copies a thread from behind one codec to behind another: with new keys, sealed for the first time, or compressed. It
/// keeps its uid, and is visible in the other store once all of it is there, and then gets its attributes and its end;
/// repeated after a crash, the call goes on.
///
/// Both stores must show their rows, and nobody may write the thread meanwhile. Afterwards drop the old store, or delete
/// the thread there; its old keys are needed no more.
///
/// # Errors
/// `Missing` (thread): `from` does not have it. `Exists` (thread): `to` has another one of its name, or had this one before.
/// `Exists` (attribute): one is declared in `to` with another kind, or has another value there; `Unsupported` (attribute):
/// `to` cannot search. What opening a record answers: a damaged one is named, and nothing is visible.
pub async fn recode(from: &CodecStore, to: &CodecStore, thread: ThreadUid) -> Result<()> {
    let source = rows_of(from)?;
    let Some(Row::Thread(row)) = page(source, thread, RowClass::Thread, None).await?.0.pop() else {
        return Err(Error::missing(Subject::Thread, thread, "its row is not there"));
    };
    let carried = Carried::of(from.inner(), thread).await?;
    carried.declare(to.inner(), &row.scope).await?;
    let (old, new) = (from.keys(KeyOwner::Thread(thread)).await?, to.made_keys(KeyOwner::Thread(thread)).await?);
    let copy = Copy {
        from,
        to,
        old: from.coder(thread, old.as_ref()),
        new: to.coder(thread, new.as_ref()),
        scope: row.scope.clone(),
    };
    for class in RowClass::ALL.into_iter().skip(1) {
        let mut after = None;
        loop {
            let (mut rows, next) = page(source, thread, class, after).await?;
            for row in &mut rows {
                copy.recoded(row).await?;
            }
            restore(to, &row, rows, false).await?;
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
    restore(to, &row, Vec::new(), true).await?;
    carried.set(to.inner(), thread).await?;
    Ok(())
}

/// The same for all items and all threads of a scope, and answers how many threads there are: so a store gets other keys at
/// once, its own too. What is there already is left as it is, so after a crash the call is repeated. Results of nodes that
/// are kept for a while stay behind; they are made again.
///
/// # Errors
/// Those of [`recode_items`] and [`recode`].
pub async fn recode_all(from: &CodecStore, to: &CodecStore, scope: &str) -> Result<u64> {
    recode_items(from, to, scope).await?;
    let (mut after, mut recoded) = (None, 0);
    loop {
        let query = ThreadQuery { scope: scope.to_owned(), after, limit: ROWS_AT_ONCE, waiting: false };
        let page = from.inner().threads(query).await?;
        for entry in &page.threads {
            recode(from, to, entry.thread.uid).await?;
            recoded += 1;
        }
        after = page.next;
        if after.is_none() {
            return Ok(recoded);
        }
    }
}

fn rows_of(store: &CodecStore) -> Result<&dyn Rows> {
    store.inner().rows().ok_or_else(|| Error::unsupported(Subject::Store, "rows", "this store does not show them"))
}

type Page = (Vec<Row>, Option<Vec<u8>>);

async fn page(rows: &dyn Rows, thread: ThreadUid, class: RowClass, after: Option<Vec<u8>>) -> Result<Page> {
    let page = rows.page(RowsQuery { thread, class, after, limit: ROWS_AT_ONCE }).await?;
    Ok((page.rows.into_iter().collect::<Result<_>>()?, page.next))
}

async fn restore(to: &CodecStore, thread: &ThreadRow, rows: Vec<Row>, publish: bool) -> Result<()> {
    if rows.is_empty() && !publish {
        return Ok(());
    }
    let outcome = rows_of(to)?.restore(Restore { thread: thread.clone(), rows, publish }).await?;
    match outcome {
        Outcome::Applied | Outcome::Repeated => Ok(()),
    }
}

/// A thread between two codecs, or two threads behind one.
pub(crate) struct Copy<'a> {
    pub(crate) from: &'a CodecStore,
    pub(crate) to: &'a CodecStore,
    pub(crate) old: Coder<'a>,
    pub(crate) new: Coder<'a>,
    pub(crate) scope: String,
}

/// Where a record lies on both sides.
#[derive(Clone, Copy)]
struct Spaces<'n> {
    old: Space<'n>,
    new: Space<'n>,
}

impl Copy<'_> {
    /// Makes of a row what the other codec makes of it.
    async fn recoded(&self, row: &mut Row) -> Result<()> {
        self.open(row)?;
        self.close(row).await
    }

    /// Opens what a row holds itself: not the parts of a checkpoint, nor a value.
    pub(crate) fn open(&self, row: &mut Row) -> Result<()> {
        match row {
            Row::Run(row) => self.old.decode_run(row),
            Row::Effect(entry) => self.old.decode_effect(&mut entry.row)?,
            Row::Pending { namespace, row } => self.old.decode_pending(self.spaces(namespace).old, row)?,
            _ => {}
        }
        Ok(())
    }

    /// Makes of an opened row what is stored.
    pub(crate) async fn close(&self, row: &mut Row) -> Result<()> {
        match row {
            Row::Run(row) => self.new.encode_run(row),
            Row::Effect(entry) => self.new.encode_effect(&mut entry.row)?,
            Row::Pending { namespace, row } => self.new.encode_pending(self.spaces(namespace).new, row)?,
            Row::Checkpoint { namespace, row } => self.checkpoint(namespace, row).await?,
            Row::Value { namespace, row } => {
                let place = ValuePlace { address: row.address, packed: false };
                self.node(self.spaces(namespace), place, &mut row.node).await?;
            }
            Row::Thread(_)
            | Row::Branch { .. }
            | Row::Ref { .. }
            | Row::Graph(_)
            | Row::Tag { .. }
            | Row::Child { .. } => {}
        }
        Ok(())
    }

    fn spaces<'n>(&self, namespace: &'n str) -> Spaces<'n> {
        let of = |coder: &Coder<'_>| Space { thread: coder.thread, namespace };
        Spaces { old: of(&self.old), new: of(&self.new) }
    }

    async fn checkpoint(&self, namespace: &str, row: &mut CheckpointRow) -> Result<()> {
        let spaces = self.spaces(namespace);
        // One that was pruned lends its packed values to others, and has no manifest.
        if !row.manifest.is_empty() {
            self.old.decode_manifest(spaces.old, row)?;
            self.new.encode_manifest(spaces.new, row)?;
        }
        let broken = |error| damaged(Subject::Checkpoint, &row.id, error);
        let mut nodes = decode_packed(&row.packed).map_err(broken)?;
        for NumberedValue { ordinal, node } in &mut nodes {
            let address = ValueAddress { branch: row.branch, height: row.height, ordinal: *ordinal };
            self.node(spaces, ValuePlace { address, packed: true }, node).await?;
        }
        row.packed = encode_packed(&nodes);
        *row = row.clone().sealed(spaces.new.thread, namespace);
        Ok(())
    }

    /// The node, and the blob that holds its body.
    async fn node(&self, Spaces { old, new }: Spaces<'_>, place: ValuePlace, node: &mut ValueNode) -> Result<()> {
        let (head, body) = (node.head, std::mem::take(&mut node.body));
        let Some((hash, _)) = head.blob else {
            let plain = self.old.decode_node(old, place, ValueNode { head, body })?;
            *node = self.new.encode_node(new, place, plain, None)?;
            return Ok(());
        };
        let get = BlobCall::Get { scope: self.scope.clone(), hash };
        let BlobReply::Bytes(stored) = self.from.inner().blob(get).await? else {
            return Err(Error::unavailable(Subject::Blob, hash, "its store answered something else"));
        };
        let mut plain = self.old.decode_node(old, place, ValueNode { head, body: stored })?;
        let (bytes, stored) = self.new.encode_blob(&plain.head, &plain.body)?;
        self.to.inner().blob(BlobCall::Put { scope: self.scope.clone(), bytes }).await?;
        plain.body.clear();
        *node = self.new.encode_node(new, place, plain, Some(&stored))?;
        Ok(())
    }
}
