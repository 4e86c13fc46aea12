-- Answers:  what was delivered where, how late, what failed and why?
-- Grain:    one record of usage.deliveries; the view keeps the last one of each delivery.
-- Written:  by streams/warehouse/deliveries.py from the topic; nothing waits for it.
-- Key:      the delivery, and the record's place in the topic, so that what is inserted again is one row.
CREATE TABLE IF NOT EXISTS usage.deliveries_rows
(
    tenant_id LowCardinality(String), delivery_id String, topic_offset Int64, alert_id String, revision Int64,
    endpoint LowCardinality(String), route LowCardinality(String), status LowCardinality(String), attempt Int32, again Int32,
    code Nullable(Int32), error Nullable(String), state LowCardinality(String), kind LowCardinality(String),
    severity LowCardinality(String), budget_id LowCardinality(String), owner LowCardinality(String),
    detected_at Nullable(DateTime64(3, 'UTC')), queued_at DateTime64(3, 'UTC'), at DateTime64(3, 'UTC'),
    next_at Nullable(DateTime64(3, 'UTC')), asked_by LowCardinality(String), record String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree
ORDER BY (tenant_id, delivery_id, topic_offset);

CREATE VIEW IF NOT EXISTS usage.deliveries AS
SELECT * FROM usage.deliveries_rows FINAL ORDER BY again DESC, attempt DESC, topic_offset DESC LIMIT 1 BY tenant_id, delivery_id;
