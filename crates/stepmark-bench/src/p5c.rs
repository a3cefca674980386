//! P5c: how much does a conversation store?
//!
//! Turns of 1 KB, half asked and half answered; the size of the file after the log was moved into it.

use rusqlite::Connection;
use stepmark::Sqlite;
use stepmark_core::value::decode_packed;

use crate::arguments::Arguments;
use crate::graphs::{self, ask};
use crate::report::Figure;
use crate::{Result, disk, runtime};

const MESSAGE_BYTES: usize = 512;

/// Both halves of P5c.
pub(crate) fn run(arguments: &Arguments) -> Result<Vec<Figure>> {
    let turns = arguments.amount(2_000, 500) as usize;
    let stored = converse(turns)?;
    let logical = (2 * turns * MESSAGE_BYTES) as f64;
    let ratio = stored.file / logical;
    let besides = (stored.file - stored.empty - stored.nodes) / stored.checkpoints;
    let heads = (stored.nodes - stored.values) / stored.checkpoints;
    let whole = Figure {
        id: "P5c",
        work: format!("bytes stored of a conversation of {turns} turns of 1 KB"),
        value: stored.file,
        unit: "bytes",
        raw: Some(logical),
        ratio: Some(ratio),
        target: "≤ 4 × logical (shown as raw)".to_owned(),
        met: ratio <= 4.0,
        notes: Vec::new(),
    };
    let each = Figure {
        id: "P5c",
        work: "bytes per checkpoint besides value nodes".to_owned(),
        value: besides,
        unit: "bytes",
        raw: None,
        ratio: None,
        target: "≤ 400".to_owned(),
        met: besides <= 400.0,
        notes: stored.notes,
    };
    let empty = format!("of which {} bytes of an empty file", stored.empty);
    let heads = format!("heads of value nodes, which are not in it: {heads:.0}");
    Ok(vec![whole.note(format!("{:.0} bytes of values; {empty}", stored.values)), each.note(heads)])
}

struct Stored {
    file: f64,
    /// The size of a file without threads.
    empty: f64,
    /// Bodies of value nodes, those that a merge wrote again included.
    values: f64,
    /// The same with their heads.
    nodes: f64,
    checkpoints: f64,
    notes: Vec<String>,
}

fn converse(turns: usize) -> Result<Stored> {
    let directory = disk::directory()?;
    let (path, empty) = (directory.path().join("talk.db"), directory.path().join("empty.db"));
    drop(Sqlite::open(&empty)?);
    let app = graphs::conversation()?.with(Sqlite::open(&path)?);
    let runtime = runtime::single()?;
    let thread = app.thread("talk");
    for turn in 0..turns {
        runtime.block_on(thread.input(ask(turn, MESSAGE_BYTES)).run())?;
    }
    drop((thread, app));
    for file in [&path, &empty] {
        Connection::open(file)?.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    let connection = Connection::open(&path)?;
    let (values, nodes) = value_bytes(&connection)?;
    Ok(Stored {
        file: disk::size(&path) as f64,
        empty: disk::size(&empty) as f64,
        values,
        nodes,
        checkpoints: connection.query_row("SELECT COUNT(*) FROM checkpoint", [], |row| row.get(0))?,
        notes: shares(&connection)?,
    })
}

/// Bytes of bodies, and of whole nodes.
fn value_bytes(connection: &Connection) -> Result<(f64, f64)> {
    let (mut bodies, mut nodes): (f64, f64) = connection.query_row(
        "SELECT TOTAL(LENGTH(body)), TOTAL(LENGTH(body) + LENGTH(head)) FROM value",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let mut statement = connection.prepare("SELECT packed FROM checkpoint")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let packed: Vec<u8> = row.get(0)?;
        bodies += decode_packed(&packed)?.iter().map(|value| value.node.body.len() as f64).sum::<f64>();
        nodes += packed.len() as f64;
    }
    Ok((bodies, nodes))
}

/// Which table or index takes how much of a checkpoint, and how much of that is empty space in pages.
fn shares(connection: &Connection) -> Result<Vec<String>> {
    let count: f64 = connection.query_row("SELECT COUNT(*) FROM checkpoint", [], |row| row.get(0))?;
    let manifests: f64 =
        connection.query_row("SELECT TOTAL(LENGTH(manifest)) FROM checkpoint", [], |row| row.get(0))?;
    let sql = "SELECT name, SUM(pgsize), SUM(unused) FROM dbstat GROUP BY name HAVING SUM(pgsize) > ?1 ORDER BY 2 DESC";
    let mut statement = connection.prepare(sql)?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, f64>(1)?, row.get::<_, f64>(2)?));
    let shares = statement.query_map([count * 12.0], read)?.map(|share| {
        let (name, bytes, unused) = share?;
        Ok(format!("{name} {:.0} ({:.0} unused)", bytes / count, unused / count))
    });
    let shares: Vec<String> = shares.collect::<Result<_>>()?;
    Ok(vec![format!("per checkpoint: manifest {:.0}; {}", manifests / count, shares.join(", "))])
}
