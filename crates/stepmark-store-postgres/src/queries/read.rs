//! Which statements read a thread and its history, list threads and find them?

// ---- load ----

pub(crate) const LOAD_THREAD_BY_NAME: &str = "SELECT number, scope, name, uid, head, created_at, hash FROM @thread WHERE scope = $1 AND name = $2 AND uid IS NOT NULL";
pub(crate) const LOAD_THREAD_BY_UID: &str =
    "SELECT number, scope, name, uid, head, created_at, hash FROM @thread WHERE uid = $1";

/// A thread, a branch and a checkpoint side by side, the packed values only where they are asked for ($5); the branch's first
/// name, the greatest ordinal of values that lie over the checkpoint, and, where they are asked for ($8), its pending rows.
macro_rules! moment {
    ($address:literal, $of:literal) => {
        concat!(
            "
SELECT t.number, t.scope, t.name, t.uid, t.head, t.created_at, t.hash,
       b.branch, b.parent, b.fork_height, b.tip_height, b.tip_id, b.epoch, b.claim, b.effects, b.hash, b.root_branch,
       c.arrival, c.branch, c.height, c.id, c.source, c.created_at, c.manifest, c.manifest_hash, c.packed_hash,
       CASE WHEN $5 THEN c.packed ELSE ''::bytea END,
       n.name, n.branch, n.hash,
       (SELECT MAX(v.ordinal) FROM @value v
        WHERE v.thread = t.number AND v.namespace = $4 AND v.branch = b.branch AND v.height = COALESCE(c.height + 1, 0)),
       p.lane, p.kind, p.task, p.ordinal, p.hash, p.head, p.body
FROM @thread t ",
            $of,
            "
LEFT JOIN LATERAL (
    SELECT name, branch, hash FROM @ref WHERE thread = t.number AND branch = b.branch ORDER BY name LIMIT 1) n ON true
LEFT JOIN LATERAL (
    SELECT array_agg(lane) AS lane, array_agg(kind) AS kind, array_agg(task) AS task, array_agg(ordinal) AS ordinal,
           array_agg(hash) AS hash, array_agg(head) AS head, array_agg(body) AS body
    FROM (SELECT * FROM @pending
          WHERE $8 AND thread = t.number AND namespace = $4 AND base = c.id AND lane = b.branch
          ORDER BY kind, task, ordinal) rows) p ON true
WHERE ",
            $address
        )
    };
}
/// The tip of a branch ($6), of a named one ($7), or of the head; what is not there is null.
macro_rules! tip {
    ($address:literal) => {
        moment!(
            $address,
            "
LEFT JOIN LATERAL (
    SELECT * FROM @branch
    WHERE thread = t.number AND namespace = $4 AND branch = COALESCE(
        $6, CASE WHEN $7 IS NULL THEN t.head ELSE (SELECT branch FROM @ref WHERE thread = t.number AND name = $7) END)
    LIMIT 1) b ON true
LEFT JOIN LATERAL (
    SELECT * FROM @checkpoint
    WHERE thread = t.number AND namespace = $4 AND id = b.tip_id AND manifest IS NOT NULL LIMIT 1) c ON true"
        )
    };
}
/// A checkpoint ($7) on a branch ($6), else on the head where it is its tip, else on its own.
macro_rules! point {
    ($address:literal) => {
        moment!(
            $address,
            "
LEFT JOIN LATERAL (
    SELECT * FROM @checkpoint
    WHERE thread = t.number AND namespace = $4 AND id = $7 AND manifest IS NOT NULL LIMIT 1) c ON true
LEFT JOIN LATERAL (
    SELECT * FROM @branch
    WHERE thread = t.number AND namespace = $4 AND branch = COALESCE(
        $6,
        (SELECT branch FROM @branch WHERE thread = t.number AND namespace = $4 AND branch = t.head AND tip_id = $7),
        c.branch)
    LIMIT 1) b ON true"
        )
    };
}
/// By the thread's uid, and by its name.
pub(crate) const LOAD_TIP: [&str; 2] = [tip!("t.uid = $1"), tip!("t.scope = $2 AND t.name = $3 AND t.uid IS NOT NULL")];
pub(crate) const LOAD_MOMENT: [&str; 2] =
    [point!("t.uid = $1"), point!("t.scope = $2 AND t.name = $3 AND t.uid IS NOT NULL")];

