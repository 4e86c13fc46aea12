-- Question: how noisy was each rule in [start, end): how often did it fire, for how long, and how much of it did somebody take on?
-- An alert counts once each time that it begins to fire. What nobody was told of counts as silenced; minutes are of what has ended.
SELECT f.tenant_id AS tenant_id, f.rule AS rule, f.kind AS kind, count() AS alerts, sum(f.fired) AS fired,
    countIf(f.state != 'resolved') AS open, toDecimal64(ifNull(avgOrNull(f.minutes), 0), 1) AS mean_minutes,
    countIf(f.minutes < 5) AS shorter_than_5_minutes, countIf(f.silenced) AS silenced, countIf(f.late) AS late,
    countIf(f.escalation > 0) AS escalated, countIf(f.taken) AS acknowledged,
    toDecimal64(acknowledged / alerts, 4) AS acknowledged_share
FROM
(
    SELECT a.tenant_id AS tenant_id, a.budget_id AS rule, argMin(a.kind, a.revision) AS kind, a.alert_id AS alert_id,
        countIf(a.state = 'firing' AND a.reason NOT IN ('reminder', 'escalated', 'silence_over')) AS fired,
        minIf(a.occurred_at, a.state = 'firing') AS since, argMax(a.state, a.revision) AS state,
        if(state = 'resolved', dateDiff('second', since, argMax(a.occurred_at, a.revision)) / 60, NULL) AS minutes,
        max(a.told) = 0 AS silenced, max(a.late) = 1 AS late, max(a.escalation) AS escalation,
        countIf(a.acknowledged_by IS NOT NULL) > 0 AS taken
    FROM usage.alerts_rows AS a FINAL
    GROUP BY tenant_id, rule, alert_id
    HAVING fired > 0 AND since >= {start:DateTime64(3, 'UTC')} AND since < {end:DateTime64(3, 'UTC')}
) AS f
GROUP BY tenant_id, rule, kind
ORDER BY fired DESC, tenant_id, rule
