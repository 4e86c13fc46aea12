"""`usage-streams exceptions`: who may spend more than a budget allows, why, until when; asked for and decided. The same is an
approval where a verdict asks for one.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer

from streams.cli.running import find_settings
from streams.cli.screen import Table, console, tell
from streams.cli.watching import BOOTSTRAP, BY, DATA, JSON, NOTE, TENANT, Seen, ask, asker, look, pairs, say, short
from streams.jobs import commands as job
from streams.watch.alerts import text
from streams.watch.commands import Case, ms_of
from streams.watch.exceptions import Grant, grant_field, grants

verbs = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
OPEN = ("requested", "to come", "in force")


def stage(grant: Grant, now: int) -> str:
    """Where an approved exception stands, at a time in ms."""
    if now >= grant.expires:
        return "expired"
    return "in force" if now >= grant.starts else "to come"


def rows_of(seen: Seen, now: datetime, tenant: str | None = None) -> list[dict[str, Any]]:
    """Every exception and every request, what waits first, then what ends first; `used`: of the current period."""
    at, used = ms_of(now), _used(seen.budgets)
    rows = list[dict[str, Any]]()
    for grant in grants(seen.catalog.exceptions, seen.commands.state):
        case = seen.commands.state.cases.get(grant.id) if grant.source == "command" else None
        rows.append(
            {"state": stage(grant, at), **grant_field(grant), "used": _text(used.get(grant.id))}
            | {"overdue_since": _overdue(grant, at), **_signed(case)}
        )
    for case in seen.commands.state.cases.values():
        if case.state != "approved":
            rows.append(_undecided(case, at) | {"used": _text(used.get(case.request.request_id)), **_signed(case)})
    rows = [r for r in rows if tenant in (None, r["tenant_id"])]
    return sorted(rows, key=lambda r: (r["state"] != "requested", r["expires"], r["id"]))


def _used(budgets: Mapping[str, Mapping[str, Any]]) -> dict[str, Decimal]:
    """By exception, over all scopes that it is for."""
    found = dict[str, Decimal]()
    for record in budgets.values():
        for part in (record.get("exception") or {}).get("parts", ()):
            found[part["id"]] = found.get(part["id"], Decimal(0)) + Decimal(part["used"])
    return found


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else text(amount)


def _overdue(grant: Grant, now: int) -> str | None:
    """Since when it is open past its reason or its review; None: it is not."""
    due = grant.due
    if due is None or not max(due, grant.starts) <= now < grant.expires:
        return None
    return f"{datetime.fromtimestamp(due / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _signed(case: Case | None) -> dict[str, Any]:
    if case is None:
        return {"requested_at": None, "decided_at": None, "note": None, "revoked_by": None}
    decided, revoked = case.decision, case.revocation
    return {
        "requested_at": _moment(case.request.at),
        "decided_at": _moment(decided.at if decided else None),
        "note": (revoked.note if revoked else decided.note if decided else "") or None,
        "revoked_by": revoked.by if revoked else None,
    }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _undecided(case: Case, now: int) -> dict[str, Any]:
    """One that adds to no limit: it waits, was denied or revoked, or expired while it waited."""
    asked = case.request
    state = "expired" if case.state == "requested" and ms_of(asked.expires) <= now else case.state
    return {
        "state": state,
        "id": asked.request_id,
        "budget_id": asked.budget,
        "tenant_id": asked.tenant,
        "where": dict(sorted(asked.where.items())),
        "extra": text(asked.extra),
        "justification": asked.justification,
        "workload_class": asked.workload_class or None,
        "tier": asked.tier or None,
        "requested_by": asked.by,
        "approver": case.decision.approver if case.decision else None,
        "source": "command",
        "starts": _moment(asked.starts),
        "expires": _moment(asked.expires),
        "reason_ends": _moment(asked.reason_ends),
        "review": _moment(asked.review),
        "overdue_since": None,
    }


@verbs.command("list")
def list_command(
    everything: bool = typer.Option(False, "--all", help="What expired, was denied or revoked, too."),
    budget: str | None = typer.Option(None, help="Of this budget."),
    tenant: str | None = TENANT,
    as_json: bool = JSON,
    bootstrap: str | None = BOOTSTRAP,
    data: Path | None = DATA,
) -> None:
    """Requests that wait and exceptions in force, what was used of each; exit 1 when one is open past its reason or review.

    Example: [bold]usage-streams exceptions list --tenant acme[/bold]
    """
    seen = look(find_settings(bootstrap, None, data), catalog=True, budgets=True)
    rows = [r for r in rows_of(seen, datetime.now(UTC), tenant) if budget in (None, r["budget_id"])]
    rows = [r for r in rows if everything or r["state"] in OPEN]
    if as_json:
        typer.echo(json.dumps(rows))
    elif not rows:
        tell("no exception is open; `usage-streams exceptions request` asks for one")
    else:
        table = Table(
            "id", "state", "budget", "whose", "extra", "used", "expires, UTC", "asked by", "approver", "why", box=None
        )
        for r in rows:
            whose = " ".join([r["tenant_id"], *(f"{k}={v}" for k, v in r["where"].items())])
            people = (r["requested_by"] or "", r["approver"] or "")
            why = r["justification"] + (f" (overdue since {short(r['overdue_since'])})" if r["overdue_since"] else "")
            cells = (r["id"], r["state"], r["budget_id"], whose, r["extra"], r["used"] or "", short(r["expires"]))
            table.add_row(*cells, *people, why, style="yellow" if r["overdue_since"] else "")
        console().print(table)
    raise typer.Exit(1 if any(r["overdue_since"] for r in rows) else 0)


@verbs.command("request")
def request_command(
    budget: str = typer.Option(help="The budget, or limit of runs, by id."),
    extra: str = typer.Option(help="How much more than its limit, in its unit, such as 100."),
    justification: str = typer.Option(help="Why it is worth it."),
    expires: str = typer.Option(help="When it ends by itself, 2026-12-31 or 2026-12-31T18:00:00Z."),
    tenant: str = typer.Option(help="Whose budget."),
    where: list[str] = typer.Option([], help="dimension=value of the budget's scope; repeatable."),
    workload_class: str = typer.Option("", "--class", help="Class of the workload."),
    tier: str = typer.Option("", help="Tier of the models that it needs."),
    starts: str | None = typer.Option(None, help="From when on; with the decision if left out."),
    reason_ends: str | None = typer.Option(None, help="When the business reason is over; open past it is an alert."),
    review: str | None = typer.Option(None, help="When somebody looks at it again."),
    name: str | None = typer.Option(None, "--id", help="Its name; one is made up if left out."),
    by: str = BY,
    as_json: bool = JSON,
    bootstrap: str | None = BOOTSTRAP,
    data: Path | None = DATA,
) -> None:
    """Ask for more than a budget allows; nothing changes until somebody approves.

    Example: [bold]usage-streams exceptions request --budget team-day --tenant acme --where team=search --extra 100
    --justification 'launch week' --expires 2026-12-31 --reason-ends 2026-12-20[/bold]
    """
    who = asker(by, None)
    fields = {
        "id": name,
        "budget": budget,
        "tenant": tenant,
        "where": pairs(where),
        "extra": extra,
        "justification": justification,
        "workload_class": workload_class,
        "tier": tier,
        "starts": starts,
        "expires": expires,
        "reason_ends": reason_ends,
        "review": review,
    }
    asked = ask(
        find_settings(bootstrap, None, data),
        lambda seen: job.request(who, fields, seen.commands.state, seen.catalog),
        catalog=True,
    )
    found = asked.request_id  # type: ignore[union-attr]
    say(asked, f"exception {found}: requested by {who.by}; `usage-streams exceptions approve {found}` decides", as_json)


def _decide(
    name: str,
    approved: bool,
    note: str,
    by: str,
    tenant: str | None,
    machine: bool,
    where: tuple[Any, Any],
    own: bool = False,
) -> None:
    who = asker(by, tenant)
    asked = ask(
        find_settings(where[0], None, where[1]),
        lambda seen: job.decide(who, name, approved, note, seen.commands.state, own=own),
    )
    say(asked, f"exception {name}: {'approved' if approved else 'denied'} by {who.by}", machine)


@verbs.command("approve")
def approve_command(
    name: str = typer.Argument(help="Name of the request."),
    note: str = NOTE,
    own: bool = typer.Option(False, "--own", help="Also what you asked for yourself; the record says so."),
    by: str = BY,
    tenant: str | None = TENANT,
    as_json: bool = JSON,
    bootstrap: str | None = BOOTSTRAP,
    data: Path | None = DATA,
) -> None:
    """Approve what somebody else requested: the limit rises at once, until it expires.

    Example: [bold]usage-streams exceptions approve exception-3f9c2a11 --note 'agreed with finance'[/bold]
    """
    _decide(name, True, note, by, tenant, as_json, (bootstrap, data), own)


@verbs.command("deny")
def deny_command(
    name: str = typer.Argument(help="Name of the request."),
    note: str = NOTE,
    by: str = BY,
    tenant: str | None = TENANT,
    as_json: bool = JSON,
    bootstrap: str | None = BOOTSTRAP,
    data: Path | None = DATA,
) -> None:
    """Deny a request; it stays on record.

    Example: [bold]usage-streams exceptions deny exception-3f9c2a11 --note 'use the batch tier'[/bold]
    """
    _decide(name, False, note, by, tenant, as_json, (bootstrap, data))


@verbs.command("revoke")
def revoke_command(
    name: str = typer.Argument(help="Name of the exception."),
    note: str = NOTE,
    by: str = BY,
    tenant: str | None = TENANT,
    as_json: bool = JSON,
    bootstrap: str | None = BOOTSTRAP,
    data: Path | None = DATA,
) -> None:
    """End an approved exception before it expires; the limit falls back at once.

    Example: [bold]usage-streams exceptions revoke exception-3f9c2a11 --note 'the launch was moved'[/bold]
    """
    who = asker(by, tenant)
    asked = ask(
        find_settings(bootstrap, None, data),
        lambda seen: job.revoke(who, name, note, seen.commands.state, seen.catalog),
        catalog=True,
    )
    say(asked, f"exception {name}: revoked by {who.by}", as_json)


def register(app: typer.Typer) -> None:
    """Mount the verbs."""
    app.add_typer(
        verbs,
        name="exceptions",
        help="Who may spend more, why, until when. Example: [bold]usage-streams exceptions list[/bold]",
    )
