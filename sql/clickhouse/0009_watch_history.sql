-- Answers:  what happened to each alert and why, who did what about it, what did each budget and each exception come to?
-- Grain:    alerts_rows: as before, with the reason of each change. commands_rows: one command. budget_periods_rows: a scope and
--           calendar period. exception_use_rows: an exception, a scope and a period.
-- Written:  by streams/warehouse/records.py from usage.alerts, usage.commands and usage.budgets; `record` is the whole JSON.
-- Key:      a command's own id, so that one that was sent twice is one row. Of a period and of an exception the newest record wins.
ALTER TABLE usage.alerts_rows
    ADD COLUMN IF NOT EXISTS condition LowCardinality(String) DEFAULT JSONExtractString(record, 'threshold'), -- 0.8, 1h/5m, …
    ADD COLUMN IF NOT EXISTS percent Nullable(Decimal(38, 18)),
    ADD COLUMN IF NOT EXISTS reason LowCardinality(String),
    ADD COLUMN IF NOT EXISTS since Nullable(DateTime64(3, 'UTC')),
    ADD COLUMN IF NOT EXISTS late UInt8,
    ADD COLUMN IF NOT EXISTS lateness_ms Int64,
    ADD COLUMN IF NOT EXISTS told UInt8 DEFAULT 1, -- whether somebody was told of it; of earlier records somebody was
    ADD COLUMN IF NOT EXISTS silenced Nullable(String),
    ADD COLUMN IF NOT EXISTS acknowledged_by Nullable(String),
    ADD COLUMN IF NOT EXISTS acknowledged_at Nullable(DateTime64(3, 'UTC')),
    ADD COLUMN IF NOT EXISTS escalation Int64,
    ADD COLUMN IF NOT EXISTS dimensions Array(Tuple(name String, value String)),
    ADD COLUMN IF NOT EXISTS summary String;

-- A view keeps the columns that it was created with.
CREATE OR REPLACE VIEW usage.alerts AS
SELECT * FROM usage.alerts_rows FINAL ORDER BY revision DESC LIMIT 1 BY tenant_id, alert_id;

CREATE TABLE IF NOT EXISTS usage.commands_rows
(
    command_id String, kind LowCardinality(String), subject String, tenant_id LowCardinality(String), by LowCardinality(String),
    said String, asked_at Nullable(DateTime64(3, 'UTC')), published_at DateTime64(3, 'UTC'), topic_partition Int32,
    topic_offset Int64, record String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree
ORDER BY (kind, subject, command_id);

CREATE VIEW IF NOT EXISTS usage.commands AS SELECT * FROM usage.commands_rows FINAL;

CREATE TABLE IF NOT EXISTS usage.budget_periods_rows
(
    scope String, tenant_id LowCardinality(String), budget_id LowCardinality(String), unit LowCardinality(String),
    currency LowCardinality(Nullable(String)), period_start DateTime64(3, 'UTC'), period_end DateTime64(3, 'UTC'),
    used Nullable(Decimal(38, 18)), `limit` Nullable(Decimal(38, 18)), base_limit Nullable(Decimal(38, 18)),
    events Nullable(Int64), unpriced_events Nullable(Int64), unpriced_tokens Nullable(Int64),
    as_of Nullable(DateTime64(3, 'UTC')), published_at DateTime64(3, 'UTC'), topic_partition Int32, topic_offset UInt64,
    record String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree(topic_offset)
ORDER BY (tenant_id, budget_id, scope, period_start);

CREATE VIEW IF NOT EXISTS usage.budget_periods AS SELECT * FROM usage.budget_periods_rows FINAL;

CREATE TABLE IF NOT EXISTS usage.exception_use_rows
(
    exception_id String, scope String, tenant_id LowCardinality(String), budget_id LowCardinality(String),
    unit LowCardinality(String), currency LowCardinality(Nullable(String)), period_start DateTime64(3, 'UTC'),
    period_end DateTime64(3, 'UTC'), extra Nullable(Decimal(38, 18)), used Nullable(Decimal(38, 18)),
    expires Nullable(DateTime64(3, 'UTC')), as_of Nullable(DateTime64(3, 'UTC')), published_at DateTime64(3, 'UTC'),
    topic_partition Int32, topic_offset UInt64, record String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree(topic_offset)
ORDER BY (tenant_id, exception_id, scope, period_start);

CREATE VIEW IF NOT EXISTS usage.exception_use AS SELECT * FROM usage.exception_use_rows FINAL;
