"""kill -9 at the moments that hurt: between any two steps of the protocol. Totals equal to the cent, difference 0."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from streams.cli.worker import environment_of
from streams.settings import Settings
from tests.conftest import Check
from tests.support.stages import Stage
from tests.support.traffic import account, produce

pytestmark = [pytest.mark.integration, pytest.mark.chaos]
MOMENTS = [
    ("meter", "dead", 3),  # dead letter safe, batch not yet
    ("meter", "ledger", 2),  # batch in the ledger, its totals not
    ("meter", "totals", 1),  # one of two partitions of totals has them
    ("meter", "before commit", 1),  # everything out, the source not committed
    ("meter", "commit", 1),
    ("watch", "alerts", 1),  # alert out, state not saved
    ("watch", "state", 1),
    ("warehouse", "insert", 1),  # rows in, neither accounts nor mark
    ("warehouse", "insert", 2),  # rows and accounts in, no mark
]


@pytest.mark.parametrize(("stage_name", "moment", "count"), MOMENTS, ids=[f"{s} after {m} {c}" for s, m, c in MOMENTS])
def test_a_stage_that_dies_between_two_steps(
    settings: Settings,
    client: Client,
    stage: Callable[..., Stage],
    tmp_path: Path,
    check: Check,
    stage_name: str,
    moment: str,
    count: int,
) -> None:
    tenant = f"dies-{stage_name}-{moment}-{count}".replace(" ", "-")
    before = asyncio.run(account(settings))
    others = [stage(name) for name in ("meter", "watch", "warehouse") if name != stage_name]
    with (tmp_path / "dying.log").open("wb") as out:
        env = {**environment_of(settings), "USAGE_STREAMS_WORKER_ID": "dying"}
        command = [sys.executable, "-m", "tests.chaos.dying_stage", stage_name, moment, str(count)]
        dying = subprocess.Popen(command, env=env, stdout=out, stderr=out)

    sent = asyncio.run(produce(settings, tenant, 1_000))

    assert dying.wait(60) == -9, (tmp_path / "dying.log").read_text()[-3000:]
    heir = stage(stage_name, worker_id="dying")
    check(sent, before, [*others, heir])
    rows = client.query(
        "SELECT count(), uniqExact(alert_id) FROM usage.alerts_rows FINAL WHERE tenant_id = {t:String} AND state = 'firing'",
        parameters={"t": tenant},
    ).result_rows
    assert rows == [(1, 1)]  # the model without a price; published again perhaps, but the same alert
