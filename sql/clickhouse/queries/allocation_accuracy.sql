-- Question: which share of tokens and cost of each tenant in [start, end) is allocated, and which is untagged or misattributed?
-- Untagged: no cost center, no owner, or a required field missing. Misattributed: tagged, but otherwise than its workload's entry.
-- Money per currency, which is null for what has no price; a share is null where there is nothing to divide by.
SELECT e.tenant_id AS tenant_id, e.currency AS currency, count() AS events, countIf(standing = 'untagged') AS untagged_events,
    countIf(standing = 'misattributed') AS misattributed_events, sum(e.total_tokens) AS tokens,
    if(untagged_events = 0, 0, sumIf(e.total_tokens, standing = 'untagged')) AS untagged_tokens,
    if(misattributed_events = 0, 0, sumIf(e.total_tokens, standing = 'misattributed')) AS misattributed_tokens,
    sum(e.effective_cost) AS cost,
    if(untagged_events = 0, toDecimal128(0, 18), sumIf(e.effective_cost, standing = 'untagged')) AS untagged_cost,
    if(misattributed_events = 0, toDecimal128(0, 18), sumIf(e.effective_cost, standing = 'misattributed')) AS misattributed_cost,
    toDecimal64(toDecimal256(coalesce(sumIf(e.total_tokens, standing = ''), 0), 18) / nullIf(toDecimal256(tokens, 18), 0), 6)
        AS allocated_tokens_share,
    toDecimal64(toDecimal256(coalesce(sumIf(e.effective_cost, standing = ''), 0), 18) / nullIf(toDecimal256(cost, 18), 0), 6)
        AS allocated_cost_share
FROM
(
    SELECT tenant_id, currency, total_tokens, effective_cost,
        multiIf(
            coalesce(u.cost_center, '') = '' OR (coalesce(u.business_owner, '') = '' AND coalesce(u.technical_owner, '') = '')
                OR notEmpty(u.lacks), 'untagged',
            notEmpty(u.contradicts), 'misattributed', '') AS standing
    FROM usage.usage_events AS u
    WHERE event_time >= {start:DateTime64(3, 'UTC')} AND event_time < {end:DateTime64(3, 'UTC')}
) AS e
GROUP BY tenant_id, currency
ORDER BY tenant_id, currency