pub(crate) const LOAD_BRANCH: &str = "
SELECT branch, parent, fork_height, tip_height, tip_id, epoch, claim, effects, hash, root_branch
FROM @branch WHERE thread = $1 AND namespace = $2 AND branch = $3";
pub(crate) const LOAD_BRANCHES: &str = "
SELECT branch, parent, fork_height, tip_height, tip_id, epoch, claim, effects, hash, root_branch
FROM @branch WHERE thread = $1 AND namespace = $2 ORDER BY arrival";

pub(crate) const LOAD_BRANCH_NUMBERS: &str =
    "SELECT arrival FROM @branch WHERE thread = $1 AND namespace = $2 ORDER BY arrival";

pub(crate) const LOAD_REF_BY_NAME: &str = "SELECT name, branch, hash FROM @ref WHERE thread = $1 AND name = $2";
pub(crate) const LOAD_REF_BY_BRANCH: &str =
    "SELECT name, branch, hash FROM @ref WHERE thread = $1 AND branch = $2 ORDER BY name LIMIT 1";
pub(crate) const LOAD_REFS: &str = "SELECT name, branch, hash FROM @ref WHERE thread = $1 ORDER BY name DESC";

pub(crate) const LOAD_CHECKPOINT: &str = "
SELECT arrival, branch, height, id, source, created_at, manifest, manifest_hash, packed_hash
FROM @checkpoint WHERE thread = $1 AND namespace = $2 AND id = $3 AND manifest IS NOT NULL";
pub(crate) const LOAD_CHECKPOINT_AT: &str = "
SELECT arrival, branch, height, id, source, created_at, manifest, manifest_hash, packed_hash
FROM @checkpoint WHERE thread = $1 AND namespace = $2 AND branch = $3 AND height = $4 AND manifest IS NOT NULL";
pub(crate) const LOAD_CHECKPOINT_WITH_VALUES: &str = "
SELECT arrival, branch, height, id, source, created_at, manifest, manifest_hash, packed_hash, packed
FROM @checkpoint WHERE thread = $1 AND namespace = $2 AND id = $3 AND manifest IS NOT NULL";

/// The nodes at places with all that they follow from, each once: the packed values of checkpoints, and value rows. A place
/// is an ordinal, doubled, and 1 if it is packed.
pub(crate) const LOAD_CHAINS: &str = "
WITH RECURSIVE walk (branch, height, place) AS (
    SELECT * FROM unnest($3, $4, $5)
    UNION
    SELECT found.base[1], found.base[2], found.base[3] FROM walk w
    CROSS JOIN LATERAL (
        (SELECT @chain_base(packed, w.place >> 1) AS base FROM @checkpoint
         WHERE w.place & 1 = 1 AND thread = $1 AND namespace = $2 AND branch = w.branch AND height = w.height LIMIT 1)
        UNION ALL
        (SELECT @chain_base(head, NULL) FROM @value
         WHERE w.place & 1 = 0 AND thread = $1 AND namespace = $2
           AND branch = w.branch AND height = w.height AND ordinal = w.place >> 1 LIMIT 1)
    ) found
    WHERE found.base IS NOT NULL
)
SELECT c.packed_hash, NULL::bytea, c.packed, w.branch, w.height, NULL::bigint
FROM (SELECT DISTINCT branch, height FROM walk WHERE place & 1 = 1) w
CROSS JOIN LATERAL (
    SELECT packed_hash, packed FROM @checkpoint
    WHERE thread = $1 AND namespace = $2 AND branch = w.branch AND height = w.height LIMIT 1) c
UNION ALL
SELECT v.hash, v.head, v.body, w.branch, w.height, w.place >> 1 FROM walk w
CROSS JOIN LATERAL (
    SELECT hash, head, body FROM @value
    WHERE w.place & 1 = 0 AND thread = $1 AND namespace = $2
      AND branch = w.branch AND height = w.height AND ordinal = w.place >> 1 LIMIT 1) v";
