"""Broker or warehouse away: stages wait with what they have, say so, and go on. Nothing ends, nothing is lost."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from streams.cli.apply import publish, read_folder
from streams.cli.topics import prepare
from streams.embedded.broker import Broker
from streams.embedded.ports import free_port, listens
from streams.embedded.process import Child
from streams.resources import catalog_folder
from streams.settings import Settings, load_settings
from streams.warehouse.client import connect
from streams.warehouse.migrate import migrate
from tests.support.stages import Stage, until
from tests.support.traffic import account, produce, stored_costs, stored_events

pytestmark = pytest.mark.integration
WAITS = "waiting for what is outside"
Start = Callable[..., Stage]


class Engine:
    """A ClickHouse of its own, on one port, that can go and come back."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port(0)
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "streams.embedded.gateway", str(self.folder / "data"), str(self.port)]
        self.child = Child("clickhouse", command, self.folder / "clickhouse.log")
        self.child.start()
        self.child.wait_until(lambda: listens(self.port), 60)

    def stop(self) -> None:
        self.child.stop()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path)
    migrate(connect(engine.url))
    yield engine
    engine.stop()


def test_a_warehouse_that_goes_and_comes_back_has_everything(settings: Settings, stage: Start, engine: Engine) -> None:
    meter = stage("meter")
    warehouse = stage("warehouse", clickhouse_url=engine.url, group="away")
    sent = asyncio.run(produce(settings, "away", 1_000))
    client = connect(engine.url)
    until(lambda: stored_events(client, "away") == sent.good, 60, "the first half stored", warehouse.said)
    client.close()

    engine.stop()
    asyncio.run(produce(settings, "away", 1_000, 1_000, sent))
    until(lambda: WAITS in warehouse.said(), 60, "waiting", warehouse.said)
    engine.start()

    client = connect(engine.url)
    until(lambda: stored_events(client, "away") == sent.good, 60, "everything stored", warehouse.said)
    assert stored_costs(client, "away") == sent.costs()
    client.close()
    assert (meter.stop(), warehouse.stop()) == (0, 0)


def test_a_broker_that_goes_and_comes_back_lost_nothing(tmp_path: Path, client: Client, stage: Start) -> None:
    #  produce 1,000   broker gone   broker back   produce 1,000: the same meter and watch go on
    broker = Broker(tmp_path / "kafka", free_port(0), free_port(0))
    own = load_settings(
        bootstrap=f"127.0.0.1:{broker.port}",
        clickhouse_url="http://127.0.0.1:1",
        data=tmp_path,
        session_timeout_seconds=6.0,
    )
    running = broker.start()
    try:
        asyncio.run(prepare(own))
        asyncio.run(publish(own, read_folder(catalog_folder()), dry_run=False, confirm=False))
        stages = [Stage(own, name, tmp_path) for name in ("meter", "watch")]
        sent = asyncio.run(produce(own, "gone", 1_000))
        until(lambda: covered(own) == sent.total, 60, "the first half rated", stages[0].said)

        running.stop()
        running = broker.start()
        asyncio.run(produce(own, "gone", 1_000, 1_000, sent))

        until(lambda: covered(own) == sent.total, 90, "everything rated", stages[0].said)
        found = asyncio.run(account(own))
        assert (found["rated"], found["duplicate"], found["dead"]) == (sent.good, sent.repeats, sent.poison)
        assert found["difference"] == 0
        assert [s.stop() for s in stages] == [0, 0], stages[0].said()
    finally:
        running.stop()


def covered(settings: Settings) -> int:
    return asyncio.run(account(settings))["covered"] or 0


def test_a_stage_that_finds_no_broker_says_so_and_ends(tmp_path: Path) -> None:
    nobody = load_settings(bootstrap=f"127.0.0.1:{free_port(0)}", data=tmp_path)

    stage = Stage(nobody, "meter", tmp_path)

    assert stage.process.wait(60) == 2
    assert "no broker answers; start one with `usage-streams up` or set USAGE_STREAMS_BOOTSTRAP" in stage.said()


def test_when_one_stage_of_a_worker_dies_the_others_end_and_its_code_is_told(
    settings: Settings, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "streams.cli.main", "worker", "--stages", "meter,warehouse"]
    command += ["--bootstrap", settings.bootstrap, "--clickhouse-url", settings.clickhouse_url]
    log = tmp_path / "worker.log"
    with log.open("wb") as out:
        worker = subprocess.Popen(command, stdout=out, stderr=out)
    import psutil

    def children() -> dict[str, psutil.Process]:
        return {c.cmdline()[-1]: c for c in psutil.Process(worker.pid).children()}

    until(lambda: len(children()) == 2, 30, "two stages", log.read_text)
    stages = children()
    stages["warehouse"].kill()

    assert worker.wait(60) == 128 + 9
    assert not any(s.is_running() for s in stages.values())
