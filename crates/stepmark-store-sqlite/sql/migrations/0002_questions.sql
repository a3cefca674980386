-- Schema 2: open questions are found without a walk over all pending rows; sql/schema.sql explains it.

CREATE INDEX IF NOT EXISTS pending_interrupt ON pending (thread, namespace, base, lane) WHERE kind = 3;
