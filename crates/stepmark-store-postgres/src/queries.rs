//! Which statements does the store run? All of them, named after the call that uses them.
//!
//! `@` stands before the names of tables, where the schema's name goes. Columns stand in the order in which `records`
//! reads them.

/// Of what goes.
pub(crate) mod retention;
mod beside;
mod read;
mod rows;

pub(crate) use beside::*;
pub(crate) use read::*;
pub(crate) use rows::*;

/// A transaction whose process stops in the middle is ended by the server, so that its locks are not held for ever.
pub(crate) const BEGIN_WRITE: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL idle_in_transaction_session_timeout = 10000";
pub(crate) const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
pub(crate) const COMMIT: &str = "COMMIT";
pub(crate) const ROLLBACK: &str = "ROLLBACK";

// ---- locks: the thread's row first, then rows of branches in the order of their keys ----

pub(crate) const LOCK_THREAD: &str = "SELECT 1 FROM @thread WHERE uid = $1 FOR NO KEY UPDATE";
/// Also of a thread that is not whole yet.
pub(crate) const LOCK_WHOLE_THREAD: &str = "SELECT 1 FROM @thread WHERE uid = $1 OR restoring = $1 FOR UPDATE";
pub(crate) const LOCK_BRANCHES: &str = "
SELECT 1 FROM @branch b
WHERE b.thread = (SELECT number FROM @thread WHERE uid = $1)
  AND (b.namespace, b.branch) IN (SELECT * FROM unnest($2, $3))
ORDER BY b.namespace, b.branch FOR UPDATE";

// ---- commit ----

/// Moves a branch if it is what the writer expects: the fence of every commit on an existing branch. Its fork point,
/// effects mode and root never change, and only a claim changes its token.
pub(crate) const COMMIT_FENCE: &str = "
UPDATE @branch SET tip_height = $10, tip_id = $11, epoch = $12, claim = $13, hash = $15
WHERE thread = (SELECT number FROM @thread WHERE uid = $1 AND ($2 IS NULL OR head = $2))
  AND namespace = $3 AND branch = $4 AND epoch = $5
  AND tip_height IS NOT DISTINCT FROM $6 AND tip_id IS NOT DISTINCT FROM $7
  AND parent IS NOT DISTINCT FROM $8 AND fork_height IS NOT DISTINCT FROM $9 AND effects = $14
  AND root_branch IS NOT DISTINCT FROM $16 AND (epoch <> $12 OR claim = $13)";

pub(crate) const COMMIT_CHECKPOINT: &str = "
INSERT INTO @checkpoint (thread, namespace, branch, height, id, source, created_at, root_branch, base_height,
                        manifest_hash, packed_hash, manifest, packed)
VALUES ((SELECT number FROM @thread WHERE uid = $1), $2, $3, $4, $5, $6, $7, $12, $13, $8, $9, $10, $11)";

pub(crate) const COMMIT_THREAD: &str =
    "INSERT INTO @thread (scope, name, uid, head, created_at, hash) VALUES ($1, $2, $3, $4, $5, $6) RETURNING number";

pub(crate) const COMMIT_HEAD: &str = "UPDATE @thread SET head = $2, hash = $3 WHERE number = $1";

/// Reads no other column, so that a damaged thread can be deleted.
pub(crate) const THREAD_NUMBER: &str = "SELECT number FROM @thread WHERE uid = $1";

pub(crate) const COMMIT_BRANCH: &str = "
INSERT INTO @branch (thread, namespace, branch, parent, fork_height, tip_height, tip_id, epoch, claim, effects, hash,
                    root_branch, arrival)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
        COALESCE($13, (SELECT COALESCE(MAX(arrival), 0) + 1 FROM @branch WHERE thread = $1 AND namespace = $2)))";

/// Gives a name, or moves it; the caller checked whose it is.
pub(crate) const COMMIT_REF: &str = "
INSERT INTO @ref (thread, name, branch, hash) VALUES ($1, $2, $3, $4)
ON CONFLICT (thread, name) DO UPDATE SET branch = excluded.branch, hash = excluded.hash";

