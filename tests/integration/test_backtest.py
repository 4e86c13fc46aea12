"""`usage-streams backtest` on the real stack: from stored usage and the ledger, beside what the live watch raised."""

import asyncio
import json
import re
import shlex
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from typer.testing import CliRunner, Result

from streams.cli import main
from streams.kafka import topics
from streams.kafka.client import KafkaClient
from streams.resources import catalog_folder
from streams.settings import Settings
from streams.warehouse.client import connect
from tests.integration.test_budgets_verbs import CENT, TODAY, event
from tests.support.events import ENCODE
from tests.support.events import event as usage_event
from tests.support.stages import Stage, until
from tests.support.stored import forget, store

pytestmark = pytest.mark.integration
TENANT = "back-tested"
README = (Path(__file__).parents[2] / "README.md").read_text()
BUDGETS = """
[[budgets]]
id = "team-day"
tenant = "back-tested"
each = ["team"]
limit = "{limit}"
period = {{ kind = "calendar", every = "day" }}

[[budgets]]
id = "output"
tenant = "back-tested"
unit = "tokens"
buckets = ["input_*"]
measures = ["latency_ms", "input_*", "retries", "errors"]
limit = "1500"
period = {{ kind = "rolling", size = "24h" }}

[[runs]]
id = "loops"
tenant = "back-tested"
repeats = 3
"""


@pytest.fixture(scope="module")
def stored(settings: Settings) -> Iterator[Client]:
    """Ten days: team a uses 9 USD at noon and 3 at 18:00, team b 5 at noon; hashes of tool calls that repeat."""
    client, usage = connect(settings.clickhouse_url), list[dict[str, Any]]()
    for back in range(10, 0, -1):
        noon = TODAY + timedelta(hours=12) - timedelta(days=back)
        usage += [
            event(noon, 900, team="a"),
            event(noon, 500, team="b"),
            event(noon + timedelta(hours=6), 300, team="a"),
        ]
    looping = {"run_id": "r", "tool_call_hashes": ["search:00112233445566778899aabbccddeeff"]}
    usage += [event(TODAY - timedelta(hours=6, minutes=i), 1, team="c", **looping) for i in range(4)]
    store(client, usage, [CENT], TENANT, int(datetime.now(UTC).timestamp() * 1000))
    yield client
    forget(client, TENANT)
    client.close()


def folder(path: Path, limit: str) -> str:
    path.mkdir()
    for file in catalog_folder().glob("*.toml"):
        (path / file.name).write_text(file.read_text())
    (path / "tested.toml").write_text(BUDGETS.format(limit=limit))
    return str(path)


def ask(settings: Settings, *arguments: str) -> Result:
    if not main.app.registered_commands:
        main.mount()
    there = ["--bootstrap", settings.bootstrap, "--clickhouse-url", settings.clickhouse_url]
    return CliRunner().invoke(main.app, ["backtest", *arguments, *there])


@pytest.mark.usefixtures("stored")
def test_a_rule_over_stored_usage_fires_as_worked_out_by_hand(settings: Settings, tmp_path: Path) -> None:
    span = ("--from", f"{TODAY - timedelta(days=10):%Y-%m-%d}", "--to", f"{TODAY:%Y-%m-%d}")

    said = ask(settings, "team-day", "--catalog", folder(tmp_path / "c", "10"), *span, "--json")
    found = json.loads(said.stdout)

    assert said.exit_code == 0, said.output
    assert (found["alerts"], found["scopes_fired"], found["scopes"]) == (20, 1, 3)  # of team a, 0.8 at noon, 1 at 18:00
    assert (found["used"], found["at_risk"], found["above_the_limit"]) == ("170.04", "30", "20")
    assert [e["reason"] for e in found["episodes"]] == ["period_ended"] * 18 + [
        None
    ] * 2  # the last day ends with the time
    assert found["median_ms_to_resolved"] == 9 * 3_600_000 - 1  # half of them last 12 h, half 6 h
    [line] = found["timelines"].values()
    assert line.count("█") == 30


