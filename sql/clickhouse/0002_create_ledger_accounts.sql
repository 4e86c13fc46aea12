-- Answers:  up to where is the ledger stored, and does it account for every source offset?
-- Grain:    marks: one acknowledged insert; batches: one counted ledger message.
-- Written:  by streams/warehouse, after the rows are acknowledged: rows, then batches, then the mark.
-- Key:      the position in the log; writing it twice is harmless.
CREATE TABLE IF NOT EXISTS usage.ledger_marks
(
    topic LowCardinality(String), partition Int32, ledger_offset Int64, stream LowCardinality(String), source_to Int64,
    marked_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(marked_at)
ORDER BY (topic, partition, ledger_offset);

CREATE TABLE IF NOT EXISTS usage.ledger_batches
(
    stream LowCardinality(String), partition Int32, ledger_offset Int64, base Int64, to Int64,
    rated Int64, duplicate Int64, dead Int64, skipped Int64, lost Int64, catalog_sequence Int64,
    appended_at DateTime64(3, 'UTC') -- when the broker took the batch
)
ENGINE = ReplacingMergeTree
ORDER BY (stream, partition, ledger_offset);