/// A record that is there is kept as it is.
pub(crate) const COMMIT_GRAPH: &str =
    "INSERT INTO @graph (name, signature, record, hash) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";

pub(crate) const COMMIT_RUN_BEGIN: &str = "
INSERT INTO @run (thread, id, branch, graph, status, input_hash, started_at, ended_at, last_height, last_id, hash,
                 graph_signature)
VALUES ((SELECT number FROM @thread WHERE uid = $1), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

pub(crate) const COMMIT_RUN_UPDATE: &str = "
UPDATE @run SET branch = $3, graph = $4, status = $5, input_hash = $6, started_at = $7, ended_at = $8, last_height = $9,
               last_id = $10, hash = $11, graph_signature = $12
WHERE thread = (SELECT number FROM @thread WHERE uid = $1) AND id = $2";

/// Rows whose keys are taken are kept as they are; the caller compares them.
pub(crate) const COMMIT_VALUES: &str = "
INSERT INTO @value (thread, namespace, branch, height, ordinal, hash, head, body)
SELECT $1, $2, x.* FROM unnest($3, $4, $5, $6, $7, $8) x
ON CONFLICT DO NOTHING";

pub(crate) const COMMIT_PENDING: &str = "
INSERT INTO @pending (thread, namespace, base, lane, kind, task, ordinal, hash, head, body)
SELECT $1, $2, x.* FROM unnest($3, $4, $5, $6, $7, $8, $9, $10) x
ON CONFLICT DO NOTHING";

pub(crate) const COMMIT_CHILD: &str = "
INSERT INTO @child (thread, root_branch, namespace, height, child_branch, child_height, hash)
VALUES ($1, $2, $3, $4, $5, $6, $7)";

/// The foreign key locks the blobs, and refuses what is gone.
pub(crate) const COMMIT_BLOB_REFS: &str = "
INSERT INTO @blob_ref (thread, namespace, branch, height, ordinal, scope, hash)
SELECT $1, $2, x.branch, x.height, x.ordinal, t.scope, x.hash
FROM @thread t, unnest($3, $4, $5, $6) x (branch, height, ordinal, hash) WHERE t.number = $1
ON CONFLICT DO NOTHING";

/// Sets a tag, also where it is; the caller checked that the name is nobody else's.
pub(crate) const APPEND_TAG: &str = "
INSERT INTO @tag (thread, name, namespace, branch, height, hash) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING";
pub(crate) const APPEND_TAG_GONE: &str = "DELETE FROM @tag WHERE thread = $1 AND name = $2";

// ---- steps: a group of commits that are their branch's fence and what follows from it ----

/// One step with one checkpoint and nothing else: what a super-step mostly is. Its rows are counted.
pub(crate) const STEP: &str = "
WITH u AS (
    UPDATE @branch b SET tip_height = $10, tip_id = $11, epoch = $12, claim = $13, hash = $15
    WHERE b.thread = (SELECT number FROM @thread WHERE uid = $1 AND ($2 IS NULL OR head = $2))
      AND b.namespace = $3 AND b.branch = $4 AND b.epoch = $5
      AND b.tip_height IS NOT DISTINCT FROM $6 AND b.tip_id IS NOT DISTINCT FROM $7
      AND b.parent IS NOT DISTINCT FROM $8 AND b.fork_height IS NOT DISTINCT FROM $9 AND b.effects = $14
      AND b.root_branch IS NOT DISTINCT FROM $16 AND (b.epoch <> $12 OR b.claim = $13)
    RETURNING b.thread
)
INSERT INTO @checkpoint (thread, namespace, branch, height, id, source, created_at, manifest_hash, packed_hash, manifest,
                         packed)
SELECT u.thread, $3, $4, $10, $11, $17, $18, $19, $20, $21, $22 FROM u";

/// Steps on different branches. All branches are locked, in the order of their keys, and then moved before anything else
/// is inserted; the order in which they are moved is the plan's. Rows of tables are looked up one by one, because the server
/// does not know how many members there will be: a plan for few reads whole tables for many.
macro_rules! steps {
    ($lists:literal, $fence:literal, $rows:literal) => {
        concat!(
            "
WITH k AS (
    SELECT * FROM unnest($17, $18, $19, $20, $21, $22, $23, $24, $25)
    AS k (place, height, id, source, created_at, manifest_hash, packed_hash, manifest, packed)
)",
            $lists,
            ", l AS MATERIALIZED (
    SELECT m.*, t.number AS thread, b.stood_at
    FROM (
        SELECT *
        FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) WITH ORDINALITY
        AS m (uid, head, namespace, branch, old_epoch, old_height, old_id, parent, fork_height, new_height, new_id,
              epoch, claim, effects, hash, root_branch, place)
        ORDER BY uid, namespace COLLATE \"C\", branch) m
    CROSS JOIN LATERAL (SELECT number, head FROM @thread WHERE uid = m.uid LIMIT 1) t
    CROSS JOIN LATERAL (
        SELECT b.ctid AS stood_at FROM @branch b
        WHERE b.thread = t.number AND b.namespace = m.namespace AND b.branch = m.branch AND b.epoch = m.old_epoch
          AND b.tip_height IS NOT DISTINCT FROM m.old_height AND b.tip_id IS NOT DISTINCT FROM m.old_id
          AND b.parent IS NOT DISTINCT FROM m.parent AND b.fork_height IS NOT DISTINCT FROM m.fork_height
          AND b.effects = m.effects AND b.root_branch IS NOT DISTINCT FROM m.root_branch
          AND (b.epoch <> m.epoch OR b.claim = m.claim)
        LIMIT 1 FOR NO KEY UPDATE) b
    WHERE (m.head IS NULL OR t.head = m.head)",
            $fence,
            "
), u AS (
    UPDATE @branch b
    SET tip_height = l.new_height, tip_id = l.new_id, epoch = l.epoch, claim = l.claim, hash = l.hash
    FROM l
    WHERE b.ctid = ANY (ARRAY(SELECT stood_at FROM l)) AND b.ctid = l.stood_at
    RETURNING l.place, b.thread, b.namespace, b.branch
), c AS (
    INSERT INTO @checkpoint (thread, namespace, branch, height, id, source, created_at, manifest_hash, packed_hash,
                             manifest, packed)
    SELECT u.thread, u.namespace, u.branch, k.height, k.id, k.source, k.created_at, k.manifest_hash, k.packed_hash,
           k.manifest, k.packed
    FROM u JOIN k ON k.place = u.place
)",
            $rows,
            "
SELECT place FROM u"
        )
    };
}
pub(crate) const STEPS: &str = steps!("", "", "");

