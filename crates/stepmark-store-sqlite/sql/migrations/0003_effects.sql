-- Schema 3: the ledger. Schema 1 had two tables for it that no version wrote; these have what they lacked, and lie in
-- the order of arrival like all tables that every thread writes. sql/schema.sql explains them.

DROP TABLE IF EXISTS effect;
DROP TABLE IF EXISTS effect_attempt;

CREATE TABLE IF NOT EXISTS ledger (
    arrival     INTEGER PRIMARY KEY,
    thread      INTEGER NOT NULL,
    key         BLOB NOT NULL,
    generation  INTEGER NOT NULL,
    fingerprint BLOB NOT NULL,
    status      INTEGER NOT NULL,
    made_at     BLOB NOT NULL,
    origin      BLOB NOT NULL,
    key_epoch   INTEGER,
    hash        BLOB NOT NULL,
    result      BLOB
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS ledger_key ON ledger (thread, key, generation);

CREATE TABLE IF NOT EXISTS ledger_attempt (
    arrival    INTEGER PRIMARY KEY,
    thread     INTEGER NOT NULL,
    key        BLOB NOT NULL,
    generation INTEGER NOT NULL,
    nonce      BLOB NOT NULL,
    branch     INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    task       BLOB NOT NULL,
    status     INTEGER NOT NULL,
    hash       BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS ledger_attempt_key ON ledger_attempt (thread, key, generation, nonce);
