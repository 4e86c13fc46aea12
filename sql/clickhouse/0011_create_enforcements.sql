-- Answers:  which verdicts changed, when, at which limit and value, and what was the user told? (R209)
-- Grain:    one change of the verdict of a scope.
-- Written:  by streams/warehouse/records.py from usage.enforcements; `record` is the whole JSON as it was.
-- Key:      the change's own id, which every replay finds again, so that what is published twice is one row.
CREATE TABLE IF NOT EXISTS usage.enforcements_rows
(
    tenant_id LowCardinality(String), scope String, enforcement_id String, budget_id LowCardinality(String),
    kind LowCardinality(String), verdict LowCardinality(String), previous LowCardinality(String),
    stop_reason LowCardinality(Nullable(String)), `limit` Nullable(Decimal(38, 18)), value Nullable(Decimal(38, 18)),
    unit LowCardinality(Nullable(String)), currency LowCardinality(Nullable(String)), at Nullable(DateTime64(3, 'UTC')),
    detected_at Nullable(DateTime64(3, 'UTC')), published_at DateTime64(3, 'UTC'), text String, exception Nullable(String),
    dimensions Array(Tuple(name String, value String)), topic_partition Int32, topic_offset Int64, record String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree
ORDER BY (tenant_id, scope, enforcement_id);

CREATE VIEW IF NOT EXISTS usage.enforcements AS SELECT * FROM usage.enforcements_rows FINAL;
