//! How are threads found in the file?
//!
//! Candidates come by name from the index that fits the query, a batch at a time; the core crate's collector decides the
//! rest. A page is one read transaction.

use async_trait::async_trait;
use rusqlite::{Row, params};
use stepmark_core::capability::{
    Attribute, AttributeChange, AttributeKind, Candidate, Collector, Declaration, FoundPage, Search, SearchQuery,
    StoredAttribute, check_changes, check_declarations, check_stored,
};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Result, Subject};
use stepmark_core::id::{RecordHash, ThreadUid};
use stepmark_core::load::check_hash;
use stepmark_core::rows::{RunStatus, ThreadRow};
use stepmark_core::store::ThreadAddress;

use crate::apply::{Applied, Undo};
use crate::history::entry;
use crate::queries;
use crate::read::find_thread;
use crate::records;
use crate::session::{Cells, Session};
use crate::store::Sqlite;
use crate::writer::{Done, Work};

/// What is written for searches.
pub(crate) enum SearchWork {
    Declare { scope: String, declarations: Vec<Declaration> },
    Set { thread: ThreadUid, changes: Vec<AttributeChange> },
}

impl SearchWork {
    /// Everything is checked before the first write.
    pub(crate) fn apply(&self, session: &Session<'_>) -> Applied<()> {
        match self {
            Self::Declare { scope, declarations } => declare(session, scope, declarations),
            Self::Set { thread, changes } => set(session, *thread, changes),
        }
    }
}

fn declare(session: &Session<'_>, scope: &str, declarations: &[Declaration]) -> Applied<()> {
    let declared = match declared(session, scope) {
        Ok(declared) => declared,
        Err(error) => return Ok(Err(error)),
    };
    let taken = |one: &&Declaration| declarations.iter().any(|new| new.name == one.name && new.kind != one.kind);
    if let Some(taken) = declared.iter().find(taken) {
        return Ok(Err(taken.taken()));
    }
    let write = |new: &Declaration| {
        let row = params![scope, new.name, new.kind.number(), new.hash(scope).0];
        session.execute(queries::SEARCH_DECLARE, row).map(drop)
    };
    declarations.iter().try_for_each(write).map(Ok).map_err(Undo)
}

