"""The record on usage.alerts: everything that a notifier needs, so that it asks nobody. Pure; money as strings."""

import re
import shlex
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import quote

from streams.catalog.durations import duration_text
from streams.watch.alerts import Cause, instant, text
from streams.watch.contributors import Contributor
from streams.watch.exact import EXACT
from streams.watch.machine import Transition
from streams.watch.periods import SIZES
from streams.watch.raised import ACKNOWLEDGED, RESOLVED
from streams.watch.windows import Sums

RESOLUTIONS = {
    "cleared": "it is clear again",
    "period_ended": "its period ended",
    "late_data": "late data changed it",
    "correction": "a correction changed it",
    "limit_changed": "the limit was changed",
    "rule_gone": "the rule does not exist any more",
}
HARMLESS = re.compile(r"(?:[\w ./:=,@+~'-]|%[0-9A-F]{2})*")  # in a shell, in JSON, in the Markdown of a chat


class Window(NamedTuple):
    """The stretch of time that an alert is about; size in ms of a rolling one, zone of a calendar one."""

    name: str
    kind: str
    size_ms: int | None = None
    zone: str | None = None


class About(NamedTuple):
    """What all alerts of one scope have in common.

    kind, rule:  of which rule; `rule` is the id of a budget, burn rate, limit of runs, or rule
    scope:       canonical key; dimensions: what it names, the rule's own `where` included
    parents:     keys of the scopes of the rule's parents that this one belongs to, the nearest first
    """

    kind: str
    rule: str
    tenant: str
    scope: str
    dimensions: Mapping[str, str]
    owner: str = ""
    accountable: str = ""
    currency: str | None = None
    runbook: str = ""
    parents: tuple[str, ...] = ()


def alert_record(
    about: About,
    change: Transition,
    cause: Cause,
    window: Window | None = None,
    sums: Sums | None = None,
    contributors: Iterable[Contributor] = (),
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The record of a transition.

    window, sums, contributors: what its condition looked at; None where that is gone
    more:                       fields of a kind of its own, such as the exception that is overdue
    """
    raised, seen = change.raised, change.condition
    start, end = _stretch(change, window)
    percent = f"{EXACT.divide(raised.value, raised.limit) * 100:.1f}" if raised.limit else None
    return {
        "alert_id": change.alert_id,
        "revision": raised.revision,
        "state": raised.state,
        "reason": change.reason,
        "kind": about.kind,
        "tenant_id": about.tenant,
        "budget_id": about.rule,
        "scope": about.scope,
        "dimensions": dict(about.dimensions),
        "parents": list(about.parents),
        "severity": raised.severity,
        "threshold": raised.name,
        "value": text(raised.value),
        "limit": text(raised.limit),
        "percent": percent,
        "unit": raised.unit,
        "currency": about.currency if raised.unit == "cost" else None,
        "events": None if sums is None else sums.events,
        "unpriced_events": None if sums is None else sums.unpriced,
        "owner": about.owner or None,
        "accountable": about.accountable or None,
        "runbook": about.runbook or None,
        "window": None
        if window is None
        else {"name": window.name, "kind": window.kind, "size": _size(window.size_ms), "zone": window.zone},
        "period_start": instant(start),
        "period_end": instant(end),
        "occurred_at": instant(change.clock),
        "detected_at": instant(cause.detected),
        "since": instant(raised.since),
        "late": change.late,
        "lateness_ms": change.lateness_ms,
        "contributors": [
            {
                "dimension": c.dimension,
                "value": c.value,
                "amount": text(c.amount),
                "share": text(c.share.quantize(Decimal("0.001"))),
            }
            for c in contributors
        ],
        "query": typed(query_of(about.tenant, about.dimensions, start, end), change.alert_id),
        "link": f"/v1/alerts/{change.alert_id}",
        "silenced": None
        if change.silenced is None
        else {
            "id": change.silenced.id,
            "until": instant(change.silenced.until),
            "reason": change.silenced.reason,
        },
        "told": bool(raised.paged),
        "acknowledged": None
        if raised.ack is None
        else {"by": raised.ack.by, "at": instant(raised.ack.at), "note": raised.ack.note},
        "escalation": raised.level,
        "deduplication_key": change.alert_id,
        "ledger": {"stream": cause.stream, "partition": cause.partition, "offset": cause.ledger_offset},
        "summary": _sentence(about, change, percent, seen.said if seen else ""),
        **(more or {}),
    }


def _stretch(change: Transition, window: Window | None) -> tuple[int, int]:
    """Where to look: the period; of an episode the window as it was last seen."""
    raised = change.raised
    if not raised.episode:
        return raised.start, raised.end
    size = window.size_ms if window and window.size_ms else raised.end - raised.since
    return raised.end - max(size, 0), raised.end


def _size(ms: int | None) -> str | None:
    """As people write it, `1h`."""
    return None if ms is None else next((size for size, length in SIZES.items() if length == ms), duration_text(ms))


def _sentence(about: About, change: Transition, percent: str | None, said: str) -> str:
    raised = change.raised
    unit = about.currency if raised.unit == "cost" and about.currency else raised.unit
    figures = said or (
        f"{percent} % of {text(raised.limit)} {unit}" if percent is not None else f"{text(raised.value)} {unit}"
    )
    ends = [f"resolved: {RESOLUTIONS.get(change.reason, change.reason)}"] if raised.state == RESOLVED else []
    if raised.state == ACKNOWLEDGED and raised.ack:
        ends.append(f"acknowledged by {raised.ack.by}")
    if change.reason == "escalated":
        ends.append(f"nobody acknowledged it, level {raised.level}")
    if change.late and raised.state != RESOLVED:
        ends.append("known late")
    return "; ".join([f"{about.scope}: {figures}", *ends])


def where_of(dimensions: Mapping[str, str]) -> list[str]:
    """A scope's dimensions as the query `alert_events` takes them; what would end a pair or a list is escaped."""
    return [f"{name}={quote(value, safe='/:@ ')}" for name, value in sorted(dimensions.items()) if name != "tenant_id"]


def query_of(tenant: str, dimensions: Mapping[str, str], start: int, end: int) -> str:
    """The named question that lists the events behind it, as it is typed."""
    given = {
        "tenant": tenant,
        "where": ",".join(where_of(dimensions)),
        "start": instant(start)[:-1].replace("T", " "),
        "end": instant(end)[:-1].replace("T", " "),
        "top": 20,
    }
    return " ".join(
        ["usage-streams query alert_events", *(f"--param {shlex.quote(f'{k}={v}')}" for k, v in given.items())]
    )


def typed(query: str, alert_id: str, most: int | None = None) -> str:
    """The query where nothing in it can mean anything else and it is no longer than that; else what shows the same by the id.

    A tenant may have any name, people paste what they see, and what they see went through JSON or a chat: quotes that hold in
    one shell alone are not enough.
    """
    if query and HARMLESS.fullmatch(query) and (most is None or len(query) <= most):
        return query
    return f"usage-streams alerts explain {alert_id}" if HARMLESS.fullmatch(alert_id) else ""
