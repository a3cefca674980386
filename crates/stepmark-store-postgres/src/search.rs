//! How are threads found in the tables?
//!
//! Candidates come by name from the index that fits the query, a batch at a time, and what is known of all of them in one
//! statement; the core crate's collector decides the rest. A page is one read transaction.

use std::collections::HashMap;

use async_trait::async_trait;
use stepmark_core::capability::{
    Attribute, AttributeChange, AttributeKind, Candidate, Collector, Declaration, FoundPage, Search, SearchQuery,
    StoredAttribute, check_changes, check_declarations, check_stored,
};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::{RecordHash, ThreadUid};
use stepmark_core::load::check_hash;
use stepmark_core::rows::RunStatus;
use stepmark_core::store::{ThreadAddress, ThreadEntry};
use tokio_postgres::Row;

use crate::history::entry;
use crate::read::find_thread;
use crate::session::{Cells, Session, params};
use crate::store::PostgresStore;
use crate::writer::{Done, Work};
use crate::{lock, queries};

/// What is written for searches.
pub(crate) enum SearchWork {
    Declare { scope: String, declarations: Vec<Declaration> },
    Set { thread: ThreadUid, changes: Vec<AttributeChange> },
}

impl SearchWork {
    pub(crate) async fn apply(&self, session: Session<'_>) -> Result<()> {
        session.batch(queries::BEGIN_WRITE).await?;
        let done = match self {
            Self::Declare { scope, declarations } => declare(session, scope, declarations).await,
            Self::Set { thread, changes } => set(session, *thread, changes).await,
        };
        session.end(done).await
    }
}

/// Looks after it has written: where somebody else declared a name at once, one of both waited for the other.
async fn declare(session: Session<'_>, scope: &str, declarations: &[Declaration]) -> Result<()> {
    let mut sorted: Vec<&Declaration> = declarations.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    for new in sorted {
        let row = params![scope, new.name, i16::from(new.kind.number()), &new.hash(scope).0[..]];
        session.execute(queries::SEARCH_DECLARE, row).await?;
    }
    let taken = |one: &Declaration| declarations.iter().any(|new| new.name == one.name && new.kind != one.kind);
    match declared(session, scope).await?.into_iter().find(taken) {
        Some(taken) => Err(taken.taken()),
        None => Ok(()),
    }
}

async fn set(session: Session<'_>, uid: ThreadUid, changes: &[AttributeChange]) -> Result<()> {
    lock::thread(session, uid).await?;
    let (number, thread) = find_thread(session, &ThreadAddress::Uid(uid)).await?;
    for (name, value) in check_changes(&declared(session, &thread.scope).await?, changes)? {
        session.execute(queries::SEARCH_UNSET, params![number, thread.scope, name]).await?;
        if let Some(attribute) = value {
            let row = params![thread.scope, name, attribute.value, number, &attribute.hash(uid).0[..]];
            session.execute(queries::SEARCH_SET, row).await?;
        }
    }
    Ok(())
}

async fn declared(session: Session<'_>, scope: &str) -> Result<Vec<Declaration>> {
    let read = |row: &Row| {
        let name: String = Cells::new(row, Subject::Attribute, scope).get(0)?;
        let cells = Cells::new(row, Subject::Attribute, &name);
        let kind = cells.decoded(AttributeKind::from_number(cells.kind(1)?))?;
        let declaration = Declaration { name: name.clone(), kind };
        check_hash(RecordHash(cells.array(2)?), declaration.hash(scope), Subject::Attribute, &name)?;
        Ok(declaration)
    };
    session.all(queries::SEARCH_DECLARED, params![scope], read).await
}

async fn attributes(session: Session<'_>, uid: ThreadUid) -> Result<Vec<Attribute>> {
    let (number, thread) = find_thread(session, &ThreadAddress::Uid(uid)).await?;
    let declared = declared(session, &thread.scope).await?;
    let mut facts = facts(session, &Uids::from([(number, uid)]), [false; 2]).await?;
    let stored = facts.remove(&number).map(|facts| facts.attributes).unwrap_or_default();
    stored.into_iter().map(|attribute| attribute.read(&declared)).collect()
}

/// What a thread is known by.
type Handle = (i64, ThreadEntry);

async fn find(session: Session<'_>, query: &SearchQuery) -> Result<FoundPage> {
    let mut collector = Collector::new(query, declared(session, &query.scope).await?)?;
    while let Some(after) = collector.next() {
        let batch = batch(session, query, &collector, after).await?;
        let is_last = batch.len() < collector.batch() as usize;
        collector.take(batch, is_last);
    }
    collector.page(|(_, entry)| Ok(entry.clone()))
}

