-- Schema 8: what is kept how long. sql/schema.sql explains it.

CREATE TABLE IF NOT EXISTS retention (
    thread     INTEGER PRIMARY KEY,
    mark       INTEGER NOT NULL,
    expires_at INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS retention_expiry ON retention (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS arrival_mark (
    arrival INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS arrival_mark_at ON arrival_mark (at);