pub(crate) const LOAD_ORDINAL_MAX: &str = "
SELECT MAX(ordinal) FROM @value WHERE thread = $1 AND namespace = $2 AND branch = $3 AND height = $4";

pub(crate) const LOAD_PENDING: &str = "
SELECT lane, kind, task, ordinal, hash, head, body
FROM @pending WHERE thread = $1 AND namespace = $2 AND base = $3 AND lane = $4 ORDER BY kind, task, ordinal";

/// The rows of a checkpoint that name sub-graphs.
pub(crate) const LOAD_CHILD_ROWS: &str = "
SELECT lane, kind, task, ordinal, hash, head, body
FROM @pending WHERE thread = $1 AND namespace = $2 AND base = $3 AND lane = $4 AND kind = 5 ORDER BY task, ordinal";
pub(crate) const LOAD_CHILD: &str = "
SELECT namespace, height, child_branch, child_height, hash FROM @child
WHERE thread = $1 AND root_branch = $2 AND namespace = $3 AND height <= $4 ORDER BY height DESC LIMIT 1";
/// Of each namespace the newest row.
pub(crate) const LOAD_CHILDREN: &str = "
SELECT DISTINCT ON (namespace) namespace, height, child_branch, child_height, hash FROM @child
WHERE thread = $1 AND root_branch = $2 AND height <= $3 ORDER BY namespace, height DESC";

pub(crate) const LOAD_RUN: &str = "
SELECT id, branch, graph, status, input_hash, started_at, ended_at, last_height, last_id, hash, graph_signature
FROM @run WHERE thread = $1 AND id = $2";

/// A run with the record of its graph, if there is one.
pub(crate) const LOAD_RUN_WITH_GRAPH: &str = "
SELECT r.id, r.branch, r.graph, r.status, r.input_hash, r.started_at, r.ended_at, r.last_height, r.last_id, r.hash,
       r.graph_signature, g.record, g.hash
FROM @run r LEFT JOIN @graph g ON g.name = r.graph AND g.signature = r.graph_signature
WHERE r.thread = $1 AND r.id = $2";

pub(crate) const LOAD_TAG: &str =
    "SELECT name, namespace, branch, height, hash FROM @tag WHERE thread = $1 AND name = $2";
pub(crate) const LOAD_TAGS: &str =
    "SELECT name, namespace, branch, height, hash FROM @tag WHERE thread = $1 AND namespace = $2 ORDER BY name";
pub(crate) const LOAD_GRAPH: &str = "SELECT record, hash FROM @graph WHERE name = $1 AND signature = $2";

// ---- history and threads ----

/// One segment of a lineage, downwards.
pub(crate) const HISTORY_SEGMENT: &str = "
SELECT arrival, branch, height, id, source, created_at, manifest, manifest_hash, packed_hash
FROM @checkpoint
WHERE thread = $1 AND namespace = $2 AND branch = $3 AND height < $4 AND manifest IS NOT NULL
ORDER BY height DESC LIMIT $5";

pub(crate) const HISTORY_ALL: &str = "
SELECT arrival, branch, height, id, source, created_at, manifest, manifest_hash, packed_hash
FROM @checkpoint
WHERE thread = $1 AND namespace = $2 AND arrival < $3 AND manifest IS NOT NULL
ORDER BY arrival DESC LIMIT $4";

