-- A run on a state that several machines share announces each document of its plan before it begins: if its machine is
-- lost, so is what it wrote down of single batches, and any of them may be half done. Their points are not known.
CREATE TABLE intent_6 (
    source      TEXT    NOT NULL,
    document_id TEXT    NOT NULL,
    points      BLOB    NOT NULL,
    run_id      INTEGER REFERENCES run (id),
    reason      TEXT    NOT NULL DEFAULT 'interrupted' CHECK (reason IN ('interrupted', 'announced', 'drift')),
    PRIMARY KEY (source, document_id)
) WITHOUT ROWID;

INSERT INTO intent_6 (source, document_id, points, run_id, reason)
SELECT source, document_id, points, run_id, reason FROM intent;

DROP TABLE intent;

ALTER TABLE intent_6 RENAME TO intent;
