-- Answers:  what was corrected, from what to what, by which run, why, and who started it?
-- Grain:    adjustment_rows: a corrected event in a run; runs_rows: the start or the end of a run.
-- Written:  by streams/warehouse/adjustments.py from usage.adjustments and usage.runs. rated_rows holds the newest version of an
--           event only, since merges drop the others: what it was before, the original included, is read here (old_…).
-- Key:      adjustment_rows: that of rated_rows and the run; runs_rows: run and state. Writing either twice is harmless.
CREATE TABLE IF NOT EXISTS usage.adjustment_rows
(
    tenant_id LowCardinality(String), event_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    stream LowCardinality(String), partition Int32, source_offset Int64, run UInt64, run_id LowCardinality(String),
    kind LowCardinality(String), reason LowCardinality(String), ledger_offset Int64, adjustment_offset Int64,
    adjusted_at DateTime64(3, 'UTC'), event_id String CODEC(ZSTD(3)), provider LowCardinality(String),
    model LowCardinality(String), team LowCardinality(Nullable(String)),
    old_pricing_status LowCardinality(Nullable(String)), new_pricing_status LowCardinality(Nullable(String)),
    old_currency LowCardinality(Nullable(String)), new_currency LowCardinality(Nullable(String)),
    old_list_cost Nullable(Decimal(38, 18)), new_list_cost Nullable(Decimal(38, 18)),
    old_contracted_cost Nullable(Decimal(38, 18)), new_contracted_cost Nullable(Decimal(38, 18)),
    old_effective_cost Nullable(Decimal(38, 18)), new_effective_cost Nullable(Decimal(38, 18)),
    old_input_tokens Nullable(Int64), new_input_tokens Nullable(Int64),
    old_output_tokens Nullable(Int64), new_output_tokens Nullable(Int64),
    old_total_tokens Nullable(Int64), new_total_tokens Nullable(Int64),
    old_lines Array(Tuple(bucket LowCardinality(String), quantity Int64, unit_price Nullable(Decimal(38, 18)),
        amount Nullable(Decimal(38, 18)), price_id Nullable(String))),
    new_lines Array(Tuple(bucket LowCardinality(String), quantity Int64, unit_price Nullable(Decimal(38, 18)),
        amount Nullable(Decimal(38, 18)), price_id Nullable(String)))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (tenant_id, event_time, stream, partition, source_offset, run)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS usage.runs_rows
(
    run UInt64, state LowCardinality(String), run_id String, kind LowCardinality(String), reason String, started_by String,
    stream LowCardinality(String), catalog_sequence Int64, selection String, vector Array(Int64), adjusted Int64,
    topic_offset Int64, recorded_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (run, state);

CREATE VIEW IF NOT EXISTS usage.adjustments AS SELECT * FROM usage.adjustment_rows FINAL;

CREATE VIEW IF NOT EXISTS usage.runs AS
SELECT
    r.run AS run, any(r.run_id) AS run_id, any(r.kind) AS kind, if(countIf(r.state = 'ended') = 0, 'open', 'ended') AS state,
    any(r.reason) AS reason, any(r.started_by) AS started_by, any(r.catalog_sequence) AS catalog_sequence,
    any(r.selection) AS selection, any(r.vector) AS vector, max(r.adjusted) AS adjusted,
    min(r.recorded_at) AS started_at, maxOrNullIf(r.recorded_at, r.state = 'ended') AS ended_at
FROM usage.runs_rows AS r FINAL GROUP BY run;
