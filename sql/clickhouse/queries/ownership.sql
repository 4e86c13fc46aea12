-- Question: who owns what was used in [start, end), who answers for its cost, and how do we know? Money per currency.
SELECT e.tenant_id AS tenant_id, e.workload_id AS workload_id, e.application AS application,
    e.business_owner AS business_owner, e.technical_owner AS technical_owner, e.accountable AS accountable,
    e.cost_center AS cost_center,
    if(coalesce(business_owner, '') != '', 'business_owner', 'technical_owner') AS owner_field,
    multiIf(coalesce(business_owner, '') = '' AND coalesce(technical_owner, '') = '', 'nobody',
        has(e.from_workload, owner_field), 'workload', has(e.from_key, owner_field), 'key', 'declared') AS known_from,
    e.currency AS currency, count() AS events, countIf(e.effective_cost IS NULL) AS unpriced_events,
    sum(e.total_tokens) AS tokens, sum(e.effective_cost) AS cost
FROM usage.usage_events AS e
WHERE event_time >= {start:DateTime64(3, 'UTC')} AND event_time < {end:DateTime64(3, 'UTC')}
GROUP BY tenant_id, workload_id, application, business_owner, technical_owner, accountable, cost_center, owner_field, known_from,
    currency
ORDER BY cost DESC NULLS LAST, tenant_id, workload_id, application
