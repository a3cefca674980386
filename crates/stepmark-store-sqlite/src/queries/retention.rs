//! Which statements say what may go, and let it go?

/// Which checkpoint arrives next, and now, but not before the newest mark: marks never fall.
pub(crate) const MARK_NEXT: &str = "
SELECT (SELECT COALESCE(MAX(arrival), 0) + 1 FROM checkpoint),
       MAX(?1, COALESCE((SELECT at FROM arrival_mark ORDER BY arrival DESC LIMIT 1), ?1))";
pub(crate) const MARK_ARRIVAL: &str = "INSERT INTO arrival_mark (arrival, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
pub(crate) const MARK_FIRST: &str = "SELECT arrival, at FROM arrival_mark ORDER BY arrival LIMIT 1";
pub(crate) const MARK_SINCE: &str = "SELECT arrival, at FROM arrival_mark WHERE at > ?1 ORDER BY at, arrival LIMIT 1";
pub(crate) const MARK_BEFORE: &str =
    "SELECT arrival, at FROM arrival_mark WHERE arrival < ?1 ORDER BY arrival DESC LIMIT 1";

pub(crate) const RETAIN_STATE: &str = "SELECT mark, expires_at FROM retention WHERE thread = ?1";
pub(crate) const RETAIN_MOVING: &str = "
SELECT COALESCE((SELECT mark FROM retention WHERE thread = ?1), 0)
     + COALESCE((SELECT MAX(arrival) FROM branch WHERE thread = ?1 AND namespace = ''), 0)";
pub(crate) const RETAIN_MARK: &str = "
INSERT INTO retention (thread, mark) VALUES (?1, 1) ON CONFLICT (thread) DO UPDATE SET mark = mark + 1";
pub(crate) const RETAIN_EXPIRE: &str = "
INSERT INTO retention (thread, mark, expires_at) VALUES (?1, 0, ?2)
ON CONFLICT (thread) DO UPDATE SET expires_at = excluded.expires_at";
pub(crate) const RETAIN_EXPIRED: &str = "SELECT 1 FROM retention WHERE thread = ?1 AND expires_at <= ?2";
/// The mark before the newest checkpoint of the root, or the first one.
pub(crate) const RETAIN_NEWEST: &str = "
SELECT m.arrival, m.at
FROM (SELECT arrival FROM checkpoint INDEXED BY checkpoint_arrival
      WHERE thread = ?1 AND namespace = '' ORDER BY arrival DESC LIMIT 1) newest
LEFT JOIN arrival_mark m ON m.arrival = COALESCE(
    (SELECT arrival FROM arrival_mark WHERE arrival <= newest.arrival ORDER BY arrival DESC LIMIT 1),
    (SELECT arrival FROM arrival_mark ORDER BY arrival LIMIT 1))";
/// What an export of a thread shows, by the hashes of its rows.
pub(crate) const RETAIN_STAMP: &str = "
SELECT hash FROM thread WHERE number = ?1
UNION ALL SELECT hash FROM branch WHERE thread = ?1
UNION ALL SELECT hash FROM ref WHERE thread = ?1
UNION ALL SELECT hash FROM tag WHERE thread = ?1
UNION ALL SELECT hash FROM run WHERE thread = ?1
UNION ALL SELECT hash FROM ledger WHERE thread = ?1
UNION ALL SELECT hash FROM ledger_attempt WHERE thread = ?1
UNION ALL SELECT hash FROM pending WHERE thread = ?1
UNION ALL SELECT hash FROM child WHERE thread = ?1
UNION ALL SELECT hash FROM attribute WHERE thread = ?1";
pub(crate) const RETAIN_FIRST: &str = "
SELECT id FROM checkpoint INDEXED BY checkpoint_arrival
WHERE thread = ?1 AND namespace = ?2 AND arrival >= ?3 ORDER BY arrival LIMIT 1";

pub(crate) const AGED_ANY: &str = "SELECT number, uid FROM thread WHERE number > ?1 ORDER BY number LIMIT ?2";
pub(crate) const AGED_EXPIRED: &str = "
SELECT number, uid FROM retention JOIN thread ON number = thread
WHERE expires_at <= ?3 AND number > ?1 ORDER BY number LIMIT ?2";
/// A thread without checkpoints is not quiet: it has not begun.
pub(crate) const AGED_QUIET: &str = "
SELECT number, uid FROM thread
WHERE number > ?1 AND (SELECT arrival FROM checkpoint INDEXED BY checkpoint_arrival
                       WHERE thread = number AND namespace = '' ORDER BY arrival DESC LIMIT 1) < ?3