/// The same for steps that bring values, runs or graphs. A run that goes on must be there.
pub(crate) const STEPS_WITH_ROWS: &str = steps!(
    ", v AS (
    SELECT * FROM unnest($26, $27, $28, $29, $30, $31) AS v (place, height, ordinal, hash, head, body)
), r AS (
    SELECT * FROM unnest($32, $33, $34, $35, $36, $37, $38, $39, $40, $41, $42, $43, $44)
    AS r (place, begins, id, branch, graph, status, input_hash, started_at, ended_at, last_height, last_id, hash,
          graph_signature)
)",
    "
      AND NOT EXISTS (
          SELECT 1 FROM r WHERE r.place = m.place AND NOT r.begins
          AND (SELECT 1 FROM @run WHERE thread = t.number AND id = r.id LIMIT 1) IS NULL)",
    ", w AS (
    INSERT INTO @value (thread, namespace, branch, height, ordinal, hash, head, body)
    SELECT u.thread, u.namespace, u.branch, v.height, v.ordinal, v.hash, v.head, v.body
    FROM u JOIN v ON v.place = u.place
), n AS (
    INSERT INTO @run (thread, id, branch, graph, status, input_hash, started_at, ended_at, last_height, last_id, hash,
                      graph_signature)
    SELECT u.thread, r.id, r.branch, r.graph, r.status, r.input_hash, r.started_at, r.ended_at, r.last_height, r.last_id,
           r.hash, r.graph_signature
    FROM u JOIN r ON r.place = u.place WHERE r.begins
), o AS (
    UPDATE @run SET branch = r.branch, graph = r.graph, status = r.status, input_hash = r.input_hash,
                    started_at = r.started_at, ended_at = r.ended_at, last_height = r.last_height, last_id = r.last_id,
                    hash = r.hash, graph_signature = r.graph_signature
    FROM u JOIN r ON r.place = u.place
    CROSS JOIN LATERAL (SELECT arrival FROM @run WHERE thread = u.thread AND id = r.id LIMIT 1) x
    WHERE NOT r.begins AND run.arrival = x.arrival
), g AS (
    INSERT INTO @graph (name, signature, record, hash)
    SELECT DISTINCT ON (x.name, x.signature) x.name, x.signature, x.record, x.hash
    FROM u JOIN unnest($45, $46, $47, $48, $49) AS x (place, name, signature, record, hash) ON x.place = u.place
    ORDER BY x.name, x.signature
    ON CONFLICT DO NOTHING
)"
);

