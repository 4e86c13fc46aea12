"""`usage-streams budgets` on the real broker and engine: proposals from stored usage, a file that applies, the README."""

import asyncio
import json
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from typer.testing import CliRunner, Result

from streams.catalog.dimensions import DIMENSIONS
from streams.catalog.prices import Price
from streams.cli import main
from streams.cli.apply import publish, read_folder
from streams.jobs.baseline import read_days
from streams.kafka import topics
from streams.kafka.client import KafkaClient
from streams.kafka.ports import append_surely
from streams.resources import catalog_folder
from streams.settings import Settings
from streams.warehouse.client import connect
from streams.watch.freshness import beat_key, beat_record
from tests.support.stored import forget, store
from tests.unit.cli.test_budgets import record

pytestmark = pytest.mark.integration
README = (Path(__file__).parents[2] / "README.md").read_text()
DAY_MS = 86_400_000
TENANT = "proposed"
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
CENT = Price(
    provider="openai",
    model="gpt-5.2",
    bucket="input_uncached",
    unit_price=Decimal("0.01"),
    currency="USD",
    effective_from=datetime(2020, 1, 1, tzinfo=UTC),
    source="test",
)


def usage() -> Iterator[dict[str, Any]]:
    """59 days of 10 USD of search in two runs, 500 on the last; 12 days of ads; what has no team; what has no price."""
    for back in range(60, 0, -1):
        noon = TODAY + timedelta(hours=12) - timedelta(days=back)
        for i, cents in enumerate((400, 600) if back > 1 else (20_000, 30_000)):
            yield event(noon, cents, team="search", run_id=f"r{back}-{i}", user_id=f"u{i}")
        if back <= 12:
            yield event(noon, 100, team="ads", run_id=f"a{back}")
    yield event(TODAY - timedelta(days=3), 100)
    yield event(TODAY - timedelta(days=3), 100, team="search", model="unheard-of")
    yield event(TODAY, 99_999, team="search")  # today is not over