async fn batch(
    session: Session<'_>,
    query: &SearchQuery,
    collector: &Collector<'_, Handle>,
    after: &str,
) -> Result<Vec<Candidate<Handle>>> {
    let (limit, scope) = (i64::from(collector.batch()), &query.scope);
    let found = match collector.driver() {
        None => session.all(queries::THREADS_PAGE, params![scope, after, limit], entry).await?,
        Some(driver) => {
            let key = params![scope, after, limit, driver.name, driver.from, driver.to];
            session.all(queries::SEARCH_BY_ATTRIBUTE, key, entry).await?
        }
    };
    let uids: Uids = found.iter().map(|(number, entry)| (*number, entry.thread.uid)).collect();
    let mut facts = facts(session, &uids, [collector.asks_waiting(), collector.asks_effects()]).await?;
    let candidate = |handle: Handle| {
        let gone = || Error::corrupt(Subject::Thread, &handle.1.thread.name, "an index names it but it is gone");
        let facts = facts.remove(&handle.0).ok_or_else(gone)?;
        Ok(Candidate {
            name: handle.1.thread.name.clone(),
            created_at: handle.1.thread.created_at,
            tip_at: facts.tip_at,
            run: facts.run,
            is_waiting: facts.is_waiting,
            has_open_effects: facts.has_open_effects,
            attributes: facts.attributes,
            handle,
        })
    };
    found.into_iter().map(candidate).collect()
}

/// What is known of a thread besides its row. Hints but for the attributes: what is answered of a page's threads is read
/// from their rows.
struct Facts {
    tip_at: Option<Timestamp>,
    run: Option<(RunStatus, String)>,
    is_waiting: bool,
    has_open_effects: bool,
    attributes: Vec<StoredAttribute>,
}

/// Threads by number.
type Uids = HashMap<i64, ThreadUid>;

/// What is known of some threads, by number; whether they wait and have open effects only where that is asked.
async fn facts(session: Session<'_>, uids: &Uids, asks: [bool; 2]) -> Result<HashMap<i64, Facts>> {
    let numbers: Vec<i64> = uids.keys().copied().collect();
    let [waiting, effects] = asks;
    let read = |row: &Row| {
        let number: i64 = Cells::new(row, Subject::Thread, "").get(0)?;
        let cells = Cells::new(row, Subject::Thread, format!("number {number}"));
        let status = match cells.get::<Option<i16>>(2)? {
            Some(_) => Some(cells.decoded(RunStatus::from_number(cells.kind(2)?))?),
            None => None,
        };
        let uid = uids.get(&number).copied().unwrap_or(ThreadUid([0; 16]));
        let facts = Facts {
            tip_at: cells.get(1)?,
            run: status.zip(cells.get(3)?),
            is_waiting: cells.get(4)?,
            has_open_effects: cells.get(5)?,
            attributes: stored(&cells, uid)?,
        };
        Ok((number, facts))
    };
    let found = session.all(queries::SEARCH_FACTS, params![numbers, waiting, effects], read).await?;
    Ok(found.into_iter().collect())
}

/// The attributes of columns 6 to 8: names, values and hashes.
fn stored(cells: &Cells<'_, String>, uid: ThreadUid) -> Result<Vec<StoredAttribute>> {
    let (names, values, hashes) = (cells.get::<Vec<String>>(6)?, cells.get::<Vec<Vec<u8>>>(7)?, cells.get(8)?);
    let hashes: Vec<Vec<u8>> = hashes;
    let mut stored = Vec::with_capacity(names.len());
    for ((name, value), hash) in names.into_iter().zip(values).zip(hashes) {
        let attribute = StoredAttribute { name, value };
        let cut = |_| Error::corrupt(Subject::Attribute, &attribute.name, "its hash has another length");
        check_stored(&attribute, uid, RecordHash(hash.try_into().map_err(cut)?))?;
        stored.push(attribute);
    }
    Ok(stored)
}

#[async_trait]
impl Search for PostgresStore {
    async fn declare(&self, scope: &str, declarations: Vec<Declaration>) -> Result<()> {
        check_declarations(&declarations)?;
        self.described(SearchWork::Declare { scope: scope.to_owned(), declarations }).await
    }

    async fn declared(&self, scope: &str) -> Result<Vec<Declaration>> {
        let scope = scope.to_owned();
        self.read(&scope, |session, scope| Box::pin(declared(session, scope))).await
    }

    async fn set_attributes(&self, thread: ThreadUid, changes: Vec<AttributeChange>) -> Result<()> {
        self.described(SearchWork::Set { thread, changes }).await
    }

    async fn attributes(&self, thread: ThreadUid) -> Result<Vec<Attribute>> {
        self.read(&thread, |session, thread| Box::pin(attributes(session, *thread))).await
    }

    async fn find(&self, query: SearchQuery) -> Result<FoundPage> {
        self.read(&query, |session, query| Box::pin(find(session, query))).await
    }
}

impl PostgresStore {
    async fn described(&self, work: SearchWork) -> Result<()> {
        let Done::Described = self.submit(Work::Search(work)).await? else { return Err(self.mismatched()) };
        Ok(())
    }
}