// ---- new threads, a fork, or a flush, in one statement ----

/// New branches `b`, and what belongs to them.
macro_rules! begun {
    ($branches:literal) => {
        concat!(
            "
WITH ",
            $branches,
            "
), c AS (
    INSERT INTO @checkpoint (thread, namespace, branch, height, id, source, created_at, manifest_hash, packed_hash,
                             manifest, packed)
    SELECT b.number, b.namespace, b.branch, k.height, k.id, k.source, k.created_at, k.manifest_hash, k.packed_hash,
           k.manifest, k.packed
    FROM b JOIN unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)
    AS k (place, height, id, source, created_at, manifest_hash, packed_hash, manifest, packed) ON k.place = b.place
), w AS (
    INSERT INTO @value (thread, namespace, branch, height, ordinal, hash, head, body)
    SELECT b.number, b.namespace, b.branch, v.height, v.ordinal, v.hash, v.head, v.body
    FROM b JOIN unnest($10, $11, $12, $13, $14, $15) AS v (place, height, ordinal, hash, head, body) ON v.place = b.place
), n AS (
    INSERT INTO @run (thread, id, branch, graph, status, input_hash, started_at, ended_at, last_height, last_id, hash,
                      graph_signature)
    SELECT b.number, r.id, r.branch, r.graph, r.status, r.input_hash, r.started_at, r.ended_at, r.last_height, r.last_id,
           r.hash, r.graph_signature
    FROM b JOIN unnest($16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28)
    AS r (place, begins, id, branch, graph, status, input_hash, started_at, ended_at, last_height, last_id, hash,
          graph_signature) ON r.place = b.place
), g AS (
    INSERT INTO @graph (name, signature, record, hash)
    SELECT DISTINCT ON (x.name, x.signature) x.name, x.signature, x.record, x.hash
    FROM b JOIN unnest($29, $30, $31, $32, $33) AS x (place, name, signature, record, hash) ON x.place = b.place
    ORDER BY x.name, x.signature
    ON CONFLICT DO NOTHING
)
SELECT place FROM b"
        )
    };
}

