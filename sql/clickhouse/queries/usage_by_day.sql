-- Question: what did each value of the dimensions {by} use on each day, in {zone}, of [start, end)? Baselines of budgets come from it.
-- values: in the order of {by}, empty where the event does not say. currency is null on rows of what has no price: its tokens count.
SELECT e.tenant_id AS tenant_id,
    arrayMap(d -> coalesce(
        if(startsWith(d, 'attributes.'), arrayFirst(a -> a.key = substring(d, 12), e.attributes).value, NULL),
        [e.provider, e.model, e.application, e.environment, e.team, e.project, e.cost_center, e.use_case,
         e.business_process, e.request_type, e.workload_id, e.workload_class, e.model_tier, e.agent_id, e.workflow_id,
         e.run_id, e.conversation_id, e.session_id, e.user_id, e.user_role, e.channel, e.api_key_id, e.account_id,
         e.region, e.business_owner, e.technical_owner, e.accountable, e.archetype, e.approval_status, e.data_class][indexOf(['provider', 'model', 'application', 'environment', 'team', 'project', 'cost_center', 'use_case',
         'business_process', 'request_type', 'workload_id', 'workload_class', 'model_tier', 'agent_id', 'workflow_id',
         'run_id', 'conversation_id', 'session_id', 'user_id', 'user_role', 'channel', 'api_key_id', 'account_id',
         'region', 'business_owner', 'technical_owner', 'accountable', 'archetype', 'approval_status', 'data_class'], d)], ''), {by:Array(String)}) AS values,
    toString(toDate(e.event_time, {zone:String})) AS day, if(e.effective_cost IS NULL, NULL, e.currency) AS currency,
    count() AS events, countIf(e.effective_cost IS NULL) AS unpriced_events, sum(coalesce(e.total_tokens, 0)) AS tokens,
    sum(e.effective_cost) AS cost, min(e.event_time) AS first_at, max(e.event_time) AS last_at
FROM usage.usage_events AS e
WHERE e.event_time >= {start:DateTime64(3, 'UTC')} AND e.event_time < {end:DateTime64(3, 'UTC')}
    AND (empty({tenants:Array(String)}) OR has({tenants:Array(String)}, e.tenant_id))
GROUP BY tenant_id, values, day, currency
ORDER BY tenant_id, values, day, currency
