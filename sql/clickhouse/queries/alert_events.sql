-- Question: which events lie behind an alert: those of {tenant} with {where} in [start, end), the dearest {top} first?
-- where is a list of dimension=value, an own attribute is attributes.KEY=value; % escapes what would end a value. "*" is any.
WITH map(
        'provider', ifNull(toString(e.provider), ''), 'model', ifNull(toString(e.model), ''),
        'application', ifNull(toString(e.application), ''), 'environment', ifNull(toString(e.environment), ''),
        'team', ifNull(toString(e.team), ''), 'project', ifNull(toString(e.project), ''),
        'cost_center', ifNull(toString(e.cost_center), ''), 'use_case', ifNull(toString(e.use_case), ''),
        'business_process', ifNull(toString(e.business_process), ''), 'request_type', ifNull(toString(e.request_type), ''),
        'workload_id', ifNull(toString(e.workload_id), ''), 'workload_class', ifNull(toString(e.workload_class), ''),
        'model_tier', ifNull(toString(e.model_tier), ''), 'agent_id', ifNull(toString(e.agent_id), ''),
        'workflow_id', ifNull(toString(e.workflow_id), ''), 'run_id', ifNull(toString(e.run_id), ''),
        'conversation_id', ifNull(toString(e.conversation_id), ''), 'session_id', ifNull(toString(e.session_id), ''),
        'user_id', ifNull(toString(e.user_id), ''), 'user_role', ifNull(toString(e.user_role), ''),
        'channel', ifNull(toString(e.channel), ''), 'api_key_id', ifNull(toString(e.api_key_id), ''),
        'account_id', ifNull(toString(e.account_id), ''), 'region', ifNull(toString(e.region), ''),
        'business_owner', ifNull(toString(e.business_owner), ''),
        'technical_owner', ifNull(toString(e.technical_owner), ''), 'accountable', ifNull(toString(e.accountable), ''),
        'archetype', ifNull(toString(e.archetype), ''), 'approval_status', ifNull(toString(e.approval_status), ''),
        'data_class', ifNull(toString(e.data_class), '')) AS dimensions
SELECT e.event_time AS event_time, e.event_id AS event_id, e.provider AS provider, e.model AS model, e.team AS team,
    e.workload_id AS workload_id, e.user_id AS user_id, e.run_id AS run_id, e.total_tokens AS tokens, e.currency AS currency,
    e.effective_cost AS cost, e.pricing_status AS pricing_status
FROM usage.usage_events AS e
WHERE e.event_time >= {start:DateTime64(3, 'UTC')} AND e.event_time < {end:DateTime64(3, 'UTC')}
    AND ({tenant:String} = '*' OR e.tenant_id = {tenant:String})
    AND arrayAll(
        pair -> decodeURLComponent(splitByChar('=', pair)[2]) = '*'
            OR decodeURLComponent(splitByChar('=', pair)[2]) = if(
                startsWith(pair, 'attributes.'),
                arrayFirst(a -> a.key = substring(splitByChar('=', pair)[1], 12), e.attributes).value,
                dimensions[splitByChar('=', pair)[1]]),
        {where:Array(String)})
ORDER BY cost DESC NULLS LAST, tokens DESC NULLS LAST, event_time, event_id
LIMIT {top:UInt32}
