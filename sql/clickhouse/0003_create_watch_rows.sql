-- Answers:  which alerts fired, and how much of each budget is used?
-- Grain:    alerts: one record of usage.alerts (its history); budgets: the last record of each scope.
-- Written:  by streams/warehouse/records.py from the topics; `record` is the whole JSON as it was.
-- Key:      alerts: id and revision, so that what a replay publishes again is one row. Budgets: the scope, its highest offset wins, a tombstone hides.
CREATE TABLE IF NOT EXISTS usage.alerts_rows
(
    tenant_id LowCardinality(String), alert_id String, revision Int64, topic_partition Int32, topic_offset Int64,
    state LowCardinality(String), kind LowCardinality(String), budget_id LowCardinality(String), scope String,
    severity LowCardinality(String), threshold Nullable(Decimal(38, 18)), value Nullable(Decimal(38, 18)),
    `limit` Nullable(Decimal(38, 18)), unit LowCardinality(String), currency LowCardinality(Nullable(String)),
    owner Nullable(String), accountable Nullable(String),
    period_start Nullable(DateTime64(3, 'UTC')), period_end Nullable(DateTime64(3, 'UTC')),
    occurred_at Nullable(DateTime64(3, 'UTC')), detected_at Nullable(DateTime64(3, 'UTC')), published_at DateTime64(3, 'UTC'), record String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree
ORDER BY (tenant_id, alert_id, revision);

CREATE TABLE IF NOT EXISTS usage.budgets_rows
(
    scope String, topic_partition Int32, topic_offset UInt64, is_deleted UInt8,
    tenant_id LowCardinality(String), budget_id LowCardinality(String), used Nullable(Decimal(38, 18)),
    `limit` Nullable(Decimal(38, 18)), headroom Nullable(Decimal(38, 18)), unit LowCardinality(String),
    currency LowCardinality(Nullable(String)), verdict LowCardinality(String),
    period_start Nullable(DateTime64(3, 'UTC')), period_end Nullable(DateTime64(3, 'UTC')),
    as_of Nullable(DateTime64(3, 'UTC')), record String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree(topic_offset)
ORDER BY (scope);