fn set(session: &Session<'_>, uid: ThreadUid, changes: &[AttributeChange]) -> Applied<()> {
    let check = || {
        let (number, thread) = find_thread(session, &ThreadAddress::Uid(uid))?;
        let changes = check_changes(&declared(session, &thread.scope)?, changes)?;
        Ok((number, thread.scope, changes))
    };
    let (number, scope, changes) = match check() {
        Ok(checked) => checked,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let write = |(name, value): &(String, Option<StoredAttribute>)| {
        session.execute(queries::SEARCH_UNSET, params![number, scope, name])?;
        let Some(attribute) = value else { return Ok(()) };
        let row = params![scope, name, attribute.value, number, attribute.hash(uid).0];
        session.execute(queries::SEARCH_SET, row).map(drop)
    };
    changes.iter().try_for_each(write).map(Ok).map_err(Undo)
}

fn declared(session: &Session<'_>, scope: &str) -> Result<Vec<Declaration>> {
    session.all(queries::SEARCH_DECLARED, [scope], |row| {
        let name: String = Cells::new(row, Subject::Attribute, scope).get(0)?;
        let cells = Cells::new(row, Subject::Attribute, &name);
        let kind = cells.decoded(AttributeKind::from_number(cells.get(1)?))?;
        let declaration = Declaration { name: name.clone(), kind };
        check_hash(RecordHash(cells.array(2)?), declaration.hash(scope), Subject::Attribute, &name)?;
        Ok(declaration)
    })
}

fn stored(session: &Session<'_>, number: i64, uid: ThreadUid) -> Result<Vec<StoredAttribute>> {
    session.all(queries::SEARCH_ATTRIBUTES, [number], |row| {
        let name: String = Cells::new(row, Subject::Attribute, uid).get(0)?;
        let cells = Cells::new(row, Subject::Attribute, &name);
        let attribute = StoredAttribute { name: name.clone(), value: cells.get(1)? };
        check_stored(&attribute, uid, RecordHash(cells.array(2)?))?;
        Ok(attribute)
    })
}

fn attributes(session: &Session<'_>, uid: ThreadUid) -> Result<Vec<Attribute>> {
    let (number, thread) = find_thread(session, &ThreadAddress::Uid(uid))?;
    let declared = declared(session, &thread.scope)?;
    stored(session, number, uid)?.into_iter().map(|attribute| attribute.read(&declared)).collect()
}

fn find(session: &Session<'_>, query: &SearchQuery) -> Result<FoundPage> {
    let mut collector = Collector::new(query, declared(session, &query.scope)?)?;
    while let Some(after) = collector.next() {
        let batch = batch(session, query, &collector, after)?;
        let is_last = batch.len() < collector.batch() as usize;
        collector.take(batch, is_last);
    }
    collector.page(|(number, thread)| entry(session, *number, thread.clone(), false))
}

/// What a thread is known by.
type Handle = (i64, ThreadRow);

fn batch(
    session: &Session<'_>,
    query: &SearchQuery,
    collector: &Collector<'_, Handle>,
    after: &str,
) -> Result<Vec<Candidate<Handle>>> {
    let (limit, scope) = (collector.batch(), &query.scope);
    let found = match collector.driver() {
        None => session.all(queries::THREADS_PAGE, params![scope, after, limit], records::thread)?,
        Some(driver) => {
            let key = params![scope, after, limit, driver.name, driver.from, driver.to];
            session.all(queries::SEARCH_BY_ATTRIBUTE, key, records::thread)?
        }
    };
    found.into_iter().map(|handle| candidate(session, handle, collector)).collect()
}

fn candidate(session: &Session<'_>, handle: Handle, asks: &Collector<'_, Handle>) -> Result<Candidate<Handle>> {
    let (number, uid, head) = (handle.0, handle.1.uid, handle.1.head);
    let facts = session.first(queries::SEARCH_FACTS, params![number, head.get() as i64], facts)?;
    let (tip_at, run) = facts.unwrap_or_default();
    Ok(Candidate {
        name: handle.1.name.clone(),
        created_at: handle.1.created_at,
        tip_at,
        run,
        is_waiting: asks.asks_waiting() && session.exists(queries::SEARCH_WAITING, [number])?,
        has_open_effects: asks.asks_effects() && session.exists(queries::SEARCH_OPEN_EFFECT, [number])?,
        attributes: stored(session, number, uid)?,
        handle,
    })
}

type Facts = (Option<Timestamp>, Option<(RunStatus, String)>);

/// Hints: what is answered of a page's threads is read from their rows.
fn facts(row: &Row<'_>) -> Result<Facts> {
    let cells = Cells::new(row, Subject::Run, "last");
    let status = cells.get::<Option<u8>>(1)?.map(RunStatus::from_number);
    let status = status.map(|status| cells.decoded(status)).transpose()?;
    Ok((cells.get(0)?, status.zip(cells.get(2)?)))
}

#[async_trait]
impl Search for Sqlite {
    async fn declare(&self, scope: &str, declarations: Vec<Declaration>) -> Result<()> {
        check_declarations(&declarations)?;
        self.written(SearchWork::Declare { scope: scope.to_owned(), declarations }).await
    }

    async fn declared(&self, scope: &str) -> Result<Vec<Declaration>> {
        let scope = scope.to_owned();
        self.read(move |session| declared(session, &scope)).await
    }

    async fn set_attributes(&self, thread: ThreadUid, changes: Vec<AttributeChange>) -> Result<()> {
        self.written(SearchWork::Set { thread, changes }).await
    }

    async fn attributes(&self, thread: ThreadUid) -> Result<Vec<Attribute>> {
        self.read(move |session| attributes(session, thread)).await
    }

    async fn find(&self, query: SearchQuery) -> Result<FoundPage> {
        self.read(move |session| find(session, &query)).await
    }
}

impl Sqlite {
    async fn written(&self, work: SearchWork) -> Result<()> {
        let Done::Described = self.submit(Work::Search(work)).await? else { return Err(self.mismatched()) };
        Ok(())
    }
}
