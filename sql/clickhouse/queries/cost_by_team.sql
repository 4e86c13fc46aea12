-- Question: what did each team cost in [start, end)? Per currency; unpriced events are counted beside the money.
SELECT e.tenant_id AS tenant_id, e.team AS team, e.currency AS currency, count() AS events,
    countIf(e.effective_cost IS NULL) AS unpriced_events, sum(e.total_tokens) AS tokens, sum(e.effective_cost) AS cost
FROM usage.usage_events AS e
WHERE event_time >= {start:DateTime64(3, 'UTC')} AND event_time < {end:DateTime64(3, 'UTC')}
GROUP BY tenant_id, team, currency
ORDER BY cost DESC NULLS LAST, tenant_id, team
