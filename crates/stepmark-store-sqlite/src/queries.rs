//! Which statements does the store run? All of them, named after the call that uses them.
//!
//! Columns stand in the order in which `records` reads them.

mod beside;
mod retention;

pub(crate) use beside::*;
pub(crate) use retention::*;

pub(crate) const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";
pub(crate) const BEGIN_READ: &str = "BEGIN DEFERRED";
pub(crate) const COMMIT: &str = "COMMIT";
pub(crate) const ROLLBACK: &str = "ROLLBACK";

// ---- commit ----

/// Moves a branch if it is what the writer expects: the fence of every commit on an existing branch. Its fork point,
/// effects mode and root never change, and only a claim changes its token.
pub(crate) const COMMIT_FENCE: &str = "
UPDATE branch SET tip_height = ?10, tip_id = ?11, epoch = ?12, claim = ?13, hash = ?15
WHERE thread = (SELECT number FROM thread WHERE uid = ?1 AND (?2 IS NULL OR head = ?2))
  AND namespace = ?3 AND branch = ?4 AND epoch = ?5 AND tip_height IS ?6 AND tip_id IS ?7
  AND parent IS ?8 AND fork_height IS ?9 AND effects = ?14 AND root_branch IS ?16 AND (epoch <> ?12 OR claim = ?13)";

pub(crate) const COMMIT_CHECKPOINT: &str = "
INSERT INTO checkpoint (thread, namespace, branch, height, id, source, created_at, root_branch, base_height,
                        manifest_hash, packed_hash, manifest, packed)
VALUES ((SELECT number FROM thread WHERE uid = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?12, ?13, ?8, ?9, ?10, ?11)";

/// Numbers of restored threads are negative, and none of them is given here.
pub(crate) const COMMIT_THREAD: &str = "
INSERT INTO thread (number, scope, name, uid, head, created_at, hash)
VALUES ((SELECT MAX(COALESCE(MAX(number), 0), 0) + 1 FROM thread), ?1, ?2, ?3, ?4, ?5, ?6)";

pub(crate) const COMMIT_HEAD: &str = "UPDATE thread SET head = ?2, hash = ?3 WHERE number = ?1";

/// Reads no other column, so that a damaged thread can be deleted.
pub(crate) const THREAD_NUMBER: &str = "SELECT number FROM thread WHERE uid = ?1";

pub(crate) const COMMIT_BRANCH: &str = "
INSERT INTO branch (thread, namespace, branch, parent, fork_height, tip_height, tip_id, epoch, claim, effects, hash,
                    root_branch, arrival)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,
        COALESCE(?13, (SELECT COALESCE(MAX(arrival), 0) + 1 FROM branch WHERE thread = ?1 AND namespace = ?2)))";

/// Gives a name, or moves it; the caller checked whose it is.
pub(crate) const COMMIT_REF: &str = "
INSERT INTO ref (thread, name, branch, hash) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (thread, name) DO UPDATE SET branch = excluded.branch, hash = excluded.hash";

/// A record that is there is kept as it is.
pub(crate) const COMMIT_GRAPH: &str =
    "INSERT INTO graph (name, signature, record, hash) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";

pub(crate) const COMMIT_RUN_BEGIN: &str = "
INSERT INTO run (thread, id, branch, graph, status, input_hash, started_at, ended_at, last_height, last_id, hash,
                 graph_signature)