/// Threads with the branch that each continues and the run that began last, side by side.
macro_rules! threads {
    ($of:literal) => {
        concat!(
            "
SELECT t.number, t.scope, t.name, t.uid, t.head, t.created_at, t.hash,
       b.branch, b.parent, b.fork_height, b.tip_height, b.tip_id, b.epoch, b.claim, b.effects, b.hash, b.root_branch,
       r.id, r.branch, r.graph, r.status, r.input_hash, r.started_at, r.ended_at, r.last_height, r.last_id, r.hash,
       r.graph_signature
FROM (
    SELECT * FROM @thread t WHERE scope = $1 AND name > $2 AND uid IS NOT NULL ",
            $of,
            " ORDER BY name LIMIT $3) t
LEFT JOIN @branch b ON b.thread = t.number AND b.namespace = '' AND b.branch = t.head
LEFT JOIN LATERAL (SELECT * FROM @run WHERE thread = t.number ORDER BY arrival DESC LIMIT 1) r ON true
ORDER BY t.name"
        )
    };
}
pub(crate) const THREADS_PAGE: &str = threads!("");
/// Threads with a branch of the root namespace on whose tip, in its lane, a question lies.
pub(crate) const THREADS_WAITING: &str = threads!(
    "AND EXISTS (
    SELECT 1 FROM @branch b, @pending p
    WHERE b.thread = t.number AND b.namespace = ''
      AND p.thread = b.thread AND p.namespace = '' AND p.base = b.tip_id AND p.lane = b.branch AND p.kind = 3)"
);
/// The questions and answers on the tips of threads, each with its branch and that branch's first name.
pub(crate) const THREADS_QUESTIONS: &str = "
SELECT b.branch, b.parent, b.fork_height, b.tip_height, b.tip_id, b.epoch, b.claim, b.effects, b.hash, b.root_branch,
       p.lane, p.kind, p.task, p.ordinal, p.hash, p.head, p.body, r.name, r.branch, r.hash, b.thread
FROM @branch b
JOIN @pending p ON p.thread = b.thread AND p.namespace = '' AND p.base = b.tip_id AND p.lane = b.branch AND p.kind IN (3, 4)
LEFT JOIN LATERAL (
    SELECT name, branch, hash FROM @ref WHERE thread = b.thread AND branch = b.branch ORDER BY name LIMIT 1) r ON true
WHERE b.thread = ANY ($1) AND b.namespace = ''
ORDER BY b.thread, b.arrival, p.kind, p.task, p.ordinal";

// ---- search ----

pub(crate) const SEARCH_DECLARE: &str =
    "INSERT INTO @attribute_kind (scope, name, kind, hash) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
pub(crate) const SEARCH_DECLARED: &str = "SELECT name, kind, hash FROM @attribute_kind WHERE scope = $1 ORDER BY name";
pub(crate) const SEARCH_UNSET: &str = "DELETE FROM @attribute WHERE thread = $1 AND scope = $2 AND name = $3";
pub(crate) const SEARCH_SET: &str =
    "INSERT INTO @attribute (scope, name, value, thread, hash) VALUES ($1, $2, $3, $4, $5)";
/// Threads that have an attribute with a value in a range, by name.
pub(crate) const SEARCH_BY_ATTRIBUTE: &str = threads!(
    "AND t.number IN (
    SELECT a.thread FROM @attribute a WHERE a.scope = $1 AND a.name = $4 AND a.value BETWEEN $5 AND $6)"
);
/// What is known of threads besides: when their tips were made, how far and of which graph their last runs are, whether
/// they wait and have open effects, and their attributes.
pub(crate) const SEARCH_FACTS: &str = "
SELECT t.number,
    (SELECT c.created_at FROM @branch b JOIN @checkpoint c ON c.thread = b.thread AND c.namespace = '' AND c.id = b.tip_id
     WHERE b.thread = t.number AND b.namespace = '' AND b.branch = t.head),
    r.status, r.graph,
    CASE WHEN $2 THEN EXISTS (
        SELECT 1 FROM @branch b, @pending p
        WHERE b.thread = t.number AND b.namespace = ''
          AND p.thread = b.thread AND p.namespace = '' AND p.base = b.tip_id AND p.lane = b.branch AND p.kind = 3)
    ELSE false END,
    CASE WHEN $3 THEN EXISTS (SELECT 1 FROM @ledger l WHERE l.thread = t.number AND l.status = 1) ELSE false END,
    ARRAY(SELECT a.name FROM @attribute a WHERE a.thread = t.number ORDER BY a.name),
    ARRAY(SELECT a.value FROM @attribute a WHERE a.thread = t.number ORDER BY a.name),
    ARRAY(SELECT a.hash FROM @attribute a WHERE a.thread = t.number ORDER BY a.name)
FROM @thread t
LEFT JOIN LATERAL (
    SELECT run.status, run.graph FROM @run run WHERE run.thread = t.number ORDER BY run.arrival DESC LIMIT 1) r ON true
WHERE t.number = ANY ($1)";
