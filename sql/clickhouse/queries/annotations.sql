-- Question: what was deployed, changed or broken in [start, end), who said so, and whom may it concern?
SELECT parseDateTime64BestEffortOrNull(JSONExtractString(c.record, 'moment'), 3, 'UTC') AS moment,
    JSONExtractString(c.record, 'type') AS type, c.said AS text, c.subject AS annotation_id, c.tenant_id AS tenant_id,
    JSONExtractRaw(c.record, 'match') AS match, JSONExtractString(c.record, 'link') AS link, c.by AS by
FROM usage.commands AS c
WHERE c.kind = 'annotate' AND moment >= {start:DateTime64(3, 'UTC')} AND moment < {end:DateTime64(3, 'UTC')}
ORDER BY moment, annotation_id
