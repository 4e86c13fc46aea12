-- Question: which production workloads lack required attribution in [start, end), which fields, and how much was spent that way?
-- What does not name its environment counts as production. Per currency; unpriced events are counted beside the money.
SELECT e.tenant_id AS tenant_id, e.workload_id AS workload_id, e.application AS application, e.api_key_id AS api_key_id,
    arraySort(groupUniqArrayArray(e.lacks)) AS missing, e.currency AS currency, count() AS events,
    countIf(e.effective_cost IS NULL) AS unpriced_events, sum(e.total_tokens) AS tokens, sum(e.effective_cost) AS cost,
    max(e.event_time) AS last_seen
FROM usage.usage_events AS e
WHERE event_time >= {start:DateTime64(3, 'UTC')} AND event_time < {end:DateTime64(3, 'UTC')} AND notEmpty(e.lacks)
    AND coalesce(nullIf(e.environment, ''), 'production') = 'production'
GROUP BY tenant_id, workload_id, application, api_key_id, currency
ORDER BY cost DESC NULLS LAST, tokens DESC NULLS LAST, tenant_id, workload_id, application, api_key_id
