-- Question: what was delivered where in [start, end), after how many attempts, how late, and what failed and why? One row an endpoint and outcome.
SELECT endpoint, status, count() AS deliveries, countIf(attempt > 1) AS repeated, max(attempt) AS most_attempts,
    quantileExactIf(0.5)(dateDiff('millisecond', detected_at, at), status = 'sent' AND detected_at IS NOT NULL) AS median_ms,
    quantileExactIf(0.99)(dateDiff('millisecond', detected_at, at), status = 'sent' AND detected_at IS NOT NULL) AS p99_ms,
    argMax(code, at) AS last_code, argMax(error, at) AS last_error, max(at) AS last_at
FROM usage.deliveries
WHERE queued_at >= {start:DateTime64(3, 'UTC')} AND queued_at < {end:DateTime64(3, 'UTC')}
GROUP BY endpoint, status
ORDER BY endpoint, status
