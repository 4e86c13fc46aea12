-- Question: list, contracted, effective and billed cost by provider and model in [start, end), and how much of it is estimated?
SELECT e.provider AS provider, e.model AS model, e.currency AS currency, count() AS events,
    sum(e.list_cost) AS list_cost, sum(e.contracted_cost) AS contracted_cost, sum(e.effective_cost) AS effective_cost,
    sum(toDecimal128OrNull(e.billed_cost, 18)) AS billed_cost, countIf(e.billed_cost IS NOT NULL) AS billed_events,
    sumIf(e.effective_cost, e.pricing_status = 'estimated') AS estimated_cost
FROM usage.usage_events AS e
WHERE event_time >= {start:DateTime64(3, 'UTC')} AND event_time < {end:DateTime64(3, 'UTC')}
GROUP BY provider, model, currency
ORDER BY effective_cost DESC, provider, model, currency
