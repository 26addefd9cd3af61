BEGIN TRANSACTION;
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
    chunks        BLOB    NOT NULL, title TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (source_id, id)
) WITHOUT ROWID;
INSERT INTO "document" VALUES(1,'a.md',X'61616161616161616161616161616161',X'6D6D6D6D6D6D6D6D6D6D6D6D6D6D6D6D',1,0,10,1700000000,1700000000000,1700000000000,1700000000000,1,'r',X'0000000000000000000000000000000001010101010101010101010101010101','');
INSERT INTO "document" VALUES(1,'b.md',X'62626262626262626262626262626262',X'6D6D6D6D6D6D6D6D6D6D6D6D6D6D6D6D',1,0,10,1700000000,1700000000000,1700000000000,1700000000000,1,'r',X'00000000000000000000000000000000','');
INSERT INTO "document" VALUES(1,'gone.md',X'67676767676767676767676767676767',X'6D6D6D6D6D6D6D6D6D6D6D6D6D6D6D6D',1,1,10,1700000000,1700000000000,1700000000000,1700000000000,1,'r',X'','');
CREATE TABLE failure (
    run_id      INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    source      TEXT    NOT NULL,
    document_id TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    detail      TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (run_id, source, document_id)
) WITHOUT ROWID;
INSERT INTO "failure" VALUES(2,'docs','b.md','changed','its text changed');
CREATE TABLE "intent" (
    source      TEXT    NOT NULL,
    document_id TEXT    NOT NULL,
    points      BLOB    NOT NULL,
    run_id      INTEGER REFERENCES run (id),
    reason      TEXT    NOT NULL DEFAULT 'interrupted' CHECK (reason IN ('interrupted', 'announced', 'drift')),
    PRIMARY KEY (source, document_id)
) WITHOUT ROWID;
INSERT INTO "intent" VALUES('docs','b.md',X'0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A',2,'interrupted');
CREATE TABLE lease (
    only_one   INTEGER PRIMARY KEY CHECK (only_one = 1),
    id         TEXT    NOT NULL,
    holder     TEXT    NOT NULL,
    host       TEXT    NOT NULL,
    pid        INTEGER NOT NULL,
    since      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
, machine TEXT NOT NULL DEFAULT '', started TEXT NOT NULL DEFAULT '', seen_at INTEGER);
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO "meta" VALUES('collection','test');
INSERT INTO "meta" VALUES('lineage','6f0c1d52-3a54-4a3b-9d5f-0d8f6e3b7a11');
INSERT INTO "meta" VALUES('location','embedded:.qloader/index');
INSERT INTO "meta" VALUES('mixed','1');
INSERT INTO "meta" VALUES('name','test');
INSERT INTO "meta" VALUES('pipeline','p2');
INSERT INTO "meta" VALUES('serial','7');
CREATE TABLE pipeline (
    id          INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    settings    TEXT NOT NULL,
    created_at  INTEGER NOT NULL
);
INSERT INTO "pipeline" VALUES(1,'p1','{"embedding": {"k": 1}}',1700000000000);
INSERT INTO "pipeline" VALUES(2,'p2','{}',1700000000000);
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
INSERT INTO "run" VALUES(1,'d1',0,4,'complete',3,'{"create": 3}',NULL,1700000000000,1700000000000,1700000000000);
INSERT INTO "run" VALUES(2,'d2',4,7,'partial',1,'{}','1 document was left as it was: docs/b.md',1700000000000,1700000000000,1700000000000);
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
    updated_at   INTEGER NOT NULL, last_status TEXT CHECK (last_status IN ('running', 'complete', 'partial', 'failed')), last_error TEXT, last_run_at INTEGER, last_count INTEGER,
    UNIQUE (name)
);
INSERT INTO "source" VALUES(1,'docs','git','first','c0ffee',X'8E910A616959AF80C561C3A66B703E5B',2,3,1700000000000,1700000000000,1700000000000,NULL,NULL,NULL,NULL);
CREATE INDEX failure_document ON failure (source, document_id);
CREATE INDEX document_tombstone ON document (last_ingested) WHERE is_deleted = 1;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('run',2);
COMMIT;
PRAGMA application_id = 1902931809;
PRAGMA user_version = 6;