/// Nothing is there that could be locked: the keys are unique, and whose key is taken makes nothing. Names come in their
/// order, so that no two groups wait for each other.
pub(crate) const BIRTHS: &str = begun!(
    "m AS MATERIALIZED (
    SELECT * FROM unnest($34, $35, $36, $37, $38, $39, $40, $41, $42, $43, $44, $45, $46, $47, $48, $49) WITH ORDINALITY
    AS m (scope, name, uid, head, created_at, thread_hash, namespace, branch, tip_height, tip_id, epoch, claim, effects,
          hash, ref, ref_hash, place)
), t AS (
    INSERT INTO @thread (scope, name, uid, head, created_at, hash)
    SELECT scope, name, uid, head, created_at, thread_hash FROM m
    WHERE (SELECT 1 FROM @tombstone s WHERE s.uid = m.uid LIMIT 1) IS NULL
    ORDER BY scope COLLATE \"C\", name COLLATE \"C\"
    ON CONFLICT DO NOTHING
    RETURNING number, uid
), b AS MATERIALIZED (
    SELECT m.*, t.number FROM t JOIN m ON m.uid = t.uid
), h AS (
    INSERT INTO @branch (thread, namespace, branch, arrival, tip_height, tip_id, epoch, claim, effects, hash)
    SELECT number, namespace, branch, 1, tip_height, tip_id, epoch, claim, effects, hash FROM b
), f AS (
    INSERT INTO @ref (thread, name, branch, hash) SELECT number, ref, branch, ref_hash FROM b WHERE ref IS NOT NULL"
);

/// A branch that leaves another. The thread's row and the fork point stay as they are until it is there; of two that take
/// the same number one is undone.
pub(crate) const FORK: &str = begun!(
    "t AS (
    SELECT number FROM @thread WHERE uid = $34 AND ($35 IS NULL OR head = $35) FOR NO KEY UPDATE
), p AS (
    SELECT thread FROM @checkpoint
    WHERE thread = (SELECT number FROM t) AND namespace = $36 AND branch = $38 AND height = $39 AND manifest IS NOT NULL
      AND ($40 IS NULL OR $40 <> $39 OR id = $41) FOR SHARE
), b AS (
    INSERT INTO @branch (thread, namespace, branch, arrival, parent, fork_height, tip_height, tip_id, epoch, claim, effects,
                        hash)
    SELECT p.thread, $36, $37,
           (SELECT COALESCE(MAX(arrival), 0) + 1 FROM @branch WHERE thread = p.thread AND namespace = $36),
           $38, $39, $40, $41, $42, $43, $44, $45
    FROM p
    RETURNING thread AS number, namespace, branch, 1::bigint AS place
), f AS (
    INSERT INTO @ref (thread, name, branch, hash) SELECT number, $46, branch, $47 FROM b WHERE $46 IS NOT NULL"
);

/// Results of a branch's owner: the branch stays as it is until they are there.
pub(crate) const FLUSH: &str = "
WITH l AS (
    SELECT b.thread FROM @branch b
    WHERE b.thread = (SELECT number FROM @thread WHERE uid = $1) AND b.namespace = $2 AND b.branch = $3 AND b.epoch = $4
      AND b.tip_height IS NOT DISTINCT FROM $5 AND b.tip_id IS NOT DISTINCT FROM $6
    FOR UPDATE
), v AS (
    INSERT INTO @value (thread, namespace, branch, height, ordinal, hash, head, body)
    SELECT l.thread, $2, x.* FROM l, unnest($7, $8, $9, $10, $11, $12) x
), p AS (
    INSERT INTO @pending (thread, namespace, base, lane, kind, task, ordinal, hash, head, body)
    SELECT l.thread, $2, x.* FROM l, unnest($13, $14, $15, $16, $17, $18, $19, $20) x
)
SELECT 1 FROM l";

// ---- what a commit or an append checks ----

pub(crate) const CHECK_TOMBSTONE: &str = "SELECT 1 FROM @tombstone WHERE uid = $1";
pub(crate) const CHECK_THREAD_TAKEN: &str =
    "SELECT 1 FROM @thread WHERE (scope = $1 AND name = $2) OR uid = $3 OR restoring = $3";
