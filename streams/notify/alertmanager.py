"""Alertmanager v2: labels are the identity, so they hold nothing that moves; amounts are annotations. Pure.

An alert that is not sent again before `endsAt` is over for Alertmanager: whoever sends repeats what fires (RESEND_MS).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from streams.notify import limits
from streams.notify.instants import ms_of, rfc3339
from streams.notify.notice import Notice, clip, plain

PATH = "/api/v2/alerts"
RESEND_MS = 60_000
HOLDS_MS = 5 * 60_000  # as Prometheus does: four misses and a resolve timeout
NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_]")
IDENTITY = ("alert_id", "tenant_id", "budget_id", "kind", "threshold", "severity", "owner", "scope")


def alerts(notices: Sequence[Notice], records: Sequence[Mapping[str, Any]], now: int) -> list[dict[str, Any]]:
    """The body of a POST: one alert for each record, as of `now` (ms)."""
    return [_alert(notice, record, now) for notice, record in zip(notices, records, strict=True)]


def labels_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Who it is. Dimensions are labels too, by names that Alertmanager takes; what is empty is left out, as it would do."""
    most = limits.ALERTMANAGER_LABEL.most
    dimensions = {
        f"dimension_{NOT_IN_A_NAME.sub('_', name)}": value for name, value in (record.get("dimensions") or {}).items()
    }
    own = {name: record.get(name) for name in IDENTITY}
    name = plain(record.get("budget_id") or "") or plain(record.get("kind") or "") or "usage"
    found = {"alertname": name, **dimensions, **own}
    return {k: clip(plain(v), most) for k, v in found.items() if v not in (None, "") and plain(v)}


def _alert(notice: Notice, record: Mapping[str, Any], now: int) -> dict[str, Any]:
    started = ms_of(record.get("since")) or ms_of(record.get("occurred_at")) or now
    over = min(ms_of(record.get("occurred_at")) or now, now)
    ended = over if record.get("state") == "resolved" else now + HOLDS_MS
    facts = {_annotation(name): value for name, value in notice.facts}
    sections = {_annotation(heading): "; ".join(lines) for heading, lines in notice.sections}
    said = {"summary": notice.title, "description": notice.summary, "query": notice.command, "runbook": notice.runbook}
    found = {
        "labels": labels_of(record),
        "annotations": {k: clip(v, 4_000) for k, v in {**facts, **sections, **said, "link": notice.link}.items() if v},
        "startsAt": rfc3339(min(started, ended - 1, now)),
        "endsAt": rfc3339(ended),
    }
    return found | ({"generatorURL": notice.link} if notice.is_link else {})


def _annotation(name: str) -> str:
    return NOT_IN_A_NAME.sub("_", name.lower())
