-- Question: which accounts, keys and models were in use in [start, end), who owns them, when last, and which does no registry know?
SELECT e.tenant_id AS tenant_id, e.provider AS provider, e.account_id AS account_id, e.api_key_id AS api_key_id,
    e.model AS model, arraySort(groupUniqArray(coalesce(nullIf(e.business_owner, ''), nullIf(e.technical_owner, ''), 'nobody'))) AS owners,
    arraySort(groupUniqArrayArray(e.unregistered)) AS unregistered, min(e.event_time) AS first_seen,
    max(e.event_time) AS last_used, e.currency AS currency, count() AS events,
    countIf(e.effective_cost IS NULL) AS unpriced_events, sum(e.total_tokens) AS tokens, sum(e.effective_cost) AS cost
FROM usage.usage_events AS e
WHERE event_time >= {start:DateTime64(3, 'UTC')} AND event_time < {end:DateTime64(3, 'UTC')}
GROUP BY tenant_id, provider, account_id, api_key_id, model, currency
ORDER BY cost DESC NULLS LAST, tenant_id, provider, account_id, api_key_id, model
