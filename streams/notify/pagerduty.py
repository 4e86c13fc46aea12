"""PagerDuty Events API v2: one event for one alert; its id is the deduplication key, so a repeated one opens nothing. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from streams.notify import limits
from streams.notify.notice import Notice, clip, plain

URL = "https://events.pagerduty.com/v2/enqueue"
ACTIONS = {"acknowledged": "acknowledge", "resolved": "resolve"}
SEVERITIES = {"info": "info", "warning": "warning", "critical": "critical"}
LONG = 1_000
DETAILS = (
    "scope", "value", "limit", "percent", "unit", "currency", "threshold", "reason", "window", "owner", "accountable", "since",
    "occurred_at", "detected_at", "late", "events", "unpriced_events", "contributors", "dimensions", "summary",
)  # fmt: skip


def event(notice: Notice, record: Mapping[str, Any], hand_off: str = "") -> dict[str, Any]:
    """The event without `routing_key`, which the sender adds: it is the secret."""
    key = str(record.get("deduplication_key") or record["alert_id"])[: limits.PAGERDUTY_DEDUP_KEY.most]
    action = ACTIONS.get(str(record.get("state")), "trigger")
    found: dict[str, Any] = {
        "event_action": action,
        "dedup_key": key,
        "client": "usage-streams",
        "payload": {
            "summary": clip(notice.title, limits.PAGERDUTY_SUMMARY.most),
            "source": clip(plain(record.get("scope") or "") or "usage-streams", LONG),
            "severity": SEVERITIES.get(notice.severity, "warning"),
            "component": clip(plain(record.get("budget_id") or ""), LONG),
            "group": clip(plain(record.get("owner") or ""), LONG),
            "class": str(record.get("kind", "")),
            "custom_details": _details(notice, record, hand_off),
        },
    }
    if record.get("occurred_at"):
        found["payload"]["timestamp"] = record["occurred_at"]
    if notice.is_link:
        found["client_url"] = notice.link
        found["links"] = [{"href": notice.link, "text": "alert"}]
    if notice.runbook.startswith(("http://", "https://")):
        found["links"] = [*found.get("links", ()), {"href": notice.runbook, "text": "runbook"}]
    if len(json.dumps(found).encode()) > limits.PAGERDUTY_BODY.most:
        found["payload"]["custom_details"] = {"query": clip(notice.command, LONG), "owner": record.get("owner")}
        found.pop("links", None)
    return found


def _details(notice: Notice, record: Mapping[str, Any], hand_off: str) -> dict[str, Any]:
    found = {name: record[name] for name in DETAILS if record.get(name) is not None}
    said = {"query": notice.command, "link": notice.link, "runbook": notice.runbook, "hand_off": hand_off}
    return found | {name: clip(plain(text), 2 * LONG) for name, text in said.items() if text}
