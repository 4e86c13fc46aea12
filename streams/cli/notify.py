"""`usage-streams notify ...`: who is told, what was delivered, a test, a preview, and delivering again."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import typer

from streams.catalog.models import Catalog
from streams.catalog.routes import Endpoint
from streams.cli.consent import refuse
from streams.cli.deliveries import again, history, latest, row_of, show, wanted
from streams.cli.running import find_settings, user
from streams.cli.screen import tell
from streams.cli.watching import complete, no_alert
from streams.jobs.commands import CommandRefused
from streams.kafka import topics
from streams.kafka.catalog_log import CatalogLog
from streams.kafka.client import KafkaClient
from streams.kafka.ports import append_surely
from streams.notify.channels import Letter, payload, send
from streams.notify.delivery import Delivery, delivery_id, encode, facts_of
from streams.notify.instants import rfc3339
from streams.settings import Settings
from streams.watch.published import read_alert

T = TypeVar("T")
DATA = typer.Option(None, help="Folder of the stack.")
BOOTSTRAP = typer.Option(None, help="Kafka, host:port.")
JSON = typer.Option(False, "--json", help="JSON for machines.")


def example(endpoint: str, at: int) -> dict[str, Any]:
    """An alert that nobody needs to worry about, marked as a test wherever it is shown."""
    name = f"test-{endpoint}-{at}"
    return {
        "alert_id": name, "revision": 1, "state": "firing", "reason": "crossed", "kind": "budget", "tenant_id": "test",
        "budget_id": "notify-test", "scope": "notify-test|tenant_id=test", "dimensions": {"team": "test"}, "severity": "info",
        "threshold": "0.8", "value": "41.5", "limit": "50", "percent": "83.0", "unit": "cost", "currency": "USD",
        "owner": user(), "accountable": user(), "window": {"name": "period", "kind": "calendar", "size": "day", "zone": "UTC"},
        "occurred_at": rfc3339(at), "detected_at": rfc3339(at), "since": rfc3339(at), "test": True,
        "contributors": [{"dimension": "model", "value": "example", "amount": "30.25", "share": "0.73"}],
        "query": "usage-streams query deliveries", "link": f"/v1/alerts/{name}", "deduplication_key": name,
        "summary": f"This is a test of endpoint {endpoint}, sent by {user()} with `usage-streams notify test`.",
    }  # fmt: skip


def letter_of(record: dict[str, Any], endpoint: Endpoint, at: int, place: tuple[int, int] = (-1, -1)) -> Letter:
    """A delivery of a record that no log knows."""
    one = Delivery(
        delivery_id=delivery_id(record["alert_id"], record["revision"], endpoint.id),
        alert_id=record["alert_id"],
        revision=record["revision"],
        endpoint=endpoint.id,
        route="",
        group="",
        partition=place[0],
        offset=place[1],
        status="sending",
        at=at,
        queued_at=at,
        facts=facts_of(record),
    )
    return Letter(one, record)


async def published(kafka: KafkaClient) -> Catalog:
    """The newest catalog."""
    log = CatalogLog(kafka.log(topics.CATALOG, 0))
    found = log.catalog(await log.refresh())
    if found is None:
        raise typer.BadParameter("no catalog is published; `usage-streams apply` publishes one")
    return found


def endpoint_in(catalog: Catalog, name: str) -> Endpoint:
    """The endpoint of that name."""
    known = {e.id: e for e in catalog.endpoints}
    if name not in known:
        hint = f"take one of {', '.join(known)}" if known else "the catalog has none; write [[endpoints]]"
        raise typer.BadParameter(f"endpoint {name}: unknown; {hint}")
    return known[name]


def unset(endpoint: Endpoint) -> str:
    """What is said when a variable that it needs is not set here: a test is sent by this process, alerts by the stage."""
    names = [r for r in (endpoint.url, *endpoint.secrets) if r.startswith("env:") and not os.environ.get(r[4:])]
    here = "is not set in this shell, which sends the test; set it here, and before `usage-streams up` for the stage notify"
    return f"{names[0]}: {here}" if names else ""


async def find_alert(kafka: KafkaClient, prefix: str) -> tuple[dict[str, Any], tuple[int, int]]:
    """The newest revision of the alert whose id begins so, and where it stands. CommandRefused when none does, or several."""
    best = dict[str, tuple[dict[str, Any], tuple[int, int]]]()
    for p in await kafka.partitions(topics.ALERTS):
        log = kafka.log(topics.ALERTS, p)
        begin, end = await log.bounds()
        async for message in log.read(begin, end):
            if prefix.encode() not in (message.value or b""):
                continue
            if (record := read_alert(message.value)) is None:
                continue
            name = record["alert_id"]
            if name.startswith(prefix) and (name not in best or record["revision"] >= best[name][0]["revision"]):
                best[name] = record, (p, message.offset)
    if (found := complete(prefix, best)) is None:
        raise CommandRefused(no_alert(prefix))
    return best[found]


def with_kafka(settings: Settings, work: Callable[[KafkaClient], Awaitable[T]]) -> T:
    """Run it with a client that is closed afterwards."""

    async def inner() -> T:
        kafka = KafkaClient(settings.bootstrap)
        try:
            await kafka.producer()  # says in one line when no broker answers
            return await work(kafka)
        finally:
            await kafka.close()

    try:
        return asyncio.run(inner())
    except CommandRefused as error:
        refuse(str(error))


def register(app: typer.Typer) -> None:
    """Mount the verbs."""
    notify = typer.Typer(no_args_is_help=True, help="Who is told of alerts, and what was delivered.")
    app.add_typer(notify, name="notify")
    _register_looks(notify)
    _register_deliveries(notify)


def _register_looks(notify: typer.Typer) -> None:
    @notify.command("list")
    def listed(as_json: bool = JSON, data: Path | None = DATA, bootstrap: str | None = BOOTSTRAP) -> None:
        """Endpoints, routes and digests of the published catalog. Example: [bold]usage-streams notify list[/bold]"""
        catalog = with_kafka(find_settings(bootstrap, None, data), published)
        parts = {name: getattr(catalog, name) for name in ("endpoints", "routes", "digests")}
        if as_json:
            tell(json.dumps({name: [one.model_dump(mode="json") for one in found] for name, found in parts.items()}))
            return
        for name, found in parts.items():
            tell(f"{name}: {len(found)}")
            for one in found:
                tell(f"  {one.id}: {one.model_dump_json(exclude={'id'}, exclude_defaults=True)}")
        if not catalog.routes:
            tell("no route: alerts are recorded, and nobody is told; write [[routes]] (deploy/catalog/routes.toml)")

    @notify.command("test")
    def test(
        endpoint: str = typer.Argument(help="Its id."),
        as_json: bool = JSON,
        data: Path | None = DATA,
        bootstrap: str | None = BOOTSTRAP,
    ) -> None:
        """Send a marked test alert from here and print the answer; exit 1 when it is not taken.
        Example: [bold]usage-streams notify test bus[/bold]"""
        from streams.agents.notify import now_ms, sending

        settings, at = find_settings(bootstrap, None, data), now_ms()

        async def work(kafka: KafkaClient) -> dict[str, Any]:
            one = endpoint_in(await published(kafka), endpoint)
            if missing := unset(one):
                return {
                    "endpoint": one.id,
                    "kind": one.kind,
                    "taken": False,
                    "code": None,
                    "error": missing,
                    "reference": None,
                }
            ports = sending(settings, kafka)
            record = example(one.id, at)
            answer = await send(one, [letter_of(record, one, at)], ports, at)
            over = None
            if answer.taken and one.kind in ("pagerduty", "alertmanager"):  # nobody has to close it by hand
                done = record | {"revision": 2, "state": "resolved", "reason": "resolved:cleared"}
                over = await send(one, [letter_of(done, one, at)], ports, at)
            said = {"endpoint": one.id, "kind": one.kind, "taken": answer.taken, "code": answer.code}
            said |= {"error": answer.error, "reference": answer.reference}
            return said | ({"resolved": over.taken} if over else {})

        found = with_kafka(settings, work)
        if as_json:
            typer.echo(json.dumps(found))
        else:
            code = "" if found["code"] is None else f", code {found['code']}"
            ended = ", and resolved again" if found.get("resolved") else ""
            tell(f"{endpoint} ({found['kind']}): {'taken' if found['taken'] else found['error']}{code}{ended}")
        raise typer.Exit(0 if found["taken"] else 1)

    @notify.command("preview")
    def preview(
        alert_id: str = typer.Argument(help="Of an alert, or its beginning; `example` shows one that is made up."),
        endpoint: str = typer.Option(..., help="For which endpoint."),
        data: Path | None = DATA,
        bootstrap: str | None = BOOTSTRAP,
    ) -> None:
        """Print what an endpoint would get for an alert, without secrets; send nothing.
        Example: [bold]usage-streams notify preview example --endpoint bus[/bold]"""
        from streams.agents.notify import now_ms

        settings, at = find_settings(bootstrap, None, data), now_ms()

        async def work(kafka: KafkaClient) -> Any:
            one = endpoint_in(await published(kafka), endpoint)
            record, place = (
                (example(one.id, at), (-1, -1)) if alert_id == "example" else await find_alert(kafka, alert_id)
            )
            return payload(one, [letter_of(record, one, at, place)], settings.public_url, at)

        found = with_kafka(settings, work)
        text = found if isinstance(found, str) else json.dumps(found, indent=1, ensure_ascii=False)
        (tell if sys.stdout.isatty() else typer.echo)(text)  # whoever reads a pipe gets the payload as it is


def _register_deliveries(notify: typer.Typer) -> None:
    @notify.command("deliveries")
    def deliveries(
        asked: str = typer.Argument("", help="Id of an alert or a delivery, or its beginning; none = all."),
        failed: bool = typer.Option(False, help="Those whose last attempt failed, or that were given up."),
        endpoint: str = typer.Option("", help="To one endpoint."),
        most: int = typer.Option(50, min=1, help="So many, the newest first."),
        as_json: bool = JSON,
        data: Path | None = DATA,
        bootstrap: str | None = BOOTSTRAP,
    ) -> None:
        """What was delivered where, and what failed and why. Example: [bold]usage-streams notify deliveries --failed[/bold]"""

        async def work(kafka: KafkaClient) -> list[Delivery]:
            return wanted(latest(await history(kafka)), asked, failed, endpoint)[:most]

        found = with_kafka(find_settings(bootstrap, None, data), work)
        if as_json:
            typer.echo(json.dumps([row_of(one) for one in found]))
        elif found:
            show(found)
        else:
            tell(f"no deliveries of {asked}" if asked else "no deliveries")

    @notify.command("redeliver")
    def redeliver(
        asked: str = typer.Argument("", help="Id of an alert or a delivery, or its beginning."),
        failed: bool = typer.Option(False, help="Everything whose last attempt failed, or that was given up."),
        endpoint: str = typer.Option("", help="Everything that one endpoint was owed and did not get."),
        yes: bool = typer.Option(False, "--yes", "-y", help="Do it; without it only what would be done is shown."),
        as_json: bool = JSON,
        data: Path | None = DATA,
        bootstrap: str | None = BOOTSTRAP,
    ) -> None:
        """Owe deliveries again, under the ids that they had; the stage notify sends them.
        Example: [bold]usage-streams notify redeliver --failed --yes[/bold]"""
        from streams.agents.notify import now_ms

        if not (asked or failed or endpoint):
            raise typer.BadParameter("nothing is chosen; give an id, --failed or --endpoint")

        async def work(kafka: KafkaClient) -> list[Delivery]:
            everything = latest(await history(kafka))
            chosen = wanted(everything, asked, failed or (bool(endpoint) and not asked), endpoint)
            if yes:
                log = kafka.log(topics.DELIVERIES, 0)
                for fresh in again(chosen, everything, now_ms(), user()):
                    await append_surely(log, encode(fresh), [], key=fresh.delivery_id.encode())
            return chosen

        found = with_kafka(find_settings(bootstrap, None, data), work)
        if asked and not found:
            refuse(
                f"delivery {asked}: there is none of that id or alert; `usage-streams notify deliveries` shows them", 1
            )
        if as_json:
            typer.echo(json.dumps({"redelivered": yes, "deliveries": [row_of(one) for one in found]}))
            return
        if found:
            show(found)
        verb = "are owed again" if yes else "would be owed again; add --yes"
        tell(f"{len(found)} deliveries {verb}", err=not sys.stdout.isatty())
