-- Answers:  the read paths: every one deduplicates (FINAL) and hides voided rows.
-- Grain:    usage_events: event; usage_lines: event x bucket; usage_daily: tenant, UTC day and the main dimensions.
-- Written:  never; views. usage_daily adds money of one currency only, and counts what has no price beside it.
CREATE VIEW IF NOT EXISTS usage.usage_events AS SELECT * FROM usage.rated_rows FINAL WHERE is_deleted = 0;

CREATE VIEW IF NOT EXISTS usage.usage_lines AS
SELECT
    r.tenant_id AS tenant_id, r.event_time AS event_time, r.stream AS stream, r.partition AS partition,
    r.source_offset AS source_offset, r.event_id AS event_id, r.provider AS provider, r.model AS model, r.team AS team,
    r.project AS project, r.application AS application, r.user_id AS user_id, r.currency AS currency,
    line.bucket AS bucket, line.quantity AS quantity, line.unit_price AS unit_price, line.amount AS amount,
    line.price_id AS price_id
FROM usage.rated_rows AS r FINAL ARRAY JOIN r.lines AS line WHERE r.is_deleted = 0;

CREATE VIEW IF NOT EXISTS usage.usage_daily AS
SELECT
    r.tenant_id AS tenant_id, toDate(r.event_time) AS day, r.provider AS provider, r.model AS model, r.team AS team,
    r.project AS project, r.application AS application, r.environment AS environment, r.cost_center AS cost_center,
    r.currency AS currency, count() AS events, countIf(r.effective_cost IS NULL) AS unpriced_events,
    sum(r.input_tokens) AS input_tokens, sum(r.output_tokens) AS output_tokens, sum(r.total_tokens) AS total_tokens,
    sum(r.list_cost) AS list_cost, sum(r.contracted_cost) AS contracted_cost, sum(r.effective_cost) AS effective_cost
FROM usage.rated_rows AS r FINAL WHERE r.is_deleted = 0
GROUP BY tenant_id, day, provider, model, team, project, application, environment, cost_center, currency;

CREATE VIEW IF NOT EXISTS usage.alerts AS
SELECT * FROM usage.alerts_rows FINAL ORDER BY revision DESC LIMIT 1 BY tenant_id, alert_id;

CREATE VIEW IF NOT EXISTS usage.budgets AS SELECT * FROM usage.budgets_rows FINAL WHERE is_deleted = 0;
