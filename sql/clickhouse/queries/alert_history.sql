-- Question: which alerts of {rule} and {scope} were open at some time in [start, end), since when, until when, and who took them?
-- No rule, no scope: all. until is null while it is open; minutes are counted to now then. The largest value is that of its records.
SELECT a.tenant_id AS tenant_id, a.budget_id AS rule, a.scope AS scope, a.condition AS condition, a.alert_id AS alert_id,
    argMax(a.severity, a.revision) AS severity, argMax(a.state, a.revision) AS state, argMax(a.reason, a.revision) AS reason,
    min(coalesce(a.since, a.occurred_at)) AS opened,
    if(argMax(a.state, a.revision) = 'resolved', argMax(a.occurred_at, a.revision), NULL) AS until,
    dateDiff('minute', opened, ifNull(until, now64(3, 'UTC'))) AS minutes, max(a.value) AS largest,
    argMax(a.limit, a.revision) AS `limit`, any(a.unit) AS unit, any(a.currency) AS currency, max(a.late) AS late,
    argMaxIf(a.acknowledged_by, a.revision, a.acknowledged_by IS NOT NULL) AS acknowledged_by, max(a.revision) AS revisions
FROM usage.alerts_rows AS a FINAL
WHERE ({rule:String} = '' OR a.budget_id = {rule:String}) AND ({scope:String} = '' OR a.scope = {scope:String})
GROUP BY tenant_id, rule, scope, condition, alert_id
HAVING opened < {end:DateTime64(3, 'UTC')} AND (until IS NULL OR until >= {start:DateTime64(3, 'UTC')})
ORDER BY opened DESC, tenant_id, rule, scope, condition, alert_id