@pytest.mark.usefixtures("stored")
def test_two_versions_stand_side_by_side(settings: Settings, tmp_path: Path) -> None:
    one, other = folder(tmp_path / "one", "10"), folder(tmp_path / "other", "5")

    shown = ask(settings, "team-day", "--catalog", one, "--days", "11", "--compare", other)
    found = json.loads(ask(settings, "team-day", "--catalog", one, "--days", "11", "--compare", other, "--json").stdout)

    assert [v["alerts"] for v in found] == [20, 40]
    assert f"fired in team-day of {other} alone: tenant_id={TENANT}|team=b" in shown.stdout
    assert "noise" in shown.stdout


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(("rule", "alerts"), [("output", 1), ("loops", 1)])
def test_buckets_measures_and_loops_come_out_of_the_warehouse_as_out_of_the_ledger(
    settings: Settings, tmp_path: Path, rule: str, alerts: int
) -> None:
    said = ask(settings, rule, "--catalog", folder(tmp_path / "c", "10"), "--days", "11", "--json")

    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["alerts"] >= alerts


@pytest.mark.usefixtures("stored")
def test_the_commands_of_the_readme_work(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [section] = re.findall(r"^### Is a rule any good\?\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    [block] = re.findall(r"^```bash\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "my-catalog", "10")
    folder(tmp_path / "stricter", "5")

    for line in block.splitlines():
        said = ask(settings, *shlex.split(line, comments=True)[2:])
        assert said.exit_code == 0, f"{line}: {said.output}"


def test_a_rule_that_is_not_there_is_refused(settings: Settings) -> None:
    said = ask(settings, "nobody")

    assert said.exit_code == 2
    assert "take one of" in said.stderr
    [line] = ask(settings, "team-rolling-day", "--compare", "stricter").stderr.splitlines()
    assert "--compare stricter: is no folder here and no rule has this id; give a folder with a changed copy" in line


async def send(settings: Settings, tenant: str, tokens: int, count: int) -> None:
    kafka = KafkaClient(settings.bootstrap)
    producer = await kafka.producer()
    for i in range(count):
        block = json.dumps({"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens})
        now = int(time.time() * 1000)
        one = usage_event(i, tenant_id=tenant, event_time=now, usage_json=block, event_id=f"{tenant}-{tokens}-{i}")
        await producer.send_and_wait(topics.EVENTS, ENCODE(one), partition=0)
    await kafka.close()


def test_a_back_test_of_the_ledger_finds_the_alerts_that_the_live_watch_raised(
    settings: Settings, client: Client, stage: Callable[..., Stage]
) -> None:
    tenant = "back-tested-live"
    stages = [stage(name) for name in ("meter", "watch", "warehouse")]
    sql = (
        "SELECT alert_id, threshold FROM usage.alerts WHERE tenant_id = {t:String} AND budget_id = 'team-rolling-day'"
        " AND state = 'firing' ORDER BY threshold"
    )

    def raised() -> list[tuple[str, Decimal]]:
        return [(str(a), t) for a, t in client.query(sql, parameters={"t": tenant}).result_rows]

    asyncio.run(send(settings, tenant, 10_000_000, 2))  # 35 USD of 40
    until(lambda: len(raised()) == 1, 60, "an alert at 0.8", lambda: "\n".join(s.said()[-2000:] for s in stages))
    asyncio.run(send(settings, tenant, 9_000_000, 1))
    until(lambda: len(raised()) == 2, 60, "an alert at 1", lambda: "\n".join(s.said()[-2000:] for s in stages))

    for source in ("topic", "clickhouse"):
        said = ask(settings, "team-rolling-day", "--days", "1", "--source", source, "--step", "1s", "--json")
        assert said.exit_code == 0, said.output
        mine = [e for e in json.loads(said.stdout)["episodes"] if f"tenant_id={tenant}" in e["scope"]]
        assert [(e["alert_id"], Decimal(e["threshold"])) for e in mine] == raised(), source
