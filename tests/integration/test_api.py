"""The API as a process on a real broker: it answers from the topics, appends to them, and goes on without the broker."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import urllib3
from typer.testing import CliRunner

from streams.catalog.base_prices import with_base
from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget
from streams.catalog.models import Catalog
from streams.cli import main
from streams.cli.apply import publish
from streams.cli.topics import prepare
from streams.cli.worker import environment_of
from streams.embedded.broker import Broker
from streams.embedded.ports import free_port
from streams.embedded.process import Child
from streams.kafka import topics
from streams.kafka.client import KafkaClient
from streams.pipeline.totals import partition_of
from streams.producer import UsageProducer
from streams.settings import Settings, load_settings
from streams.watch.commands import Acknowledge, read_command
from streams.watch.freshness import beat_key, beat_record
from tests.support.doors import alert, enforcement
from tests.support.events import event
from tests.support.knowledge import record
from tests.support.stages import Stage, until

pytestmark = pytest.mark.integration
MONTH = Calendar(every="month")
CATALOG = Catalog(
    budgets=(
        Budget(id="team", each=("team",), limit=Decimal(10), period=MONTH, stale_after="3s"),
        Budget(id="careful", tenant="careful", limit=Decimal(10), period=MONTH, stale_after="3s", fail="closed"),
        Budget(id="tiny", tenant="tiny", each=("run_id",), limit=Decimal("0.0001"), period=MONTH),
    )
)
SCOPE = "team|tenant_id=acme|team=search"


@dataclass
class Api:
    """The process, its broker, and how it is asked."""

    settings: Settings
    url: str
    child: Child
    broker: Child
    folder: Path

    def get(self, path: str) -> tuple[int, Any]:
        found = urllib3.request("GET", f"{self.url}{path}", retries=False, timeout=15)
        return found.status, found.json()

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        found = urllib3.request("POST", f"{self.url}{path}", json=body, retries=False, timeout=30)
        return found.status, found.json()

    def said(self) -> str:
        return self.child.log.read_text()

    def append(self, topic: str, *records: tuple[str, dict[str, Any] | None]) -> None:
        """As the watch does, in the partition of the scope."""

        async def send() -> None:
            kafka = KafkaClient(self.settings.bootstrap)
            try:
                for key, value in records:
                    scope = str((value or {}).get("scope", key))
                    q = partition_of(scope, self.settings.totals_partitions) if topic != topics.ENFORCEMENTS else 0
                    body = None if value is None else json.dumps(value).encode()
                    assert await kafka.log(topic, q).append(body, [], key.encode()) is not None
            finally:
                await kafka.close()

        asyncio.run(send())

    def beat(self) -> None:
        """Both partitions of the watch say that they have seen everything."""

        async def send() -> None:
            kafka = KafkaClient(self.settings.bootstrap)
            try:
                for q in range(self.settings.totals_partitions):
                    now = int(time.time() * 1000)
                    await kafka.log(topics.BUDGETS, q).append(beat_record(q, now, now), [], beat_key(q))
            finally:
                await kafka.close()

        asyncio.run(send())

    def ask(self, query: str) -> dict[str, Any]:
        """A check, while the watch lives."""
        self.beat()
        status, found = self.get(f"/v1/check?{query}")
        return found if status == 200 else {"verdict": status, "degraded": True, "used": None}

    def is_fresh(self) -> bool:
        return not self.ask("tenant=acme&team=search")["degraded"]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("api")
    broker, port = Broker(folder / "kafka", free_port(0), free_port(0)), free_port(0)
    settings = load_settings(
        bootstrap=f"127.0.0.1:{broker.port}", clickhouse_url="http://127.0.0.1:1", data=folder, api_port=port,
        session_timeout_seconds=6.0,
    )  # fmt: skip
    running = broker.start()
    child = Child(
        "api", [sys.executable, "-m", "streams.cli.main", "api"], folder / "api.log", environment_of(settings)
    )
    found = Api(settings, f"http://127.0.0.1:{port}", child, running, folder)
    try:
        asyncio.run(prepare(settings))
        asyncio.run(publish(settings, with_base(CATALOG), dry_run=False, confirm=False))
        child.start()
        until(lambda: "api at" in found.said(), 30, "the API listening", found.said)
        until(found.is_fresh, 30, "the API fresh", found.said)
        yield found
    finally:
        child.stop()
        running.signal(signal.SIGCONT)
        running.stop()


def used(scope: str, amount: str, **more: Any) -> tuple[str, dict[str, Any]]:
    """A record of a period that goes on."""
    return scope, record(scope, amount, period_end="2126-01-01T00:00:00.000Z", **more)


def test_what_is_appended_to_the_topics_is_what_http_answers(api: Api) -> None:
    api.append(topics.BUDGETS, used(SCOPE, "9"))
    until(lambda: api.ask("tenant=acme&team=search&amount=0.5")["verdict"] == "warn", 20, "warn", api.said)
    assert api.ask("tenant=acme&team=search&amount=1.5")["allowed"] == "1"

    api.append(topics.BUDGETS, used(SCOPE, "10.5", stamp={"stream": "s1", "partition": 0, "offset": 8}))
    until(lambda: api.ask("tenant=acme&team=search")["verdict"] == "stop", 20, "stop", api.said)
    assert [b["used"] for b in api.get("/v1/budgets?budget=team")[1]["budgets"]] == ["10.5"]

    api.append(topics.BUDGETS, (SCOPE, None))
    until(lambda: api.ask("tenant=acme&team=search")["used"] == "0", 20, "gone", api.said)


def test_alerts_and_changes_of_verdicts_are_followed_and_an_acknowledgement_is_on_the_topic(api: Api) -> None:
    api.append(topics.ALERTS, ("a1", alert("a1")))
    api.append(topics.ENFORCEMENTS, (SCOPE, enforcement(1)))
    until(lambda: api.get("/v1/alerts/a1")[0] == 200, 10, "the alert", api.said)
    until(lambda: len(api.get("/v1/enforcements")[1]["enforcements"]) == 1, 10, "the enforcement", api.said)

    status, told = api.post("/v1/alerts/a1/ack", {"note": "on it"})

    async def last() -> Any:
        kafka = KafkaClient(api.settings.bootstrap)
        try:
            log = kafka.log(topics.COMMANDS, 0)
            _, end = await log.bounds()
            [found] = [read_command(m.value) async for m in log.read(end - 1, end)]
            return found
        finally:
            await kafka.close()

    command = asyncio.run(last())
    assert status == 202
    assert isinstance(command, Acknowledge)
    assert (command.command_id, command.alert_id, command.note) == (told["command_id"], "a1", "on it")


def test_the_command_line_gives_the_same_answer_with_and_without_the_api(api: Api) -> None:
    if not main.app.registered_commands:
        main.mount()
    environment = {"USAGE_STREAMS_BOOTSTRAP": api.settings.bootstrap, "USAGE_STREAMS_DATA": str(api.folder / "none")}

    def run(*arguments: str, url: str = "") -> tuple[int, Any]:
        given = environment | {"USAGE_STREAMS_API_URL": url}
        done = CliRunner().invoke(main.app, ["check", *arguments, "--json"], env=given)
        return done.exit_code, json.loads(done.stdout) if done.stdout else done.stderr

    scope = "team|tenant_id=acme|team=cli"
    api.append(topics.BUDGETS, used(scope, "10"))
    until(lambda: api.ask(f"scope={scope}")["verdict"] == "stop", 20, "stop", api.said)
    beating = True

    async def beats() -> None:
        kafka = KafkaClient(api.settings.bootstrap)
        while beating:
            for q in range(api.settings.totals_partitions):
                now = int(time.time() * 1000)
                await kafka.log(topics.BUDGETS, q).append(beat_record(q, now, now), [], beat_key(q))
            await asyncio.sleep(0.3)
        await kafka.close()

    import threading

    watch = threading.Thread(target=lambda: asyncio.run(beats()))
    watch.start()
    try:
        answers = [run(scope, url=url) for url in (api.url, "", "http://127.0.0.1:9")]
        allowed = run("--tenant", "acme", "--dim", "team=other", "--amount", "1", url=api.url)
    finally:
        beating = False
        watch.join()

    figures = [(code, a["verdict"], a["used"], a["binding"], a["degraded"]) for code, a in answers]
    assert figures == [(1, "stop", "10", scope, False)] * 3
    assert (allowed[0], allowed[1]["allowed"]) == (0, "1")
    code, said = run("nobody|tenant_id=acme", url=api.url)
    assert (code, "no budget and no run limit is called nobody" in said) == (2, True)


def test_an_event_that_crosses_a_limit_stops_its_run_within_a_second_or_so(api: Api, tmp_path: Path) -> None:
    stages = [Stage(api.settings, name, tmp_path) for name in ("meter", "watch")]

    def logs() -> str:
        return "\n".join([api.said(), *(s.said()[-3000:] for s in stages)])

    async def spend(run: str) -> float:
        async with UsageProducer(api.settings.bootstrap) as usage:
            now = int(time.time() * 1000)
            await (await usage.send(event(1, event_id=run, tenant_id="tiny", event_time=now, run_id=run)))
        return time.monotonic()

    def verdict(run: str) -> str:
        return str(api.get(f"/v1/check?tenant=tiny&run_id={run}")[1]["verdict"])

    try:
        asyncio.run(spend("warm"))
        until(lambda: verdict("warm") == "stop", 60, "the first verdict", logs)
        until(lambda: api.get("/readyz")[0] == 200, 30, "the API ready by the watch's own heartbeats", logs)
        sent = asyncio.run(spend("r-2"))
        until(lambda: verdict("r-2") == "stop", 20, "the verdict", logs)
        took = time.monotonic() - sent
        status, ready = api.get("/readyz")
    finally:
        codes = [s.stop() for s in stages]

    assert took < 10, logs()  # about half a second on a calm machine: tests/bench/check.py measures it
    assert (status, ready["ready"]) == (200, True)
    assert codes == [0, 0]


def test_without_the_broker_it_goes_on_answering_and_says_how_old_it_is(api: Api) -> None:
    until(lambda: api.ask("tenant=careful")["verdict"] == "allow", 30, "fresh", api.said)
    os.kill(api.broker.pid, signal.SIGSTOP)
    try:
        until(lambda: api.get("/v1/check?tenant=careful")[1]["verdict"] == "stop", 20, "closed", api.said)
        open_, closed = (api.get(f"/v1/check?tenant={t}&team=search")[1] for t in ("acme", "careful"))
        status, told = api.post("/v1/silences", {"ends": "2126-01-01", "reason": "r"})
    finally:
        os.kill(api.broker.pid, signal.SIGCONT)

    assert (open_["verdict"], open_["degraded"]) == ("allow", True)
    assert (closed["stop_reason"], closed["staleness_ms"] > 3_000) == ("stale", True)
    assert (status, "has not acknowledged it" in told["detail"]) == (503, True)
    until(api.is_fresh, 60, "fresh again", api.said)


def test_it_ends_when_it_is_asked_to(api: Api) -> None:
    api.child.terminate()

    assert api.child.process is not None
    assert api.child.process.wait(20) == 0, api.said()
