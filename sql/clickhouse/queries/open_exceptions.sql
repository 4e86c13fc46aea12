-- Question: which exceptions are open although their business reason ended, their review is due, or they have expired?
-- Those that people requested come from usage.commands, those of the catalog from their alert; `expired`: a published verdict still
-- counts one, so its watch is behind. used is the sum over scopes of what they spent of it in the period that ends last.
WITH
    requests AS
    (
        SELECT subject AS id, argMin(record, topic_offset) AS asked, argMin(by, topic_offset) AS requested_by
        FROM usage.commands WHERE kind = 'request' GROUP BY id
    ),
    decisions AS
    (
        SELECT subject AS id, argMin(JSONExtractBool(record, 'approved'), topic_offset) AS approved,
            argMin(JSONExtractString(record, 'approver'), topic_offset) AS approver
        FROM usage.commands WHERE kind = 'decide' GROUP BY id
    ),
    revocations AS (SELECT DISTINCT subject AS id FROM usage.commands WHERE kind = 'revoke'),
    used AS
    (
        SELECT exception_id AS id, tenant_id, sum(newest) AS used
        FROM
        (
            SELECT exception_id, tenant_id, scope, argMax(used, period_start) AS newest FROM usage.exception_use
            GROUP BY exception_id, tenant_id, scope
        )
        GROUP BY exception_id, tenant_id
    ),
    found AS
    (
        SELECT r.id AS id, JSONExtractString(r.asked, 'tenant') AS tenant_id, JSONExtractString(r.asked, 'budget') AS budget_id,
            r.asked AS record, r.requested_by AS requested_by, d.approver AS approver, 'command' AS source
        FROM requests AS r INNER JOIN decisions AS d ON d.id = r.id LEFT ANTI JOIN revocations AS v ON v.id = r.id
        WHERE d.approved
        UNION ALL
        SELECT JSONExtractString(a.record, 'exception', 'id') AS id, JSONExtractString(a.record, 'exception', 'tenant_id') AS tenant_id,
            JSONExtractString(a.record, 'exception', 'budget_id') AS budget_id,
            any(JSONExtractRaw(a.record, 'exception')) AS record, JSONExtractString(record, 'requested_by') AS requested_by,
            JSONExtractString(record, 'approver') AS approver, 'catalog' AS source
        FROM usage.alerts AS a
        WHERE a.kind = 'exception_overdue' AND a.state != 'resolved'
            AND JSONExtractString(a.record, 'exception', 'source') = 'catalog'
        GROUP BY id, tenant_id, budget_id
    ),
    dated AS
    (
        SELECT *, parseDateTime64BestEffortOrNull(JSONExtractString(record, 'expires'), 3, 'UTC') AS expires,
            parseDateTime64BestEffortOrNull(JSONExtractString(record, 'reason_ends'), 3, 'UTC') AS reason_ends,
            parseDateTime64BestEffortOrNull(JSONExtractString(record, 'review'), 3, 'UTC') AS review
        FROM found
    ),
    overdue AS
    (
        SELECT id, tenant_id, budget_id, source, requested_by, approver, JSONExtractString(record, 'justification') AS justification,
            toDecimal128OrNull(JSONExtractString(record, 'extra'), 18) AS extra, expires, reason_ends, review,
            multiIf(reason_ends <= now64(3, 'UTC'), 'reason ended', review <= now64(3, 'UTC'), 'review due', '') AS why
        FROM dated WHERE expires > now64(3, 'UTC')
    ),
    expired AS
    (
        SELECT JSONExtractString(part, 'id') AS id, b.tenant_id AS tenant_id, any(b.budget_id) AS budget_id,
            max(toDecimal128OrNull(JSONExtractString(part, 'extra'), 18)) AS extra,
            max(parseDateTime64BestEffortOrNull(JSONExtractString(part, 'until'), 3, 'UTC')) AS expires
        FROM usage.budgets AS b ARRAY JOIN JSONExtractArrayRaw(b.record, 'exception', 'parts') AS part
        GROUP BY id, tenant_id
        HAVING expires <= now64(3, 'UTC')
    ),
    listed AS
    (
        SELECT id, tenant_id, budget_id, why, source, extra, expires, reason_ends, review, requested_by, approver, justification
        FROM overdue WHERE why != ''
        UNION ALL
        SELECT id, tenant_id, budget_id, 'expired', '', extra, expires, NULL, NULL, '', '', '' FROM expired
    )
SELECT l.tenant_id AS tenant_id, l.id AS exception_id, l.budget_id AS budget_id, l.why AS why, l.source AS source,
    l.extra AS extra, u.used AS used, l.expires AS expires, l.reason_ends AS reason_ends, l.review AS review,
    l.requested_by AS requested_by, l.approver AS approver, l.justification AS justification
FROM listed AS l LEFT JOIN used AS u ON u.id = l.id AND u.tenant_id = l.tenant_id
ORDER BY tenant_id, exception_id, why
