-- Question: which runs corrected what was used in [start, end), who started each and why, and what did it change? Per currency.
SELECT r.run AS run, r.run_id AS run_id, r.kind AS kind, r.state AS state, r.reason AS reason, r.started_by AS started_by,
    r.started_at AS started_at, r.ended_at AS ended_at, a.currency AS currency, a.events AS events, a.old_cost AS old_cost,
    a.new_cost AS new_cost, a.new_cost - a.old_cost AS difference, a.unpriced_before AS unpriced_before
FROM usage.runs AS r
LEFT JOIN
(
    SELECT run, coalesce(new_currency, old_currency) AS currency, count() AS events,
        sum(ifNull(old_effective_cost, toDecimal128(0, 18))) AS old_cost,
        sum(ifNull(new_effective_cost, toDecimal128(0, 18))) AS new_cost,
        countIf(old_effective_cost IS NULL) AS unpriced_before
    FROM usage.adjustments
    WHERE event_time >= {start:DateTime64(3, 'UTC')} AND event_time < {end:DateTime64(3, 'UTC')}
    GROUP BY run, currency
) AS a ON a.run = r.run
ORDER BY run, currency
