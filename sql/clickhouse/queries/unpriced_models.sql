-- Question: which models have usage without a full price in [start, end), and why?
SELECT e.provider AS provider, e.model AS model, e.pricing_status AS pricing_status, count() AS events,
    sum(e.total_tokens) AS tokens, arraySort(groupUniqArrayArray(e.reasons)) AS why
FROM usage.usage_events AS e
WHERE event_time >= {start:DateTime64(3, 'UTC')} AND event_time < {end:DateTime64(3, 'UTC')} AND e.effective_cost IS NULL
GROUP BY provider, model, pricing_status
ORDER BY events DESC, provider, model
