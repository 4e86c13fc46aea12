-- Answers:  who answers for usage, how do we know it, and what is missing?
-- Grain:    as usage.rated_rows. Lists hold names of fields: which are missing, contradicted, filled, and from where.
-- Written:  by the meter (streams/pipeline/attribute.py), inserted with the row.
-- Key:      unchanged. Rows from before are judged when they are read, by the minimum of production: nothing is silently complete.
ALTER TABLE usage.rated_rows
    ADD COLUMN IF NOT EXISTS archetype LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS accountable LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS lacks Array(LowCardinality(String)) DEFAULT if(
        coalesce(nullIf(environment, ''), 'production') = 'production',
        arrayFilter(field -> field != '', [
            if(coalesce(application, '') = '', 'application', ''),
            if(coalesce(business_owner, '') = '' AND coalesce(technical_owner, '') = '', 'owner', ''),
            if(coalesce(environment, '') = '', 'environment', ''),
            if(coalesce(cost_center, '') = '', 'cost_center', ''),
            if(coalesce(use_case, '') = '', 'use_case', ''),
            if(coalesce(business_process, '') = '', 'business_process', ''),
            if(coalesce(request_type, '') = '', 'request_type', '')]),
        []),
    ADD COLUMN IF NOT EXISTS contradicts Array(LowCardinality(String)), -- declared otherwise than the workload registry says
    ADD COLUMN IF NOT EXISTS unregistered Array(LowCardinality(String)), -- workload, key, model: in no registry of the tenant
    ADD COLUMN IF NOT EXISTS from_workload Array(LowCardinality(String)), -- fields that the workload filled; the rest is declared
    ADD COLUMN IF NOT EXISTS from_key Array(LowCardinality(String)),
    ADD COLUMN IF NOT EXISTS from_model Array(LowCardinality(String));

-- A step has a name; as a number every one of them arrived as null.
ALTER TABLE usage.rated_rows MODIFY COLUMN step Nullable(String) CODEC(ZSTD(3));

-- A view keeps the columns that it was created with.
CREATE OR REPLACE VIEW usage.usage_events AS SELECT * FROM usage.rated_rows FINAL WHERE is_deleted = 0;
