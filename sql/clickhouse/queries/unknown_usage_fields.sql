-- Question: which usage blocks in [start, end) held fields that no dialect knows? A new one may be billable from today on.
SELECT e.provider AS provider, e.usage_dialect AS dialect, substring(reason, 16) AS field, count() AS events,
    min(e.event_time) AS first_seen, max(e.event_time) AS last_seen
FROM usage.usage_events AS e ARRAY JOIN e.reasons AS reason
WHERE event_time >= {start:DateTime64(3, 'UTC')} AND event_time < {end:DateTime64(3, 'UTC')}
    AND startsWith(reason, 'unknown_field: ')
GROUP BY provider, dialect, field
ORDER BY events DESC, provider, dialect, field
