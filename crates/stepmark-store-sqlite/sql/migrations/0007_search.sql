-- Schema 7: which attributes of threads are declared, and of which kind. Schema 1 had the table of their values, which no
-- version wrote. sql/schema.sql explains it.

CREATE TABLE IF NOT EXISTS attribute_kind (
    scope TEXT NOT NULL,
    name  TEXT NOT NULL,
    kind  INTEGER NOT NULL,
    hash  BLOB NOT NULL,
    PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;
