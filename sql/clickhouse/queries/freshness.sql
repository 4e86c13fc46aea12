-- Question: up to where is each partition of each topic stored, and when was that written?
SELECT topic, partition, argMax(stream, m.ledger_offset) AS stream, max(m.ledger_offset) AS ledger_offset,
    argMax(source_to, m.ledger_offset) AS source_to, max(marked_at) AS marked_at
FROM usage.ledger_marks AS m
GROUP BY topic, partition
ORDER BY topic, partition