pub(crate) const CHECK_RUN: &str = "SELECT 1 FROM @run WHERE thread = $1 AND id = $2";
pub(crate) const CHECK_FORK_POINT: &str = "
SELECT id FROM @checkpoint
WHERE thread = $1 AND namespace = $2 AND branch = $3 AND height = $4 AND manifest IS NOT NULL";
/// The same, and it stays linked until the transaction ends. Unlinking changes no key, so a weaker lock would let it pass.
pub(crate) const KEEP_FORK_POINT: &str = "
SELECT id FROM @checkpoint
WHERE thread = $1 AND namespace = $2 AND branch = $3 AND height = $4 AND manifest IS NOT NULL FOR SHARE";
pub(crate) const CHECK_CHECKPOINT: &str = "
SELECT manifest_hash, packed_hash FROM @checkpoint
WHERE thread = $1 AND namespace = $2 AND id = $3 AND manifest IS NOT NULL";
/// The hashes of the rows that are there, with their places in the list of keys.
pub(crate) const CHECK_VALUES: &str = "
SELECT x.place, v.hash FROM unnest($3, $4, $5) WITH ORDINALITY x (branch, height, ordinal, place)
JOIN @value v ON v.thread = $1 AND v.namespace = $2
  AND v.branch = x.branch AND v.height = x.height AND v.ordinal = x.ordinal";
pub(crate) const CHECK_PENDING: &str = "
SELECT x.place, p.hash FROM unnest($3, $4, $5, $6, $7) WITH ORDINALITY x (base, lane, kind, task, ordinal, place)
JOIN @pending p ON p.thread = $1 AND p.namespace = $2
  AND p.base = x.base AND p.lane = x.lane AND p.kind = x.kind AND p.task = x.task AND p.ordinal = x.ordinal";
pub(crate) const CHECK_ANSWERS: &str = "
SELECT COUNT(*) FROM @pending WHERE thread = $1 AND namespace = $2 AND base = $3 AND lane = $4 AND kind = 4";
/// The blobs that are gone, in the order of the list.
pub(crate) const CHECK_BLOBS: &str = "
SELECT x.hash FROM unnest($2) WITH ORDINALITY x (hash, place)
WHERE NOT EXISTS (SELECT 1 FROM @blob b WHERE b.scope = $1 AND b.hash = x.hash) ORDER BY x.place";

// ---- ledger ----

/// Makes an entry, or moves it on; what it is never changes.
pub(crate) const LEDGER_PUT: &str = "
INSERT INTO @ledger (thread, key, generation, fingerprint, status, made_at, origin, hash, result)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (thread, key, generation) DO UPDATE SET status = excluded.status, hash = excluded.hash, result = excluded.result";
pub(crate) const ATTEMPT_PUT: &str = "
INSERT INTO @ledger_attempt (thread, key, generation, nonce, branch, epoch, task, status, hash)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (thread, key, generation, nonce) DO UPDATE SET status = excluded.status, hash = excluded.hash";

pub(crate) const LEDGER_OF_KEY: &str = "
SELECT key, generation, fingerprint, status, made_at, origin, hash, result FROM @ledger
WHERE thread = $1 AND key = $2 AND ($3 IS NULL OR generation = $3) ORDER BY generation";
pub(crate) const LEDGER_OF_THREAD: &str = "
SELECT key, generation, fingerprint, status, made_at, origin, hash, result FROM @ledger
WHERE thread = $1 ORDER BY key, generation";
pub(crate) const ATTEMPTS_OF_KEY: &str = "
SELECT key, generation, nonce, branch, epoch, task, status, hash FROM @ledger_attempt
WHERE thread = $1 AND key = $2 AND ($3 IS NULL OR generation = $3) ORDER BY generation, arrival";
pub(crate) const ATTEMPTS_OF_THREAD: &str = "
SELECT key, generation, nonce, branch, epoch, task, status, hash FROM @ledger_attempt
WHERE thread = $1 ORDER BY key, generation, arrival";

