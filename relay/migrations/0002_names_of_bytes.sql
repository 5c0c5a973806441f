-- Records lie under the names that the node gives them, which are bytes; a large one in several parts. What was kept before is
-- moved by `store/before.rs`, some at a time, so that it takes no room twice.
ALTER TABLE records RENAME TO records_before;
DROP INDEX records_by_kind;
CREATE TABLE records (
    key BLOB NOT NULL, part INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (key, part)
) WITHOUT ROWID;
-- The name of the record that is there as long as the job is not over.
ALTER TABLE kernel_uses RENAME COLUMN job TO record;
PRAGMA user_version = 6;
