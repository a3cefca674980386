//! How are the rows of a thread read as they are stored, page by page?
//!
//! One range scan a page. The cursor is the key of its last row as it stands in its columns, so that a damaged row is
//! passed like any other.

use async_trait::async_trait;
use futures_util::future::join_all;
use stepmark_core::capability::{Restore, Row, RowClass, Rows, RowsPage, RowsQuery};
use stepmark_core::effect::EffectKey;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{BranchId, CheckpointId, ThreadUid};
use stepmark_core::ledger::entry_name;
use stepmark_core::store::Outcome;
use stepmark_core::value::{ValueAddress, ValueRow};
use stepmark_core::wire::{Reader, WireError, Writer};
use tokio_postgres::Row as Stored;

use crate::check::number_of;
use crate::error::is_failure;
use crate::read::missing_thread;
use crate::records::{self, Space};
use crate::session::{Cells, Session, params};
use crate::store::PostgresStore;
use crate::writer::{Done, Work};
use crate::{ledger, queries};

#[async_trait]
impl Rows for PostgresStore {
    async fn page(&self, query: RowsQuery) -> Result<RowsPage> {
        self.read(&query, |session, query| Box::pin(page(session, query))).await
    }

    async fn restore(&self, restore: Restore) -> Result<Outcome> {
        let Done::Restored(outcome) = self.submit(Work::Restore(Box::new(restore))).await? else {
            return Err(self.mismatched());
        };
        Ok(outcome)
    }
}

/// Rows with their cursors.
type Found = Vec<(Vec<u8>, Result<Row>)>;

/// A walk over the rows of a thread.
#[derive(Clone, Copy)]
struct Scan<'a> {
    session: Session<'a>,
    space: Space<'a>,
    after: Option<&'a [u8]>,
    limit: i64,
}

async fn page(session: Session<'_>, query: &RowsQuery) -> Result<RowsPage> {
    // By its number alone: a damaged thread has rows, too.
    let number = number_of(session, query.thread).await?;
    let Some(number) = number else { return Err(missing_thread(session, query.thread).await?) };
    let space = Space { thread: number, uid: query.thread, namespace: "" };
    let limit = query.limit.max(1);
    // One more than asked for tells whether there is a next page.
    let scan = Scan { session, space, after: query.after.as_deref(), limit: i64::from(limit) + 1 };
    let mut found = match query.class {
        RowClass::Thread => scan.thread().await,
        RowClass::Branch => scan.branches().await,
        RowClass::Ref => scan.refs().await,
        RowClass::Run => scan.runs().await,
        RowClass::Graph => scan.graphs().await,
        RowClass::Tag => scan.tags().await,
        RowClass::Effect => scan.effects().await,
        RowClass::Pending => scan.pending().await,
        RowClass::Child => scan.children().await,
        RowClass::Checkpoint => scan.checkpoints().await,
        RowClass::Value => scan.values().await,
    }?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|(cursor, _)| cursor.clone());
    Ok(RowsPage { rows: found.into_iter().map(|(_, row)| row).collect(), next })
}

fn cells<'a>(row: &'a Stored, space: Space<'_>) -> Cells<'a, ThreadUid> {
    Cells::new(row, Subject::Thread, space.uid)
}

/// A cursor of these fields.
fn cursor(write: impl FnOnce(&mut Writer) -> &mut Writer) -> Vec<u8> {
    let mut writer = Writer::new();
    write(&mut writer);
    writer.into_vec()
}

/// The least number; no row has it.
const FIRST: u64 = i64::MIN as u64;

