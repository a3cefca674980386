-- Schema 5: a thread that is restored row by row is apart until it is whole. sql/schema.sql explains it.

CREATE TABLE IF NOT EXISTS restoring (
    number     INTEGER PRIMARY KEY,
    scope      TEXT NOT NULL,
    name       TEXT NOT NULL,
    uid        BLOB NOT NULL,
    head       INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    key_id     BLOB,
    hash       BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS restoring_name ON restoring (scope, name);
CREATE UNIQUE INDEX IF NOT EXISTS restoring_uid ON restoring (uid);
