"""Corrections on the real broker and the real engine: SQL, budgets and the audit follow to the last digit."""

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from streams.catalog.models import Catalog
from streams.cli.apply import publish, read_folder
from streams.cli.status import look
from streams.cli.worker import environment_of
from streams.resources import catalog_folder
from streams.settings import Settings
from streams.warehouse.queries import run_query
from tests.conftest import Check
from tests.support.stages import Stage, until
from tests.support.traffic import COST, Sent, account, budget_use, produce, stored_costs, stored_events

pytestmark = pytest.mark.integration
Start = Callable[..., Stage]
INPUT, OUTPUT = Decimal("0.000002"), Decimal("0.00002")  # of the mended catalog
DEARER = INPUT * 100 + OUTPUT * 20


def mended(own: Catalog) -> Catalog:
    """gpt-5.2 costs more than was thought, from its first day on; house-7b has a price after all."""
    prices, amounts = [], {"input_uncached": INPUT, "output_visible": OUTPUT}
    for price in own.prices:
        wrong = price.model == "gpt-5.2" and price.bucket in amounts
        prices.append(price.model_copy(update={"unit_price": amounts[price.bucket]}) if wrong else price)
        if wrong:
            prices.append(prices[-1].model_copy(update={"model": "house-7b"}))
    return own.model_copy(update={"prices": tuple(prices)})


@pytest.fixture
def new_prices(settings: Settings) -> Iterator[Callable[[], None]]:
    """Publish the mended catalog; afterwards the old one is in force again, for the tests that follow."""
    own = read_folder(catalog_folder())

    def change() -> None:
        asyncio.run(publish(settings, mended(own), dry_run=False, confirm=False))

    yield change
    asyncio.run(publish(settings, own, dry_run=False, confirm=False))


def command(settings: Settings, *given: str) -> list[str]:
    return [sys.executable, "-m", "streams.cli.main", *given, "--json", "--bootstrap", settings.bootstrap]