impl<'a> Scan<'a> {
    /// The fields of the cursor; `first` where there is none.
    fn start<T>(&self, first: T, read: impl FnOnce(&mut Reader<'a>) -> Result<T, WireError>) -> Result<T> {
        let Some(after) = self.after else { return Ok(first) };
        let mut reader = Reader::new(after);
        let fields = read(&mut reader).and_then(|fields| reader.finish().map(|()| fields));
        fields.map_err(|error| {
            let reason = "rows are walked with the cursors of the same store and class";
            Error::invalid(Subject::Thread, self.space.uid, reason).with_source(error)
        })
    }

    fn start_name(&self) -> Result<String> {
        self.start(String::new(), |reader| Ok(reader.str()?.to_owned()))
    }

    fn start_place(&self) -> Result<(String, i64)> {
        self.start((String::new(), i64::MIN), |reader| Ok((reader.str()?.to_owned(), reader.u64()? as i64)))
    }

    async fn thread(&self) -> Result<Found> {
        if self.after.is_some() {
            return Ok(Vec::new());
        }
        let read = |row: &Stored| Ok((Vec::new(), records::thread(row).map(|(_, row)| Row::Thread(row))));
        self.session.all(queries::ROWS_THREAD, params![self.space.thread], read).await
    }

    async fn branches(&self) -> Result<Found> {
        let (namespace, number) = self.start_place()?;
        let read = |stored: &Stored| {
            let cells = cells(stored, self.space);
            let (namespace, number): (String, u64) = (cells.get(10)?, cells.number(11)?);
            let at = cursor(|writer| writer.str(&namespace).u64(number));
            let row = records::branch(stored, Space { namespace: &namespace, ..self.space });
            Ok((at, row.map(|row| Row::Branch { namespace, number, row })))
        };
        let key = params![self.space.thread, namespace, number, self.limit];
        self.session.all(queries::ROWS_BRANCH, key, read).await
    }

    async fn refs(&self) -> Result<Found> {
        let read = |stored: &Stored| {
            let name: String = cells(stored, self.space).get(0)?;
            let row = records::branch_name(stored, self.space.uid);
            Ok((cursor(|writer| writer.str(&name)), row.map(|(name, branch)| Row::Ref { name, branch })))
        };
        let key = params![self.space.thread, self.start_name()?, self.limit];
        self.session.all(queries::ROWS_REF, key, read).await
    }

    async fn runs(&self) -> Result<Found> {
        let after = self.start(FIRST, Reader::u64)? as i64;
        let read = |stored: &Stored| {
            let arrival = cells(stored, self.space).number(11)?;
            Ok((cursor(|writer| writer.u64(arrival)), records::run(stored, self.space.uid).map(Row::Run)))
        };
        self.session.all(queries::ROWS_RUN, params![self.space.thread, after, self.limit], read).await
    }

    async fn graphs(&self) -> Result<Found> {
        let first = (String::new(), Vec::new());
        let (name, signature) = self.start(first, |reader| Ok((reader.str()?.to_owned(), reader.bytes()?.to_vec())))?;
        let read = |stored: &Stored| {
            let cells = cells(stored, self.space);
            let (name, signature): (String, Vec<u8>) = (cells.get(2)?, cells.get(3)?);
            let row = cells.array(3).and_then(|signature| records::graph(stored, &name, signature));
            Ok((cursor(|writer| writer.str(&name).bytes(&signature)), row.map(Row::Graph)))
        };
        let key = params![self.space.thread, name, signature, self.limit];
        self.session.all(queries::ROWS_GRAPH, key, read).await
    }

    async fn tags(&self) -> Result<Found> {
        let read = |stored: &Stored| {
            let name: String = cells(stored, self.space).get(0)?;
            let row = records::tag(stored, self.space.uid);
            let at = cursor(|writer| writer.str(&name));
            Ok((at, row.map(|(namespace, row)| Row::Tag { namespace, row })))
        };
        let key = params![self.space.thread, self.start_name()?, self.limit];
        self.session.all(queries::ROWS_TAG, key, read).await
    }

    async fn effects(&self) -> Result<Found> {
        let first = (Vec::new(), i64::MIN);
        let (key, generation) = self.start(first, |reader| Ok((reader.bytes()?.to_vec(), reader.u64()? as i64)))?;
        let read = |stored: &Stored| {
            let cells = cells(stored, self.space);
            let (key, generation): (Vec<u8>, u64) = (cells.get(0)?, cells.number(1)?);
            let at = cursor(|writer| writer.bytes(&key).u64(generation));
            Ok((at, records::effect_key(stored, self.space.uid)))
        };
        let start = params![self.space.thread, key, generation, self.limit];
        let keys = self.session.all(queries::ROWS_EFFECT, start, read).await?;
        let entries = keys.into_iter().map(async |(at, key)| match key {
            Ok(key) => (at, self.effect(key).await),
            Err(damage) => (at, Err(damage)),
        });
        let mut found = Found::new();
        for (at, entry) in join_all(entries).await {
            match entry {
                Err(failure) if is_failure(&failure) => return Err(failure),
                entry => found.push((at, entry)),
            }
        }
        Ok(found)
    }

    async fn effect(&self, (key, generation): (EffectKey, u32)) -> Result<Row> {
        let entry = ledger::entries_of(self.session, self.space, &key, Some(generation)).await?.pop();
        let gone = || Error::corrupt(Subject::Effect, entry_name(&key, generation), "it is gone while it was read");
        entry.map(Row::Effect).ok_or_else(gone)
    }

    async fn pending(&self) -> Result<Found> {
        type Key = (String, Vec<u8>, i64, i16, Vec<u8>, i64);
        let first: Key = (String::new(), Vec::new(), i64::MIN, 0, Vec::new(), i64::MIN);
        let (namespace, base, lane, kind, task, ordinal) = self.start(first, |reader| {
            let (namespace, base) = (reader.str()?.to_owned(), reader.bytes()?.to_vec());
            let (lane, kind) = (reader.u64()? as i64, i16::from(reader.u8()?));
            Ok((namespace, base, lane, kind, reader.bytes()?.to_vec(), reader.u64()? as i64))
        })?;
        let read = |stored: &Stored| {
            let cells = cells(stored, self.space);
            let (namespace, base): (String, Vec<u8>) = (cells.get(7)?, cells.get(8)?);
            let (lane, kind, ordinal) = (cells.number(0)?, cells.kind(1)?, cells.number(3)?);
            let task: Vec<u8> = cells.get(2)?;
            let at = cursor(|writer| writer.str(&namespace).bytes(&base).u64(lane).u8(kind).bytes(&task).u64(ordinal));
            let space = Space { namespace: &namespace, ..self.space };
            let row = cells.decoded(CheckpointId::from_stored(&base));
            let row = row.and_then(|base| records::pending(stored, space, &base));
            Ok((at, row.map(|row| Row::Pending { namespace, row })))
        };
        let key = params![self.space.thread, namespace, base, lane, kind, task, ordinal, self.limit];
        self.session.all(queries::ROWS_PENDING, key, read).await
    }

    async fn children(&self) -> Result<Found> {
        let (root, namespace, height) = self.start((i64::MIN, String::new(), i64::MIN), |reader| {
            Ok((reader.u64()? as i64, reader.str()?.to_owned(), reader.u64()? as i64))
        })?;
        let read = |stored: &Stored| {
            let cells = cells(stored, self.space);
            let (namespace, height, root): (String, u64, u64) = (cells.get(0)?, cells.number(1)?, cells.number(5)?);
            let at = cursor(|writer| writer.u64(root).str(&namespace).u64(height));
            let malformed = WireError::Malformed("branch id");
            let row = cells.decoded(BranchId::new(root).ok_or(malformed)).and_then(|root| {
                records::child(stored, self.space.uid, root).map(|row| Row::Child { root, height, row })
            });
            Ok((at, row))
        };
        let key = params![self.space.thread, root, namespace, height, self.limit];
        self.session.all(queries::ROWS_CHILD, key, read).await
    }

    async fn checkpoints(&self) -> Result<Found> {
        let (namespace, arrival) = self.start_place()?;
        let read = |stored: &Stored| {
            let cells = cells(stored, self.space);
            let (arrival, namespace): (u64, String) = (cells.number(0)?, cells.get(10)?);
            let space = Space { namespace: &namespace, ..self.space };
            let at = cursor(|writer| writer.str(&namespace).u64(arrival));
            let row = records::checkpoint(stored, space, true);
            Ok((at, row.map(|(_, row)| Row::Checkpoint { namespace, row })))
        };
        let key = params![self.space.thread, namespace, arrival, self.limit];
        self.session.all(queries::ROWS_CHECKPOINT, key, read).await
    }

    async fn values(&self) -> Result<Found> {
        let first = (String::new(), i64::MIN, i64::MIN, i64::MIN);
        let (namespace, branch, height, ordinal) = self.start(first, |reader| {
            Ok((reader.str()?.to_owned(), reader.u64()? as i64, reader.u64()? as i64, reader.u64()? as i64))
        })?;
        let read = |stored: &Stored| {
            let cells = cells(stored, self.space);
            let namespace: String = cells.get(3)?;
            let (branch, height, ordinal) = (cells.number(4)?, cells.number(5)?, cells.number(6)?);
            let at = cursor(|writer| writer.str(&namespace).u64(branch).u64(height).u64(ordinal));
            let space = Space { namespace: &namespace, ..self.space };
            let malformed = WireError::Malformed("value address");
            let address = BranchId::new(branch)
                .and_then(|branch| Some(ValueAddress { branch, height, ordinal: u32::try_from(ordinal).ok()? }));
            let row = cells.decoded(address.ok_or(malformed)).and_then(|address| {
                let node = records::value(stored, space, address)?;
                Ok(ValueRow { address, node })
            });
            Ok((at, row.map(|row| Row::Value { namespace, row })))
        };
        let key = params![self.space.thread, namespace, branch, height, ordinal, self.limit];
        self.session.all(queries::ROWS_VALUE, key, read).await
    }
}
