-- Question: how much of each billable bucket was used in [start, end), and what did it cost?
SELECT tenant_id, bucket, currency, sum(quantity) AS quantity, sum(amount) AS cost
FROM usage.usage_lines
WHERE event_time >= {start:DateTime64(3, 'UTC')} AND event_time < {end:DateTime64(3, 'UTC')}
GROUP BY tenant_id, bucket, currency
ORDER BY tenant_id, bucket, currency