def event(moment: datetime, tokens: int, **other: Any) -> dict[str, Any]:
    block = json.dumps({"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens})
    return {"event_time": int(moment.timestamp() * 1000), "team": None, "usage_json": block, **other}


@pytest.fixture(scope="module")
def stored(settings: Settings) -> Iterator[Client]:
    client = connect(settings.clickhouse_url)
    store(client, usage(), [CENT], TENANT, int(datetime.now(UTC).timestamp() * 1000))
    store(
        client, [event(TODAY - timedelta(days=d), 100, channel="web") for d in range(1, 13)], [CENT], f"{TENANT}-lately"
    )
    yield client
    forget(client, TENANT)
    forget(client, f"{TENANT}-lately")
    client.close()


def ask(settings: Settings, *arguments: str) -> Result:
    if not main.app.registered_commands:
        main.mount()
    there = ["--bootstrap", settings.bootstrap]
    there += ["--clickhouse-url", settings.clickhouse_url] if arguments[1] in {"propose", "forecast"} else []
    return CliRunner().invoke(main.app, [*arguments, *there])


@pytest.mark.usefixtures("stored")
def test_a_proposal_is_the_mean_month_without_the_burst_and_without_today(settings: Settings) -> None:
    said = ask(settings, "budgets", "propose", "--tenant", TENANT, "--json")
    found = json.loads(said.stdout)

    short, whole = sorted(found["proposals"], key=lambda p: p["days"])
    assert said.exit_code == 0
    assert (whole["where"], whole["mean"], whole["days"], whole["currency"]) == ({"team": "search"}, "10", 59, "USD")
    assert (whole["limit"], whole["largest"]) == ("351", "500")
    assert whole["left_out"] == [f"{TODAY.date() - timedelta(days=1)}: 500 is 50.0 x the median day"]
    assert (short["where"], short["is_short"]) == ({"team": "ads"}, True)
    assert (found["nameless_events"], found["events"]) == (1, 134)
    assert {u["scope"].rpartition("=")[2] for u in found["under_used"]} == {TENANT}
    of_another = ask(settings, "budgets", "propose", "--tenant", f"{TENANT}-lately", "--anyway", "--json")
    assert json.loads(of_another.stdout)["under_used"] == []  # not what others use


@pytest.mark.usefixtures("stored")
def test_the_file_that_is_written_can_be_applied(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    folder.mkdir()
    for path in catalog_folder().glob("*.toml"):
        (folder / path.name).write_text(path.read_text())
    budgets, runs = str(folder / "proposed.toml"), str(folder / "runs.toml")

    said = ask(settings, "budgets", "propose", "--tenant", TENANT, "--uplift", "1.1", "--out", budgets)
    of_runs = ask(settings, "budgets", "propose", "--tenant", TENANT, "--each", "run_id", "--by", "team", "--out", runs)
    lines, sequence = asyncio.run(publish(settings, read_folder(folder), dry_run=True, confirm=False))

    assert (said.exit_code, of_runs.exit_code) == (0, 0), said.output + of_runs.output
    assert f"left out {TODAY.date() - timedelta(days=1)}" in said.stdout
    assert "ads: 12 days since" in said.stdout
    assert "1 of 134 events name no value of --by" in said.stdout
    assert sequence is None
    assert [line.split(" ", 2)[:2] for line in lines if line.startswith(("budgets:", "runs:"))] == [
        ["budgets:", "+"], ["runs:", "+"]
    ]  # fmt: skip
    assert (folder / "proposed.toml").read_text().count("[[budgets]]") == 1
    search = next(r for r in read_folder(folder).runs if r.id == "search-run")
    assert (search.tokens, search.cost) == (23_000, Decimal(230))  # the 119th of 120 runs took 20,000, and 15 %


@pytest.mark.usefixtures("stored")
def test_too_little_history_is_refused_unless_anyway(settings: Settings) -> None:
    asked = ("budgets", "propose", "--tenant", f"{TENANT}-lately", "--by", "channel")

    refused, anyway = ask(settings, *asked), ask(settings, *asked, "--anyway", "--json")

    assert refused.exit_code == 1
    assert "too little history" in refused.stderr
    assert "12 days of usage at most" in refused.stderr
    assert "--anyway" in refused.stderr
    assert json.loads(anyway.stdout)["proposals"][0]["mean"] == "1"
    assert anyway.exit_code == 0


def test_every_dimension_is_one_that_days_of_usage_are_asked_by(stored: Client) -> None:
    own = {
        name: f"is-{name}"
        for name in DIMENSIONS
        if name not in {"tenant_id", "provider", "model", "accountable", "approval_status", "archetype"}
    }
    tenant = "every-dimension"
    attributes = [{"key": "k", "value": "v"}]
    store(stored, [event(TODAY, 100, attributes=attributes, **own)], [CENT], tenant)
    names = [*DIMENSIONS, "attributes.k", "attributes.none"]

    [row] = read_days(stored, names, TODAY.date(), TODAY.date() + timedelta(days=1), "UTC", [tenant])
    forget(stored, tenant)

    values = dict(zip(names, row["values"], strict=True))
    assert {name: values[name] for name in own} == own
    assert (values["provider"], values["model"], values["attributes.k"], values["attributes.none"]) == (
        "openai", "gpt-5.2", "v", ""
    )  # fmt: skip


@pytest.fixture
def budget_states(settings: Settings) -> Iterator[None]:
    """Two scopes on usage.budgets, as the watch would publish them; gone afterwards."""
    full = record(
        "tenant-month|tenant_id=shown", tenant_id="shown", budget_id="tenant-month", verdict="stop", used="100"
    )
    half = record("team|tenant_id=shown|team=a", tenant_id="shown", budget_id="team", parent=full["scope"])

    async def write(*records: tuple[str, Any]) -> None:
        kafka = KafkaClient(settings.bootstrap)
        await kafka.producer()
        log = kafka.log(topics.BUDGETS, 0)
        for scope, body in records:
            await append_surely(log, None if body is None else json.dumps(body).encode(), [], key=scope.encode())
        await kafka.close()

    beat = (beat_key(0).decode(), json.loads(beat_record(0, 1, 2)))  # no scope
    asyncio.run(write((full["scope"], full), (half["scope"], half), beat))
    yield
    asyncio.run(write((full["scope"], None), (half["scope"], None)))


@pytest.mark.usefixtures("budget_states")
def test_budgets_are_listed_the_fullest_first_and_shown_with_their_parents(settings: Settings) -> None:
    listed = ask(settings, "budgets", "list", "--tenant", "shown")
    machine = json.loads(ask(settings, "budgets", "list", "--tenant", "shown", "--json").stdout)
    shown = ask(settings, "budgets", "show", "team=a shown")

    assert [r["scope"] for r in machine] == ["tenant-month|tenant_id=shown", "team|tenant_id=shown|team=a"]
    assert "100.0 % ██████████ " in listed.stdout
    assert "120.50 (80 to 200)" in listed.stdout
    assert "tenant-month|tenant_id=shown: 75 USD left, stop" in shown.stdout


@pytest.mark.usefixtures("stored", "budget_states")
def test_the_commands_of_the_readme_work(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [section] = re.findall(r"^## What should a limit be\?\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    block = re.findall(r"^```bash\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[0]  # the next one is about backtest
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(line, comments=True)[1:] for line in block.splitlines() if "budgets" in line]
    commands = [[word.replace("tenant_id=acme", "tenant_id=shown") for word in command] for command in commands]

    for command in commands:
        said = ask(settings, *command)
        assert said.exit_code == 0, f"{command}: {said.output}"
    assert (tmp_path / "proposed.toml").is_file()
    assert len(commands) == 5


@pytest.mark.usefixtures("stored")
def test_forecasts_stand_beside_what_came(settings: Settings) -> None:
    said = ask(settings, "budgets", "forecast", "--budget", "tenant-month", "--json")
    found = json.loads(said.stdout)

    mine = [p for p in found["periods"] if p["scope"].endswith(TENANT)]
    assert said.exit_code == 0
    assert found["without"] == {}
    for one in mine:
        assert Decimal(one["used"]) > 0
        assert [s["gone"] for s in one["said"]][-1] == "0.75"
