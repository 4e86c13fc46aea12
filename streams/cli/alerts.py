"""`usage-streams alerts`: what fires, why, who is at it. Reads the topics, so it works without ClickHouse."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import typer

from streams.catalog.alerting import Kind
from streams.cli import silences
from streams.cli.alerts_explained import explained, hushed_now, show_explained
from streams.cli.consent import refuse
from streams.cli.running import find_settings
from streams.cli.screen import Screen, Table, console, tell
from streams.cli.watching import (
    BOOTSTRAP,
    BY,
    DATA,
    JSON,
    NOTE,
    TENANT,
    Record,
    Seen,
    ask,
    asker,
    check_rules,
    figures,
    look,
    one,
    say,
    short,
    what_of,
)
from streams.jobs import commands as job
from streams.jobs.commands import CommandRefused

verbs = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
STATES = ("pending", "firing", "acknowledged", "resolved")
SEVERITIES = ("info", "warning", "critical")
COLOURS = {"critical": "red", "warning": "yellow"}
SHOWN = 12  # signs of an id: enough to tell alerts apart, and any beginning is understood


def chosen(records: Sequence[Record], states: Sequence[str], **fields: str | None) -> list[Record]:
    """Those in these states whose fields have these values; None = any."""
    return [
        r
        for r in records
        if (not states or r["state"] in states) and all(v in (None, r.get(k)) for k, v in fields.items())
    ]


def notes(record: Mapping[str, Any]) -> str:
    """What else there is to know, in a few words."""
    said = []
    if ack := record.get("acknowledged"):
        said.append(f"by {ack['by']}")
    if silenced := record.get("silenced"):
        said.append(f"silenced until {short(silenced['until'])}")
    if record.get("escalation"):
        said.append(f"level {record['escalation']}")
    if record.get("late"):
        said.append("late")
    if record["state"] == "resolved" and record.get("reason"):
        said.append(str(record["reason"]).replace("_", " "))
    return ", ".join(said)


def show(records: Sequence[Record], screen: Screen) -> None:
    """A table for people. An alert says what stood when it changed; what stands now is on usage.budgets."""
    table = Table(
        "id", "state", "severity", "rule", "at", "whose", "when it changed", "since, UTC", "owner", "", box=None
    )
    for r in records:
        colour = COLOURS.get(r["severity"], "") if r["state"] in STATES[:2] else ""
        cells = (
            r["alert_id"][:SHOWN],
            r["state"],
            r["severity"],
            r["budget_id"],
            r["threshold"],
            what_of(r),
            figures(r),
        )
        rest = (short(r.get("since") or r.get("occurred_at")), r.get("owner") or "", notes(r))
        table.add_row(*(str(c) for c in (*cells, *rest)), style=colour)
    screen.print(table)


def _checked(value: str | None, known: Sequence[str], name: str) -> None:
    if value is not None and value not in known:
        raise typer.BadParameter(f"{name} {value}: there is none; take one of {', '.join(known)}")


@verbs.command("list")
def list_command(
    state: str | None = typer.Option(None, help="Of this state; without, all that is open."),
    severity: str | None = typer.Option(None, help="info, warning or critical."),
    owner: str | None = typer.Option(None, help="Of this owner."),
    rule: str | None = typer.Option(None, help="Of this budget, burn rate, limit of runs or rule, by id."),
    kind: str | None = typer.Option(None, help="Of this kind, such as budget or burn_rate."),
    everything: bool = typer.Option(False, "--all", help="What is resolved, too."),
    tenant: str | None = TENANT,
    as_json: bool = JSON,
    bootstrap: str | None = BOOTSTRAP,
    data: Path | None = DATA,
) -> None:
    """Alerts that are open, the newest first; exit 1 when something fires that nobody acknowledged.

    Example: [bold]usage-streams alerts list --severity critical --owner platform[/bold]
    """
    _checked(state, STATES, "state")
    _checked(severity, SEVERITIES, "severity")
    _checked(kind, get_args(Kind), "kind")
    seen = look(find_settings(bootstrap, None, data), alerts=True, catalog=True)
    try:
        check_rules(seen, [rule] if rule else [])
    except CommandRefused as error:
        refuse(str(error))
    states = [state] if state else [] if everything else list(STATES[:3])
    records = chosen(seen.records(tenant), states, severity=severity, owner=owner, budget_id=rule, kind=kind)
    hushed = hushed_now(seen)
    records = [r if r["state"] == "resolved" else r | {"silenced": hushed(r)} for r in records]
    if as_json:
        typer.echo(json.dumps(records))
    elif records:
        show(records, console())
    else:
        tell("no alert is open" if not (state or everything) else "no alert is like that")
    raise typer.Exit(1 if any(r["state"] == "firing" and not r.get("silenced") for r in records) else 0)


@verbs.command("explain")
def explain_command(
    alert_id: str = typer.Argument(help="Its id, or the beginning of it."),
    events: int = typer.Option(10, min=0, help="How many contributing events."),
    tenant: str | None = TENANT,
    as_json: bool = JSON,
    bootstrap: str | None = BOOTSTRAP,
    data: Path | None = DATA,
    clickhouse_url: str | None = typer.Option(None, help="ClickHouse over HTTP, for the contributing events."),
) -> None:
    """Why it fires: figures, thresholds, who causes it, the events, its history, what happened near it.

    Example: [bold]usage-streams alerts explain 3f9c[/bold]
    """
    settings = find_settings(bootstrap, clickhouse_url, data)
    seen = look(settings, alerts=True, catalog=True)
    try:
        found = explained(seen, one(seen, alert_id, tenant), settings.clickhouse_url, events)
    except CommandRefused as error:
        refuse(str(error))
    if as_json:
        typer.echo(json.dumps(found))
    else:
        show_explained(found, console())


@verbs.command("ack")
def ack_command(
    alert_id: str = typer.Argument(help="Its id, or the beginning of it."),
    note: str = NOTE,
    by: str = BY,
    tenant: str | None = TENANT,
    as_json: bool = JSON,
    bootstrap: str | None = BOOTSTRAP,
    data: Path | None = DATA,
) -> None:
    """Take an alert on: no more reminders, no escalation; it resolves by itself.

    Example: [bold]usage-streams alerts ack 3f9c --note 'the batch job of team search, stopping it'[/bold]
    """
    who = asker(by, tenant)

    def command(seen: Seen) -> Any:
        record = seen.with_ack(seen.alerts.newest(one(seen, alert_id, tenant)))
        return job.acknowledge(who, record, note)

    asked = ask(find_settings(bootstrap, None, data), command, alerts=True)
    say(asked, f"alert {asked.alert_id[:SHOWN]}: acknowledged by {who.by}", as_json)  # type: ignore[union-attr]


def register(app: typer.Typer) -> None:
    """Mount the verbs."""
    silences.register(verbs)
    app.add_typer(
        verbs,
        name="alerts",
        help="Alerts: what fires, why, who is at it. Example: [bold]usage-streams alerts list[/bold]",
    )
