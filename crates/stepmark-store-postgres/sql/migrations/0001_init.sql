-- Schema 1; sql/schema.sql explains it.

CREATE TABLE IF NOT EXISTS migration (
    version int PRIMARY KEY,
    name text NOT NULL,
    checksum bytea NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS thread (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    uid bytea,
    restoring bytea,
    head bigint NOT NULL,
    created_at bigint NOT NULL,
    key_id bytea,
    hash bytea NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS thread_name ON thread (scope, name);
CREATE UNIQUE INDEX IF NOT EXISTS thread_uid ON thread (uid);
CREATE UNIQUE INDEX IF NOT EXISTS thread_restoring ON thread (restoring) WHERE restoring IS NOT NULL;

CREATE TABLE IF NOT EXISTS tombstone (
    uid bytea PRIMARY KEY,
    deleted_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS branch (
    thread bigint NOT NULL REFERENCES thread,
    namespace text COLLATE "C" NOT NULL,
    branch bigint NOT NULL,
    arrival bigint NOT NULL,
    parent bigint,
    fork_height bigint,
    tip_height bigint,
    tip_id bytea,
    epoch bigint NOT NULL,
    claim bytea NOT NULL,
    effects smallint NOT NULL,
    root_branch bigint,
    base_height bigint,
    owner text,
    lease_until timestamptz,
    hash bytea NOT NULL,
    PRIMARY KEY (thread, namespace, branch)
) WITH (fillfactor = 60);
CREATE UNIQUE INDEX IF NOT EXISTS branch_arrival ON branch (thread, namespace, arrival);

CREATE TABLE IF NOT EXISTS ref (
    thread bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    branch bigint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (thread, name)
);
CREATE INDEX IF NOT EXISTS ref_branch ON ref (thread, branch);

CREATE TABLE IF NOT EXISTS run (
    arrival bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    thread bigint NOT NULL,
    id bytea NOT NULL,
    branch bigint NOT NULL,
    graph text NOT NULL,
    status smallint NOT NULL,
    input_hash bytea NOT NULL,
    started_at bigint NOT NULL,
    ended_at bigint,
    last_height bigint,
    last_id bytea,
    queue text,
    priority int,
    wake_at timestamptz,
    attempt int,
    graph_signature bytea,
    hash bytea NOT NULL
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX IF NOT EXISTS run_id ON run (thread, id);
CREATE INDEX IF NOT EXISTS run_arrival ON run (thread, arrival);

CREATE TABLE IF NOT EXISTS checkpoint (
    arrival bigint GENERATED ALWAYS AS IDENTITY,
    thread bigint NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    branch bigint NOT NULL,
    height bigint NOT NULL,
    id bytea NOT NULL,
    source smallint NOT NULL,
    created_at bigint NOT NULL,
    root_branch bigint,
    base_height bigint,
    key_epoch int,
    manifest_hash bytea NOT NULL,
    packed_hash bytea NOT NULL,
    manifest bytea,
    packed bytea NOT NULL,
    PRIMARY KEY (thread, namespace, branch, height)
);
-- The namespace comes last: a server that knows nothing of a new table yet takes what shares only the thread with the
-- primary key for the worse way to a height.
CREATE UNIQUE INDEX IF NOT EXISTS checkpoint_id ON checkpoint (thread, id, namespace);
CREATE INDEX IF NOT EXISTS checkpoint_arrival ON checkpoint (thread, arrival, namespace);

CREATE TABLE IF NOT EXISTS value (
    thread bigint NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    branch bigint NOT NULL,
    height bigint NOT NULL,
    ordinal bigint NOT NULL,
    key_epoch int,
    hash bytea NOT NULL,
    head bytea NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (thread, namespace, branch, height, ordinal)
);

CREATE TABLE IF NOT EXISTS pending (
    thread bigint NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    base bytea NOT NULL,
    lane bigint NOT NULL,
    kind smallint NOT NULL,
    task bytea NOT NULL,
    ordinal bigint NOT NULL,
    key_epoch int,
    hash bytea NOT NULL,
    head bytea NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (thread, namespace, base, lane, kind, task, ordinal)
);
CREATE INDEX IF NOT EXISTS pending_interrupt ON pending (thread, namespace, base, lane) WHERE kind = 3;

CREATE TABLE IF NOT EXISTS blob (
    scope text COLLATE "C" NOT NULL,
    hash bytea NOT NULL,
    length bigint NOT NULL,
    touched_at timestamptz NOT NULL DEFAULT now(),
    body bytea,
    PRIMARY KEY (scope, hash)
);

CREATE TABLE IF NOT EXISTS blob_chunk (
    scope text COLLATE "C" NOT NULL,
    hash bytea NOT NULL,
    part int NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (scope, hash, part),
    FOREIGN KEY (scope, hash) REFERENCES blob ON DELETE CASCADE
);

CREATE TABLE IF NOT EXISTS blob_ref (
    thread bigint NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    branch bigint NOT NULL,
    height bigint NOT NULL,
    ordinal bigint NOT NULL,
    scope text COLLATE "C" NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (thread, namespace, branch, height, ordinal),
    FOREIGN KEY (scope, hash) REFERENCES blob
);
CREATE INDEX IF NOT EXISTS blob_ref_blob ON blob_ref (scope, hash);

CREATE TABLE IF NOT EXISTS tag (
    thread bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    branch bigint NOT NULL,
    height bigint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (thread, name)
);

CREATE TABLE IF NOT EXISTS graph (
    name text COLLATE "C" NOT NULL,
    signature bytea NOT NULL,
    record bytea NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (name, signature)
);

CREATE TABLE IF NOT EXISTS ledger (
    arrival bigint GENERATED ALWAYS AS IDENTITY,
    thread bigint NOT NULL,
    key bytea NOT NULL,
    generation bigint NOT NULL,
    fingerprint bytea NOT NULL,
    status smallint NOT NULL,
    made_at bytea NOT NULL,
    origin bytea NOT NULL,
    key_epoch int,
    hash bytea NOT NULL,
    result bytea,
    PRIMARY KEY (thread, key, generation)
) WITH (fillfactor = 80);

CREATE TABLE IF NOT EXISTS ledger_attempt (
    arrival bigint GENERATED ALWAYS AS IDENTITY,
    thread bigint NOT NULL,
    key bytea NOT NULL,
    generation bigint NOT NULL,
    nonce bytea NOT NULL,
    branch bigint NOT NULL,
    epoch bigint NOT NULL,
    task bytea NOT NULL,
    status smallint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (thread, key, generation, nonce)
) WITH (fillfactor = 80);

CREATE TABLE IF NOT EXISTS child (
    thread bigint NOT NULL,
    root_branch bigint NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    height bigint NOT NULL,
    child_branch bigint NOT NULL,
    child_height bigint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (thread, root_branch, namespace, height)
);

CREATE TABLE IF NOT EXISTS cache (
    graph text COLLATE "C" NOT NULL,
    node text COLLATE "C" NOT NULL,
    key bytea NOT NULL,
    expires_at bigint NOT NULL,
    hash bytea NOT NULL,
    result bytea NOT NULL,
    PRIMARY KEY (graph, node, key)
);
CREATE INDEX IF NOT EXISTS cache_expiry ON cache (expires_at);

CREATE TABLE IF NOT EXISTS attribute_kind (
    scope text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    kind smallint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (scope, name)
);

CREATE TABLE IF NOT EXISTS attribute (
    scope text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    value bytea NOT NULL,
    thread bigint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (scope, name, value, thread)
);
CREATE INDEX IF NOT EXISTS attribute_thread ON attribute (thread);

-- ---- chains ----

CREATE OR REPLACE FUNCTION chain_base(bytes bytea, ordinal bigint) RETURNS bigint[]
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

-- ---- Items that threads share. ----

CREATE TABLE IF NOT EXISTS item (
    scope text COLLATE "C" NOT NULL,
    namespace bytea NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    expires_at bigint,
    ttl_us bigint,
    hash bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (scope, namespace, key)
);
CREATE INDEX IF NOT EXISTS item_expiry ON item (expires_at) WHERE expires_at IS NOT NULL;

-- ---- retention ----

CREATE TABLE IF NOT EXISTS retention (
    thread bigint PRIMARY KEY,
    mark bigint NOT NULL,
    expires_at bigint
);
CREATE INDEX IF NOT EXISTS retention_expiry ON retention (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS arrival_mark (
    arrival bigint PRIMARY KEY,
    marked_at bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS arrival_mark_at ON arrival_mark (marked_at);
