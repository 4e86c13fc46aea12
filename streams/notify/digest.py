"""The weekly digest of an owner: what was spent against the week before, what fired, which budgets are at risk. Pure.

A digest's body (also what webhooks get): owner, digest, week {start, end, zone}, note, spend [{budget_id, scope, currency,
this_week, last_week}], alerts [{alert_id, budget_id, scope, severity, state, times}], budgets [{scope, used, limit, percent}].
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from streams.catalog.alerting import DAYS
from streams.catalog.routes import Digest
from streams.notify.instants import rfc3339, utc
from streams.notify.notice import Notice, amount, plain

MOST = 20  # lines of a section
LATE_MS = 24 * 3_600_000  # a digest that could not be sent for so long is last week's news
TOLD_AGAIN = {"reminder", "escalated", "silence_over"}  # reasons of an alert that fired already
AT_RISK = Decimal(80)  # percent


def due(digest: Digest, now: int) -> int | None:
    """The moment (ms) at which the current digest is due, None when that is longer ago than a day.

    Hours that a zone skips or repeats are as zoneinfo has them: the first of two, the same instant for one that is not there.
    """
    zone = ZoneInfo(digest.zone)
    local = utc(now).astimezone(zone)
    back = (local.weekday() - DAYS.index(digest.day)) % 7
    day = local.date() - timedelta(days=back)
    for candidate in (day, day - timedelta(days=7)):
        moment = datetime(candidate.year, candidate.month, candidate.day, digest.hour, tzinfo=zone)
        at = int(moment.timestamp() * 1000)
        if at <= now:
            return at if now - at < LATE_MS else None
    return None


def weeks_before(digest: Digest, at: int, weeks: int = 1) -> int:
    """When the digest so many weeks before was due, in ms: weeks of the zone, an hour more or less where its clocks change."""
    zone = ZoneInfo(digest.zone)
    day = utc(at).astimezone(zone).date() - timedelta(weeks=weeks)
    return int(datetime(day.year, day.month, day.day, digest.hour, tzinfo=zone).timestamp() * 1000)


def digest_id(digest: str, owner: str, at: int, endpoint: str) -> str:
    """One for each week, owner and endpoint: whoever computes it again tells nobody again."""
    return hashlib.sha256(f"digest\n{digest}\n{owner}\n{at}\n{endpoint}".encode()).hexdigest()[:32]


def owners_of(digest: Digest, owners: Iterable[str]) -> list[str]:
    """Who gets one: those named, else everybody who owns a budget."""
    return sorted(set(digest.owners) or {o for o in owners if o})


def at_risk(budgets: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Records of usage.budgets that are used to 80 % at least, or forecast to end before their period; the fullest first."""
    found = []
    for one in budgets:
        percent = Decimal(str(one.get("percent") or _percent(one)))
        forecast = one.get("forecast") or {}
        exhausts = forecast.get("exhausts_at")
        ends_early = bool(exhausts) and str(exhausts) < str(one.get("period_end", ""))
        if percent >= AT_RISK or ends_early or one.get("verdict") not in (None, "allow", "report"):
            kept = {k: one.get(k) for k in ("scope", "budget_id", "unit", "currency", "used", "limit", "verdict")}
            found.append(kept | {"percent": f"{percent:.1f}", "exhausts_at": exhausts})
    return sorted(found, key=lambda b: (-Decimal(b["percent"]), str(b["scope"])))


def _percent(one: Mapping[str, Any]) -> Decimal:
    limit, used = Decimal(str(one.get("limit") or 0)), Decimal(str(one.get("used") or 0))
    return used * 100 / limit if limit else Decimal(0)


def fired(alerts: Iterable[Mapping[str, Any]], start: int, end: int) -> list[dict[str, Any]]:
    """Alerts that people were told in [start, end) that they fire, each as it stands, the most severe first.

    times: how often it began to fire; 0: it had begun before
    """
    latest, times, seen = dict[str, Mapping[str, Any]](), dict[str, int](), set[tuple[str, int]]()
    for one in alerts:
        name = str(one["alert_id"])
        revision = name, int(one.get("revision") or 0)  # a replay published some of them again
        if one.get("state") == "firing" and rfc3339(start) <= str(one.get("occurred_at")) < rfc3339(end):
            times[name] = times.get(name, 0) + (one.get("reason") not in TOLD_AGAIN and revision not in seen)
        seen.add(revision)
        if name not in latest or int(latest[name].get("revision") or 0) < int(one.get("revision") or 0):
            latest[name] = one
    ranks = {"critical": 0, "warning": 1, "info": 2}
    found = [
        {k: latest[n].get(k) for k in ("alert_id", "budget_id", "scope", "severity", "state")} | {"times": t}
        for n, t in times.items()
    ]
    return sorted(found, key=lambda a: (ranks.get(str(a["severity"]), 3), -int(a["times"]), str(a["scope"])))


