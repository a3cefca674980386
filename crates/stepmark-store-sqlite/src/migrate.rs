//! How does a file reach the newest schema?
//!
//! Forward only, one numbered migration after the other, all in one transaction under the write lock, so that several
//! processes may open a new file at once and a kill leaves either all of it or nothing. Each migration is safe to
//! repeat; the ledger keeps its checksum, and a file whose ledger differs is refused.

use rusqlite::{Connection, TransactionBehavior, params};
use stepmark_core::checkpoint::Timestamp;
use stepmark_core::error::{Error, Result, Subject};
use stepmark_core::id::BlobHash;

use crate::connect::{APPLICATION_ID, Kind, Place};

/// A step of one version.
struct Migration {
    name: &'static str,
    sql: &'static str,
}

/// All migrations; the first one makes version 1. Released ones never change (`sql/migrations/CHECKSUMS`).
const MIGRATIONS: [Migration; 8] = [
    Migration { name: "0001_init", sql: include_str!("../sql/migrations/0001_init.sql") },
    Migration { name: "0002_questions", sql: include_str!("../sql/migrations/0002_questions.sql") },
    Migration { name: "0003_effects", sql: include_str!("../sql/migrations/0003_effects.sql") },
    Migration { name: "0004_cache", sql: include_str!("../sql/migrations/0004_cache.sql") },
    Migration { name: "0005_restoring", sql: include_str!("../sql/migrations/0005_restoring.sql") },
    Migration { name: "0006_items", sql: include_str!("../sql/migrations/0006_items.sql") },
    Migration { name: "0007_search", sql: include_str!("../sql/migrations/0007_search.sql") },
    Migration { name: "0008_retention", sql: include_str!("../sql/migrations/0008_retention.sql") },
];

/// The schema version that this program reads and writes.
pub(crate) const SCHEMA_VERSION: u32 = MIGRATIONS.len() as u32;

/// Attempts to switch a new file to write-ahead logging while other processes do the same.
const SWITCH_ATTEMPTS_MAX: u32 = 100;

/// Brings the file to the newest schema, or says why it cannot be used.
pub(crate) fn migrate(place: &Place, connection: &mut Connection, now: Timestamp) -> Result<()> {
    let kind = place.identify(connection)?;
    refuse_newer(place, kind)?;
    if place.read_only {
        return match kind {
            Kind::Ours(SCHEMA_VERSION) => check_ledger(place, connection),
            Kind::Ours(_) | Kind::Empty => Err(not_migrated(place)),
        };
    }
    log_ahead(place, connection)?;
    if kind != Kind::Ours(SCHEMA_VERSION) {
        run(place, connection, now)?;
    }
    check_ledger(place, connection)
}

fn not_migrated(place: &Place) -> Error {
    let reason = "the file holds no tables of this version; open it once for writing";
    Error::unsupported(Subject::Store, place.path.display(), reason)
}

fn refuse_newer(place: &Place, kind: Kind) -> Result<()> {
    match kind {
        Kind::Ours(version) if version > SCHEMA_VERSION => {
            let reason =
                format!("its schema is version {version}, this program knows {SCHEMA_VERSION}; update stepmark");
            Err(Error::unsupported(Subject::Store, place.path.display(), reason))
        }
        Kind::Ours(_) | Kind::Empty => Ok(()),
    }
}

/// Switches to write-ahead logging. SQLite does not wait for other connections here, so a refused attempt waits for
/// the write lock and tries again.
fn log_ahead(place: &Place, connection: &mut Connection) -> Result<()> {
    for _ in 0..SWITCH_ATTEMPTS_MAX {
        let mode = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0));
        match mode {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => break,
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => {
                let lock = connection.transaction_with_behavior(TransactionBehavior::Exclusive);
                drop(lock.map_err(|error| place.failed(error))?);
            }
            Err(error) => return Err(place.failed(error)),
        }
    }
    let reason = "the file cannot use write-ahead logging; put it on a local disk";
    Err(Error::unsupported(Subject::Store, place.path.display(), reason))
}

fn run(place: &Place, connection: &mut Connection, now: Timestamp) -> Result<()> {
    let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
    let transaction = begun.map_err(|error| place.failed(error))?;
    // Another process may have been here between the first look and the lock.
    let kind = place.identify(&transaction)?;
    refuse_newer(place, kind)?;
    let done = match kind {
        Kind::Empty => 0,
        Kind::Ours(version) => version,
    };
    let apply = || {
        for (version, migration) in (1u32..).zip(&MIGRATIONS).skip(done as usize) {
            transaction.execute_batch(migration.sql)?;
            transaction.execute(
                "INSERT OR REPLACE INTO migration (version, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)",
                params![version, migration.name, &checksum(migration.sql).0[..], now],
            )?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)
    };
    apply().and_then(|()| transaction.commit()).map_err(|error| place.failed(error))
}

/// Compares the ledger with the migrations of this program.
fn check_ledger(place: &Place, connection: &Connection) -> Result<()> {
    let read = || {
        let mut statement = connection.prepare("SELECT version, name, checksum FROM migration ORDER BY version")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.collect::<rusqlite::Result<Vec<(u32, String, Vec<u8>)>>>()
    };
    let ledger = read().map_err(|error| place.failed(error))?;
    let known = (1u32..).zip(&MIGRATIONS);
    let expected: Vec<_> =
        known.map(|(version, step)| (version, step.name.to_owned(), checksum(step.sql).0.to_vec())).collect();
    if ledger == expected {
        return Ok(());
    }
    let reason = "its ledger of migrations is not that of this program; restore it from a backup";
    Err(Error::corrupt(Subject::Store, place.path.display(), reason))
}

fn checksum(sql: &str) -> BlobHash {
    BlobHash::of(sql.as_bytes())
}

#[cfg(test)]
mod tests;
