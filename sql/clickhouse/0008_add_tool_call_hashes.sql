-- Answers:  which tool was called again and again with the same arguments?
-- Grain:    as usage.rated_rows. Each item is NAME:HASH of one tool call; the arguments themselves are nowhere.
-- Written:  by the meter, inserted with the row. Rows from before have none, which is not known to be none: see tool_calls.
-- Key:      unchanged.
ALTER TABLE usage.rated_rows ADD COLUMN IF NOT EXISTS tool_call_hashes Array(String) CODEC(ZSTD(3));

-- A view keeps the columns that it was created with.
CREATE OR REPLACE VIEW usage.usage_events AS SELECT * FROM usage.rated_rows FINAL WHERE is_deleted = 0;
