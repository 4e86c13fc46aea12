-- Question: where does each budget and each run stand: used, limit, left, verdict, forecast, exception in force, and as of when?
-- The last record of each scope, as the watch published it; a gateway asks `usage-streams check`, which knows how old that is.
SELECT b.tenant_id AS tenant_id, b.budget_id AS budget_id, b.scope AS scope, b.verdict AS verdict,
    nullIf(JSONExtractString(b.record, 'would_be'), '') AS would_be, nullIf(JSONExtractString(b.record, 'step'), '') AS step,
    b.used AS used, b.limit AS `limit`, b.headroom AS headroom, b.unit AS unit, b.currency AS currency,
    toDecimal128OrNull(JSONExtractString(b.record, 'percent'), 1) AS percent,
    toDecimal128OrNull(JSONExtractString(b.record, 'forecast', 'mid'), 18) AS forecast,
    nullIf(JSONExtractString(b.record, 'forecast', 'exhausts_at'), '') AS exhausts_at,
    nullIf(JSONExtractString(b.record, 'exception', 'id'), '') AS exception,
    nullIf(JSONExtractString(b.record, 'parent'), '') AS parent, b.period_start AS period_start, b.period_end AS period_end,
    b.as_of AS as_of
FROM usage.budgets AS b
ORDER BY tenant_id, percent DESC NULLS LAST, budget_id, scope
