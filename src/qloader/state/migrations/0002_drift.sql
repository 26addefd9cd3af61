-- An intent may also come from `refresh`: points that are not in the index as the state says. It has no run.
CREATE TABLE intent_2 (
    source      TEXT    NOT NULL,
    document_id TEXT    NOT NULL,
    points      BLOB    NOT NULL,
    run_id      INTEGER REFERENCES run (id),
    reason      TEXT    NOT NULL DEFAULT 'interrupted' CHECK (reason IN ('interrupted', 'drift')),
    PRIMARY KEY (source, document_id)
) WITHOUT ROWID;

INSERT INTO intent_2 (source, document_id, points, run_id) SELECT source, document_id, points, run_id FROM intent;

DROP TABLE intent;

ALTER TABLE intent_2 RENAME TO intent;

-- `history` asks for the failures of a document, `status` for its tombstone.
CREATE INDEX failure_document ON failure (source, document_id);
