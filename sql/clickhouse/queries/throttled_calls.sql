-- Question: which calls were throttled or failed in [start, end), by provider, key and status; what spilled over?
SELECT e.provider AS provider, e.api_key_id AS api_key_id, e.http_status AS http_status, e.error_type AS error_type,
    count() AS events, countIf(e.fallback_of IS NOT NULL) AS fallbacks, countIf(e.retry_of IS NOT NULL) AS retries,
    countIf(lower(e.service_tier) = 'spillover') AS spilled
FROM usage.usage_events AS e
WHERE event_time >= {start:DateTime64(3, 'UTC')} AND event_time < {end:DateTime64(3, 'UTC')}
    AND (e.http_status >= 400 OR e.error_type IS NOT NULL OR e.fallback_of IS NOT NULL OR lower(e.service_tier) = 'spillover')
GROUP BY provider, api_key_id, http_status, error_type
ORDER BY events DESC, provider, api_key_id, http_status, error_type
