-- Schema 4: results of nodes that are kept for a while. sql/schema.sql explains it.

CREATE TABLE IF NOT EXISTS cache (
    graph      TEXT NOT NULL,
    node       TEXT NOT NULL,
    key        BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    hash       BLOB NOT NULL,
    result     BLOB NOT NULL,
    PRIMARY KEY (graph, node, key)
) STRICT;
CREATE INDEX IF NOT EXISTS cache_expiry ON cache (expires_at);
