-- Schema 8 of Stepmark's SQLite file: the whole current schema, for readers.
--
-- migrations/*.sql lead from an empty file to exactly this; a test compares both. docs/format.md draws the bytes of the
-- BLOB columns. Four rules hold everywhere:
--
-- * Unsigned 64-bit numbers (branch ids, lanes, epochs, heights) are stored as the same bits, signed.
-- * `hash` is 16 bytes of BLAKE3 over the record's key and columns as the core crate's `hash()` functions say. Columns
--   that no hash covers are marked [unhashed]: a flipped bit there changes an order or a hint, never a state.
-- * Columns marked [key] are how a row is found and nothing else names the row: a flipped bit hides it. A hidden pending
--   row makes its tasks run again, as after a kill.
-- * Columns marked [later] are written by no version yet; they are here so that no table need be rebuilt for them.

-- The file's identity: PRAGMA application_id = 0x53746d6b ("Stmk"), PRAGMA user_version = the newest migration.

-- Which migrations ran.
CREATE TABLE migration (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    checksum   BLOB NOT NULL,          -- 32 bytes of BLAKE3 over the migration's text
    applied_at INTEGER NOT NULL        -- microseconds since 1970, this store's clock [unhashed]
) STRICT;

-- Facts about the file as a whole. [later]
CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- A thread: a tree of checkpoints under a name. `number` stands for the thread in all other tables of this file; it is
-- positive, or negative where the thread was restored.
CREATE TABLE thread (
    number     INTEGER PRIMARY KEY,
    scope      TEXT NOT NULL,          -- the tenant
    name       TEXT NOT NULL,
    uid        BLOB NOT NULL,          -- 16 random bytes
    head       INTEGER NOT NULL,       -- branch that the thread continues by default
    created_at INTEGER NOT NULL,       -- the engine's clock
    key_id     BLOB,                   -- encryption: the thread's key at its provider [later]
    hash       BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX thread_name ON thread (scope, name);
CREATE UNIQUE INDEX thread_uid ON thread (uid);

-- A thread that is restored row by row: its rows lie in the other tables under `number`, which is negative and no other
-- thread's. Nobody finds them, until the row moves to `thread`, because the thread is whole.
CREATE TABLE restoring (
    number     INTEGER PRIMARY KEY,
    scope      TEXT NOT NULL,
    name       TEXT NOT NULL,
    uid        BLOB NOT NULL,
    head       INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    key_id     BLOB,                   -- [later]
    hash       BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX restoring_name ON restoring (scope, name);
CREATE UNIQUE INDEX restoring_uid ON restoring (uid);

-- Uids of deleted threads; they stay refused for ever.
CREATE TABLE tombstone (
    uid        BLOB NOT NULL PRIMARY KEY,  -- [key]
    deleted_at INTEGER NOT NULL        -- this store's clock [unhashed]
) STRICT, WITHOUT ROWID;

-- A branch: one growing segment, fenced by its tip and its epoch. The only row that a super-step updates.
CREATE TABLE branch (
    thread      INTEGER NOT NULL,
    namespace   TEXT NOT NULL,         -- empty for the root graph
    branch      INTEGER NOT NULL,      -- 64 random bits
    arrival     INTEGER NOT NULL,      -- order of creation in (thread, namespace) [unhashed]
    parent      INTEGER,               -- where it leaves its parent
    fork_height INTEGER,
    tip_height  INTEGER,               -- its last checkpoint; NULL before the first input
    tip_id      BLOB,
    epoch       INTEGER NOT NULL,      -- raised by every claim
    claim       BLOB NOT NULL,         -- 16 bytes: who raised it
    effects     INTEGER NOT NULL,      -- 0 ledger, 1 again
    root_branch INTEGER,               -- sub-graphs: the branch of the root that fences it; NULL in the root namespace
    base_height INTEGER,               -- [later]
    owner       TEXT,                  -- leases: who holds it [later, unhashed]
    lease_until INTEGER,               -- leases: until when, this store's clock [later, unhashed]
    hash        BLOB NOT NULL,
    PRIMARY KEY (thread, namespace, branch)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX branch_arrival ON branch (thread, namespace, arrival);

-- A branch's name.
CREATE TABLE ref (
    thread INTEGER NOT NULL,           -- [key]
    name   TEXT NOT NULL,
    branch INTEGER NOT NULL,
    hash   BLOB NOT NULL,
    PRIMARY KEY (thread, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX ref_branch ON ref (thread, branch);

-- A run: one input, followed to its end.
CREATE TABLE run (
    arrival         INTEGER PRIMARY KEY,   -- order of beginning [unhashed]
    thread          INTEGER NOT NULL,      -- [key]
    id              BLOB NOT NULL,
    branch          INTEGER NOT NULL,
    graph           TEXT NOT NULL,
    status          INTEGER NOT NULL,
    input_hash      BLOB NOT NULL,
    started_at      INTEGER NOT NULL,      -- the engine's clock
    ended_at        INTEGER,
    last_height     INTEGER,               -- its last checkpoint when it last ended
    last_id         BLOB,
    queue           TEXT,                  -- scheduling [later, unhashed]
    priority        INTEGER,               -- scheduling [later, unhashed]
    wake_at         INTEGER,               -- scheduling: not before, this store's clock [later, unhashed]
    attempt         INTEGER,               -- scheduling [later, unhashed]
    graph_signature BLOB,                  -- 16 bytes: the graph as it was; NULL for runs of the first release
    hash            BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX run_id ON run (thread, id);
CREATE INDEX run_arrival ON run (thread);                 -- with the rowid: the run that began last

-- Hot tables lie in the order of arrival, so that a commit touches the end of one tree whatever its thread; unique
-- indexes carry the keys.

-- A checkpoint exists while its manifest is present; a pruned one may still lend packed values to others.
CREATE TABLE checkpoint (
    arrival       INTEGER PRIMARY KEY,     -- serves "all branches, newest first" alone [unhashed]
    thread        INTEGER NOT NULL,
    namespace     TEXT NOT NULL,
    branch        INTEGER NOT NULL,
    height        INTEGER NOT NULL,
    id            BLOB NOT NULL,           -- 0x00 and 16 bytes for a UUID, else the text
    source        INTEGER NOT NULL,        -- 1 input, 2 step, 3 update, 4 fork
    created_at    INTEGER NOT NULL,        -- the engine's clock; never used for order
    root_branch   INTEGER,                 -- sub-graphs: the branch of the root that ran it [unhashed]
    base_height   INTEGER,                 -- sub-graphs: the height of that branch's tip then [unhashed]
    key_epoch     INTEGER,                 -- encryption: which key sealed manifest and packed values [later]
    manifest_hash BLOB NOT NULL,
    packed_hash   BLOB NOT NULL,
    manifest      BLOB,
    packed        BLOB NOT NULL            -- last, so that reading a manifest fetches no overflow page
) STRICT;
CREATE UNIQUE INDEX checkpoint_place ON checkpoint (thread, namespace, branch, height);
CREATE UNIQUE INDEX checkpoint_id ON checkpoint (thread, namespace, id);
CREATE INDEX checkpoint_arrival ON checkpoint (thread, namespace);  -- with the rowid

-- A value node that is too large to lie in its checkpoint's row.
CREATE TABLE value (
    arrival   INTEGER PRIMARY KEY,         -- [unhashed]
    thread    INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    branch    INTEGER NOT NULL,
    height    INTEGER NOT NULL,
    ordinal   INTEGER NOT NULL,
    key_epoch INTEGER,                     -- encryption [later]
    hash      BLOB NOT NULL,
    head      BLOB NOT NULL,               -- plain: kind, base, counts
    body      BLOB NOT NULL                -- empty where a blob holds it
) STRICT;
CREATE UNIQUE INDEX value_address ON value (thread, namespace, branch, height, ordinal);

-- What is kept of a super-step before its commit.
CREATE TABLE pending (
    arrival   INTEGER PRIMARY KEY,         -- [unhashed]
    thread    INTEGER NOT NULL,            -- [key]
    namespace TEXT NOT NULL,               -- [key]
    base      BLOB NOT NULL,               -- the checkpoint whose next tasks it belongs to [key]
    lane      INTEGER NOT NULL,            -- the branch, or 0 for writers that only know a checkpoint [key]
    kind      INTEGER NOT NULL,            -- 1 results, 2 memo, 3 interrupt, 4 answer, 5 child
    task      BLOB NOT NULL,               -- 16 bytes; zero for a flush
    ordinal   INTEGER NOT NULL,
    key_epoch INTEGER,                     -- encryption [later]
    hash      BLOB NOT NULL,
    head      BLOB NOT NULL,               -- plain: addresses of the values that the body names
    body      BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX pending_key ON pending (thread, namespace, base, lane, kind, task, ordinal);
CREATE INDEX pending_interrupt ON pending (thread, namespace, base, lane) WHERE kind = 3;  -- threads that wait

-- Content-addressed bytes of a scope. Up to 1 MiB in the row, above that in chunks of 1 MiB.
CREATE TABLE blob (
    number     INTEGER PRIMARY KEY,        -- stands for the blob in its chunks and references [unhashed]
    scope      TEXT NOT NULL,
    hash       BLOB NOT NULL,              -- 32 bytes of BLAKE3 over the bytes: the blob's name
    length     INTEGER NOT NULL,
    touched_at INTEGER NOT NULL,           -- last put, this store's clock [unhashed]
    body       BLOB                        -- NULL where chunks hold it
) STRICT;
CREATE UNIQUE INDEX blob_hash ON blob (scope, hash);

CREATE TABLE blob_chunk (
    number INTEGER PRIMARY KEY,            -- [unhashed]
    blob   INTEGER NOT NULL,
    part   INTEGER NOT NULL,               -- 0, 1, 2, …
    body   BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX blob_chunk_part ON blob_chunk (blob, part);

-- Which value names which blob; read by garbage collection alone. [unhashed]
CREATE TABLE blob_ref (
    thread    INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    branch    INTEGER NOT NULL,
    height    INTEGER NOT NULL,
    ordinal   INTEGER NOT NULL,
    blob      INTEGER NOT NULL,
    PRIMARY KEY (thread, namespace, branch, height, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_ref_blob ON blob_ref (blob);

-- A name for a checkpoint; keeps it from pruning.
CREATE TABLE tag (
    thread    INTEGER NOT NULL,        -- [key]
    name      TEXT NOT NULL,
    namespace TEXT NOT NULL,           -- [key]
    branch    INTEGER NOT NULL,        -- the segment that holds the checkpoint
    height    INTEGER NOT NULL,
    hash      BLOB NOT NULL,
    PRIMARY KEY (thread, name)
) STRICT, WITHOUT ROWID;

-- What a graph looked like, for tools without user code; written once per name and signature, kept when threads go.
CREATE TABLE graph (
    name      TEXT NOT NULL,           -- [key]
    signature BLOB NOT NULL,           -- 16 bytes of BLAKE3 over the record [key]
    record    BLOB NOT NULL,           -- MessagePack with named fields
    hash      BLOB NOT NULL,
    PRIMARY KEY (name, signature)
) STRICT, WITHOUT ROWID;

-- The ledger of actions that must not be repeated; nothing that happens to branches rewinds it.
CREATE TABLE ledger (
    arrival     INTEGER PRIMARY KEY,       -- [unhashed]
    thread      INTEGER NOT NULL,
    key         BLOB NOT NULL,             -- what the action is known by in its thread
    generation  INTEGER NOT NULL,          -- 1, 2, …: one more where the key came to mean another action
    fingerprint BLOB NOT NULL,             -- 16 bytes of BLAKE3 over operation and arguments
    status      INTEGER NOT NULL,          -- 1 open, 2 done, 3 failed
    made_at     BLOB NOT NULL,             -- branch, height, task and number of the newest branch then
    origin      BLOB NOT NULL,             -- uid of the thread where it was made
    key_epoch   INTEGER,                   -- encryption [later]
    hash        BLOB NOT NULL,
    result      BLOB                       -- where it is done
) STRICT;
CREATE UNIQUE INDEX ledger_key ON ledger (thread, key, generation);

-- Who tried to do such an action.
CREATE TABLE ledger_attempt (
    arrival    INTEGER PRIMARY KEY,        -- order of making [unhashed]
    thread     INTEGER NOT NULL,           -- [key]
    key        BLOB NOT NULL,
    generation INTEGER NOT NULL,
    nonce      BLOB NOT NULL,              -- 16 random bytes: who holds them may tell how it ended
    branch     INTEGER NOT NULL,           -- while this branch has this epoch the attempt may be running
    epoch      INTEGER NOT NULL,
    task       BLOB NOT NULL,              -- 16 bytes
    status     INTEGER NOT NULL,           -- 1 open, 2 done, 3 not done, 4 lost
    hash       BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX ledger_attempt_key ON ledger_attempt (thread, key, generation, nonce);

-- Where a sub-graph stood when a step of the root committed that had moved it.
CREATE TABLE child (
    thread       INTEGER NOT NULL,         -- [key]
    root_branch  INTEGER NOT NULL,         -- the segment of the root's checkpoint [key]
    height       INTEGER NOT NULL,         -- its height [key]
    namespace    TEXT NOT NULL,            -- [key]
    child_branch INTEGER NOT NULL,         -- the segment of the sub-graph's checkpoint, in the namespace
    child_height INTEGER NOT NULL,
    hash         BLOB NOT NULL,
    PRIMARY KEY (thread, root_branch, namespace, height)
) STRICT, WITHOUT ROWID;

-- Results of nodes that are kept for a while, over all threads.
CREATE TABLE cache (
    graph      TEXT NOT NULL,
    node       TEXT NOT NULL,
    key        BLOB NOT NULL,              -- 16 bytes of BLAKE3 over what the result depends on
    expires_at INTEGER NOT NULL,           -- by the store's time
    hash       BLOB NOT NULL,
    result     BLOB NOT NULL,              -- a flush of one record, without its task
    PRIMARY KEY (graph, node, key)
) STRICT;
CREATE INDEX cache_expiry ON cache (expires_at);

-- What the store knows of a thread besides its rows; a thread without a row was never pruned and does not expire.
CREATE TABLE retention (
    thread     INTEGER PRIMARY KEY,
    mark       INTEGER NOT NULL,       -- how often something ceased to exist in the thread [unhashed]
    expires_at INTEGER                 -- when it may go, by the store's time [unhashed]
) STRICT;
CREATE INDEX retention_expiry ON retention (expires_at) WHERE expires_at IS NOT NULL;

-- When checkpoints arrived: those from `arrival` on, up to the next mark, within a minute after `at`.
CREATE TABLE arrival_mark (
    arrival INTEGER PRIMARY KEY,       -- that of the first checkpoint that came after the mark
    at      INTEGER NOT NULL           -- this store's clock; never falls; its last 16 bits are a check of both
) STRICT;
CREATE INDEX arrival_mark_at ON arrival_mark (at);

-- Items that threads share.
CREATE TABLE item (
    scope      TEXT NOT NULL,
    namespace  BLOB NOT NULL,              -- labels, each ended by two zero bytes: what lies below begins with it
    key        BLOB NOT NULL,              -- a text
    version    INTEGER NOT NULL,           -- of its last write, chosen by the writer
    created_at INTEGER NOT NULL,           -- by the store's time, like all times here
    updated_at INTEGER NOT NULL,
    expires_at INTEGER,
    ttl_us     INTEGER,                    -- how long it lives after a write, or a read that refreshes it
    hash       BLOB NOT NULL,
    value      BLOB NOT NULL,              -- JSON text
    PRIMARY KEY (scope, namespace, key)
) STRICT;
CREATE INDEX item_expiry ON item (expires_at) WHERE expires_at IS NOT NULL;

-- Which attributes the threads of a scope may have.
CREATE TABLE attribute_kind (
    scope TEXT NOT NULL,               -- [key]
    name  TEXT NOT NULL,               -- [key]
    kind  INTEGER NOT NULL,            -- 1 text, 2 integer, 3 number, 4 boolean, 5 time
    hash  BLOB NOT NULL,
    PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;

-- Attributes of threads, plain, in the order of their values.
CREATE TABLE attribute (
    scope  TEXT NOT NULL,              -- that of the thread [unhashed]
    name   TEXT NOT NULL,
    value  BLOB NOT NULL,              -- bytes that compare as the values do
    thread INTEGER NOT NULL,           -- [key]
    hash   BLOB NOT NULL,
    PRIMARY KEY (scope, name, value, thread)
) STRICT, WITHOUT ROWID;
CREATE INDEX attribute_thread ON attribute (thread);
