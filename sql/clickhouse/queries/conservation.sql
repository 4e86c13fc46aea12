-- Question: is every covered source offset accounted for, and every rated row stored? Both differences must be 0.
SELECT b.stream AS stream, b.partition AS partition, b.covered AS covered, b.rated AS rated, b.duplicate AS duplicate,
    b.dead AS dead, b.skipped AS skipped, b.lost AS lost, b.gaps AS gaps, s.rows AS stored,
    b.covered - b.rated - b.duplicate - b.dead - b.skipped - b.lost AS unaccounted,
    b.rated - toInt64(s.rows) AS missing
FROM
(
    SELECT stream, partition, sum(b0.to - b0.base) AS covered, sum(b0.rated) AS rated, sum(b0.duplicate) AS duplicate,
        sum(b0.dead) AS dead, sum(b0.skipped) AS skipped, sum(b0.lost) AS lost, max(b0.to) - min(b0.base) - sum(b0.to - b0.base) AS gaps
    FROM usage.ledger_batches AS b0 FINAL GROUP BY stream, partition
) AS b
LEFT JOIN
(
    SELECT r.stream AS stream, r.partition AS partition, count() AS rows
    FROM usage.rated_rows AS r FINAL
    INNER JOIN (SELECT stream, partition, max(ledger_offset) AS top FROM usage.ledger_batches GROUP BY stream, partition) AS t
        ON r.stream = t.stream AND r.partition = t.partition
    WHERE r.ledger_offset <= t.top -- a correction may be stored before the batch that it corrects
    GROUP BY stream, partition
) AS s ON b.stream = s.stream AND b.partition = s.partition
ORDER BY stream, partition
