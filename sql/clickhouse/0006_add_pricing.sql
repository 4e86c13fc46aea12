-- Answers:  which class of service decided the price, and what is the cost in the tenant's own currency?
-- Grain:    one usage event, beside what rated_rows has.
-- Written:  by streams/warehouse/insert.py. Rows of earlier versions have null here: unknown, never 0.
-- Key:      unchanged. The view is created again, since a view keeps the columns of its day.
ALTER TABLE usage.rated_rows ADD COLUMN IF NOT EXISTS tier_source LowCardinality(Nullable(String));
ALTER TABLE usage.rated_rows ADD COLUMN IF NOT EXISTS converted_cost Nullable(Decimal(38, 18));
ALTER TABLE usage.rated_rows ADD COLUMN IF NOT EXISTS converted_currency LowCardinality(Nullable(String));
ALTER TABLE usage.rated_rows ADD COLUMN IF NOT EXISTS rate_id LowCardinality(Nullable(String));

CREATE OR REPLACE VIEW usage.usage_events AS SELECT * FROM usage.rated_rows FINAL WHERE is_deleted = 0;
