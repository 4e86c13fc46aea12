"""Alerts about the catalog itself: it grew old, or a vendor changed a price. Pure; the same cause has the same id.

They belong to no tenant: `tenant_id` is "*". The shape is that of every alert (watch/alerts.py), what has no meaning is null.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from streams.catalog.alerting import Rule
from streams.catalog.changes import Change
from streams.catalog.models import Catalog
from streams.watch.alerts import FIRING, RESOLVED, id_of, instant, text
from streams.watch.scopes import dimensions_of, key_of

EVERYBODY = "*"


def price_change_alerts(
    catalog: Catalog, changes: Iterable[Change], sequence: int, now: datetime
) -> list[dict[str, Any]]:
    """One alert for each rule and model whose price changed by enough in this version, with its largest change."""
    largest = dict[tuple[str, str], Change]()
    counts = defaultdict[tuple[str, str], int](int)
    for change in changes:  # the largest comes first
        if change.relative is not None and change.relative != 0:
            largest.setdefault((change.provider, change.model), change)
            counts[change.provider, change.model] += 1
    found = []
    for rule in (r for r in catalog.rules if r.kind == "price_change"):
        for (provider, model), change in largest.items():
            percent = (change.relative or Decimal(0)) * 100
            if abs(percent) < (rule.percent or 0):
                continue
            scope = key_of(rule.id, EVERYBODY, (("provider", provider), ("model", model)))
            others = f" and {counts[provider, model] - 1} more" if counts[provider, model] > 1 else ""
            said = f"{provider}/{model}: {change.bucket} {percent:+.1f} %{others}, catalog version {sequence}"
            record = _record(rule, scope, id_of(scope, "price_change", sequence), FIRING, 1, said, now)
            found.append(
                record | {"value": text(abs(percent)), "limit": text(rule.percent or Decimal(0)), "unit": "percent"}
            )
    return found


def catalog_age_alerts(catalog: Catalog, published: Sequence[datetime], now: datetime) -> Iterator[dict[str, Any]]:
    """published: when each version was. One that was or is the newest for longer than a rule allows has fired; the next one
    resolves it. Asked again it says the same, so that nobody keeps count of what was said."""
    for rule in catalog.rules:
        if rule.days is None:
            continue
        scope = key_of(rule.id, EVERYBODY, ())
        for start, next_ in zip(published, [*published[1:], None], strict=True):
            too_old = start + timedelta(days=rule.days)
            if (next_ or now) <= too_old:
                continue
            name = id_of(scope, "catalog_age", int(start.timestamp()))
            said = (
                f"no catalog since {start:%Y-%m-%d}, {rule.days} days are allowed; run `usage-streams catalog update`"
            )
            state, revision, at = (FIRING, 1, too_old) if next_ is None else (RESOLVED, 2, next_)
            found = _record(rule, scope, name, state, revision, said, at)
            yield found | {"value": str((at - start).days), "limit": str(rule.days), "unit": "days"}


def _record(
    rule: Rule, scope: str, name: str, state: str, revision: int, said: str, moment: datetime
) -> dict[str, Any]:
    at = instant(int(moment.timestamp() * 1000))
    return {
        "alert_id": name,
        "revision": revision,
        "state": state,
        "reason": "crossed" if state == FIRING else "cleared",
        "kind": rule.kind,
        "tenant_id": EVERYBODY,
        "budget_id": rule.id,
        "scope": scope,
        "dimensions": dimensions_of(scope),
        "severity": rule.severity,
        "threshold": "1",
        "currency": None,
        "owner": rule.owner or None,
        "accountable": rule.accountable or None,
        "runbook": rule.runbook or None,
        "period_start": at,
        "period_end": at,
        "occurred_at": at,
        "detected_at": at,
        "late": False,
        "lateness_ms": 0,
        "contributors": [],
        "link": f"/v1/alerts/{name}",
        "silenced": None,
        "told": True,
        "acknowledged": None,
        "escalation": 0,
        "deduplication_key": name,
        "summary": said,
    }
