"""What is known of one alert, gathered: evidence, thresholds, causes, events, history, annotations, silences."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from clickhouse_connect.driver.exceptions import ClickHouseError

from streams.catalog.limits import Budget
from streams.cli.query import plain, show
from streams.cli.screen import Screen, Table, marked
from streams.cli.watching import Record, Seen, figures, short, what_of
from streams.outside import Away
from streams.warehouse.client import connect
from streams.warehouse.queries import run_query
from streams.watch.alerts import text
from streams.watch.commands import ms_of
from streams.watch.raised import RESOLVED
from streams.watch.scopes import dimensions_of
from streams.watch.silences import Subject, matches, silences

NEAR = timedelta(hours=24)  # before it began: what was deployed then may be the cause


def explained(seen: Seen, alert_id: str, clickhouse_url: str, count: int) -> dict[str, Any]:
    """Everything, as one value for machines; `events` is null when the warehouse is away, `events_problem` says why."""
    record = seen.with_ack(seen.alerts.newest(alert_id))
    events, problem = contributing(clickhouse_url, record, count) if count else ([], "")
    return {
        "alert": record,
        "thresholds": thresholds(seen, record),
        "history": [_change(r) for r in seen.alerts.history(alert_id)],
        "contributors": record.get("contributors") or [],
        "events": events,
        "events_problem": problem or None,
        "annotations": annotations(seen, record),
        "silences": [held] if (held := hushed_now(seen)(record)) else [],
    }


def subject_of(record: Mapping[str, Any]) -> Subject:
    """What silences and annotations are matched with."""
    dimensions = record.get("dimensions") or dimensions_of(str(record["scope"]))
    return Subject(record["kind"], record["budget_id"], record["tenant_id"], record.get("owner") or "", dimensions)


def thresholds(seen: Seen, record: Record) -> list[dict[str, Any]]:
    """Every threshold of the budget with its amount, and the alert of this scope and time that is about it, if any."""
    of_scope = [r for r in seen.records() if r["scope"] == record["scope"]]
    same = {str(r["threshold"]): r for r in of_scope if _overlaps(r, record)}
    if (record.get("window") or {}).get("kind") == "rolling":  # each was last told at a time of its own
        same |= {str(r["threshold"]): r for r in of_scope if r["state"] != RESOLVED}
    same[str(record["threshold"])] = record
    found = next((b for b in seen.catalog.budgets if b.id == record["budget_id"]), None)
    names = dict.fromkeys(map(text, found.thresholds)) if isinstance(found, Budget) else {}
    rows = []
    for name in [*names, *sorted(same.keys() - names.keys())]:
        alert, limit = same.get(name), record.get("limit")
        amount = text(Decimal(limit) * Decimal(name)) if name in names and limit else alert["limit"] if alert else limit
        state = alert["state"] if alert else "not crossed"
        rows.append(
            {"threshold": name, "amount": amount, "state": state, "alert_id": alert["alert_id"] if alert else None}
        )
    return rows


def _overlaps(one: Record, other: Record) -> bool:
    """Whether they look at the same time; episodes of a rolling window begin at slices of their own."""
    start, end = one.get("period_start") or "", one.get("period_end") or ""
    return start < (other.get("period_end") or "") and (other.get("period_start") or "") < end


def _change(r: Record) -> dict[str, Any]:
    said = {
        k: r.get(k) for k in ("revision", "occurred_at", "detected_at", "state", "reason", "value", "limit", "percent")
    }
    said |= {"late": bool(r.get("late")), "escalation": r.get("escalation") or 0}
    return said | {"silenced": r.get("silenced"), "acknowledged": r.get("acknowledged")}


def contributing(clickhouse_url: str, record: Record, count: int) -> tuple[list[dict[str, Any]] | None, str]:
    """The dearest events behind it, or why nobody knows."""
    from streams.watch.alert_records import where_of

    given = {
        "tenant": record["tenant_id"],
        "where": where_of(subject_of(record).dimensions),
        "start": _sql(record["period_start"]),
        "end": _sql(record["period_end"]),
        "top": count,
    }
    try:
        with connect(clickhouse_url) as client:
            rows = run_query(client, "alert_events", given)
    except (ClickHouseError, Away, OSError) as error:
        return None, str(error).split("\n", 1)[0]
    return [{k: v if v is None or isinstance(v, int | str) else plain(v) for k, v in row.items()} for row in rows], ""


def _sql(moment: str) -> str:
    return moment.removesuffix("Z").replace("T", " ")


def annotations(seen: Seen, record: Record) -> list[dict[str, Any]]:
    """What happened from a day before it began until it was last seen, and may be about it."""
    subject, severity = subject_of(record), record["severity"]
    first = datetime.fromisoformat(record.get("since") or record["occurred_at"])
    last = datetime.fromisoformat(record["occurred_at"])
    found = [
        a
        for a in seen.commands.annotations.values()
        if first - NEAR <= a.moment <= last and matches(a.match, subject, severity)
    ]
    return [
        {
            "at": f"{a.moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "type": a.type,
            "text": a.text,
            "by": a.by,
            "link": a.link or None,
        }
        for a in sorted(found, key=lambda a: a.moment)
    ]


def hushed_now(seen: Seen) -> Callable[[Record], dict[str, Any] | None]:
    """What silences an alert now, if anything does, whatever held when its record was written."""
    known, now = silences(seen.catalog.silences, seen.catalog.maintenance, seen.commands.state), datetime.now(UTC)

    def of(record: Record) -> dict[str, Any] | None:
        hush = known.of(subject_of(record), ms_of(now))(record["severity"])
        if hush is None:
            return None
        until = datetime.fromtimestamp(hush.until / 1000, UTC)
        return {"id": hush.id, "until": f"{until:%Y-%m-%dT%H:%M:%SZ}", "reason": hush.reason}

    return of


def show_explained(found: Mapping[str, Any], screen: Screen) -> None:
    """The same for people."""
    record = found["alert"]
    screen.print(marked(record["summary"], "bold"), soft_wrap=True)
    window = record.get("window") or {}
    span = f"{short(record['period_start'])} - {short(record['period_end'])} UTC"
    rows = {
        "alert": f"{record['alert_id']}  revision {record['revision']}",
        "state": " ".join(filter(None, (record["state"], record.get("reason", "")))),
        "severity": record["severity"],
        "rule": f"{record['budget_id']} ({record['kind']}), threshold {record['threshold']}",
        "whose": what_of(record),
        "value": figures(record),
        "window": " ".join(filter(None, (window.get("kind"), window.get("size"), window.get("zone"), span))),
        "events": ""
        if record.get("events") is None
        else f"{record['events']:,}, {record['unpriced_events']:,} without a price",
        "since": f"{short(record.get('since') or record['occurred_at'])} UTC",
        "late": f"{record['lateness_ms'] / 1000:,.0f} s" if record.get("late") else "",
        "owner": record.get("owner") or "nobody",
        "accountable": record.get("accountable") or "nobody",
        "runbook": record.get("runbook") or "",
        "acknowledged": _ack(record.get("acknowledged")),
        "silenced": "; ".join(f"until {short(s['until'])} UTC: {s['reason']} ({s['id']})" for s in found["silences"]),
        "query": record.get("query") or "",
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    screen.print(table)
    _block(screen, "thresholds", found["thresholds"], ("threshold", "amount", "state", "alert_id"))
    _block(screen, "who causes it", found["contributors"], ("dimension", "value", "amount", "share"))
    history = [h | {"at": short(h["occurred_at"]), "told": told_of(h)} for h in found["history"]]
    _block(screen, "history, UTC", history, ("revision", "at", "state", "reason", "value", "limit", "told"))
    near = [a | {"at": short(a["at"]), "link": a["link"] or ""} for a in found["annotations"]]
    _block(screen, "what happened near it, UTC", near, ("at", "type", "text", "by", "link"))
    if found["events"] is None:
        screen.print()
        screen.print(f"events: unknown: {found['events_problem']}", soft_wrap=True)
    elif found["events"]:
        screen.print()
        screen.print("the dearest events in its window", style="bold")
        show(found["events"], screen)


def _ack(ack: Mapping[str, Any] | None) -> str:
    if not ack:
        return ""
    return f"by {ack['by']} at {short(ack['at'])} UTC" + (f": {ack['note']}" if ack.get("note") else "")


def told_of(change: Mapping[str, Any]) -> str:
    """Why nobody was told, who took it on, or how far it went."""
    if change.get("silenced"):
        return f"nobody: {change['silenced']['reason']}"
    if change["state"] == "acknowledged" and change.get("acknowledged"):
        return f"taken by {change['acknowledged']['by']}"
    return f"level {change['escalation']}" if change["escalation"] else ""


def _block(screen: Screen, title: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    if not rows:
        return
    screen.print()
    screen.print(title, style="bold")
    table = Table(*(c.replace("_", " ") for c in columns), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("" if row.get(c) is None else str(row[c]) for c in columns))
    screen.print(table)
