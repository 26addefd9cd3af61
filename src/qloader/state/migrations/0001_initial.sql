-- The state: what Qdrant holds according to us. Times are integers: milliseconds since 1970, UTC,
-- but for document.last_updated, which is in seconds. Hashes are 16 bytes.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Settings under which points were made. `document.pipeline_id` says which document has which.
CREATE TABLE pipeline (
    id          INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    settings    TEXT NOT NULL,
    created_at  INTEGER NOT NULL
);

CREATE TABLE source (
    id           INTEGER PRIMARY KEY,
    name         TEXT NOT NULL,
    type         TEXT NOT NULL,
    identity     TEXT NOT NULL DEFAULT '',
    revision     TEXT,
    root         BLOB NOT NULL,
    documents    INTEGER NOT NULL DEFAULT 0,
    chunks       INTEGER NOT NULL DEFAULT 0,
    last_success INTEGER,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    UNIQUE (name)
);

-- The seeds' `document_states`: one row a document; a deleted one stays as a tombstone until pruned.
-- `chunks` holds the chunk hashes, 16 bytes each, in their order; point ids follow from them.
CREATE TABLE document (
    source_id     INTEGER NOT NULL REFERENCES source (id) ON DELETE CASCADE,
    id            TEXT    NOT NULL,
    content       BLOB    NOT NULL,
    metadata      BLOB    NOT NULL,
    pipeline_id   INTEGER NOT NULL REFERENCES pipeline (id),
    is_deleted    INTEGER NOT NULL DEFAULT 0 CHECK (is_deleted IN (0, 1)),
    bytes         INTEGER NOT NULL,
    last_updated  INTEGER,
    last_ingested INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    run_id        INTEGER REFERENCES run (id) ON DELETE SET NULL,
    revision      TEXT    NOT NULL,
    chunks        BLOB    NOT NULL,
    PRIMARY KEY (source_id, id)
) WITHOUT ROWID;

-- The seeds' `ingestion_history`.
CREATE TABLE run (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    plan           TEXT    NOT NULL,
    base_serial    INTEGER NOT NULL,
    last_serial    INTEGER NOT NULL,
    status         TEXT    NOT NULL CHECK (status IN ('running', 'complete', 'partial', 'failed')),
    document_count INTEGER NOT NULL DEFAULT 0,
    summary        TEXT    NOT NULL DEFAULT '{}',
    error_message  TEXT,
    started_at     INTEGER NOT NULL,
    finished_at    INTEGER,
    updated_at     INTEGER NOT NULL
);

-- Documents that a run could not bring to the plan's version, and why.
CREATE TABLE failure (
    run_id      INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    source      TEXT    NOT NULL,
    document_id TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    detail      TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (run_id, source, document_id)
) WITHOUT ROWID;

-- What a batch that was begun and not committed may have left in the index: the ids (16 bytes each)
-- of every point it may have written, changed or deleted. Written before the index is touched.
CREATE TABLE intent (
    source      TEXT    NOT NULL,
    document_id TEXT    NOT NULL,
    points      BLOB    NOT NULL,
    run_id      INTEGER NOT NULL REFERENCES run (id),
    PRIMARY KEY (source, document_id)
) WITHOUT ROWID;

-- One writer at a time. The row exists while somebody holds the state.
CREATE TABLE lease (
    only_one   INTEGER PRIMARY KEY CHECK (only_one = 1),
    id         TEXT    NOT NULL,
    holder     TEXT    NOT NULL,
    host       TEXT    NOT NULL,
    pid        INTEGER NOT NULL,
    since      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);