pub(crate) const LEDGER_BRANCHES: &str = "SELECT MAX(arrival) FROM @branch WHERE thread = $1 AND namespace = ''";
pub(crate) const LEDGER_BRANCH: &str = "
SELECT branch, parent, fork_height, tip_height, tip_id, epoch, claim, effects, hash, root_branch, arrival
FROM @branch WHERE thread = $1 AND namespace = ''";

// ---- blob ----

pub(crate) const BLOB_TOUCH: &str =
    "UPDATE @blob SET touched_at = greatest(touched_at, now()) WHERE scope = $1 AND hash = $2";
pub(crate) const BLOB_PUT: &str = "INSERT INTO @blob (scope, hash, length, body) VALUES ($1, $2, $3, $4)";
pub(crate) const BLOB_PUT_CHUNK: &str = "INSERT INTO @blob_chunk (scope, hash, part, body) VALUES ($1, $2, $3, $4)";
pub(crate) const BLOB_GET: &str = "SELECT length, body FROM @blob WHERE scope = $1 AND hash = $2";
pub(crate) const BLOB_GET_CHUNKS: &str =
    "SELECT part, body FROM @blob_chunk WHERE scope = $1 AND hash = $2 ORDER BY part";
pub(crate) const BLOB_HAS: &str = "SELECT 1 FROM @blob WHERE scope = $1 AND hash = $2";

// ---- delete_thread ----

/// Also of a thread that is not whole yet.
pub(crate) const DELETE_NUMBER: &str =
    "SELECT number FROM @thread WHERE uid = $1 OR restoring = $1 ORDER BY uid IS NULL LIMIT 1";
/// Nothing stays of a thread that was never whole.
pub(crate) const DELETE_TOMBSTONE: &str =
    "INSERT INTO @tombstone (uid) SELECT uid FROM @thread WHERE number = $1 AND uid IS NOT NULL";

/// Every table with rows of a thread; a test compares this list with the schema. Branches first: who holds one of them holds
/// up the deletion.
pub(crate) const DELETE_ROWS: [&str; 14] = [
    "DELETE FROM @branch WHERE thread = $1",
    "DELETE FROM @ref WHERE thread = $1",
    "DELETE FROM @run WHERE thread = $1",
    "DELETE FROM @checkpoint WHERE thread = $1",
    "DELETE FROM @value WHERE thread = $1",
    "DELETE FROM @pending WHERE thread = $1",
    "DELETE FROM @blob_ref WHERE thread = $1",
    "DELETE FROM @tag WHERE thread = $1",
    "DELETE FROM @retention WHERE thread = $1",
    "DELETE FROM @ledger WHERE thread = $1",
    "DELETE FROM @ledger_attempt WHERE thread = $1",
    "DELETE FROM @child WHERE thread = $1",
    "DELETE FROM @attribute WHERE thread = $1",
    "DELETE FROM @thread WHERE number = $1",
];

// ---- info ----

/// Microseconds since 1970.
pub(crate) const TIME: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

// ---- migrations ----

/// Whether there is a schema of this name, and a ledger of migrations in it.
pub(crate) const MIGRATE_LOOK: &str = "
SELECT n.oid IS NOT NULL, c.oid IS NOT NULL
FROM (SELECT 1) one
LEFT JOIN pg_namespace n ON n.nspname = $1
LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'migration' AND c.relkind = 'r'";
/// Tables with names of ours.
pub(crate) const MIGRATE_CLASH: &str = "
SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'v', 'p', 'f', 'm') AND c.relname = ANY ($2)";
pub(crate) const MIGRATE_LOCK: &str = "SELECT pg_advisory_xact_lock($1)";
pub(crate) const MIGRATE_PATH: &str = "SELECT set_config('search_path', $1, true)";
pub(crate) const MIGRATE_LEDGER: &str = "SELECT version, name, checksum FROM @migration ORDER BY version";
pub(crate) const MIGRATE_ENTER: &str = "INSERT INTO @migration (version, name, checksum) VALUES ($1, $2, $3)";
