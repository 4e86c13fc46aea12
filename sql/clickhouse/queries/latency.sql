-- Question: how long from the broker's append of an event to the ledger, to an alert, to being queryable? Milliseconds, per tenant.
-- An alert is counted from the oldest event of the batch that raised it, so its figure is an upper bound.
WITH
    placed AS
    (
        SELECT r.tenant_id AS tenant_id, r.append_time AS append_time, r.partition AS partition,
            r.ledger_offset AS ledger_offset, b.appended_at AS appended_at
        FROM usage.rated_rows AS r FINAL
        INNER JOIN usage.ledger_batches AS b FINAL
            ON r.stream = b.stream AND r.partition = b.partition AND r.ledger_offset = b.ledger_offset
    ),
    marks AS (SELECT partition, ledger_offset, marked_at FROM usage.ledger_marks WHERE topic = 'usage.rated')
SELECT p.tenant_id AS tenant_id, 'ledger' AS until, quantile(0.5)(took) AS p50_ms, quantile(0.99)(took) AS p99_ms, count() AS n
FROM (SELECT tenant_id, toUnixTimestamp64Milli(appended_at) - toUnixTimestamp64Milli(append_time) AS took FROM placed) AS p
GROUP BY tenant_id
UNION ALL
SELECT q.tenant_id AS tenant_id, 'queryable' AS until, quantile(0.5)(took) AS p50_ms, quantile(0.99)(took) AS p99_ms, count() AS n
FROM
(
    SELECT e.tenant_id AS tenant_id,
        toUnixTimestamp64Milli(m.marked_at) - toUnixTimestamp64Milli(e.append_time) AS took
    FROM placed AS e ASOF INNER JOIN marks AS m ON e.partition = m.partition AND e.ledger_offset <= m.ledger_offset
) AS q
GROUP BY tenant_id
UNION ALL
SELECT a.tenant_id AS tenant_id, 'alert' AS until, quantile(0.5)(took) AS p50_ms, quantile(0.99)(took) AS p99_ms, count() AS n
FROM
(
    SELECT x.tenant_id AS tenant_id,
        toUnixTimestamp64Milli(x.published_at) - min(toUnixTimestamp64Milli(f.append_time)) AS took
    FROM
    (
        SELECT tenant_id, alert_id, published_at, JSONExtractInt(record, 'ledger', 'partition') AS partition,
            JSONExtractInt(record, 'ledger', 'offset') AS ledger_offset
        FROM usage.alerts_rows FINAL WHERE state = 'firing'
    ) AS x
    INNER JOIN placed AS f ON x.tenant_id = f.tenant_id AND x.partition = f.partition AND x.ledger_offset = f.ledger_offset
    GROUP BY x.tenant_id, x.alert_id, x.published_at
) AS a
GROUP BY tenant_id
ORDER BY tenant_id, until
