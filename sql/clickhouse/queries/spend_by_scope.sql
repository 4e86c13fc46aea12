-- Question: what did each scope, tenant and values of {each}, spend in [middle, end) against [start, middle)? Per currency.
SELECT tenant_id, arrayMap(name -> dimensions[name], {each:Array(String)}) AS scope, currency,
    countIf(event_time >= {middle:DateTime64(3, 'UTC')}) AS events,
    sumIf(effective_cost, event_time >= {middle:DateTime64(3, 'UTC')}) AS this_period,
    sumIf(effective_cost, event_time < {middle:DateTime64(3, 'UTC')}) AS last_period
FROM
(
    SELECT e.tenant_id AS tenant_id, e.event_time AS event_time, e.currency AS currency, e.effective_cost AS effective_cost,
        mapFromArrays(
            arrayConcat(
                ['tenant_id', 'provider', 'model', 'application', 'environment', 'team', 'project', 'cost_center', 'use_case',
                 'business_process', 'request_type', 'workload_id', 'workload_class', 'model_tier', 'agent_id', 'workflow_id',
                 'run_id', 'conversation_id', 'session_id', 'user_id', 'user_role', 'channel', 'api_key_id', 'account_id',
                 'region', 'business_owner', 'technical_owner', 'accountable', 'archetype', 'approval_status', 'data_class'],
                arrayMap(a -> concat('attributes.', a.1), e.attributes)),
            arrayConcat(
                arrayMap(v -> ifNull(v, ''),
                    [e.tenant_id, e.provider, e.model, e.application, e.environment, e.team, e.project, e.cost_center, e.use_case,
                     e.business_process, e.request_type, e.workload_id, e.workload_class, e.model_tier, e.agent_id, e.workflow_id,
                     e.run_id, e.conversation_id, e.session_id, e.user_id, e.user_role, e.channel, e.api_key_id, e.account_id,
                     e.region, e.business_owner, e.technical_owner, e.accountable, e.archetype, e.approval_status, e.data_class]),
                arrayMap(a -> a.2, e.attributes))) AS dimensions
    FROM usage.usage_events AS e
    WHERE e.event_time >= {start:DateTime64(3, 'UTC')} AND e.event_time < {end:DateTime64(3, 'UTC')}
        AND {tenant:String} IN ('*', e.tenant_id)
)
WHERE arrayAll((name, value) -> dimensions[name] = value, {names:Array(String)}, {values:Array(String)})
GROUP BY tenant_id, scope, currency
HAVING this_period > 0 OR last_period > 0
ORDER BY this_period DESC NULLS LAST, tenant_id, scope
