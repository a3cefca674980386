//! Which statements read the rows of a thread as they are stored, and restore them?

// ---- rows ----

pub(crate) const ROWS_THREAD: &str =
    "SELECT number, scope, name, uid, head, created_at, hash FROM @thread WHERE number = $1";
pub(crate) const ROWS_BRANCH: &str = "
SELECT branch, parent, fork_height, tip_height, tip_id, epoch, claim, effects, hash, root_branch, namespace, arrival
FROM @branch WHERE thread = $1 AND (namespace, arrival) > ($2, $3) ORDER BY namespace, arrival LIMIT $4";
pub(crate) const ROWS_REF: &str =
    "SELECT name, branch, hash FROM @ref WHERE thread = $1 AND name > $2 ORDER BY name LIMIT $3";
pub(crate) const ROWS_RUN: &str = "
SELECT id, branch, graph, status, input_hash, started_at, ended_at, last_height, last_id, hash, graph_signature, arrival
FROM @run WHERE thread = $1 AND arrival > $2 ORDER BY arrival LIMIT $3";
/// The graphs that a thread's runs name.
pub(crate) const ROWS_GRAPH: &str = "
SELECT g.record, g.hash, g.name, g.signature FROM @graph g
JOIN (SELECT DISTINCT graph, graph_signature FROM @run WHERE thread = $1) named
  ON g.name = named.graph AND g.signature = named.graph_signature
WHERE (g.name, g.signature) > ($2, $3) ORDER BY g.name, g.signature LIMIT $4";
pub(crate) const ROWS_TAG: &str =
    "SELECT name, namespace, branch, height, hash FROM @tag WHERE thread = $1 AND name > $2 ORDER BY name LIMIT $3";
/// Also of entries that are gone but whose attempts are there.
pub(crate) const ROWS_EFFECT: &str = "
SELECT key, generation FROM @ledger WHERE thread = $1 AND (key, generation) > ($2, $3)
UNION SELECT key, generation FROM @ledger_attempt WHERE thread = $1 AND (key, generation) > ($2, $3)
ORDER BY key, generation LIMIT $4";
pub(crate) const ROWS_PENDING: &str = "
SELECT lane, kind, task, ordinal, hash, head, body, namespace, base FROM @pending
WHERE thread = $1 AND (namespace, base, lane, kind, task, ordinal) > ($2, $3, $4, $5, $6, $7)
ORDER BY namespace, base, lane, kind, task, ordinal LIMIT $8";
pub(crate) const ROWS_CHILD: &str = "
SELECT namespace, height, child_branch, child_height, hash, root_branch FROM @child
WHERE thread = $1 AND (root_branch, namespace, height) > ($2, $3, $4) ORDER BY root_branch, namespace, height LIMIT $5";
pub(crate) const ROWS_CHECKPOINT: &str = "
SELECT arrival, branch, height, id, source, created_at, COALESCE(manifest, ''::bytea), manifest_hash, packed_hash, packed,
       namespace
FROM @checkpoint WHERE thread = $1 AND (namespace, arrival) > ($2, $3) ORDER BY namespace, arrival LIMIT $4";
pub(crate) const ROWS_VALUE: &str = "
SELECT hash, head, body, namespace, branch, height, ordinal FROM @value
WHERE thread = $1 AND (namespace, branch, height, ordinal) > ($2, $3, $4, $5)
ORDER BY namespace, branch, height, ordinal LIMIT $6";

// ---- restore ----

/// A thread, and whether it is whole.
pub(crate) const RESTORE_FIND: &str = "
SELECT number, scope, name, COALESCE(uid, restoring), head, created_at, hash, uid IS NOT NULL
FROM @thread WHERE uid = $1 OR restoring = $1 ORDER BY uid IS NULL LIMIT 1";
pub(crate) const RESTORE_NAME: &str = "SELECT COALESCE(uid, restoring) FROM @thread WHERE scope = $1 AND name = $2";
pub(crate) const RESTORE_THREAD: &str = "
INSERT INTO @thread (scope, name, restoring, head, created_at, hash) VALUES ($1, $2, $3, $4, $5, $6) RETURNING number";
pub(crate) const RESTORE_PUBLISH: &str =
    "UPDATE @thread SET uid = restoring, restoring = NULL WHERE number = $1 AND uid IS NULL";
/// Orders of beginning and of arrival are those of the lists.
pub(crate) const RESTORE_RUNS: &str = "
INSERT INTO @run (thread, id, branch, graph, status, input_hash, started_at, ended_at, last_height, last_id, hash,
                 graph_signature)
SELECT $1, x.id, x.branch, x.graph, x.status, x.input_hash, x.started_at, x.ended_at, x.last_height, x.last_id, x.hash,
       x.graph_signature
FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) WITH ORDINALITY
AS x (id, branch, graph, status, input_hash, started_at, ended_at, last_height, last_id, hash, graph_signature, place)
ORDER BY x.place";
pub(crate) const RESTORE_CHECKPOINTS: &str = "
INSERT INTO @checkpoint (thread, namespace, branch, height, id, source, created_at, manifest_hash, packed_hash, manifest,
                         packed)
SELECT $1, $2, x.branch, x.height, x.id, x.source, x.created_at, x.manifest_hash, x.packed_hash, x.manifest, x.packed
FROM unnest($3, $4, $5, $6, $7, $8, $9, $10, $11) WITH ORDINALITY
AS x (branch, height, id, source, created_at, manifest_hash, packed_hash, manifest, packed, place)
ORDER BY x.place";
/// What lies at a checkpoint's place, and under its id.
pub(crate) const CHECK_PLACE: &str = "
SELECT manifest_hash, packed_hash FROM @checkpoint
WHERE thread = $1 AND namespace = $2 AND ((branch = $3 AND height = $4) OR id = $5)";
pub(crate) const CHECK_CHILD: &str =
    "SELECT hash FROM @child WHERE thread = $1 AND root_branch = $2 AND namespace = $3 AND height = $4";
