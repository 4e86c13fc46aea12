"""What a back-test found: figures, a picture of each scope in time, two versions side by side; JSON for machines."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from statistics import median
from typing import Any

from rich.text import Text

from streams.cli.screen import Screen, Table, marked
from streams.jobs.baseline import short
from streams.jobs.proposed import lasting
from streams.watch.alerts import instant, text
from streams.watch.noise import BRIEF_MS, FLAP_MS, SMALL, Episode, Report

MOST_SCOPES = 10
HEIGHTS = " ▁▂▃▄▅▆▇"
FIRES = "█"


def unit_of(report: Report) -> str:
    """Of its amounts."""
    return report.currency if report.unit == "cost" else report.unit


def percent(part: Decimal, whole: Decimal) -> str:
    """A share; nothing of nothing is none."""
    return f"{part / whole * 100:.1f} %" if whole else "-"


def facts(report: Report) -> list[tuple[str, str]]:
    """The figures, by name, in an order in which two can be compared."""
    noise, fired, unit = report.noise, report.fired, unit_of(report)
    closed = [e.lasted(report.end) for e in fired if e.closed is not None]
    by_severity = ", ".join(
        f"{sum(e.severity == s for e in fired)} {s}"
        for s in ("critical", "warning", "info")
        if any(e.severity == s for e in fired)
    )
    return [
        ("alerts", f"{len(fired):,}" + (f" ({by_severity})" if by_severity else "")),
        ("scopes that fired", f"{len(report.fired_scopes):,} of {report.scopes:,}"),
        ("alerts a scope and week", f"{noise.per_scope_week:.3g}"),
        (
            "from firing to resolved",
            f"median {lasting(int(median(closed)))}, longest {lasting(max(closed))}" if closed else "-",
        ),
        ("open in all", lasting(report.open_ms) if fired else "-"),
        ("open at the end", f"{report.still_open:,}"),
        ("open at the start", f"{sum(e.before for e in report.episodes):,}"),
        ("used", f"{short(report.spent)} {unit}"),
        ("used while open, at risk", f"{short(report.at_risk)} {unit}, {percent(report.at_risk, report.spent)}"),
        ("above the limit at worst", f"{short(report.over)} {unit}" if report.kind != "burn_rate" else "-"),
        (f"brief, below {lasting(BRIEF_MS)}", f"{noise.brief:,}"),
        (f"small, below {SMALL * 100:.0f} % of a mean day", f"{noise.small:,}"),
        (f"flaps, back within {lasting(FLAP_MS)}", f"{noise.flaps:,}"),
        ("noise", "-" if noise.score is None else f"{noise.score * 100:.0f} % of the alerts are brief, small or flaps"),
    ]


def picture(report: Report, scope: str) -> str:
    """Use by height, a full block where an alert was open."""
    columns = report.seen[scope].columns
    most, width = max(columns, default=Decimal(0)), report.end - report.start
    mine = [e for e in report.episodes if e.scope == scope]
    signs = []
    for i, amount in enumerate(columns):
        begin, end = report.start + width * i // len(columns), report.start + width * (i + 1) // len(columns)
        is_open = any(e.opened < end and (e.closed is None or e.closed > begin) for e in mine)
        height = 0 if amount <= 0 else 1 + int(amount / most * (len(HEIGHTS) - 2))
        signs.append(FIRES if is_open else HEIGHTS[height])
    return "".join(signs)


def what_was_read(report: Report) -> str:
    """How much, of which time, and whether usage began only in the midst of it: rates by week then say little."""
    said = f"{report.events:,} events of {day(report.start)} to {day(report.end)} UTC; nobody was told"
    if report.first is None or report.first - report.start < (report.end - report.start) // 10:
        return said
    return f"{said}. The first was at {day(report.first)}: rates by week rest on {lasting(report.end - report.first)}"


def show(name: str, report: Report, screen: Screen) -> None:
    """For people."""
    screen.print(f"{name}: {what_was_read(report)}")
    table = Table(box=None, show_header=False)
    for what, said in facts(report):
        table.add_row(what, said)
    screen.print(table)
    _pictures(report, screen)
    if not report.fired:
        screen.print(
            "it would not have fired" if report.scopes else "no usage belongs to it: look at its tenant, where and each"
        )


def _pictures(report: Report, screen: Screen) -> None:
    scopes = report.fired_scopes
    if not scopes:
        return
    table = Table(
        "scope",
        "alerts",
        "open",
        "at risk",
        f"{day(report.start)} to {day(report.end)}, {FIRES} = alert open",
        box=None,
    )
    for scope in scopes[:MOST_SCOPES]:
        mine = [e for e in report.fired if e.scope == scope]
        lasted, risk = lasting(sum(e.lasted(report.end) for e in mine)), short(report.seen[scope].at_risk)
        drawn = Text(picture(report, scope))
        drawn.highlight_words([FIRES], "red")
        table.add_row(scope, f"{len(mine):,}", lasted, risk, drawn)
    screen.print(table)
    if len(scopes) > MOST_SCOPES:
        screen.print(f"{len(scopes) - MOST_SCOPES} more scopes fired, with --json")


def show_both(names: Sequence[str], reports: Sequence[Report], screen: Screen) -> None:
    """Two versions side by side, then what only one of them says."""
    one, other = reports
    screen.print(what_was_read(one))
    table = Table("", *names, box=None)
    for (what, said), (_, also) in zip(facts(one), facts(other), strict=True):
        changed = said != also
        table.add_row(what, said, marked(also, "bold" if changed else ""))
    screen.print(table)
    mine, theirs = (set(map(_bare, r.fired_scopes)) for r in reports)
    for name, scopes in ((names[0], mine - theirs), (names[1], theirs - mine)):
        if scopes:
            more = f" and {len(scopes) - MOST_SCOPES} more" if len(scopes) > MOST_SCOPES else ""
            screen.print(f"fired in {name} alone: {', '.join(sorted(scopes)[:MOST_SCOPES])}{more}")
    for name, report in zip(names, reports, strict=True):
        if report.fired:
            screen.print(name)
            _pictures(report, screen)


def _bare(scope: str) -> str:
    """Without the rule's id, so that scopes of two rules can be compared."""
    return scope.partition("|")[2]


