"""The stack that integration tests use: the real broker and the real engine, started once, without stages.

`--stack=docker` runs the same tests against containers; where Docker is not there, that fails instead of passing.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from streams.settings import Settings, load_settings
from tests.support.stages import Stage
from tests.support.traffic import Sent, compare

Check = Callable[[Sent, dict[str, int | None], Sequence[Stage]], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--stack", choices=("embedded", "docker"), default="embedded", help="what integration tests use")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what this run could not prove."""
    if config.getoption("--stack") != "docker":
        terminalreporter.write_line(
            "not run: --stack=docker (Kafka and a ClickHouse server in containers); it needs Docker, which this run did not use"
        )


@pytest.fixture(scope="session")
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a running stack with topics, tables and the example catalog, and no stages."""
    folder = tmp_path_factory.mktemp("stack")
    start = _docker if request.config.getoption("--stack") == "docker" else _embedded
    yield from start(folder)


def _embedded(folder: Path) -> Iterator[Settings]:
    import json

    from streams.cli.up import bring_up, take_down

    bring_up(folder, stages=())
    found = json.loads((folder / "stack.json").read_text())
    settings = load_settings(
        bootstrap=found["bootstrap"],
        clickhouse_url=found["clickhouse_url"],
        data=folder,
        session_timeout_seconds=6.0,
        reprice=False,  # else whoever publishes a price changes what others have sent
    )
    _publish(settings)
    yield settings
    take_down(folder)


def _docker(folder: Path) -> Iterator[Settings]:
    import asyncio

    from testcontainers.clickhouse import ClickHouseContainer
    from testcontainers.kafka import KafkaContainer

    from streams.cli.topics import prepare
    from streams.warehouse.client import connect
    from streams.warehouse.migrate import migrate

    with (
        KafkaContainer("apache/kafka:4.1.1") as kafka,
        ClickHouseContainer("clickhouse/clickhouse-server:26.3") as server,
    ):
        url = f"http://{server.username}:{server.password}@{server.get_container_host_ip()}:{server.get_exposed_port(8123)}"
        settings = load_settings(bootstrap=kafka.get_bootstrap_server(), clickhouse_url=url, data=folder, reprice=False)
        asyncio.run(prepare(settings))
        migrate(connect(url))
        _publish(settings)
        yield settings


def _publish(settings: Settings) -> None:
    import asyncio

    from streams.cli.apply import publish, read_folder
    from streams.resources import catalog_folder

    asyncio.run(publish(settings, read_folder(catalog_folder()), dry_run=False, confirm=False))


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    from streams.warehouse.client import connect

    client = connect(settings.clickhouse_url)
    yield client
    client.close()


@pytest.fixture
def check(settings: Settings, client: Client, record_property: Callable[[str, object], None]) -> Check:
    """`compare` on this stack; `make chaos` reports the difference."""
    return partial(compare, settings, client, record_property)


@pytest.fixture
def stage(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Start stages; whatever still runs at the end is stopped."""
    started: list[Stage] = []

    def start(name: str, **extra: str) -> Stage:
        started.append(Stage(settings, name, tmp_path, {f"USAGE_STREAMS_{k.upper()}": v for k, v in extra.items()}))
        return started[-1]

    yield start
    for one in started:
        one.stop()
