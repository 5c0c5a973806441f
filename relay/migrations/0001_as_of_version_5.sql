-- What makes any older file one of version 5, the last before there were migrations: each statement changes nothing where it
-- was done before. Nothing in a file of this folder ever changes: its checksum lies in every database.
CREATE TABLE IF NOT EXISTS records (
    kind INTEGER NOT NULL, job BLOB NOT NULL, unit INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (job, kind, unit)
);
CREATE INDEX IF NOT EXISTS records_by_kind ON records (kind);
CREATE TABLE IF NOT EXISTS kernels (hash BLOB PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS kernel_holders (
    network BLOB NOT NULL, household BLOB NOT NULL, hash BLOB NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (network, household, hash)
);
CREATE INDEX IF NOT EXISTS kernel_holders_by_hash ON kernel_holders (hash);
CREATE TABLE IF NOT EXISTS kernel_uses (job BLOB PRIMARY KEY, hash BLOB NOT NULL, is_named INTEGER NOT NULL DEFAULT 1);
CREATE INDEX IF NOT EXISTS kernel_uses_by_hash ON kernel_uses (hash);
INSERT OR IGNORE INTO kernel_holders SELECT zeroblob(16), zeroblob(16), hash, LENGTH(bytes) FROM kernels
    WHERE hash NOT IN (SELECT hash FROM kernel_holders);
CREATE TABLE IF NOT EXISTS keys (name TEXT PRIMARY KEY, body BLOB NOT NULL, job BLOB NOT NULL, at INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS keys_by_job ON keys (job);
CREATE TABLE IF NOT EXISTS room (one INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
