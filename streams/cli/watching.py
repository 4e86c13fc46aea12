"""What verbs about alerts and exceptions read: usage.alerts, usage.commands, usage.budgets and the catalog; no warehouse."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import typer

from streams.catalog.models import Catalog
from streams.cli.running import user
from streams.cli.screen import tell
from streams.jobs import commands as job
from streams.jobs.commands import Asker, CommandRefused
from streams.kafka import topics
from streams.kafka.alerts_log import AlertsLog
from streams.kafka.budgets_log import read_budgets
from streams.kafka.catalog_log import CatalogLog
from streams.kafka.client import KafkaClient
from streams.kafka.commands_log import CommandsLog
from streams.settings import Settings
from streams.watch.alerts import instant
from streams.watch.commands import AnyCommand, BadCommand, ms_of, plain

Record = dict[str, Any]
JSON = typer.Option(False, "--json", help="For machines.")
BOOTSTRAP = typer.Option(None, help="Kafka, host:port.")
DATA = typer.Option(None, help="Folder of the stack.")
TENANT = typer.Option(None, help="This tenant alone; what belongs to others is neither shown nor touched.")
BY = typer.Option("", "--by", help="Who asks; your user name if left out.")
NOTE = typer.Option("", help="Why; stays with the record.")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the topics say at one moment."""

    alerts: AlertsLog
    commands: CommandsLog
    catalog: Catalog
    budgets: Mapping[str, Record]  # by scope

    def records(self, tenant: str | None = None) -> list[Record]:
        """The newest record of each alert; an acknowledgement counts as soon as it is asked for."""
        found = [self.with_ack(r) for r in self.alerts.all()]
        return [r for r in found if tenant in (None, r["tenant_id"])]

    def with_ack(self, record: Record) -> Record:
        """The watch says so a moment later; alerts about the catalog belong to no watch."""
        ack = self.commands.state.acks.get(record["alert_id"])
        began = record.get("since") or record.get("occurred_at")
        if record["state"] != "firing" or ack is None or began is None or instant(ms_of(ack.at)) < began:
            return record
        return record | {
            "state": "acknowledged",
            "acknowledged": {"by": ack.by, "at": instant(ms_of(ack.at)), "note": ack.note},
        }


async def read(
    settings: Settings, alerts: bool = False, catalog: bool = False, budgets: bool = False
) -> tuple[Seen, KafkaClient]:
    """Commands always, the rest where it is asked for; the client is the caller's to close."""
    kafka = KafkaClient(settings.bootstrap)
    try:
        await kafka.producer()  # says in one line when no broker answers
        partitions = await kafka.partitions(topics.ALERTS)
        seen_alerts = AlertsLog([kafka.log(topics.ALERTS, p) for p in partitions])
        if alerts:
            await seen_alerts.refresh()
        commands = CommandsLog(kafka.log(topics.COMMANDS, 0))
        await commands.refresh()
        known: Catalog | None = None
        if catalog:
            versions = CatalogLog(kafka.log(topics.CATALOG, 0))
            known = versions.catalog(await versions.refresh())
        return Seen(seen_alerts, commands, known or Catalog(), await read_budgets(kafka) if budgets else {}), kafka
    except BaseException:
        await kafka.close()
        raise


def look(settings: Settings, **what: bool) -> Seen:
    """`read`, and nothing else."""

    async def once() -> Seen:
        seen, kafka = await read(settings, **what)
        await kafka.close()
        return seen

    return asyncio.run(once())


def ask(settings: Settings, command_of: Callable[[Seen], AnyCommand], **what: bool) -> AnyCommand:
    """Look, decide what to ask, append it. A refusal is one line and exit code 2; then nothing was appended."""

    async def once() -> AnyCommand:
        seen, kafka = await read(settings, **what)
        try:
            command = command_of(seen)
            await seen.commands.append(command)
            return command
        finally:
            await kafka.close()

    try:
        return asyncio.run(once())
    except (CommandRefused, BadCommand) as error:
        tell(f"usage-streams: {error}", err=True)
        raise typer.Exit(2) from error


def check_rules(seen: Seen, names: Sequence[str]) -> None:
    """CommandRefused for an id that neither the catalog nor an alert has."""
    job.check_rules(names, seen.catalog, lambda: {str(r["budget_id"]) for r in seen.alerts.all()})


def complete(prefix: str, known: Iterable[str], what: str = "alert") -> str | None:
    """The one id that is this or begins so; None when none does. CommandRefused when several do."""
    found = sorted({name for name in known if prefix and name.startswith(prefix)})
    if len(found) > 1 and prefix not in found:
        raise CommandRefused(f"{what} {prefix}: {len(found)} begin so; write more of its id, {found[0]} is one")
    return prefix if prefix in found else found[0] if found else None


def no_alert(prefix: str) -> str:
    """What is said where an alert is not found."""
    return f"alert {prefix}: there is none; `usage-streams alerts list --all` shows every one"


def one(seen: Seen, prefix: str, tenant: str | None) -> str:
    """The alert whose id begins so. CommandRefused when there is none, or several."""
    known = (n for n in seen.alerts.named(prefix) if tenant in (None, seen.alerts.newest(n)["tenant_id"]))
    if (found := complete(prefix, known)) is None:
        raise CommandRefused(no_alert(prefix))
    return found


def asker(by: str, tenant: str | None) -> Asker:
    """Whoever works here, now."""
    return Asker(by or user(), datetime.now(UTC), tenant)


def say(command: AnyCommand, text: str, machine: bool) -> None:
    """What was asked for."""
    typer.echo(json.dumps(plain(command))) if machine else tell(text)


def pairs(given: Sequence[str]) -> dict[str, str]:
    """`dimension=value` pairs."""
    found = dict[str, str]()
    for pair in given:
        name, sign, value = pair.partition("=")
        if not sign or not name.strip():
            raise typer.BadParameter(f"{pair}: write it as dimension=value")
        found[name.strip()] = value
    return found


def short(moment: str | None) -> str:
    """A time of a record for people, in UTC."""
    return "" if moment is None else moment[:16].replace("T", " ")


def what_of(record: Mapping[str, Any]) -> str:
    """Whose it is and what it is about, but for the rule."""
    dimensions = record.get("dimensions")
    if dimensions is None:  # a record of an earlier version
        return str(record["scope"]).partition("|")[2].removeprefix("tenant_id=").replace("|", " ")
    others = " ".join(f"{name}={value}" for name, value in dimensions.items() if name != "tenant_id")
    return " ".join(part for part in (str(record["tenant_id"]), others) if part)


def figures(record: Mapping[str, Any]) -> str:
    """Value and limit for people."""
    if record.get("value") is None:
        return ""
    unit = record.get("currency") or record.get("unit") or ""
    percent = f" ({record['percent']} %)" if record.get("percent") else ""
    return f"{record['value']} of {record['limit']} {unit}{percent}"
