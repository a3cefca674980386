//! How does a schema reach the newest version?
//!
//! Forward only, one numbered migration after the other, all in one transaction under a lock that has the schema's name, so
//! that any number of processes may open a new schema at once and a kill leaves either all of it or nothing. Each migration
//! is safe to repeat; the ledger keeps its checksum, and a schema whose ledger differs is refused.

use std::time::Duration;

use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::BlobHash;
use tokio_postgres::Row;

use crate::connect::Place;
use crate::queries;
use crate::session::{Cells, Session, params, quoted};

/// A step of one version.
struct Migration {
    name: &'static str,
    sql: &'static str,
}

/// All migrations; the first one makes version 1. Released ones never change (`sql/migrations/CHECKSUMS`).
const MIGRATIONS: [Migration; 1] =
    [Migration { name: "0001_init", sql: include_str!("../sql/migrations/0001_init.sql") }];

/// The schema version that this program reads and writes.
const SCHEMA_VERSION: i32 = MIGRATIONS.len() as i32;

/// How long a statement may take here: others may migrate first, and tables of an old schema may be large.
const PATIENCE: Duration = Duration::from_mins(2);

/// A line of the ledger.
type Entry = (i32, String, Vec<u8>);

/// What a schema is before it is used.
enum Kind {
    /// The database has none of this name.
    Absent,
    /// It has no ledger of ours.
    Foreign,
    /// It is ours, and these migrations ran.
    Ours(Vec<Entry>),
}

/// Brings the schema to the newest version, or says why it cannot be used.
pub(crate) async fn migrate(place: &Place, session: Session<'_>) -> Result<()> {
    let session = session.patient(PATIENCE);
    let kind = look(place, session).await?;
    if is_newest(place, &kind)? {
        return Ok(());
    }
    session.batch(queries::BEGIN_WRITE).await?;
    let done = run(place, session).await;
    session.end(done).await
}

/// Whether nothing is to be done; refuses what must not be touched.
fn is_newest(place: &Place, kind: &Kind) -> Result<bool> {
    let Kind::Ours(ledger) = kind else { return Ok(false) };
    if let Some((version, ..)) = ledger.iter().find(|(version, ..)| *version > SCHEMA_VERSION) {
        let reason = format!("its version is {version}, this program knows {SCHEMA_VERSION}; update stepmark");
        return Err(Error::unsupported(Subject::Store, &place.voice.name, reason));
    }
    let known: Vec<Entry> = (1i32..)
        .zip(&MIGRATIONS)
        .map(|(version, step)| (version, step.name.to_owned(), BlobHash::of(step.sql.as_bytes()).0.to_vec()))
        .collect();
    if known.starts_with(ledger) {
        return Ok(ledger.len() == known.len());
    }
    let reason = "its ledger of migrations is not that of this program; restore it from a backup";
    Err(Error::corrupt(Subject::Store, &place.voice.name, reason))
}

async fn look(place: &Place, session: Session<'_>) -> Result<Kind> {
    let read = |row: &Row| {
        let cells = Cells::new(row, Subject::Store, &place.voice.name);
        Ok((cells.get::<bool>(0)?, cells.get::<bool>(1)?))
    };
    match session.first(queries::MIGRATE_LOOK, params![place.schema], read).await? {
        Some((true, true)) => {}
        Some((true, false)) => return Ok(Kind::Foreign),
        Some((false, _)) | None => return Ok(Kind::Absent),
    }
    let read = |row: &Row| {
        let cells = Cells::new(row, Subject::Store, &place.voice.name);
        Ok((cells.get(0)?, cells.get(1)?, cells.get(2)?))
    };
    session.all(queries::MIGRATE_LEDGER, params![], read).await.map(Kind::Ours)
}

async fn run(place: &Place, session: Session<'_>) -> Result<()> {
    let hash = BlobHash::of(format!("stepmark migrations of {}", place.schema).as_bytes());
    let mut key = [0; 8];
    key.copy_from_slice(&hash.0[..8]);
    session.exists(queries::MIGRATE_LOCK, params![i64::from_le_bytes(key)]).await?;
    // Another process may have been here between the first look and the lock.
    let kind = look(place, session).await?;
    if is_newest(place, &kind)? {
        return Ok(());
    }
    let done = match kind {
        Kind::Ours(ledger) => ledger.len(),
        Kind::Foreign => refuse_clash(place, session).await.map(|()| 0)?,
        Kind::Absent => {
            session.batch(&format!("CREATE SCHEMA {}", quoted(&place.schema))).await?;
            0
        }
    };
    session.exists(queries::MIGRATE_PATH, params![quoted(&place.schema)]).await?;
    for (version, migration) in (1i32..).zip(&MIGRATIONS).skip(done) {
        session.batch(migration.sql).await?;
        let checksum = BlobHash::of(migration.sql.as_bytes());
        session.execute(queries::MIGRATE_ENTER, params![version, migration.name, &checksum.0[..]]).await?;
    }
    Ok(())
}

/// Tables of another application stay what they are.
async fn refuse_clash(place: &Place, session: Session<'_>) -> Result<()> {
    let words: Vec<&str> = MIGRATIONS[0].sql.split("CREATE TABLE IF NOT EXISTS ").skip(1).collect();
    let ours: Vec<&str> = words.iter().filter_map(|text| text.split_whitespace().next()).collect();
    let read = |row: &Row| Cells::new(row, Subject::Store, &place.voice.name).get::<String>(0);
    match session.first(queries::MIGRATE_CLASH, params![place.schema, ours], read).await? {
        None => Ok(()),
        Some(table) => {
            let reason = format!("its table {table:?} belongs to another application; choose another schema");
            Err(Error::unsupported(Subject::Store, &place.voice.name, reason))
        }
    }
}

#[cfg(test)]
mod tests;
