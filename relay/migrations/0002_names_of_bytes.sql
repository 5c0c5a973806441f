-- Records lie under the names that the node gives them, which are bytes; a large one in several parts. What was kept before is
-- moved by `store/before.rs`, some at a time, so that it takes no room twice.
ALTER TABLE records RENAME TO records_before;
DROP INDEX records_by_kind;
CREATE TABLE records (
    key BLOB NOT NULL, part INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (key, part)
) WITHOUT ROWID;
-- By the name of the record that is there as long as the job is not over; a job may bring several kernels.
CREATE TABLE kernel_uses_now (
    record BLOB NOT NULL, hash BLOB NOT NULL, is_named INTEGER NOT NULL, PRIMARY KEY (record, hash)
) WITHOUT ROWID;
INSERT INTO kernel_uses_now SELECT job, hash, is_named FROM kernel_uses;
DROP TABLE kernel_uses;
ALTER TABLE kernel_uses_now RENAME TO kernel_uses;
CREATE INDEX kernel_uses_by_hash ON kernel_uses (hash);
PRAGMA user_version = 6;
