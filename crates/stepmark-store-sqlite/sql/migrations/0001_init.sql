-- Schema 1; sql/schema.sql explains it.

CREATE TABLE IF NOT EXISTS migration (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    checksum   BLOB NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS thread (
    number     INTEGER PRIMARY KEY,
    scope      TEXT NOT NULL,
    name       TEXT NOT NULL,
    uid        BLOB NOT NULL,
    head       INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    key_id     BLOB,
    hash       BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS thread_name ON thread (scope, name);
CREATE UNIQUE INDEX IF NOT EXISTS thread_uid ON thread (uid);

CREATE TABLE IF NOT EXISTS tombstone (
    uid        BLOB NOT NULL PRIMARY KEY,
    deleted_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS branch (
    thread      INTEGER NOT NULL,
    namespace   TEXT NOT NULL,
    branch      INTEGER NOT NULL,
    arrival     INTEGER NOT NULL,
    parent      INTEGER,
    fork_height INTEGER,
    tip_height  INTEGER,
    tip_id      BLOB,
    epoch       INTEGER NOT NULL,
    claim       BLOB NOT NULL,
    effects     INTEGER NOT NULL,
    root_branch INTEGER,
    base_height INTEGER,
    owner       TEXT,
    lease_until INTEGER,
    hash        BLOB NOT NULL,
    PRIMARY KEY (thread, namespace, branch)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS branch_arrival ON branch (thread, namespace, arrival);

CREATE TABLE IF NOT EXISTS ref (
    thread INTEGER NOT NULL,
    name   TEXT NOT NULL,
    branch INTEGER NOT NULL,
    hash   BLOB NOT NULL,
    PRIMARY KEY (thread, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ref_branch ON ref (thread, branch);

CREATE TABLE IF NOT EXISTS run (
    arrival         INTEGER PRIMARY KEY,
    thread          INTEGER NOT NULL,
    id              BLOB NOT NULL,
    branch          INTEGER NOT NULL,
    graph           TEXT NOT NULL,
    status          INTEGER NOT NULL,
    input_hash      BLOB NOT NULL,
    started_at      INTEGER NOT NULL,
    ended_at        INTEGER,
    last_height     INTEGER,
    last_id         BLOB,
    queue           TEXT,
    priority        INTEGER,
    wake_at         INTEGER,
    attempt         INTEGER,
    graph_signature BLOB,
    hash            BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS run_id ON run (thread, id);
CREATE INDEX IF NOT EXISTS run_arrival ON run (thread);

CREATE TABLE IF NOT EXISTS checkpoint (
    arrival       INTEGER PRIMARY KEY,
    thread        INTEGER NOT NULL,
    namespace     TEXT NOT NULL,
    branch        INTEGER NOT NULL,
    height        INTEGER NOT NULL,
    id            BLOB NOT NULL,
    source        INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    root_branch   INTEGER,
    base_height   INTEGER,
    key_epoch     INTEGER,
    manifest_hash BLOB NOT NULL,
    packed_hash   BLOB NOT NULL,
    manifest      BLOB,
    packed        BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS checkpoint_place ON checkpoint (thread, namespace, branch, height);
CREATE UNIQUE INDEX IF NOT EXISTS checkpoint_id ON checkpoint (thread, namespace, id);
CREATE INDEX IF NOT EXISTS checkpoint_arrival ON checkpoint (thread, namespace);

CREATE TABLE IF NOT EXISTS value (
    arrival   INTEGER PRIMARY KEY,
    thread    INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    branch    INTEGER NOT NULL,
    height    INTEGER NOT NULL,
    ordinal   INTEGER NOT NULL,
    key_epoch INTEGER,
    hash      BLOB NOT NULL,
    head      BLOB NOT NULL,
    body      BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS value_address ON value (thread, namespace, branch, height, ordinal);

CREATE TABLE IF NOT EXISTS pending (
    arrival   INTEGER PRIMARY KEY,
    thread    INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    base      BLOB NOT NULL,
    lane      INTEGER NOT NULL,
    kind      INTEGER NOT NULL,
    task      BLOB NOT NULL,
    ordinal   INTEGER NOT NULL,
    key_epoch INTEGER,
    hash      BLOB NOT NULL,
    head      BLOB NOT NULL,
    body      BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS pending_key ON pending (thread, namespace, base, lane, kind, task, ordinal);

CREATE TABLE IF NOT EXISTS blob (
    number     INTEGER PRIMARY KEY,
    scope      TEXT NOT NULL,
    hash       BLOB NOT NULL,
    length     INTEGER NOT NULL,
    touched_at INTEGER NOT NULL,
    body       BLOB
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS blob_hash ON blob (scope, hash);

CREATE TABLE IF NOT EXISTS blob_chunk (
    number INTEGER PRIMARY KEY,
    blob   INTEGER NOT NULL,
    part   INTEGER NOT NULL,
    body   BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS blob_chunk_part ON blob_chunk (blob, part);

CREATE TABLE IF NOT EXISTS blob_ref (
    thread    INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    branch    INTEGER NOT NULL,
    height    INTEGER NOT NULL,
    ordinal   INTEGER NOT NULL,
    blob      INTEGER NOT NULL,
    PRIMARY KEY (thread, namespace, branch, height, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS blob_ref_blob ON blob_ref (blob);

CREATE TABLE IF NOT EXISTS tag (
    thread    INTEGER NOT NULL,
    name      TEXT NOT NULL,
    namespace TEXT NOT NULL,
    branch    INTEGER NOT NULL,
    height    INTEGER NOT NULL,
    hash      BLOB NOT NULL,
    PRIMARY KEY (thread, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS effect (
    scope       TEXT NOT NULL,
    thread      INTEGER NOT NULL,
    key         BLOB NOT NULL,
    generation  INTEGER NOT NULL,
    fingerprint BLOB NOT NULL,
    status      INTEGER NOT NULL,
    made_at     BLOB NOT NULL,
    key_epoch   INTEGER,
    result      BLOB,
    hash        BLOB NOT NULL,
    PRIMARY KEY (scope, thread, key, generation)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS effect_thread ON effect (thread);

CREATE TABLE IF NOT EXISTS effect_attempt (
    thread     INTEGER NOT NULL,
    key        BLOB NOT NULL,
    generation INTEGER NOT NULL,
    nonce      BLOB NOT NULL,
    branch     INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    task       BLOB NOT NULL,
    status     INTEGER NOT NULL,
    hash       BLOB NOT NULL,
    PRIMARY KEY (thread, key, generation, nonce)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS child (
    thread       INTEGER NOT NULL,
    root_branch  INTEGER NOT NULL,
    height       INTEGER NOT NULL,
    namespace    TEXT NOT NULL,
    child_branch INTEGER NOT NULL,
    child_height INTEGER NOT NULL,
    hash         BLOB NOT NULL,
    PRIMARY KEY (thread, root_branch, namespace, height)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS graph (
    name      TEXT NOT NULL,
    signature BLOB NOT NULL,
    record    BLOB NOT NULL,
    hash      BLOB NOT NULL,
    PRIMARY KEY (name, signature)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS attribute (
    scope  TEXT NOT NULL,
    name   TEXT NOT NULL,
    value  BLOB NOT NULL,
    thread INTEGER NOT NULL,
    hash   BLOB NOT NULL,
    PRIMARY KEY (scope, name, value, thread)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS attribute_thread ON attribute (thread);
