-- What was measured of each run: seconds by stage, counts, memory, samples; see telemetry/measured.py.
CREATE TABLE metric (
    run_id     INTEGER PRIMARY KEY REFERENCES run (id),
    measured   TEXT    NOT NULL,
    updated_at INTEGER NOT NULL
);
