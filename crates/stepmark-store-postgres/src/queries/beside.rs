//! Which statements are about what belongs to no thread: kept results, and items that threads share?

// ---- cache ----

pub(crate) const CACHE_GET: &str = "
SELECT expires_at, hash, result FROM @cache WHERE graph = $1 AND node = $2 AND key = $3
  AND expires_at > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

pub(crate) const CACHE_PUT: &str = "
INSERT INTO @cache (graph, node, key, expires_at, hash, result) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (graph, node, key) DO UPDATE SET expires_at = excluded.expires_at, hash = excluded.hash, result = excluded.result";

/// At most so many at a time, and none that somebody else has at hand: a write does not wait for what others left.
pub(crate) const CACHE_EXPIRE: &str = "
DELETE FROM @cache WHERE (graph, node, key) IN (
    SELECT graph, node, key FROM @cache WHERE expires_at <= $1 LIMIT 64 FOR UPDATE SKIP LOCKED)";

pub(crate) const CACHE_CLEAR: &str = "DELETE FROM @cache WHERE graph = $1 AND ($2 IS NULL OR node = $2)";

// ---- items ----

pub(crate) const ITEM_STAMP: &str = "
SELECT version, created_at, updated_at, expires_at FROM @item WHERE scope = $1 AND namespace = $2 AND key = $3 FOR UPDATE";

pub(crate) const ITEM_INSERT: &str = "
INSERT INTO @item (scope, namespace, key, version, created_at, updated_at, expires_at, ttl_us, hash, value)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

pub(crate) const ITEM_UPDATE: &str = "
UPDATE @item SET version = $4, created_at = $5, updated_at = $6, expires_at = $7, ttl_us = $8, hash = $9, value = $10
WHERE scope = $1 AND namespace = $2 AND key = $3";

pub(crate) const ITEM_DELETE: &str = "DELETE FROM @item WHERE scope = $1 AND namespace = $2 AND key = $3";

/// The sum stays below the largest number; a read that was earlier, and comes later, takes no time away.
pub(crate) const ITEM_REFRESH: &str = "
UPDATE @item SET expires_at = greatest(expires_at, least($5, 9223372036854775807 - ttl_us) + ttl_us)
WHERE scope = $1 AND namespace = $2 AND key = $3 AND version = $4 AND ttl_us IS NOT NULL AND expires_at > $5";

/// None that somebody else has at hand.
pub(crate) const ITEM_SWEEP: &str = "
DELETE FROM @item WHERE (scope, namespace, key) IN (
    SELECT scope, namespace, key FROM @item
    WHERE expires_at <= (extract(epoch FROM clock_timestamp()) * 1000000)::bigint LIMIT $1 FOR UPDATE SKIP LOCKED)";

pub(crate) const ITEM_GET: &str = "
SELECT version, created_at, updated_at, expires_at, ttl_us, hash, value FROM @item
WHERE scope = $1 AND namespace = $2 AND key = $3
  AND (expires_at IS NULL OR expires_at > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)";

pub(crate) const ITEM_SEARCH: &str = "
DECLARE stepmark_items CURSOR FOR
SELECT version, created_at, updated_at, expires_at, ttl_us, hash, value, namespace, key FROM @item
WHERE scope = $1 AND namespace >= $2 AND namespace < $3 AND (expires_at IS NULL OR expires_at > $4)
  AND ($5 IS NULL OR (namespace, key) > ($5, $6))
ORDER BY namespace, key";

pub(crate) const ITEM_SEARCH_NEWEST: &str = "
DECLARE stepmark_items CURSOR FOR
SELECT version, created_at, updated_at, expires_at, ttl_us, hash, value, namespace, key FROM @item
WHERE scope = $1 AND namespace >= $2 AND namespace < $3 AND (expires_at IS NULL OR expires_at > $4)
  AND ($5 IS NULL OR (updated_at, namespace, key) < ($7, $5, $6))
ORDER BY updated_at DESC, namespace DESC, key DESC";

pub(crate) const ITEM_NAMESPACES: &str = "
SELECT DISTINCT namespace FROM @item
WHERE scope = $1 AND namespace >= $2 AND namespace < $3 AND (expires_at IS NULL OR expires_at > $4)
ORDER BY namespace LIMIT $5";
