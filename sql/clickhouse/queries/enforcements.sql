-- Question: which verdicts changed in [start, end), at which limit and value, and what was the user told? No scope: all.
-- seconds is how long the verdict held, null while it does: of a stop it is how long the user was stopped.
SELECT e.at AS at, e.tenant_id AS tenant_id, e.scope AS scope, e.budget_id AS budget_id, e.previous AS previous,
    e.verdict AS verdict, e.stop_reason AS stop_reason, e.value AS value, e.limit AS `limit`, e.unit AS unit,
    e.currency AS currency, if(e.until IS NULL, NULL, dateDiff('second', e.at, e.until)) AS seconds,
    dateDiff('millisecond', e.detected_at, e.published_at) AS published_after_ms, e.exception AS exception, e.text AS text
FROM
(
    SELECT *, leadInFrame(toNullable(assumeNotNull(at)), 1, NULL) OVER
        (PARTITION BY tenant_id, scope ORDER BY at, topic_offset ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS until
    FROM usage.enforcements
    WHERE {scope:String} = '' OR scope = {scope:String}
) AS e
WHERE e.at >= {start:DateTime64(3, 'UTC')} AND e.at < {end:DateTime64(3, 'UTC')}
ORDER BY at DESC, tenant_id, scope, topic_offset DESC