def body_of(
    digest: Digest,
    owner: str,
    at: int,
    spend: Sequence[Mapping[str, Any]],
    alerts: Sequence[Mapping[str, Any]],
    budgets: Sequence[Mapping[str, Any]],
    note: str,
) -> dict[str, Any]:
    """The digest as data; `note` says what could not be found out."""
    return {
        "digest": digest.id,
        "owner": owner,
        "week": {"start": rfc3339(weeks_before(digest, at)), "end": rfc3339(at), "zone": digest.zone},
        "spend": list(spend)[:100],
        "alerts": list(alerts)[:50],
        "budgets": list(budgets)[:50],
        "note": note,
    }


def digest_notice(name: str, body: Mapping[str, Any], public_url: str) -> Notice:
    """As people read it."""
    week, spend = body.get("week") or {}, body.get("spend") or ()
    said = _largest(spend)
    sections = (
        ("Spend by scope", [_spent(one) for one in spend]),
        (
            "Alerts",
            [_fired(one) for one in body.get("alerts") or ()],
        ),
        ("Budgets at risk", [_risk(one) for one in body.get("budgets") or ()]),
    )
    note = str(body.get("note") or "")
    return Notice(
        key=name,
        state="digest",
        severity="info",
        title=plain(f"AI spend of {body.get('owner')}, week to {str(week.get('end', ''))[:10]}"),
        summary=plain(f"{said or 'no spend is known'}{f'. {note}' if note else ''}"),
        facts=(("Owner", plain(body.get("owner"))), ("Week", plain(f"{week.get('start')} to {week.get('end')}"))),
        sections=tuple((name, _first(lines)) for name, lines in sections if lines),
        link=public_url,
        command=f"usage-streams query cost_by_team --param start='{_sql(week.get('start'))}'"
        f" --param end='{_sql(week.get('end'))}'",
    )


def _fired(one: Mapping[str, Any]) -> str:
    times = f"fired {one['times']} x" if one["times"] else "fired before this week"
    return plain(f"{one['severity']}: {one['scope']}, {one['state']}, {times}")


def _largest(spend: Sequence[Mapping[str, Any]]) -> str:
    """Of the budget with the most spend its total, in each currency; budgets overlap, so nothing is added across them."""
    totals = dict[tuple[str, str], list[Decimal]]()
    for one in spend:
        both = totals.setdefault((str(one.get("budget_id")), str(one.get("currency"))), [Decimal(0), Decimal(0)])
        both[0] += Decimal(str(one.get("this_week") or 0))
        both[1] += Decimal(str(one.get("last_week") or 0))
    found = []
    for currency in sorted({currency for _, currency in totals}):
        own = {budget: both for (budget, of), both in totals.items() if of == currency}
        budget, (now, before) = max(own.items(), key=lambda t: t[1][0])
        said = f"{amount(now, currency)} against {amount(before, currency)} the week before{_change(now, before)}"
        found.append(f"{budget}: {said}")
    return "; ".join(found)


def _first(lines: Sequence[str]) -> tuple[str, ...]:
    return (*lines[:MOST], f"and {len(lines) - MOST} more") if len(lines) > MOST else tuple(lines)


def _change(now: Decimal, before: Decimal) -> str:
    return f" ({(now - before) * 100 / before:+.0f} %)" if before else ""


def _spent(one: Mapping[str, Any]) -> str:
    now, before = Decimal(str(one.get("this_week") or 0)), Decimal(str(one.get("last_week") or 0))
    currency = one.get("currency")
    return plain(
        f"{one.get('scope')}: {amount(now, currency)}, before {amount(before, currency)}{_change(now, before)}"
    )


def _risk(one: Mapping[str, Any]) -> str:
    ends = f", exhausted {one['exhausts_at']}" if one.get("exhausts_at") else ""
    limit = amount(one.get("limit"), one.get("unit"), one.get("currency"))
    return plain(f"{one.get('scope')}: {one.get('percent')} % of {limit}, {one.get('verdict')}{ends}")


def _sql(moment: object) -> str:
    return str(moment or "")[:19].replace("T", " ")
