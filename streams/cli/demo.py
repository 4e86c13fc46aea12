"""`usage-streams demo`: two real traces through the whole product, one kill -9, expected beside actual."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer
from clickhouse_connect.driver.client import Client
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from streams.catalog.base_prices import with_base
from streams.catalog.parse import parse_files
from streams.cli.apply import publish, read_folder
from streams.cli.rerate import carry_out
from streams.cli.running import STACK, find_api, find_settings, user
from streams.cli.screen import Screen, Table, console, marked, tell
from streams.cli.status import look
from streams.cli.up import DATA, NotUp, bring_up, take_down
from streams.demo import actual, expected, runaway, traces
from streams.demo.assign import UNPRICED
from streams.demo.replay import kill_stage, replay
from streams.jobs.rerate import Asked, apply
from streams.pipeline.runs import Selection
from streams.resources import catalog_folder
from streams.settings import STAGES, Settings
from streams.warehouse.client import connect
from streams.watch.alerts import text
from streams.watch.scopes import key_of

WAIT_SECONDS = 120
PAUSE_SECONDS = 0.1
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


TENANT = """
[[tenants]]
id = "{id}"
accountable = "cfo@acme.example"
"""


class NotFinished(Exception):
    """The events did not arrive in time; the message says what is missing."""


def tenant_name(now: float) -> str:
    """A tenant of its own for each run, in the order of time."""
    number, name = int(now * 10), ""
    while number:
        number, digit = divmod(number, 36)
        name = DIGITS[digit] + name
    return f"demo-{name}"


@dataclass
class Demo:
    """One run. `say` prints for people."""

    folder: Path
    speed: float
    console: Screen
    tenant: str = field(default_factory=lambda: tenant_name(time.time()))

    def say(self, step: str, text: str) -> None:
        self.console.print(Text.assemble((f"{step:<9}", "bold"), text), highlight=False)

    def run(self) -> dict[str, Any]:
        """Every step; the report."""
        started = time.monotonic()
        fresh = bring_up(self.folder, STAGES)
        settings = find_settings(data=self.folder)
        took = f"up in {time.monotonic() - started:.1f} s" if fresh else "was up already"
        self.say(
            "stack", f"{took}: kafka {settings.bootstrap}, clickhouse {settings.clickhouse_url}, {len(STAGES)} stages"
        )
        catalog = with_base(read_folder(catalog_folder()))
        _, sequence = asyncio.run(publish(settings, catalog, dry_run=False, confirm=False))
        published = f"published as version {sequence}" if sequence else "as published"
        self.say("catalog", f"{len(catalog.prices):,} prices, {len(catalog.budgets)} budgets, {published}")
        sent = self._replay(settings)
        wanted = expected.expected((catalog_folder() / "prices.toml").read_text())
        must_fire = expected.alerts(wanted, (catalog_folder() / "budgets.toml").read_text())
        must_fire |= {("no-price", UNPRICED.rpartition("/")[2], "1")}
        client = connect(settings.clickhouse_url)
        waited = self._wait(client, sent, must_fire)
        self.say("wait", f"the last event could be queried {waited:.1f} s after it was sent")
        lines = actual.compare(client, self.tenant, wanted, must_fire)
        latency = actual.latencies(client, self.tenant)
        self._table(lines)
        lines += self._price_arrives(settings, client, wanted)
        ran, more = self._agent_runs_away(settings, client)
        lines += more
        return self._report(settings, lines, latency, time.monotonic() - started) | {
            "runaway": {"requests": ran.requests, "crossing": ran.crossing, "stopped_ms": round(ran.stopped_ms)}
        }

    def _price_arrives(self, settings: Settings, client: Client, before: expected.Expected) -> list[actual.Line]:
        """The scene of the unpriced model: its alert fires, a price is published, the service rates again by itself."""
        name, scope = UNPRICED.rpartition("/")[2], ("no-price", UNPRICED.rpartition("/")[2], "1")
        self.say("alert", f"no-price: {before.unpriced:,} events of {UNPRICED} have no cost; null, never 0")
        texts = {path.name: path.read_text() for path in sorted(catalog_folder().glob("*.toml"))}
        catalog = with_base(
            parse_files(texts | {"house-prices.toml": traces.HOUSE_PRICES, "demo.toml": TENANT.format(id=self.tenant)})
        )
        _, sequence = asyncio.run(publish(settings, catalog, dry_run=False, confirm=False))
        self.say("price", f"one arrives with version {sequence}; what had none is rated again by itself")
        started = time.monotonic()
        self._until(lambda: actual.unpriced(client, self.tenant) == 0, "events rated again")
        self._until(lambda: scope not in actual.firing(client, self.tenant), "alerts resolved")
        self.say("resolved", f"alert and cost are right {time.monotonic() - started:.1f} s later; the rest stands:")
        after = expected.expected((catalog_folder() / "prices.toml").read_text() + traces.HOUSE_PRICES)
        lines = actual.compare_after(client, self.tenant, before, after, name)
        self._table(lines)
        return lines

    def _agent_runs_away(self, settings: Settings, client: Client) -> tuple[runaway.Ran, list[actual.Line]]:
        """The scene of the agent in circles: the run's limit is crossed, a check says stop, one page names owner and cause."""
        limits, prices = ((catalog_folder() / name).read_text() for name in ("budgets.toml", "prices.toml"))
        each, most, run = runaway.price(prices), runaway.limit(limits), f"runaway-{self.tenant}"
        scope = key_of(runaway.RUNS, self.tenant, [("run_id", run)])
        self.say(
            "agent",
            f"refund-agent runs in circles, {text(each)} USD a request; a run may cost {text(most)}; it asks each time",
        )
        ran = asyncio.run(runaway.run_away(settings.bootstrap, find_api(self.folder), self.tenant, run, each, most))
        self.say(
            "stop",
            f"check says {ran.verdict} {ran.stopped_ms:,.0f} ms after request {ran.crossing}, which crossed it: {ran.text}",
        )
        self._until(lambda: "firing" in self._pages(settings, scope), "pages")
        page = asyncio.run(runaway.told(settings.bootstrap, scope))[0]
        self.say(
            "page",
            f"{page['severity']}, owner {page['owner']}, {page['accountable']} answers for it: {page['summary']}",
        )
        causes = (f"{c['dimension']} {c['value']} {Decimal(c['share']):.0%}" for c in page["contributors"])
        self.say("", f"cause: {', '.join(causes)}; {page['query']}")
        self._until(lambda: actual.cost_of_run(client, self.tenant, run) == ran.cost, "costs of the run")
        before = actual.cost_of_run(client, self.tenant, run)
        asked = Asked(f"void-{run}", "void", Selection(where=(("run_id", run),)), "a loop of the demo", user())
        asyncio.run(carry_out(settings, lambda ports: apply(ports, asked)))
        self._until(lambda: "resolved" in self._pages(settings, scope), "pages that say it is over")
        self._until(lambda: not actual.cost_of_run(client, self.tenant, run), "costs taken back")
        self.say("void", "it was a test: what it used is taken back, and the alert is resolved")
        states = self._pages(settings, scope)
        lines = [
            actual.Line("USD the run", each * ran.requests, before),
            actual.Line("USD the run, voided", Decimal(0), actual.cost_of_run(client, self.tenant, run)),
            *(actual.Line(f"pages {state}", 1, states.count(state)) for state in ("firing", "resolved")),
            actual.Line("verdict of the run", "allow", runaway.ask(find_api(self.folder), self.tenant, run)["verdict"]),
        ]
        self._table(lines)
        return ran, lines

    def _pages(self, settings: Settings, scope: str) -> list[str]:
        return [record["state"] for record in asyncio.run(runaway.told(settings.bootstrap, scope))]

    def _replay(self, settings: Settings) -> int:
        events = list(traces.events(self.tenant, int(time.time() * 1000), traces.requests()))
        pace = f"{self.speed:g} times faster than they happened" if self.speed else "as fast as it goes"
        self.say("replay", f"{len(events):,} real requests of an hour, {pace}, as tenant {self.tenant}")

        def kill() -> None:
            pid = kill_stage(self.folder / STACK, "meter")
            self.say("kill -9", f"the meter (process {pid}) dies in the middle; another takes over")

        columns = (TextColumn(" " * 8), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task("", total=len(events))

            def moved(n: int) -> None:
                progress.update(task, completed=n)

            return asyncio.run(replay(settings.bootstrap, events, self.speed, kill, moved))

    def _wait(self, client: Client, sent: int, must_fire: set[tuple[str, str, str]]) -> float:
        """Seconds until SQL sees the last event; then until the alerts are there too."""
        started = time.monotonic()
        self._until(lambda: actual.stored(client, self.tenant) >= sent, "events that can be queried")
        waited = time.monotonic() - started
        self._until(lambda: actual.firing(client, self.tenant, ever=True) >= must_fire, "alerts")
        return waited

    def _until(self, done: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + WAIT_SECONDS
        while not done():
            if time.monotonic() > end:
                raise NotFinished(f"after {WAIT_SECONDS} s not all {what} are there; see {self.folder}/logs and up.log")
            time.sleep(PAUSE_SECONDS)

    def _report(
        self, settings: Settings, lines: list[actual.Line], latency: dict[str, dict[str, float]], seconds: float
    ) -> dict[str, Any]:
        self._until(lambda: asyncio.run(look(settings))["conservation"]["waiting"] == 0, "marks of what is stored")
        status = asyncio.run(look(settings))
        self._show(status["conservation"], latency)
        return {
            "ok": all(line.same for line in lines) and status["conservation"]["difference"] == 0,
            "tenant": self.tenant,
            "seconds": round(seconds, 1),
            "figures": [{"what": n.what, "expected": _plain(n.expected), "actual": _plain(n.actual)} for n in lines],
            "differences": [line.what for line in lines if not line.same],
            "conservation": status["conservation"],
            "latency_ms": latency,
        }

    def _table(self, lines: list[actual.Line]) -> None:
        table = Table("", "expected", "actual", "", box=None, padding=(0, 2))
        for line in lines:
            mark = marked("=", "green") if line.same else marked("differs", "red")
            table.add_row(line.what, *(_pretty(v) for v in (line.expected, line.actual)), mark)
        for column in table.columns[1:3]:
            column.justify = "right"
        self.console.print(table)

    def _show(self, c: dict[str, Any], latency: dict[str, dict[str, float]]) -> None:
        parts = " + ".join(f"{c[name]:,} {name}" for name in ("rated", "duplicate", "dead", "skipped", "lost"))
        self.say(
            "account", f"{c['produced']:,} produced = {parts}; {c['stored']:,} stored; difference {c['difference']}"
        )
        for number, until in enumerate(("ledger", "alert", "queryable")):
            figures = "p50 {p50_ms:,.0f} ms, p99 {p99_ms:,.0f} ms".format(**latency[until])
            self.say("" if number else "latency", f"event to {until}: {figures}{'' if number else ' (with the kill)'}")


def _plain(value: int | Decimal | str) -> int | str:
    return f"{value:f}" if isinstance(value, Decimal) else value


def _pretty(value: int | Decimal | str) -> str:
    if isinstance(value, Decimal):
        value = Decimal(text(value))
    return f"{value:,}" if isinstance(value, int | Decimal) else value


NEXT = """\
clickhouse is at {url} (HTTP, no password); the stack stays up. Try
  usage-streams query cost_by_team
  usage-streams tail alerts
  usage-streams status            # and `usage-streams down` when you are done"""


def register(app: typer.Typer) -> None:
    """Mount the verb."""

    @app.command("demo")
    def command(
        data: Path = typer.Option(DATA, help="Folder of the stack."),
        speed: float = typer.Option(200, min=0, help="Times faster than the traces happened; 0 = as fast as it goes."),
        leave: bool = typer.Option(False, "--exit", help="Stop the stack at the end."),
        as_json: bool = typer.Option(False, "--json", help="The last line is one JSON object."),
    ) -> None:
        """Two real traces through everything. Example: [bold]usage-streams demo --speed 500[/bold]"""
        demo, finished = Demo(data, speed, console(stderr=as_json)), False
        try:
            report = demo.run()
            finished = True
        except (NotUp, NotFinished) as error:
            tell(f"usage-streams: {error}", err=True)
            raise typer.Exit(1) from error
        finally:
            if leave or not finished:
                take_down(data)
        if as_json:
            typer.echo(json.dumps(report))
        elif report["ok"] and not leave:
            tell(NEXT.format(url=find_settings(data=data).clickhouse_url))
        raise typer.Exit(0 if report["ok"] else 1)
