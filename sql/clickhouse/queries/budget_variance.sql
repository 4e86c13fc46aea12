-- Question: by how much did each budget's use differ from its limit, in each calendar period that began in [start, end)?
-- variance is used - limit: negative is left over. limit includes exceptions, base_limit does not. What has no price is counted beside.
SELECT b.tenant_id AS tenant_id, b.budget_id AS budget_id, b.scope AS scope, b.period_start AS period_start,
    b.period_end AS period_end, b.unit AS unit, b.currency AS currency, b.limit AS `limit`,
    coalesce(b.base_limit, b.limit) AS base_limit, b.used AS used, used - `limit` AS variance,
    toDecimal64(toDecimal256(used - `limit`, 18) / nullIf(toDecimal256(`limit`, 18), 0), 4) AS variance_share,
    b.events AS events, b.unpriced_events AS unpriced_events, b.as_of AS as_of
FROM usage.budget_periods AS b
WHERE b.period_start >= {start:DateTime64(3, 'UTC')} AND b.period_start < {end:DateTime64(3, 'UTC')}
ORDER BY period_start, tenant_id, budget_id, variance DESC NULLS LAST, scope
