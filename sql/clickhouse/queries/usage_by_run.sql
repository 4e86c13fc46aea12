-- Question: how large is one {each} (a run, a conversation) in [start, end), by {by}? Limits of runs come from the percentiles.
-- What was still going within the last {open_ms} is open and in no figure; what began before `start` looks smaller than it is.
-- Lists are [p50, p95, p99, largest]. Costs are of those whose every event has a price, all in one currency: `priced` of them.
WITH
    runs AS
    (
        SELECT e.tenant_id AS tenant_id,
            arrayMap(d -> coalesce(
                if(startsWith(d, 'attributes.'), arrayFirst(a -> a.key = substring(d, 12), e.attributes).value, NULL),
                [e.provider, e.model, e.application, e.environment, e.team, e.project, e.cost_center, e.use_case,
                 e.business_process, e.request_type, e.workload_id, e.workload_class, e.model_tier, e.agent_id,
                 e.workflow_id, e.run_id, e.conversation_id, e.session_id, e.user_id, e.user_role, e.channel,
                 e.api_key_id, e.account_id, e.region, e.business_owner, e.technical_owner, e.accountable, e.archetype,
                 e.approval_status, e.data_class][indexOf(['provider', 'model', 'application', 'environment', 'team', 'project', 'cost_center', 'use_case',
                 'business_process', 'request_type', 'workload_id', 'workload_class', 'model_tier', 'agent_id',
                 'workflow_id', 'run_id', 'conversation_id', 'session_id', 'user_id', 'user_role', 'channel',
                 'api_key_id', 'account_id', 'region', 'business_owner', 'technical_owner', 'accountable', 'archetype',
                 'approval_status', 'data_class'], d)], ''), {by:Array(String)}) AS found,
            arrayPopBack(found) AS values, found[-1] AS run, count() AS calls, sum(coalesce(e.total_tokens, 0)) AS used,
            sum(coalesce(e.tool_calls, 0)) AS called, countIf(coalesce(e.retry_of, '') != '') AS retried,
            countIf(e.effective_cost IS NULL) AS unpriced, groupUniqArrayIf(e.currency, e.effective_cost IS NOT NULL) AS currencies,
            if(unpriced > 0 OR length(currencies) != 1, NULL, sum(e.effective_cost)) AS paid,
            toUnixTimestamp64Milli(max(e.event_time)) - toUnixTimestamp64Milli(min(e.event_time)) AS lasted,
            max(e.event_time) > {end:DateTime64(3, 'UTC')} - toIntervalMillisecond({open_ms:UInt32}) AS is_open
        FROM usage.usage_events AS e
        WHERE e.event_time >= {start:DateTime64(3, 'UTC')} AND e.event_time < {end:DateTime64(3, 'UTC')}
            AND (empty({tenants:Array(String)}) OR has({tenants:Array(String)}, e.tenant_id))
        GROUP BY tenant_id, found
        HAVING run != ''
    )
SELECT tenant_id, values, countIf(NOT is_open) AS runs, countIf(is_open) AS open, sumIf(calls, NOT is_open) AS events,
    sumIf(unpriced, NOT is_open) AS unpriced_events, groupUniqArrayArrayIf(currencies, paid IS NOT NULL AND NOT is_open) AS in_currencies,
    countIf(paid IS NOT NULL AND NOT is_open) AS priced,
    quantilesExactIf(0.5, 0.95, 0.99, 1)(calls, NOT is_open) AS iterations,
    quantilesExactIf(0.5, 0.95, 0.99, 1)(used, NOT is_open) AS tokens,
    quantilesExactIf(0.5, 0.95, 0.99, 1)(called, NOT is_open) AS tool_calls,
    quantilesExactIf(0.5, 0.95, 0.99, 1)(retried, NOT is_open) AS retries,
    quantilesExactIf(0.5, 0.95, 0.99, 1)(lasted, NOT is_open) AS elapsed_ms,
    quantilesExactIf(0.5, 0.95, 0.99, 1)(assumeNotNull(paid), paid IS NOT NULL AND NOT is_open) AS cost
FROM runs
GROUP BY tenant_id, values
ORDER BY tenant_id, values
