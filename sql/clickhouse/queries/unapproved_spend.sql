-- Question: which share of each tenant's spend in [start, end) is experimental, unapproved, unregistered or without an owner?
-- Each event counts once, at the first that is true of it: unregistered, orphaned (no owner), then its approval status.
SELECT e.tenant_id AS tenant_id, e.currency AS currency,
    multiIf(notEmpty(e.unregistered), 'unregistered',
        coalesce(e.business_owner, '') = '' AND coalesce(e.technical_owner, '') = '', 'orphaned',
        coalesce(nullIf(e.approval_status, ''), 'unknown')) AS standing,
    count() AS events, countIf(e.effective_cost IS NULL) AS unpriced_events, sum(e.total_tokens) AS tokens,
    sum(e.effective_cost) AS cost,
    toDecimal64(toDecimal256(cost, 18) / nullIf(toDecimal256(sum(cost) OVER (PARTITION BY tenant_id, currency), 18), 0), 6)
        AS share
FROM usage.usage_events AS e
WHERE event_time >= {start:DateTime64(3, 'UTC')} AND event_time < {end:DateTime64(3, 'UTC')}
GROUP BY tenant_id, currency, standing
ORDER BY tenant_id, currency, cost DESC NULLS LAST, standing
