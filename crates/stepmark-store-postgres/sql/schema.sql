-- Schema 1 of Stepmark's tables in PostgreSQL: the whole current schema, for readers.
--
-- migrations/*.sql lead from an empty schema to exactly this; a test compares both. docs/format.md draws the bytes of the
-- bytea columns. The tables lie in one schema, whose name the application chooses. Five rules hold everywhere:
--
-- * Unsigned 64-bit numbers (branch ids, lanes, epochs, heights) are stored as the same bits, signed.
-- * `hash` is 16 bytes of BLAKE3 over the record's key and columns as the core crate's `hash()` functions say. Columns
--   that no hash covers are marked [unhashed]: a flipped bit there changes an order or a hint, never a state.
-- * Columns marked [key] are how a row is found and nothing else names the row: a flipped bit hides it. A hidden pending
--   row makes its tasks run again, as after a kill.
-- * Columns marked [later] are written by no version yet; they are here so that no table need be rebuilt for them.
-- * Text keys are COLLATE "C": every store pages in the order of bytes.

-- Which migrations ran; the greatest version is the schema's.
CREATE TABLE migration (
    version    int PRIMARY KEY,
    name       text NOT NULL,
    checksum   bytea NOT NULL,                        -- 32 bytes of BLAKE3 over the migration's text
    applied_at timestamptz NOT NULL DEFAULT now()     -- [unhashed]
);

-- A thread: a tree of checkpoints under a name. `number` stands for the thread in all other tables. Its row is the lock of
-- every write that is more than a step or a flush of one branch.
CREATE TABLE thread (
    number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope      text COLLATE "C" NOT NULL,             -- the tenant
    name       text COLLATE "C" NOT NULL,
    uid        bytea,                                 -- 16 random bytes; null until a restored thread is whole: who looks
                                                      -- for threads by anything else leaves those out
    restoring  bytea,                                 -- the uid of a thread that is restored row by row, until it is whole
    head       bigint NOT NULL,                       -- branch that the thread continues by default
    created_at bigint NOT NULL,                       -- the engine's clock
    key_id     bytea,                                 -- encryption: the thread's key at its provider [later]
    hash       bytea NOT NULL
);
CREATE UNIQUE INDEX thread_name ON thread (scope, name);
CREATE UNIQUE INDEX thread_uid ON thread (uid);
CREATE UNIQUE INDEX thread_restoring ON thread (restoring) WHERE restoring IS NOT NULL;

-- Uids of deleted threads; they stay refused for ever.
CREATE TABLE tombstone (
    uid        bytea PRIMARY KEY,                     -- [key]
    deleted_at timestamptz NOT NULL DEFAULT now()     -- [unhashed]
);

-- A branch: one growing segment, fenced by its tip and its epoch. The only row that a super-step updates: in its page,
-- because no index holds what moves and the page has room (HOT).
CREATE TABLE branch (
    thread      bigint NOT NULL REFERENCES thread,
    namespace   text COLLATE "C" NOT NULL,            -- empty for the root graph
    branch      bigint NOT NULL,                      -- 64 random bits
    arrival     bigint NOT NULL,                      -- order of creation in (thread, namespace), from 1 [unhashed]
    parent      bigint,                               -- where it leaves its parent
    fork_height bigint,
    tip_height  bigint,                               -- its last checkpoint; null before the first input
    tip_id      bytea,
    epoch       bigint NOT NULL,                      -- raised by every claim
    claim       bytea NOT NULL,                       -- 16 bytes: who raised it
    effects     smallint NOT NULL,                    -- 0 ledger, 1 again
    root_branch bigint,                               -- sub-graphs: the branch of the root that fences it; null in the root namespace
    base_height bigint,                               -- [later]
    owner       text,                                 -- leases: who holds it [later, unhashed]
    lease_until timestamptz,                          -- leases: until when [later, unhashed]
    hash        bytea NOT NULL,
    PRIMARY KEY (thread, namespace, branch)
) WITH (fillfactor = 60);
CREATE UNIQUE INDEX branch_arrival ON branch (thread, namespace, arrival);

-- A branch's name.
CREATE TABLE ref (
    thread bigint NOT NULL,                           -- [key]
    name   text COLLATE "C" NOT NULL,
    branch bigint NOT NULL,
    hash   bytea NOT NULL,
    PRIMARY KEY (thread, name)
);
CREATE INDEX ref_branch ON ref (thread, branch);

-- A run: one input, followed to its end.
CREATE TABLE run (
    arrival         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- order of beginning [unhashed]
    thread          bigint NOT NULL,                  -- [key]
    id              bytea NOT NULL,
    branch          bigint NOT NULL,
    graph           text NOT NULL,
    status          smallint NOT NULL,
    input_hash      bytea NOT NULL,
    started_at      bigint NOT NULL,                  -- the engine's clock
    ended_at        bigint,
    last_height     bigint,                           -- its last checkpoint when it last ended
    last_id         bytea,
    queue           text,                             -- scheduling [later, unhashed]
    priority        int,                              -- scheduling [later, unhashed]
    wake_at         timestamptz,                      -- scheduling: not before [later, unhashed]
    attempt         int,                              -- scheduling [later, unhashed]
    graph_signature bytea,                            -- 16 bytes: the graph as it was
    hash            bytea NOT NULL
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX run_id ON run (thread, id);
CREATE INDEX run_arrival ON run (thread, arrival);    -- the run that began last

-- Hot tables lie in the order of arrival by nature; nothing in them is updated.

-- A checkpoint exists while its manifest is present; a pruned one may still lend packed values to others.
CREATE TABLE checkpoint (
    arrival       bigint GENERATED ALWAYS AS IDENTITY,  -- serves "all branches, newest first" alone [unhashed]
    thread        bigint NOT NULL,
    namespace     text COLLATE "C" NOT NULL,
    branch        bigint NOT NULL,
    height        bigint NOT NULL,
    id            bytea NOT NULL,                     -- 0x00 and 16 bytes for a UUID, else the text
    source        smallint NOT NULL,                  -- 1 input, 2 step, 3 update, 4 fork
    created_at    bigint NOT NULL,                    -- the engine's clock; never used for order
    root_branch   bigint,                             -- sub-graphs: the branch of the root that ran it [unhashed]
    base_height   bigint,                             -- sub-graphs: the height of that branch's tip then [unhashed]
    key_epoch     int,                                -- encryption: which key sealed manifest and packed values [later]
    manifest_hash bytea NOT NULL,
    packed_hash   bytea NOT NULL,
    manifest      bytea,
    packed        bytea NOT NULL,
    PRIMARY KEY (thread, namespace, branch, height)
);
-- The namespace comes last: a server that knows nothing of a new table yet takes what shares only the thread with the
-- primary key for the worse way to a height.
CREATE UNIQUE INDEX checkpoint_id ON checkpoint (thread, id, namespace);
CREATE INDEX checkpoint_arrival ON checkpoint (thread, arrival, namespace);

-- A value node that is too large to lie in its checkpoint's row.
CREATE TABLE value (
    thread    bigint NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    branch    bigint NOT NULL,
    height    bigint NOT NULL,
    ordinal   bigint NOT NULL,
    key_epoch int,                                    -- encryption [later]
    hash      bytea NOT NULL,
    head      bytea NOT NULL,                         -- plain: kind, base, counts
    body      bytea NOT NULL,                         -- empty where a blob holds it
    PRIMARY KEY (thread, namespace, branch, height, ordinal)
);

-- What is kept of a super-step before its commit.
CREATE TABLE pending (
    thread    bigint NOT NULL,                        -- [key]
    namespace text COLLATE "C" NOT NULL,              -- [key]
    base      bytea NOT NULL,                         -- the checkpoint whose next tasks it belongs to [key]
    lane      bigint NOT NULL,                        -- the branch, or 0 for writers that only know a checkpoint [key]
    kind      smallint NOT NULL,                      -- 1 results, 2 memo, 3 interrupt, 4 answer, 5 child
    task      bytea NOT NULL,                         -- 16 bytes; zero for a flush
    ordinal   bigint NOT NULL,
    key_epoch int,                                    -- encryption [later]
    hash      bytea NOT NULL,
    head      bytea NOT NULL,                         -- plain: addresses of the values that the body names
    body      bytea NOT NULL,
    PRIMARY KEY (thread, namespace, base, lane, kind, task, ordinal)
);
CREATE INDEX pending_interrupt ON pending (thread, namespace, base, lane) WHERE kind = 3;  -- threads that wait

-- Content-addressed bytes of a scope. Up to 1 MiB in the row, above that in chunks of 1 MiB.
CREATE TABLE blob (
    scope      text COLLATE "C" NOT NULL,
    hash       bytea NOT NULL,                        -- 32 bytes of BLAKE3 over the bytes: the blob's name
    length     bigint NOT NULL,
    touched_at timestamptz NOT NULL DEFAULT now(),    -- last put [unhashed]
    body       bytea,                                 -- null where chunks hold it
    PRIMARY KEY (scope, hash)
);

CREATE TABLE blob_chunk (
    scope text COLLATE "C" NOT NULL,
    hash  bytea NOT NULL,
    part  int NOT NULL,                               -- 0, 1, 2, …
    body  bytea NOT NULL,
    PRIMARY KEY (scope, hash, part),
    FOREIGN KEY (scope, hash) REFERENCES blob ON DELETE CASCADE
);

-- Which value names which blob; read by garbage collection alone. The foreign key is the check that the blob is there, and
-- its lock. [unhashed]
CREATE TABLE blob_ref (
    thread    bigint NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    branch    bigint NOT NULL,
    height    bigint NOT NULL,
    ordinal   bigint NOT NULL,
    scope     text COLLATE "C" NOT NULL,
    hash      bytea NOT NULL,
    PRIMARY KEY (thread, namespace, branch, height, ordinal),
    FOREIGN KEY (scope, hash) REFERENCES blob
);
CREATE INDEX blob_ref_blob ON blob_ref (scope, hash);

-- A name for a checkpoint; keeps it from pruning.
CREATE TABLE tag (
    thread    bigint NOT NULL,                        -- [key]
    name      text COLLATE "C" NOT NULL,
    namespace text COLLATE "C" NOT NULL,              -- [key]
    branch    bigint NOT NULL,                        -- the segment that holds the checkpoint
    height    bigint NOT NULL,
    hash      bytea NOT NULL,
    PRIMARY KEY (thread, name)
);

-- What a graph looked like, for tools without user code; written once per name and signature, kept when threads go.
CREATE TABLE graph (
    name      text COLLATE "C" NOT NULL,              -- [key]
    signature bytea NOT NULL,                         -- 16 bytes of BLAKE3 over the record [key]
    record    bytea NOT NULL,                         -- MessagePack with named fields
    hash      bytea NOT NULL,
    PRIMARY KEY (name, signature)
);

-- The ledger of actions that must not be repeated; nothing that happens to branches rewinds it.
CREATE TABLE ledger (
    arrival     bigint GENERATED ALWAYS AS IDENTITY,  -- [unhashed]
    thread      bigint NOT NULL,
    key         bytea NOT NULL,                       -- what the action is known by in its thread
    generation  bigint NOT NULL,                      -- 1, 2, …: one more where the key came to mean another action
    fingerprint bytea NOT NULL,                       -- 16 bytes of BLAKE3 over operation and arguments
    status      smallint NOT NULL,                    -- 1 open, 2 done, 3 failed
    made_at     bytea NOT NULL,                       -- branch, height, task and number of the newest branch then
    origin      bytea NOT NULL,                       -- uid of the thread where it was made
    key_epoch   int,                                  -- encryption [later]
    hash        bytea NOT NULL,
    result      bytea,                                -- where it is done
    PRIMARY KEY (thread, key, generation)
) WITH (fillfactor = 80);

-- Who tried to do such an action.
CREATE TABLE ledger_attempt (
    arrival    bigint GENERATED ALWAYS AS IDENTITY,   -- order of making [unhashed]
    thread     bigint NOT NULL,                       -- [key]
    key        bytea NOT NULL,
    generation bigint NOT NULL,
    nonce      bytea NOT NULL,                        -- 16 random bytes: who holds them may tell how it ended
    branch     bigint NOT NULL,                       -- while this branch has this epoch the attempt may be running
    epoch      bigint NOT NULL,
    task       bytea NOT NULL,                        -- 16 bytes
    status     smallint NOT NULL,                     -- 1 open, 2 done, 3 not done, 4 lost
    hash       bytea NOT NULL,
    PRIMARY KEY (thread, key, generation, nonce)
) WITH (fillfactor = 80);

-- Where a sub-graph stood when a step of the root committed that had moved it.
CREATE TABLE child (
    thread       bigint NOT NULL,                     -- [key]
    root_branch  bigint NOT NULL,                     -- the segment of the root's checkpoint [key]
    namespace    text COLLATE "C" NOT NULL,           -- [key]
    height       bigint NOT NULL,                     -- its height [key]
    child_branch bigint NOT NULL,                     -- the segment of the sub-graph's checkpoint, in the namespace
    child_height bigint NOT NULL,
    hash         bytea NOT NULL,
    PRIMARY KEY (thread, root_branch, namespace, height)
);

-- Results of nodes that are kept for a while, over all threads.
CREATE TABLE cache (
    graph      text COLLATE "C" NOT NULL,
    node       text COLLATE "C" NOT NULL,
    key        bytea NOT NULL,                        -- 16 bytes of BLAKE3 over what the result depends on
    expires_at bigint NOT NULL,                       -- by the server's clock
    hash       bytea NOT NULL,
    result     bytea NOT NULL,                        -- a flush of one record, without its task
    PRIMARY KEY (graph, node, key)
);
CREATE INDEX cache_expiry ON cache (expires_at);

-- Which attributes the threads of a scope may have.
CREATE TABLE attribute_kind (
    scope text COLLATE "C" NOT NULL,                  -- [key]
    name  text COLLATE "C" NOT NULL,                  -- [key]
    kind  smallint NOT NULL,                          -- 1 text, 2 integer, 3 number, 4 boolean, 5 time
    hash  bytea NOT NULL,
    PRIMARY KEY (scope, name)
);

-- Attributes of threads, plain, in the order of their values.
CREATE TABLE attribute (
    scope  text COLLATE "C" NOT NULL,                 -- that of the thread [unhashed]
    name   text COLLATE "C" NOT NULL,
    value  bytea NOT NULL,                            -- bytes that compare as the values do
    thread bigint NOT NULL,                           -- [key]
    hash   bytea NOT NULL,
    PRIMARY KEY (scope, name, value, thread)
);
CREATE INDEX attribute_thread ON attribute (thread);

-- ---- chains ----

-- What the node of a value follows from: its base's branch, height, and ordinal * 2 + packed, as docs/format.md draws
-- them; null where it is a whole value. Without an ordinal the bytes are the node's head, else the packed values of a
-- checkpoint, one of which has that ordinal. It only says where to look next: what it cannot read is null, and whoever
-- loads the values compares their hashes and walks the chain by himself.
CREATE FUNCTION chain_base(bytes bytea, ordinal bigint) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    -- Taken out of its compressed or outlying place once, not with every byte.
    plain CONSTANT bytea := bytes || ''::bytea;
    size CONSTANT int := length(plain);
    place int := 0;
    step text := CASE WHEN ordinal IS NULL THEN 'kind' ELSE 'ordinal' END;
    is_it boolean := ordinal IS NULL;
    number bigint;
    shift int;
    branch bigint := 0;
    height bigint;
BEGIN
    LOOP
        IF step = 'kind' THEN
            IF place + 2 > size OR get_byte(plain, place) = 1 THEN
                RETURN NULL;
            ELSIF get_byte(plain, place) = 5 THEN
                -- A blob's hash; its length follows, then the head of what it holds.
                place := place + 33;
                step := 'blob';
            ELSE
                place := place + 2;
                step := 'version';
            END IF;
        END IF;
        number := 0;
        shift := 0;
        LOOP
            IF place >= size OR shift > 63 THEN
                RETURN NULL;
            END IF;
            number := number | ((get_byte(plain, place) & 127)::bigint << shift);
            place := place + 1;
            EXIT WHEN get_byte(plain, place - 1) < 128;
            shift := shift + 7;
        END LOOP;
        CASE step
            WHEN 'ordinal' THEN
                is_it := number = ordinal;
                step := 'head';
            WHEN 'head', 'body' THEN
                IF number < 0 OR number > size - place THEN
                    RETURN NULL;
                END IF;
                IF step = 'head' AND is_it THEN
                    step := 'kind';
                ELSE
                    place := place + number::int;
                    step := CASE step WHEN 'head' THEN 'body' ELSE 'ordinal' END;
                END IF;
            WHEN 'blob' THEN
                step := 'kind';
            WHEN 'version' THEN
                IF place + 8 > size THEN
                    RETURN NULL;
                END IF;
                FOR byte IN 0..7 LOOP
                    branch := branch | (get_byte(plain, place + byte)::bigint << (8 * byte));
                END LOOP;
                place := place + 8;
                step := 'height';
            WHEN 'height' THEN
                height := number;
                step := 'place';
            WHEN 'place' THEN
                RETURN ARRAY[branch, height, number];
        END CASE;
    END LOOP;
END $$;

-- Items that threads share.
CREATE TABLE item (
    scope      text COLLATE "C" NOT NULL,
    namespace  bytea NOT NULL,                        -- labels, each ended by two zero bytes: what lies below begins with it
    key        bytea NOT NULL,                        -- a text
    version    bigint NOT NULL,                       -- of its last write, chosen by the writer
    created_at bigint NOT NULL,                       -- by the server's clock, like all times here
    updated_at bigint NOT NULL,
    expires_at bigint,
    ttl_us     bigint,                                -- how long it lives after a write, or a read that refreshes it
    hash       bytea NOT NULL,
    value      bytea NOT NULL,                        -- JSON text
    PRIMARY KEY (scope, namespace, key)
);
CREATE INDEX item_expiry ON item (expires_at) WHERE expires_at IS NOT NULL;

-- What the store knows of a thread besides its rows; a thread without a row was never pruned and does not expire.
CREATE TABLE retention (
    thread     bigint PRIMARY KEY,
    mark       bigint NOT NULL,                       -- how often something ceased to exist in the thread [unhashed]
    expires_at bigint                                 -- when it may go, by the server's clock [unhashed]
);
CREATE INDEX retention_expiry ON retention (expires_at) WHERE expires_at IS NOT NULL;

-- When checkpoints arrived: those from `arrival` on, up to the next mark, within a minute after `marked_at`.
CREATE TABLE arrival_mark (
    arrival   bigint PRIMARY KEY,                     -- that of the first checkpoint that came after the mark
    marked_at bigint NOT NULL                         -- the server's clock; never falls; its last 16 bits are a check of both
);
CREATE INDEX arrival_mark_at ON arrival_mark (marked_at);
