//! Which statements are about what belongs to no thread: kept results, and items that threads share?

// ---- cache ----

pub(crate) const CACHE_GET: &str =
    "SELECT expires_at, hash, result FROM cache WHERE graph = ?1 AND node = ?2 AND key = ?3 AND expires_at > ?4";

pub(crate) const CACHE_PUT: &str = "
INSERT INTO cache (graph, node, key, expires_at, hash, result) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (graph, node, key) DO UPDATE SET expires_at = excluded.expires_at, hash = excluded.hash, result = excluded.result";

/// At most so many at a time: a write does not wait long for what others left.
pub(crate) const CACHE_EXPIRE: &str =
    "DELETE FROM cache WHERE rowid IN (SELECT rowid FROM cache WHERE expires_at <= ?1 LIMIT 64)";

pub(crate) const CACHE_CLEAR: &str = "DELETE FROM cache WHERE graph = ?1 AND (?2 IS NULL OR node = ?2)";

// ---- items ----

pub(crate) const ITEM_STAMP: &str = "
SELECT version, created_at, updated_at, expires_at FROM item WHERE scope = ?1 AND namespace = ?2 AND key = ?3";

pub(crate) const ITEM_PUT: &str = "
INSERT INTO item (scope, namespace, key, version, created_at, updated_at, expires_at, ttl_us, hash, value)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
ON CONFLICT (scope, namespace, key) DO UPDATE SET version = excluded.version, created_at = excluded.created_at,
    updated_at = excluded.updated_at, expires_at = excluded.expires_at, ttl_us = excluded.ttl_us, hash = excluded.hash,
    value = excluded.value";

pub(crate) const ITEM_DELETE: &str = "DELETE FROM item WHERE scope = ?1 AND namespace = ?2 AND key = ?3";

/// The sum stays below the largest number; a read that was earlier, and comes later, takes no time away.
pub(crate) const ITEM_REFRESH: &str = "
UPDATE item SET expires_at = max(expires_at, min(?5, 9223372036854775807 - ttl_us) + ttl_us)
WHERE scope = ?1 AND namespace = ?2 AND key = ?3 AND version = ?4 AND ttl_us IS NOT NULL AND expires_at > ?5";

pub(crate) const ITEM_SWEEP: &str =
    "DELETE FROM item WHERE rowid IN (SELECT rowid FROM item WHERE expires_at <= ?1 LIMIT ?2)";

pub(crate) const ITEM_GET: &str = "
SELECT version, created_at, updated_at, expires_at, ttl_us, hash, value FROM item
WHERE scope = ?1 AND namespace = ?2 AND key = ?3 AND (expires_at IS NULL OR expires_at > ?4)";

pub(crate) const ITEM_SEARCH: &str = "
SELECT version, created_at, updated_at, expires_at, ttl_us, hash, value, namespace, key FROM item
WHERE scope = ?1 AND namespace >= ?2 AND namespace < ?3 AND (expires_at IS NULL OR expires_at > ?4)
  AND (?5 IS NULL OR (namespace, key) > (?5, ?6))
ORDER BY namespace, key";

pub(crate) const ITEM_SEARCH_NEWEST: &str = "
SELECT version, created_at, updated_at, expires_at, ttl_us, hash, value, namespace, key FROM item
WHERE scope = ?1 AND namespace >= ?2 AND namespace < ?3 AND (expires_at IS NULL OR expires_at > ?4)
  AND (?5 IS NULL OR (updated_at, namespace, key) < (?7, ?5, ?6))
ORDER BY updated_at DESC, namespace DESC, key DESC";

pub(crate) const ITEM_NAMESPACES: &str = "
SELECT DISTINCT namespace FROM item
WHERE scope = ?1 AND namespace >= ?2 AND namespace < ?3 AND (expires_at IS NULL OR expires_at > ?4)
ORDER BY namespace LIMIT ?5";
