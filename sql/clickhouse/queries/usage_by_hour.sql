-- Question: what was used in [start, end) in each slice of {minutes}, at which price? Commitments and free quotas are counted from it.
-- Names of tenants, accounts and regions that are not asked for are left out (empty), so that rows stay few; no providers = all.
-- cost is null where the event has no whole price: unknown, never 0. Tokens of a plan cost 0.
SELECT if(has({tenants:Array(String)}, r.tenant_id), r.tenant_id, '') AS tenant_id,
    if(has({accounts:Array(String)}, coalesce(r.account_id, '')), coalesce(r.account_id, ''), '') AS account_id,
    r.provider AS provider, coalesce(nullIf(r.sku_model, ''), r.model) AS model,
    if(has({regions:Array(String)}, coalesce(r.region, '')), coalesce(r.region, ''), '') AS region,
    lower(coalesce(nullIf(r.service_tier, ''), if(r.procurement_model = 'provisioned', 'provisioned', ''))) AS service_tier,
    line.bucket AS bucket, toStartOfInterval(r.event_time, toIntervalMinute({minutes:UInt32})) AS hour,
    multiIf(r.contracted_cost IS NULL, NULL, r.billing_mode = 'subscription', toDecimal128(0, 18), line.unit_price) AS unit_price,
    if(r.contracted_cost IS NULL, NULL, r.currency) AS currency,
    sum(line.quantity) AS quantity, unit_price * quantity AS cost
FROM usage.usage_events AS r ARRAY JOIN r.lines AS line
WHERE r.event_time >= {start:DateTime64(3, 'UTC')} AND r.event_time < {end:DateTime64(3, 'UTC')}
    AND (empty({providers:Array(String)}) OR has({providers:Array(String)}, r.provider))
GROUP BY tenant_id, account_id, provider, model, region, service_tier, bucket, hour, unit_price, currency
ORDER BY hour, tenant_id, account_id, provider, model, region, service_tier, bucket, currency, unit_price