ORDER BY number LIMIT ?2";

pub(crate) const DROP_BRANCH: &str = "
DELETE FROM branch AS gone
WHERE thread = ?1 AND namespace = ?2 AND branch = ?3 AND epoch = ?4
  AND NOT EXISTS (SELECT 1 FROM branch WHERE thread = ?1 AND namespace = ?2 AND parent = ?3)
  AND NOT EXISTS (SELECT 1 FROM tag WHERE thread = ?1 AND namespace = ?2 AND branch = ?3)
  AND (?2 <> '' OR (
      branch <> (SELECT head FROM thread WHERE number = ?1)
      AND NOT EXISTS (SELECT 1 FROM ref WHERE thread = ?1 AND branch = ?3)
      AND arrival < (SELECT MAX(arrival) FROM branch WHERE thread = ?1 AND namespace = '')))";
pub(crate) const DROP_CHECKPOINTS: &str = "
SELECT arrival, branch, height, id, source, created_at, manifest, manifest_hash, packed_hash
FROM checkpoint WHERE thread = ?1 AND namespace = ?2 AND branch = ?3 AND manifest IS NOT NULL";
/// A checkpoint that may cease to exist.
pub(crate) const UNLINK_FIND: &str = "
SELECT arrival, branch, height, id, source, created_at, manifest, manifest_hash, packed_hash
FROM checkpoint AS old
WHERE thread = ?1 AND namespace = ?2 AND branch = ?3 AND height = ?4 AND manifest IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM branch WHERE thread = ?1 AND namespace = ?2 AND tip_id = old.id)
  AND NOT EXISTS (SELECT 1 FROM tag WHERE thread = ?1 AND namespace = ?2 AND branch = ?3 AND height = ?4)
  AND NOT EXISTS (SELECT 1 FROM pending WHERE thread = ?1 AND namespace = ?2 AND base = old.id AND lane = 0)";
pub(crate) const UNLINK: &str = "
UPDATE checkpoint SET manifest = NULL, manifest_hash = ?5
WHERE thread = ?1 AND namespace = ?2 AND branch = ?3 AND height = ?4";
pub(crate) const UNLINKED_PACKED: &str = "
SELECT packed_hash, packed FROM checkpoint
WHERE thread = ?1 AND namespace = ?2 AND branch = ?3 AND height = ?4 AND manifest IS NULL";
pub(crate) const REPACK: &str = "
UPDATE checkpoint SET packed_hash = ?5, packed = ?6
WHERE thread = ?1 AND namespace = ?2 AND branch = ?3 AND height = ?4";

pub(crate) const REMOVE_VALUE: &str = "
DELETE FROM value WHERE thread = ?1 AND namespace = ?2 AND branch = ?3 AND height = ?4 AND ordinal = ?5";
pub(crate) const REMOVE_BLOB_REF: &str = "
DELETE FROM blob_ref WHERE thread = ?1 AND namespace = ?2 AND branch = ?3 AND height = ?4 AND ordinal = ?5";
pub(crate) const REMOVE_PENDING: &str = "
DELETE FROM pending
WHERE thread = ?1 AND namespace = ?2 AND base = ?3 AND lane = ?4 AND kind = ?5 AND task = ?6 AND ordinal = ?7";
pub(crate) const REMOVE_CHILD: &str =
    "DELETE FROM child WHERE thread = ?1 AND root_branch = ?2 AND namespace = ?3 AND height = ?4";
pub(crate) const REMOVE_CHECKPOINT: &str = "
DELETE FROM checkpoint WHERE thread = ?1 AND namespace = ?2 AND branch = ?3 AND height = ?4 AND manifest IS NULL";

pub(crate) const COLLECT_PAGE: &str =
    "SELECT number, length, scope, hash FROM blob WHERE number > ?1 ORDER BY number LIMIT ?2";
pub(crate) const COLLECT_LOOK: &str = "
SELECT 1 FROM blob
WHERE number = ?1 AND touched_at < ?2 AND NOT EXISTS (SELECT 1 FROM blob_ref WHERE blob = ?1)";
pub(crate) const COLLECT_BLOB: &str = "
DELETE FROM blob
WHERE number = ?1 AND touched_at < ?2 AND NOT EXISTS (SELECT 1 FROM blob_ref WHERE blob = ?1)";
pub(crate) const COLLECT_CHUNKS: &str = "DELETE FROM blob_chunk WHERE blob = ?1";