def said(settings: Settings, *given: str) -> dict[str, Any]:
    """What the command prints as JSON; it must end with 0."""
    env = environment_of(settings)
    done = subprocess.run(command(settings, *given), env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def by_team(sent: Sent, cost: Decimal) -> dict[str, Decimal]:
    return {team: cost * n for team, n in sent.by_team.items()}


def same(settings: Settings, client: Client, tenant: str, wanted: dict[str, Decimal], stages: list[Stage]) -> None:
    """SQL and budgets reach these costs; everything that is stored is still accounted for."""

    def logs() -> str:
        return f"{stored_costs(client, tenant)}\n{budget_use(client, tenant)}\n" + "\n".join(
            s.said()[-3000:] for s in stages
        )

    until(lambda: stored_costs(client, tenant) == wanted, 60, f"{wanted} in SQL", logs)
    until(lambda: budget_use(client, tenant) == wanted, 60, f"{wanted} in budgets", logs)
    assert asyncio.run(account(settings))["difference"] == 0
    assert {r["missing"] for r in run_query(client, "conservation")} == {0}


def test_a_new_price_is_brought_to_old_usage_once_and_to_the_last_digit(
    settings: Settings, client: Client, stage: Start, check: Check, new_prices: Callable[[], None]
) -> None:
    tenant, before = "rerated", asyncio.run(account(settings))
    stages = [stage(name) for name in ("meter", "watch", "warehouse")]
    sent = asyncio.run(produce(settings, tenant, 1_500))
    check(sent, before, stages)
    new_prices()
    asked = ("rerate", "--from", "2026-01-01", "--to", "2100-01-01", "--tenant", tenant)

    planned = said(settings, *asked)

    priced = sum(sent.by_team.values())
    assert (planned["events"], planned["unpriced_before"], planned["unpriced_after"]) == (sent.good, sent.unpriced, 0)
    assert planned["chosen"] == sent.good
    [total] = planned["totals"]
    figures = {name: Decimal(total[name]) for name in ("old", "new", "difference")}
    assert figures == {
        "old": COST * priced,
        "new": DEARER * sent.good,
        "difference": DEARER * sent.good - COST * priced,
    }
    assert stored_costs(client, tenant) == sent.costs()  # a plan changes nothing

    applied = said(settings, *asked, "--apply", "--run-id", "dearer", "--reason", "the list price was wrong")

    assert (applied["state"], applied["rows"], applied["totals"]) == ("applied", planned["rows"], planned["totals"])
    everything = sent.by_team.copy()
    everything.update(f"t{i % 5}" for i in range(1_500) if i % 30 == 29 and i % 50 != 49)
    wanted = {team: DEARER * n for team, n in everything.items()}
    same(settings, client, tenant, wanted, stages)
    again = said(settings, *asked, "--apply", "--run-id", "dearer", "--reason", "the list price was wrong")
    assert (again["state"], again["rows"]) == ("already applied", planned["rows"])
    same(settings, client, tenant, wanted, stages)
    alerts = client.query(
        "SELECT state FROM usage.alerts WHERE tenant_id = 'rerated' AND budget_id = 'no-price'"
    ).result_rows
    assert alerts == [("resolved",)]

    # What it was stays readable, and who changed it.
    old = client.query(
        "SELECT old_pricing_status, count(), sum(old_effective_cost), any(reason), any(run_id), min(length(old_lines))"
        " FROM usage.adjustments WHERE tenant_id = 'rerated' GROUP BY old_pricing_status ORDER BY 1"
    ).result_rows
    why = ("the list price was wrong", "dearer", 2)
    assert old == [("priced", priced, COST * priced, *why), ("unpriced", sent.unpriced, None, *why)]
    [run] = client.query(
        "SELECT kind, state, reason, adjusted, run FROM usage.runs WHERE run_id = 'dearer'"
    ).result_rows
    assert run[:4] == ("rerate", "ended", "the list price was wrong", sent.good)
    versions = client.query("SELECT DISTINCT version FROM usage.usage_events WHERE tenant_id = 'rerated'").result_rows
    assert versions == [(run[4],)]


def test_usage_that_was_wrong_is_taken_back_and_stays_visible(
    settings: Settings, client: Client, stage: Start, check: Check
) -> None:
    tenant, before = "looped", asyncio.run(account(settings))
    stages = [stage(name) for name in ("meter", "watch", "warehouse")]
    sent = asyncio.run(produce(settings, tenant, 500))
    check(sent, before, stages)
    asked = ("void", "--where", f"tenant_id={tenant}", "--where", "team=t1", "--where", "team=t2")

    planned = said(settings, *asked)
    said(settings, *asked, "--apply", "--reason", "a looping test")

    assert {row["team"] for row in planned["rows"]} == {"t1", "t2"}
    assert {row["new"] for row in planned["rows"]} == {"0"}
    wanted = {team: cost for team, cost in sent.costs().items() if team not in ("t1", "t2")}
    until(lambda: stored_costs(client, tenant) == wanted, 60, "taken back in SQL", stages[2].said)
    until(
        lambda: budget_use(client, tenant) == wanted | {"t1": 0, "t2": 0}, 30, "taken back in budgets", stages[1].said
    )
    assert asyncio.run(account(settings))["difference"] == 0
    gone = client.query(
        "SELECT count(), sum(effective_cost), any(reasons) FROM usage.rated_rows FINAL"
        " WHERE tenant_id = 'looped' AND is_deleted = 1 AND pricing_status = 'void'"
    ).result_rows
    assert gone == [(planned["events"], 0, ["void: a looping test"])]
    assert stored_events(client, tenant) == sent.good - planned["events"]


@pytest.mark.chaos
def test_a_run_that_is_killed_goes_on_where_it_was(
    settings: Settings, client: Client, stage: Start, check: Check, new_prices: Callable[[], None]
) -> None:
    tenant, before = "rerate-killed", asyncio.run(account(settings))
    stages = [stage(name) for name in ("meter", "watch", "warehouse")]
    sent = asyncio.run(produce(settings, tenant, 1_000))
    check(sent, before, stages)
    new_prices()
    asked = ["rerate", "--from", "2026-01-01", "--to", "2100-01-01", "--tenant", tenant, "--model", "gpt-5.2"]
    asked += ["--apply", "--run-id", "killed", "--reason", "killed midway"]
    env = environment_of(settings)

    for left in (1, 1, 2):  # after the start; one partition further; two further: one and the end are left
        dying = [sys.executable, "-m", "tests.chaos.dying_run", str(left), *command(settings, *asked)[3:]]
        assert subprocess.run(dying, env=env, check=False).returncode == -signal.SIGKILL
    other = [a if a != "killed" else "another" for a in command(settings, *asked)]
    refused = subprocess.run(other, env=env, capture_output=True, text=True, check=False)
    assert (refused.returncode, "run killed: is open" in refused.stderr) == (1, True)
    assert asyncio.run(look(settings))["open_run"] == "killed"
    finished = said(settings, "rerate", "--resume")

    assert (finished["run_id"], finished["events"]) == ("killed", sum(sent.by_team.values()))
    same(settings, client, tenant, by_team(sent, DEARER), stages)


MOMENTS = [
    ("meter", "totals", 1),  # one of two partitions of totals has the correction
    ("watch", "state", 1),
    ("warehouse", "correction", 3),  # some rows of the run and of what it corrects are in, not all
]


@pytest.mark.chaos
@pytest.mark.parametrize(("stage_name", "moment", "count"), MOMENTS, ids=[f"{s} after {m} {c}" for s, m, c in MOMENTS])
def test_a_stage_that_dies_in_a_run_loses_and_repeats_nothing(
    settings: Settings,
    client: Client,
    stage: Start,
    check: Check,
    new_prices: Callable[[], None],
    tmp_path: Path,
    stage_name: str,
    moment: str,
    count: int,
) -> None:
    tenant, before = f"dies-in-a-run-{stage_name}-{moment}-{count}", asyncio.run(account(settings))
    stages = {name: stage(name, worker_id="dying") for name in ("meter", "watch", "warehouse")}
    sent = asyncio.run(produce(settings, tenant, 500))
    check(sent, before, [*stages.values()])
    new_prices()
    stages[stage_name].stop()
    asked = ("rerate", "--from", "2026-01-01", "--to", "2100-01-01", "--tenant", tenant, "--model", "gpt-5.2")
    said(settings, *asked, "--apply", "--run-id", tenant, "--reason", "a stage is away")

    with (tmp_path / "dying.log").open("wb") as out:
        env = {**environment_of(settings), "USAGE_STREAMS_WORKER_ID": "dying"}
        dying = [sys.executable, "-m", "tests.chaos.dying_stage", stage_name, moment, str(count)]
        died = subprocess.run(dying, env=env, stdout=out, stderr=out, timeout=60, check=False)

    assert died.returncode == -signal.SIGKILL, (tmp_path / "dying.log").read_text()[-3000:]
    heir = stage(stage_name, worker_id="dying")
    same(settings, client, tenant, by_team(sent, DEARER), [*stages.values(), heir])


def test_what_had_no_price_is_rated_again_by_itself_when_its_price_arrives(
    settings: Settings, client: Client, stage: Start, check: Check, new_prices: Callable[[], None]
) -> None:
    tenant, before = "repriced", asyncio.run(account(settings))
    stages = [stage(name, reprice="true") for name in ("meter", "watch", "warehouse", "warehouse")]
    sent = asyncio.run(produce(settings, tenant, 600))
    check(sent, before, stages)

    new_prices()

    late = Counter(f"t{i % 5}" for i in range(600) if i % 30 == 29 and i % 50 != 49)
    wanted = {team: COST * sent.by_team[team] + DEARER * late[team] for team in sent.by_team}
    same(settings, client, tenant, wanted, stages)
    [run] = client.query("SELECT run_id, started_by FROM usage.runs WHERE started_by = 'usage-streams'").result_rows
    assert run[0].startswith("prices-v")
