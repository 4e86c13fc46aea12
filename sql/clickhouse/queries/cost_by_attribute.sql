-- Question: what did each value of an event's own attribute {key} cost in [start, end)? Null is what does not have it. Per currency.
SELECT e.tenant_id AS tenant_id,
    arrayElementOrNull(arrayMap(a -> a.value, arrayFilter(a -> a.key = {key:String}, e.attributes)), 1) AS value,
    e.currency AS currency, count() AS events, countIf(e.effective_cost IS NULL) AS unpriced_events,
    sum(e.total_tokens) AS tokens, sum(e.effective_cost) AS cost
FROM usage.usage_events AS e
WHERE event_time >= {start:DateTime64(3, 'UTC')} AND event_time < {end:DateTime64(3, 'UTC')}
GROUP BY tenant_id, value, currency
ORDER BY cost DESC NULLS LAST, tenant_id, value
