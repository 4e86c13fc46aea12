"""The one list of metric names, a sentence each (C21). Pure code returns counts; the shell publishes them here."""

from prometheus_client import Counter, Gauge, Histogram

EVENTS = Counter("usage_events_total", "Source records that reached the ledger, by what became of them.", ["outcome"])
LACKING = Counter("usage_attribution_breaches_total", "Rated events that lack a field that they must have; warned of.")
UNKNOWN_FIELDS = Counter(
    "usage_unknown_fields_total",
    "Events whose usage block holds a field that we do not know: perhaps billable.",
    ["dialect", "field"],
)
DIFFERENCE = Gauge("usage_conservation_difference", "Covered source offsets that no outcome accounts for; must be 0.")
LAG = Gauge(
    "usage_stage_lag_seconds", "Age of the oldest input in hand, not finished yet.", ["stage", "topic", "partition"]
)
APPENDS = Counter("usage_ledger_appends_total", "Batches appended to the ledger.")
RECOMPUTED = Counter("usage_ledger_recomputed_total", "Batches computed again since somebody else wrote first.")
ADJUSTED = Counter("usage_adjusted_rows_total", "Corrected rows whose differences were sent to the watch.")
SEEN_BYTES = Gauge("usage_seen_bytes", "Memory of the ids that are remembered.", ["partition"])
SEEN_IDS = Gauge("usage_seen_ids", "Ids that are remembered.", ["partition"])
GAPS = Counter("usage_totals_gaps_total", "Totals messages that did not follow the one before; healed from the ledger.")
STALE_FETCHES = Counter("usage_stale_fetches_total", "Fetches thrown away since the position moved under them.")
CATALOG_AGE = Gauge("usage_catalog_age_seconds", "Time since the newest version of the catalog was published.")
CHECKS = Counter("usage_checks_total", "Questions whether something may be spent, by verdict.", ["verdict"])
CHECK_SECONDS = Histogram(
    "usage_check_seconds",
    "Time to judge and answer one of them, without the network.",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25),
)
CHECK_STALENESS = Gauge(
    "usage_check_staleness_seconds", "How far behind is what checks know, by partition of totals.", ["partition"]
)
DOOR_SCOPES = Gauge("usage_door_scopes", "Scopes whose newest record the API holds in memory.")
DOOR_REQUESTS = Counter("usage_door_requests_total", "Requests to the API, by status.", ["status"])
COMMANDS = Counter("usage_commands_total", "Commands that the API appended, by kind.", ["kind"])
DELIVERIES = Counter(
    "usage_deliveries_total",
    "What became of deliveries, by endpoint; repeated is for Alertmanager.",
    ["endpoint", "outcome"],
)
OLDEST_DELIVERY = Gauge("usage_deliveries_oldest_seconds", "Age of the oldest delivery that is still owed.")
BREAKER = Gauge(
    "usage_endpoint_breaker", "Whether an endpoint is left alone: 0 no, 1 it is tried, 2 for a while.", ["endpoint"]
)
