-- Question: how many calls did each kind of cache answer in [start, end), and how many tokens did that avoid?
SELECT e.cache_outcome AS cache_outcome, e.model AS model, count() AS events,
    sum(e.cache_tokens_avoided) AS tokens_avoided, countIf(e.total_tokens = 0) AS calls_deflected
FROM usage.usage_events AS e
WHERE event_time >= {start:DateTime64(3, 'UTC')} AND event_time < {end:DateTime64(3, 'UTC')} AND e.cache_outcome IS NOT NULL
GROUP BY cache_outcome, model
ORDER BY tokens_avoided DESC, cache_outcome, model