def day(ms: int) -> str:
    """For people, in UTC."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M}"


def as_json(name: str, report: Report) -> dict[str, Any]:
    """Everything, for machines; amounts are strings, times RFC 3339."""
    noise, closed = report.noise, [e.lasted(report.end) for e in report.fired if e.closed is not None]
    return {
        "name": name,
        "rule": report.rule,
        "kind": report.kind,
        "unit": report.unit,
        "currency": report.currency if report.unit == "cost" else None,
        "start": instant(report.start),
        "end": instant(report.end),
        "events": report.events,
        "first_event": None if report.first is None else instant(report.first),
        "scopes": report.scopes,
        "scopes_fired": len(report.fired_scopes),
        "alerts": len(report.fired),
        "open_at_the_end": report.still_open,
        "open_at_the_start": sum(e.before for e in report.episodes),
        "open_ms": report.open_ms,
        "median_ms_to_resolved": int(median(closed)) if closed else None,
        "used": text(report.spent),
        "at_risk": text(report.at_risk),
        "above_the_limit": text(report.over),
        "noise": {
            "alerts_per_scope_week": f"{noise.per_scope_week:.4g}",
            "brief": noise.brief,
            "small": noise.small,
            "flaps": noise.flaps,
            "score": None if noise.score is None else f"{noise.score:.3f}",
        },
        "episodes": [_episode(e, report) for e in report.episodes],
        "timelines": {scope: picture(report, scope) for scope in report.fired_scopes},
    }


def _episode(one: Episode, report: Report) -> dict[str, Any]:
    return {
        "alert_id": one.alert_id,
        "scope": one.scope,
        "threshold": one.threshold,
        "severity": one.severity,
        "since": instant(one.since),
        "fired": instant(one.opened),
        "resolved": None if one.closed is None else instant(one.closed),
        "reason": one.reason or None,
        "lasted_ms": one.lasted(report.end),
        "before_the_start": one.before,
        "peak": text(one.peak),
        "limit": text(one.limit),
        "used_while_open": text(one.spent),
    }
