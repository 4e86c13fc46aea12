"""An alert or a digest as people read it, before any channel gives it its form. Pure.

Values come from events, so they are hostile: control characters go, and every channel escapes what means something to it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from streams.watch.alert_records import typed

Record = Mapping[str, Any]
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
MOST_CONTRIBUTORS = 5
MOST_COMMAND = 400  # characters; every channel shows so many whole, escaped
WORDS = {"acknowledged": "acknowledged", "resolved": "resolved"}


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell.

    facts:    name and value, in the order of their weight
    sections: a heading and its lines
    command:  what shows the same on a terminal
    link:     absolute where the setting public_url is, else a path of the API
    key:      the alert, or the digest
    """

    key: str
    state: str
    severity: str
    title: str
    summary: str
    facts: tuple[tuple[str, str], ...] = ()
    sections: tuple[tuple[str, tuple[str, ...]], ...] = ()
    link: str = ""
    runbook: str = ""
    command: str = ""

    @property
    def is_link(self) -> bool:
        return self.link.startswith(("http://", "https://"))


def plain(value: object) -> str:
    """Text without control characters and without tricks of direction."""
    return CONTROL.sub(" ", str(value)).strip()


def clip(text: str, most: int, escape: Callable[[str], str] = lambda text: text) -> str:
    """Escaped text of at most so many characters; what is cut off leaves an ellipsis, and no escape is cut in half."""
    whole = escape(text)
    if len(whole) <= most:
        return whole
    short = text[: max(0, most - 1)]
    while len(escape(short)) > most - 1:
        short = short[: len(short) - max(1, (len(escape(short)) - most + 1) // 5)]
    return escape(short) + "…"


def amount(value: object, unit: object = "", currency: object = None) -> str:
    """`1,234.5 USD`; a value that is no number as it is."""
    if value is None:
        return ""
    try:
        number = Decimal(str(value))
        shown = f"{number:,f}" if number.is_finite() else str(value)
    except InvalidOperation:
        shown = str(value)
    shown = shown.rstrip("0").rstrip(".") if "." in shown else shown
    named = currency if unit == "cost" else unit
    return plain(f"{shown} {named or ''}")


def scope_of(record: Record) -> str:
    """`team=search, environment=production`, or the tenant alone."""
    dimensions = record.get("dimensions") or {}
    text = ", ".join(f"{name}={value}" for name, value in dimensions.items() if name != "tenant_id")
    return plain(f"{record.get('tenant_id', '*')}{': ' if text else ''}{text}")


def window_of(record: Record) -> str:
    """The window's name and zone, and from when to when."""
    window = record.get("window") or {}
    named = " ".join(str(window[k]) for k in ("name", "kind", "size", "zone") if window.get(k))
    span = f"{record['period_start']} to {record['period_end']}" if record.get("period_start") else ""
    return plain(", ".join(part for part in (named, span) if part))


def command_of(record: Record) -> str:
    """The named query that the record gives, else what shows the alert; whole and harmless wherever it is pasted."""
    return typed(str(record.get("query") or ""), str(record["alert_id"]), MOST_COMMAND)


def link_of(path: str, base: str) -> str:
    """Absolute where a base is known."""
    return path if not base or "://" in path else f"{base.rstrip('/')}/{path.lstrip('/')}"


def contributors_of(record: Record) -> tuple[str, ...]:
    """`model gpt-5.2: 812.4 USD, 63 %`, the largest first."""
    lines = []
    for one in (record.get("contributors") or ())[:MOST_CONTRIBUTORS]:
        share = one.get("share")
        text = amount(one.get("amount"), record.get("unit"), record.get("currency"))
        lines.append(plain(f"{one.get('dimension')} {one.get('value')}: {text}{f', {_share(share)}' if share else ''}"))
    return tuple(lines)


def _share(share: object) -> str:
    try:
        return f"{Decimal(str(share)) * 100:.0f} %"
    except InvalidOperation:
        return str(share)


def word_of(record: Record) -> str:
    """How the title begins."""
    state, reason = str(record.get("state", "")), str(record.get("reason") or "")
    if record.get("test"):
        return "TEST"
    if state in WORDS:
        return WORDS[state]
    return {"reminder": "still firing", "escalated": "escalated"}.get(reason, str(record.get("severity", "firing")))


def notice_of(record: Record, public_url: str = "", hand_off: str = "") -> Notice:
    """What to say of an alert; a record may lack anything but its id."""
    scope, unit, currency = scope_of(record), record.get("unit"), record.get("currency")
    value, limit = amount(record.get("value"), unit, currency), amount(record.get("limit"), unit, currency)
    percent = f"{record['percent']} %" if record.get("percent") else ""
    of_limit = f", {percent} of {limit}" if percent and limit else ""
    acknowledged = record.get("acknowledged") or {}
    late = f"yes, by {int(record.get('lateness_ms') or 0) // 1000} s" if record.get("late") else ""
    unpriced = record.get("unpriced_events")
    facts = (
        ("Scope", scope),
        ("Value", value),
        ("Limit", limit),
        ("Percent", percent),
        ("Window", window_of(record)),
        ("Owner", plain(record.get("owner") or "nobody is named")),
        ("Accountable", plain(record.get("accountable") or "nobody is named")),
        ("Condition", plain(record.get("threshold") or "")),
        ("Since", plain(record.get("since") or record.get("occurred_at") or "")),
        ("Reason", plain(record.get("reason") or "")),
        ("Hand-off", plain(hand_off)),
        ("Acknowledged by", plain(f"{acknowledged.get('by', '')} {acknowledged.get('note') or ''}")),
        ("Late data", late),
        ("Without a price", f"{unpriced:,} events" if isinstance(unpriced, int) and unpriced else ""),
    )
    causes = contributors_of(record)
    return Notice(
        key=str(record["alert_id"]),
        state=str(record.get("state", "firing")),
        severity=str(record.get("severity", "warning")),
        title=plain(f"{word_of(record)}: {record.get('budget_id') or record.get('kind', 'alert')}, {scope}{of_limit}"),
        summary=plain(record.get("summary") or ""),
        facts=tuple((name, text) for name, text in facts if text),
        sections=(("Top contributors", causes),) if causes else (),
        link=link_of(str(record.get("link") or f"/v1/alerts/{record['alert_id']}"), public_url),
        runbook=plain(record.get("runbook") or ""),
        command=command_of(record),
    )


def headline(notices: Sequence[Notice]) -> str:
    """Of one notice its title, of several how many of which state."""
    if len(notices) == 1:
        return notices[0].title
    counts = dict[str, int]()
    for one in notices:
        counts[one.state] = counts.get(one.state, 0) + 1
    said = ", ".join(f"{n} {state}" for state, n in counts.items())
    return f"{len(notices)} alerts: {said}"