VALUES ((SELECT number FROM thread WHERE uid = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

pub(crate) const COMMIT_RUN_UPDATE: &str = "
UPDATE run SET branch = ?3, graph = ?4, status = ?5, input_hash = ?6, started_at = ?7, ended_at = ?8, last_height = ?9,
               last_id = ?10, hash = ?11, graph_signature = ?12
WHERE thread = (SELECT number FROM thread WHERE uid = ?1) AND id = ?2";

/// A row whose key is taken is kept as it is; the caller checked that it is equal.
pub(crate) const COMMIT_VALUE: &str = "
INSERT INTO value (thread, namespace, branch, height, ordinal, hash, head, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT DO NOTHING";

pub(crate) const COMMIT_PENDING: &str = "
INSERT INTO pending (thread, namespace, base, lane, kind, task, ordinal, hash, head, body)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
ON CONFLICT DO NOTHING";

pub(crate) const COMMIT_CHILD: &str = "
INSERT INTO child (thread, root_branch, namespace, height, child_branch, child_height, hash)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

pub(crate) const COMMIT_BLOB_REF: &str = "
INSERT INTO blob_ref (thread, namespace, branch, height, ordinal, blob)
VALUES (?1, ?2, ?3, ?4, ?5, 
        (SELECT number FROM blob WHERE scope = (SELECT scope FROM thread WHERE number = ?1) AND hash = ?6))
ON CONFLICT DO NOTHING";

/// Sets a tag, also where it is; the caller checked that the name is nobody else's.
pub(crate) const APPEND_TAG: &str = "
INSERT INTO tag (thread, name, namespace, branch, height, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT DO NOTHING";
pub(crate) const APPEND_TAG_GONE: &str = "DELETE FROM tag WHERE thread = ?1 AND name = ?2";

// ---- what a commit or an append checks ----

pub(crate) const CHECK_TOMBSTONE: &str = "SELECT 1 FROM tombstone WHERE uid = ?1";
pub(crate) const CHECK_THREAD_TAKEN: &str = "
SELECT 1 FROM thread WHERE (scope = ?1 AND name = ?2) OR uid = ?3
UNION ALL SELECT 1 FROM restoring WHERE (scope = ?1 AND name = ?2) OR uid = ?3";
pub(crate) const CHECK_RUN: &str = "SELECT 1 FROM run WHERE thread = ?1 AND id = ?2";
pub(crate) const CHECK_FORK_POINT: &str = "
SELECT id FROM checkpoint
WHERE thread = ?1 AND namespace = ?2 AND branch = ?3 AND height = ?4 AND manifest IS NOT NULL";
pub(crate) const CHECK_CHECKPOINT: &str = "
SELECT manifest_hash, packed_hash FROM checkpoint
WHERE thread = ?1 AND namespace = ?2 AND id = ?3 AND manifest IS NOT NULL";
pub(crate) const CHECK_VALUE: &str = "
SELECT hash FROM value WHERE thread = ?1 AND namespace = ?2 AND branch = ?3 AND height = ?4 AND ordinal = ?5";
pub(crate) const CHECK_PENDING: &str = "
SELECT hash FROM pending
WHERE thread = ?1 AND namespace = ?2 AND base = ?3 AND lane = ?4 AND kind = ?5 AND task = ?6 AND ordinal = ?7";
pub(crate) const CHECK_ANSWERS: &str = "
SELECT COUNT(*) FROM pending WHERE thread = ?1 AND namespace = ?2 AND base = ?3 AND lane = ?4 AND kind = 4";
pub(crate) const CHECK_BLOB: &str = "SELECT 1 FROM blob WHERE scope = ?1 AND hash = ?2";

// ---- load ----

pub(crate) const LOAD_THREAD_BY_NAME: &str =
    "SELECT number, scope, name, uid, head, created_at, hash FROM thread WHERE scope = ?1 AND name = ?2";
pub(crate) const LOAD_THREAD_BY_UID: &str =
    "SELECT number, scope, name, uid, head, created_at, hash FROM thread WHERE uid = ?1";

pub(crate) const LOAD_BRANCH: &str = "
SELECT branch, parent, fork_height, tip_height, tip_id, epoch, claim, effects, hash, root_branch
FROM branch WHERE thread = ?1 AND namespace = ?2 AND branch = ?3";
pub(crate) const LOAD_BRANCHES: &str = "
SELECT branch, parent, fork_height, tip_height, tip_id, epoch, claim, effects, hash, root_branch
FROM branch WHERE thread = ?1 AND namespace = ?2 ORDER BY arrival";

pub(crate) const LOAD_BRANCH_NUMBERS: &str =
    "SELECT arrival FROM branch WHERE thread = ?1 AND namespace = ?2 ORDER BY arrival";

pub(crate) const LOAD_REF_BY_NAME: &str = "SELECT name, branch, hash FROM ref WHERE thread = ?1 AND name = ?2";
pub(crate) const LOAD_REF_BY_BRANCH: &str =
    "SELECT name, branch, hash FROM ref WHERE thread = ?1 AND branch = ?2 ORDER BY name LIMIT 1";
pub(crate) const LOAD_REFS: &str = "SELECT name, branch, hash FROM ref WHERE thread = ?1 ORDER BY name DESC";

pub(crate) const LOAD_CHECKPOINT: &str = "
SELECT arrival, branch, height, id, source, created_at, manifest, manifest_hash, packed_hash
FROM checkpoint WHERE thread = ?1 AND namespace = ?2 AND id = ?3 AND manifest IS NOT NULL";
pub(crate) const LOAD_CHECKPOINT_AT: &str = "
SELECT arrival, branch, height, id, source, created_at, manifest, manifest_hash, packed_hash
FROM checkpoint WHERE thread = ?1 AND namespace = ?2 AND branch = ?3 AND height = ?4 AND manifest IS NOT NULL";
pub(crate) const LOAD_CHECKPOINT_WITH_VALUES: &str = "
SELECT arrival, branch, height, id, source, created_at, manifest, manifest_hash, packed_hash, packed
FROM checkpoint WHERE thread = ?1 AND namespace = ?2 AND id = ?3 AND manifest IS NOT NULL";

pub(crate) const LOAD_PACKED: &str = "
SELECT packed_hash, packed FROM checkpoint WHERE thread = ?1 AND namespace = ?2 AND branch = ?3 AND height = ?4";
pub(crate) const LOAD_VALUE: &str = "
SELECT hash, head, body FROM value WHERE thread = ?1 AND namespace = ?2 AND branch = ?3 AND height = ?4 AND ordinal = ?5";
pub(crate) const LOAD_ORDINAL_MAX: &str = "
SELECT MAX(ordinal) FROM value WHERE thread = ?1 AND namespace = ?2 AND branch = ?3 AND height = ?4";

pub(crate) const LOAD_PENDING: &str = "
SELECT lane, kind, task, ordinal, hash, head, body
FROM pending WHERE thread = ?1 AND namespace = ?2 AND base = ?3 AND lane = ?4 ORDER BY kind, task, ordinal";

/// The rows of a checkpoint that name sub-graphs.
pub(crate) const LOAD_CHILD_ROWS: &str = "
SELECT lane, kind, task, ordinal, hash, head, body
FROM pending WHERE thread = ?1 AND namespace = ?2 AND base = ?3 AND lane = ?4 AND kind = 5 ORDER BY task, ordinal";
pub(crate) const LOAD_CHILD: &str = "
SELECT namespace, height, child_branch, child_height, hash FROM child
WHERE thread = ?1 AND root_branch = ?2 AND namespace = ?3 AND height <= ?4 ORDER BY height DESC LIMIT 1";
/// Of each namespace the newest row: beside one MAX, SQLite takes the other columns from the row that has it.
pub(crate) const LOAD_CHILDREN: &str = "
SELECT namespace, MAX(height), child_branch, child_height, hash FROM child
WHERE thread = ?1 AND root_branch = ?2 AND height <= ?3 GROUP BY namespace";

pub(crate) const LOAD_RUN: &str = "
SELECT id, branch, graph, status, input_hash, started_at, ended_at, last_height, last_id, hash, graph_signature
FROM run WHERE thread = ?1 AND id = ?2";

pub(crate) const LOAD_TAG: &str =
    "SELECT name, namespace, branch, height, hash FROM tag WHERE thread = ?1 AND name = ?2";
pub(crate) const LOAD_TAGS: &str =
    "SELECT name, namespace, branch, height, hash FROM tag WHERE thread = ?1 AND namespace = ?2 ORDER BY name";
pub(crate) const LOAD_GRAPH: &str = "SELECT record, hash FROM graph WHERE name = ?1 AND signature = ?2";

// ---- ledger ----

/// Makes an entry, or moves it on; what it is never changes.
pub(crate) const LEDGER_PUT: &str = "
INSERT INTO ledger (thread, key, generation, fingerprint, status, made_at, origin, hash, result)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
ON CONFLICT (thread, key, generation) DO UPDATE SET status = excluded.status, hash = excluded.hash, result = excluded.result";
pub(crate) const ATTEMPT_PUT: &str = "
INSERT INTO ledger_attempt (thread, key, generation, nonce, branch, epoch, task, status, hash)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
ON CONFLICT (thread, key, generation, nonce) DO UPDATE SET status = excluded.status, hash = excluded.hash";

pub(crate) const LEDGER_OF_KEY: &str = "
SELECT key, generation, fingerprint, status, made_at, origin, hash, result FROM ledger
WHERE thread = ?1 AND key = ?2 AND (?3 IS NULL OR generation = ?3) ORDER BY generation";
pub(crate) const LEDGER_OF_THREAD: &str = "
SELECT key, generation, fingerprint, status, made_at, origin, hash, result FROM ledger
WHERE thread = ?1 ORDER BY key, generation";
pub(crate) const ATTEMPTS_OF_KEY: &str = "
SELECT key, generation, nonce, branch, epoch, task, status, hash FROM ledger_attempt
WHERE thread = ?1 AND key = ?2 AND (?3 IS NULL OR generation = ?3) ORDER BY generation, arrival";
pub(crate) const ATTEMPTS_OF_THREAD: &str = "
SELECT key, generation, nonce, branch, epoch, task, status, hash FROM ledger_attempt
WHERE thread = ?1 ORDER BY key, generation, arrival";

pub(crate) const LEDGER_BRANCHES: &str = "SELECT MAX(arrival) FROM branch WHERE thread = ?1 AND namespace = ''";
pub(crate) const LEDGER_BRANCH: &str = "
SELECT branch, parent, fork_height, tip_height, tip_id, epoch, claim, effects, hash, root_branch, arrival
FROM branch WHERE thread = ?1 AND namespace = '' AND branch = ?2";

// ---- history and threads ----

/// One segment of a lineage, downwards.
pub(crate) const HISTORY_SEGMENT: &str = "
SELECT arrival, branch, height, id, source, created_at, manifest, manifest_hash, packed_hash
FROM checkpoint
WHERE thread = ?1 AND namespace = ?2 AND branch = ?3 AND height < ?4 AND manifest IS NOT NULL
ORDER BY height DESC LIMIT ?5";

pub(crate) const HISTORY_ALL: &str = "
SELECT arrival, branch, height, id, source, created_at, manifest, manifest_hash, packed_hash
FROM checkpoint INDEXED BY checkpoint_arrival
WHERE thread = ?1 AND namespace = ?2 AND arrival < ?3 AND manifest IS NOT NULL
ORDER BY arrival DESC LIMIT ?4";

pub(crate) const THREADS_PAGE: &str = "
SELECT number, scope, name, uid, head, created_at, hash
FROM thread WHERE scope = ?1 AND name > ?2 ORDER BY name LIMIT ?3";
/// Threads with a branch of the root namespace on whose tip, in its lane, a question lies.
pub(crate) const THREADS_WAITING: &str = "
SELECT number, scope, name, uid, head, created_at, hash
FROM thread WHERE scope = ?1 AND name > ?2 AND EXISTS (
    SELECT 1 FROM branch CROSS JOIN pending INDEXED BY pending_interrupt
    WHERE branch.thread = thread.number AND branch.namespace = ''
      AND pending.thread = branch.thread AND pending.namespace = '' AND pending.base = branch.tip_id
      AND pending.lane = branch.branch AND pending.kind = 3)
ORDER BY name LIMIT ?3";
pub(crate) const WAITING_ROWS: &str = "
SELECT lane, kind, task, ordinal, hash, head, body FROM pending
WHERE thread = ?1 AND namespace = ?2 AND base = ?3 AND lane = ?4 AND kind IN (3, 4) ORDER BY kind, task, ordinal";
pub(crate) const THREADS_LAST_RUN: &str = "
SELECT id, branch, graph, status, input_hash, started_at, ended_at, last_height, last_id, hash, graph_signature
FROM run INDEXED BY run_arrival WHERE thread = ?1 ORDER BY arrival DESC LIMIT 1";

// ---- search ----

pub(crate) const SEARCH_DECLARE: &str =
    "INSERT INTO attribute_kind (scope, name, kind, hash) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
pub(crate) const SEARCH_DECLARED: &str = "SELECT name, kind, hash FROM attribute_kind WHERE scope = ?1 ORDER BY name";
pub(crate) const SEARCH_UNSET: &str = "DELETE FROM attribute WHERE thread = ?1 AND scope = ?2 AND name = ?3";
pub(crate) const SEARCH_SET: &str =
    "INSERT INTO attribute (scope, name, value, thread, hash) VALUES (?1, ?2, ?3, ?4, ?5)";
pub(crate) const SEARCH_ATTRIBUTES: &str =
    "SELECT name, value, hash FROM attribute WHERE thread = ?1 ORDER BY scope, name";

/// Threads that have an attribute with a value in a range, by name.
pub(crate) const SEARCH_BY_ATTRIBUTE: &str = "
SELECT thread.number, thread.scope, thread.name, thread.uid, thread.head, thread.created_at, thread.hash
FROM attribute CROSS JOIN thread ON thread.number = attribute.thread
WHERE attribute.scope = ?1 AND attribute.name = ?4 AND attribute.value BETWEEN ?5 AND ?6 AND thread.name > ?2
ORDER BY thread.name LIMIT ?3";
/// What is known of a thread besides: when its tip was made, and of which graph and how far its last run is.
pub(crate) const SEARCH_FACTS: &str = "
SELECT (SELECT tip.created_at FROM branch CROSS JOIN checkpoint tip
        WHERE branch.thread = ?1 AND branch.namespace = '' AND branch.branch = ?2
          AND tip.thread = ?1 AND tip.namespace = '' AND tip.id = branch.tip_id),
       run.status, run.graph
FROM (SELECT 1) LEFT JOIN run ON run.arrival = (SELECT MAX(arrival) FROM run INDEXED BY run_arrival WHERE thread = ?1)";
pub(crate) const SEARCH_WAITING: &str = "
SELECT 1 FROM branch CROSS JOIN pending INDEXED BY pending_interrupt
WHERE branch.thread = ?1 AND branch.namespace = ''
  AND pending.thread = ?1 AND pending.namespace = '' AND pending.base = branch.tip_id
  AND pending.lane = branch.branch AND pending.kind = 3 LIMIT 1";
pub(crate) const SEARCH_OPEN_EFFECT: &str = "SELECT 1 FROM ledger WHERE thread = ?1 AND status = 1 LIMIT 1";

// ---- blob ----

pub(crate) const BLOB_TOUCH: &str = "UPDATE blob SET touched_at = MAX(touched_at, ?3) WHERE scope = ?1 AND hash = ?2";
pub(crate) const BLOB_PUT: &str =
    "INSERT INTO blob (scope, hash, length, touched_at, body) VALUES (?1, ?2, ?3, ?4, ?5)";
pub(crate) const BLOB_PUT_CHUNK: &str = "INSERT INTO blob_chunk (blob, part, body) VALUES (?1, ?2, ?3)";
pub(crate) const BLOB_GET: &str = "SELECT number, length, body FROM blob WHERE scope = ?1 AND hash = ?2";
pub(crate) const BLOB_GET_CHUNKS: &str = "SELECT part, body FROM blob_chunk WHERE blob = ?1 ORDER BY part";

// ---- delete_thread ----

pub(crate) const DELETE_TOMBSTONE: &str = "INSERT INTO tombstone (uid, deleted_at) VALUES (?1, ?2)";

/// Every table with rows of a thread; a test compares this list with the schema.
pub(crate) const DELETE_ROWS: [&str; 15] = [
    "DELETE FROM branch WHERE thread = ?1",
    "DELETE FROM ref WHERE thread = ?1",
    "DELETE FROM run WHERE thread = ?1",
    "DELETE FROM checkpoint WHERE thread = ?1",
    "DELETE FROM value WHERE thread = ?1",
    "DELETE FROM pending WHERE thread = ?1",
    "DELETE FROM blob_ref WHERE thread = ?1",
    "DELETE FROM tag WHERE thread = ?1",
    "DELETE FROM ledger WHERE thread = ?1",
    "DELETE FROM ledger_attempt WHERE thread = ?1",
    "DELETE FROM child WHERE thread = ?1",
    "DELETE FROM attribute WHERE thread = ?1",
    "DELETE FROM retention WHERE thread = ?1",
    "DELETE FROM restoring WHERE number = ?1",
    "DELETE FROM thread WHERE number = ?1",
];

// ---- rows ----

pub(crate) const ROWS_THREAD: &str =
    "SELECT number, scope, name, uid, head, created_at, hash FROM thread WHERE number = ?1";
pub(crate) const ROWS_BRANCH: &str = "
SELECT branch, parent, fork_height, tip_height, tip_id, epoch, claim, effects, hash, root_branch, namespace, arrival
FROM branch WHERE thread = ?1 AND (namespace, arrival) > (?2, ?3) ORDER BY namespace, arrival LIMIT ?4";
pub(crate) const ROWS_REF: &str =
    "SELECT name, branch, hash FROM ref WHERE thread = ?1 AND name > ?2 ORDER BY name LIMIT ?3";
pub(crate) const ROWS_RUN: &str = "
SELECT id, branch, graph, status, input_hash, started_at, ended_at, last_height, last_id, hash, graph_signature, arrival
FROM run INDEXED BY run_arrival WHERE thread = ?1 AND arrival > ?2 ORDER BY arrival LIMIT ?3";
/// The graphs that a thread's runs name.
pub(crate) const ROWS_GRAPH: &str = "
SELECT graph.record, graph.hash, named.graph, named.graph_signature
FROM (SELECT DISTINCT graph, graph_signature FROM run WHERE thread = ?1 AND graph_signature IS NOT NULL) named
JOIN graph ON graph.name = named.graph AND graph.signature = named.graph_signature
WHERE (named.graph, named.graph_signature) > (?2, ?3) ORDER BY named.graph, named.graph_signature LIMIT ?4";
pub(crate) const ROWS_TAG: &str =
    "SELECT name, namespace, branch, height, hash FROM tag WHERE thread = ?1 AND name > ?2 ORDER BY name LIMIT ?3";
/// Also of entries that are gone but whose attempts are there.
pub(crate) const ROWS_EFFECT: &str = "
SELECT key, generation FROM ledger WHERE thread = ?1 AND (key, generation) > (?2, ?3)
UNION SELECT key, generation FROM ledger_attempt WHERE thread = ?1 AND (key, generation) > (?2, ?3)
ORDER BY key, generation LIMIT ?4";
pub(crate) const ROWS_PENDING: &str = "
SELECT lane, kind, task, ordinal, hash, head, body, namespace, base FROM pending
WHERE thread = ?1 AND (namespace, base, lane, kind, task, ordinal) > (?2, ?3, ?4, ?5, ?6, ?7)
ORDER BY namespace, base, lane, kind, task, ordinal LIMIT ?8";
pub(crate) const ROWS_CHILD: &str = "
SELECT namespace, height, child_branch, child_height, hash, root_branch FROM child
WHERE thread = ?1 AND (root_branch, namespace, height) > (?2, ?3, ?4) ORDER BY root_branch, namespace, height LIMIT ?5";
pub(crate) const ROWS_CHECKPOINT: &str = "
SELECT arrival, branch, height, id, source, created_at, COALESCE(manifest, x''), manifest_hash, packed_hash, packed
FROM checkpoint INDEXED BY checkpoint_arrival
WHERE thread = ?1 AND namespace = ?2 AND arrival > ?3 ORDER BY arrival LIMIT ?4";
pub(crate) const ROWS_NAMESPACE: &str =
    "SELECT namespace FROM checkpoint WHERE thread = ?1 AND namespace > ?2 ORDER BY namespace LIMIT 1";
pub(crate) const ROWS_VALUE: &str = "
SELECT hash, head, body, namespace, branch, height, ordinal FROM value
WHERE thread = ?1 AND (namespace, branch, height, ordinal) > (?2, ?3, ?4, ?5)
ORDER BY namespace, branch, height, ordinal LIMIT ?6";

// ---- restore ----

pub(crate) const RESTORE_FIND: &str =
    "SELECT number, scope, name, uid, head, created_at, hash FROM restoring WHERE uid = ?1";
pub(crate) const RESTORE_NUMBER: &str = "SELECT number FROM restoring WHERE uid = ?1";
pub(crate) const RESTORE_NAME: &str = "
SELECT uid FROM thread WHERE scope = ?1 AND name = ?2
UNION ALL SELECT uid FROM restoring WHERE scope = ?1 AND name = ?2";
pub(crate) const RESTORE_THREAD: &str = "
INSERT INTO restoring (number, scope, name, uid, head, created_at, hash)
VALUES ((SELECT MIN(0, COALESCE((SELECT MIN(number) FROM thread), 0), COALESCE((SELECT MIN(number) FROM restoring), 0)) - 1),
        ?1, ?2, ?3, ?4, ?5, ?6)";
pub(crate) const RESTORE_PUBLISH: &str = "
INSERT INTO thread (number, scope, name, uid, head, created_at, key_id, hash)
SELECT number, scope, name, uid, head, created_at, key_id, hash FROM restoring WHERE number = ?1";
/// Lacks a segment a checkpoint below its tip, then the thread was pruned.
pub(crate) const RESTORE_GAPS: &str = "
INSERT INTO retention (thread, mark)
SELECT ?1, 1 FROM branch WHERE thread = ?1
  AND COALESCE(tip_height, -1) - COALESCE(fork_height, -1) >
      (SELECT COUNT(*) FROM checkpoint WHERE checkpoint.thread = ?1 AND checkpoint.namespace = branch.namespace
         AND checkpoint.branch = branch.branch AND manifest IS NOT NULL)
LIMIT 1";
pub(crate) const RESTORE_DONE: &str = "DELETE FROM restoring WHERE number = ?1";

pub(crate) const RESTORE_RUN: &str = "
INSERT INTO run (thread, id, branch, graph, status, input_hash, started_at, ended_at, last_height, last_id, hash,
                 graph_signature)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
pub(crate) const RESTORE_CHECKPOINT: &str = "
INSERT INTO checkpoint (thread, namespace, branch, height, id, source, created_at, manifest_hash, packed_hash, manifest, packed)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
pub(crate) const RESTORE_BLOB_REF: &str = "
INSERT INTO blob_ref (thread, namespace, branch, height, ordinal, blob)
VALUES (?1, ?2, ?3, ?4, ?5, (SELECT number FROM blob WHERE scope = ?6 AND hash = ?7)) ON CONFLICT DO NOTHING";

/// What lies at a checkpoint's place, and under its id.
pub(crate) const CHECK_PLACE: &str = "
SELECT manifest_hash, packed_hash FROM checkpoint WHERE thread = ?1 AND namespace = ?2 AND branch = ?3 AND height = ?4
UNION SELECT manifest_hash, packed_hash FROM checkpoint WHERE thread = ?1 AND namespace = ?2 AND id = ?5";
pub(crate) const CHECK_CHILD: &str =
    "SELECT hash FROM child WHERE thread = ?1 AND root_branch = ?2 AND namespace = ?3 AND height = ?4";

// ---- WAL ----

/// How many pages the WAL holds and how many of them are in the file already; moves nothing.
pub(crate) const WAL_LOOK: &str = "PRAGMA wal_checkpoint(NOOP)";
pub(crate) const WAL_MOVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";
pub(crate) const WAL_RESET: &str = "PRAGMA wal_checkpoint(TRUNCATE)";
