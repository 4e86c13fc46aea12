"""`usage-streams alerts silence`, `unsilence`, `silences`: who is not told of what, until when, why."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import typer

from streams.catalog.durations import duration_ms
from streams.cli.running import find_settings
from streams.cli.screen import Table, console, tell
from streams.cli.watching import (
    BOOTSTRAP,
    BY,
    DATA,
    JSON,
    TENANT,
    Seen,
    ask,
    asker,
    check_rules,
    look,
    one,
    pairs,
    say,
    short,
)
from streams.jobs import commands as job
from streams.watch.commands import StartSilence, ms_of
from streams.watch.silences import end_of, silence_of

REQUIRED = "give --rule, --kind, --severity, --owner, --where, --tenant, --alert; or --everything"


def silence_command(
    reason: str = typer.Option(help="Why; stays with every alert that it silences."),
    lasts: str | None = typer.Option(None, "--for", help="How long, such as 30m, 2h, 3d."),
    until: str | None = typer.Option(None, help="Or until when, 2026-12-01T12:00:00Z."),
    starts: str | None = typer.Option(None, help="From when on; now if left out."),
    rule: list[str] = typer.Option([], help="Id of a budget, burn rate, limit of runs or rule; repeatable."),
    kind: list[str] = typer.Option([], help="A kind of alert; repeatable."),
    severity: list[str] = typer.Option([], help="info, warning, critical; repeatable."),
    owner: list[str] = typer.Option([], help="An owner; repeatable."),
    where: list[str] = typer.Option([], help="dimension=value of the scope; repeatable."),
    alert: str | None = typer.Option(None, help="The rule and scope of this alert, by its id."),
    everything: bool = typer.Option(False, "--everything", help="Every alert there is."),
    name: str | None = typer.Option(None, "--id", help="Name of the silence; one is made up if left out."),
    by: str = BY,
    tenant: str | None = TENANT,
    as_json: bool = JSON,
    bootstrap: str | None = BOOTSTRAP,
    data: Path | None = DATA,
) -> None:
    """Tell nobody of some alerts for a while; they are recorded, and told when it ends if they still fire.

    Example: [bold]usage-streams alerts silence --rule team-day --where team=search --for 2h --reason 'load test'[/bold]
    """
    who, wanted = asker(by, tenant), pairs(where)
    if not (rule or kind or severity or owner or wanted or alert or tenant or everything):
        raise typer.BadParameter(f"nothing says which alerts; {REQUIRED}")
    if (lasts is None) == (until is None):
        raise typer.BadParameter("say how long: either --for 2h or --until 2026-12-01T12:00:00Z")

    def command(seen: Seen) -> StartSilence:
        check_rules(seen, rule)
        match: dict[str, Any] = {"rules": rule, "kinds": kind, "severities": severity, "owners": owner, "where": wanted}
        match |= {"tenant": tenant or "*"}
        if alert is not None:
            record = seen.alerts.newest(one(seen, alert, tenant))
            scope = {k: v for k, v in (record.get("dimensions") or {}).items() if k not in {"tenant_id", "exception"}}
            match |= {"rules": [record["budget_id"]], "tenant": record["tenant_id"], "where": scope | wanted}
        ends = until if lasts is None else _after(starts, lasts, who.now)
        fields = {"match": match, "reason": reason, "starts": starts, "ends": ends, "id": name}
        return job.start_silence(who, fields, seen.commands.state, seen.catalog)

    asked = ask(find_settings(bootstrap, None, data), command, alerts=bool(alert or rule), catalog=True)
    held = asked.silence  # type: ignore[union-attr]
    until_when = f"{held.ends.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    whose = "all tenants" if held.match.tenant == "*" else f"tenant {held.match.tenant}"
    what = f"{_said(held.match)} of {whose}, until {until_when}"
    say(asked, f"silence {held.id}: {what}; `usage-streams alerts unsilence {held.id}` ends it", as_json)


def _after(starts: str | None, lasts: str, now: datetime) -> datetime:
    """The end of what lasts so long."""
    try:
        begin = datetime.fromisoformat(starts) if starts else now
        return (begin if begin.tzinfo else begin.replace(tzinfo=UTC)) + timedelta(milliseconds=duration_ms(lasts))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def unsilence_command(
    name: str = typer.Argument(help="Name of the silence."),
    by: str = BY,
    tenant: str | None = TENANT,
    as_json: bool = JSON,
    bootstrap: str | None = BOOTSTRAP,
    data: Path | None = DATA,
) -> None:
    """End a silence before its time; what still fires is told.

    Example: [bold]usage-streams alerts unsilence silence-3f9c2a11[/bold]
    """
    who = asker(by, tenant)
    asked = ask(
        find_settings(bootstrap, None, data),
        lambda seen: job.end_silence(who, name, seen.commands.state, seen.catalog),
        catalog=True,
    )
    say(asked, f"silence {name}: ended by {who.by}", as_json)


def silence_rows(seen: Seen, now: datetime, tenant: str | None) -> list[dict[str, Any]]:
    """Every silence and maintenance window, whether it holds now, and until when."""
    rows, state, clock = list[dict[str, Any]](), seen.commands.state, ms_of(now)
    held = [(silence_of(s), "catalog", "") for s in seen.catalog.silences]
    held += [(c.silence, "command", c.by) for c in state.silences.values()]
    for s, source, by in held:
        lifted = state.lifted.get(s.id) if source == "command" else None
        ends = lifted.at if lifted is not None else s.ends
        stage = "ended" if ends <= now else "in force" if s.starts <= now else "to come"
        said = {"lifted_by": None if lifted is None else lifted.by}
        rows.append(_silence_row(s.id, source, by, stage, s.starts, ends, s.reason, s.match.tenant, s.match) | said)
    for m in seen.catalog.maintenance:
        at = end_of(m, clock)
        until = None if at is None else datetime.fromtimestamp(at / 1000, UTC)
        stage = "to come" if until is None else "in force"
        when = f"{m.start}-{m.end} {','.join(m.days)} {m.zone}"
        rows.append(
            _silence_row(m.id, "maintenance", "", stage, None, until, f"{m.reason} ({when})", m.match.tenant, m.match)
        )
    return [r for r in rows if tenant in (None, r["tenant_id"]) or r["tenant_id"] == "*"]


def _said(match: Any) -> str:
    """Which alerts, but for the tenant."""
    parts = [f"{k}={','.join(v)}" for k in ("rules", "kinds", "severities", "owners") if (v := getattr(match, k))]
    return " ".join([*parts, *(f"{k}={v}" for k, v in match.where.items())]) or "everything"


def _silence_row(
    name: str,
    source: str,
    by: str,
    stage: str,
    starts: datetime | None,
    ends: datetime | None,
    reason: str,
    tenant: str,
    match: Any,
) -> dict[str, Any]:
    return {
        "id": name,
        "state": stage,
        "source": source,
        "tenant_id": tenant,
        "match": _said(match),
        "starts": None if starts is None else f"{starts.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "ends": None if ends is None else f"{ends.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "reason": reason,
        "by": by or None,
    }


def silences_command(
    everything: bool = typer.Option(False, "--all", help="Those that ended, too."),
    tenant: str | None = TENANT,
    as_json: bool = JSON,
    bootstrap: str | None = BOOTSTRAP,
    data: Path | None = DATA,
) -> None:
    """Who is not told of what, until when, why: of people, of the catalog, and maintenance windows.

    Example: [bold]usage-streams alerts silences[/bold]
    """
    seen = look(find_settings(bootstrap, None, data), catalog=True)
    rows = [r for r in silence_rows(seen, datetime.now(UTC), tenant) if everything or r["state"] != "ended"]
    if as_json:
        typer.echo(json.dumps(rows))
    elif not rows:
        tell("nothing is silenced")
    else:
        table = Table("id", "state", "from", "tenant", "alerts", "starts, UTC", "ends, UTC", "reason", "by", box=None)
        for r in rows:
            times = (short(r["starts"]), short(r["ends"]))
            cells = (r["id"], r["state"], r["source"], r["tenant_id"], r["match"], *times, r["reason"], r["by"] or "")
            table.add_row(*cells)
        console().print(table)


def register(verbs: typer.Typer) -> None:
    """Mount the verbs under `alerts`."""
    verbs.command("silence")(silence_command)
    verbs.command("unsilence")(unsilence_command)
    verbs.command("silences")(silences_command)
