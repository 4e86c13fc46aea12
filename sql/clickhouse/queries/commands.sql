-- Question: who acknowledged, silenced, requested, decided or noted what in [start, end), and why?
SELECT c.asked_at AS asked_at, c.by AS by, c.kind AS kind, c.subject AS subject, c.tenant_id AS tenant_id, c.said AS said,
    c.published_at AS published_at
FROM usage.commands AS c
WHERE c.published_at >= {start:DateTime64(3, 'UTC')} AND c.published_at < {end:DateTime64(3, 'UTC')}
ORDER BY published_at, topic_offset
