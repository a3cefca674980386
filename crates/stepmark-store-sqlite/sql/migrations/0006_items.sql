-- Schema 6: items that threads share. sql/schema.sql explains it.

CREATE TABLE IF NOT EXISTS item (
    scope      TEXT NOT NULL,
    namespace  BLOB NOT NULL,
    key        BLOB NOT NULL,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER,
    ttl_us     INTEGER,
    hash       BLOB NOT NULL,
    value      BLOB NOT NULL,
    PRIMARY KEY (scope, namespace, key)
) STRICT;
CREATE INDEX IF NOT EXISTS item_expiry ON item (expires_at) WHERE expires_at IS NOT NULL;
