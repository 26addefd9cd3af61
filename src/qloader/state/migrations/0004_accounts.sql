-- How the last run of each source ended; `last_success` says when it last ended well.
ALTER TABLE source ADD COLUMN last_status TEXT CHECK (last_status IN ('running', 'complete', 'partial', 'failed'));

ALTER TABLE source ADD COLUMN last_error TEXT;

ALTER TABLE source ADD COLUMN last_run_at INTEGER;

ALTER TABLE source ADD COLUMN last_count INTEGER;

-- An apply prunes old tombstones: it must find them among millions of documents.
CREATE INDEX document_tombstone ON document (last_ingested) WHERE is_deleted = 1;
