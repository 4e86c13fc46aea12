"""The life of an alert through the real stages: it fires, a person takes it on, the watch says so, SQL shows it all."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from typer.testing import CliRunner

from streams.cli import main
from streams.kafka import topics
from streams.kafka.alerts_log import AlertsLog
from streams.kafka.client import KafkaClient
from streams.settings import Settings
from streams.warehouse.queries import run_query
from tests.support.stages import Stage, until
from tests.support.traffic import produce

pytestmark = pytest.mark.integration
TENANT = "alert-life"


def history(settings: Settings) -> list[tuple[str, str]]:
    """(state, reason) of each revision of this tenant's one alert."""

    async def read() -> list[tuple[str, str]]:
        kafka = KafkaClient(settings.bootstrap)
        try:
            log = AlertsLog([kafka.log(topics.ALERTS, p) for p in await kafka.partitions(topics.ALERTS)])
            await log.refresh()
            names = [r["alert_id"] for r in log.all() if r["tenant_id"] == TENANT]
            return [(r["state"], r["reason"]) for name in names for r in log.history(name)]
        finally:
            await kafka.close()

    return asyncio.run(read())


def test_an_alert_is_acknowledged_by_command_and_sql_shows_who_and_when(
    settings: Settings, client: Client, stage: Callable[..., Stage]
) -> None:
    if not main.app.registered_commands:
        main.mount()
    environment = {
        "USAGE_STREAMS_BOOTSTRAP": settings.bootstrap,
        "USAGE_STREAMS_CLICKHOUSE_URL": settings.clickhouse_url,
    }

    def run(*arguments: str) -> Any:
        done = CliRunner().invoke(main.app, [*arguments, "--json"], env=environment)
        assert done.exit_code in (0, 1), done.output
        return json.loads(done.stdout)

    stages = [stage(name) for name in ("meter", "watch", "warehouse")]

    def logs() -> str:
        return "\n".join(s.said()[-3000:] for s in stages)

    asyncio.run(produce(settings, TENANT, 60))  # two events of a model without a price
    until(lambda: history(settings) == [("firing", "crossed")], 60, "the alert no-price", logs)
    [alert] = run("alerts", "list", "--tenant", TENANT)
    assert (alert["kind"], alert["dimensions"]["model"]) == ("unpriced", "house-7b")

    run("alerts", "ack", alert["alert_id"][:10], "--note", "asking the vendor", "--by", "ada")

    until(lambda: history(settings)[1:] == [("acknowledged", "acknowledged")], 60, "the acknowledgement", logs)

    def stored() -> list[Any]:
        rows = client.query(
            "SELECT state, acknowledged_by, revision FROM usage.alerts WHERE tenant_id = {t:String}", {"t": TENANT}
        ).result_rows
        return list(rows)

    until(lambda: stored() == [("acknowledged", "ada", 2)], 60, "the alert in SQL", logs)
    span = {"start": "2000-01-01 00:00:00", "end": "2100-01-01 00:00:00"}

    def on_record() -> bool:
        return ("ack", "asking the vendor") in {(c["kind"], c["said"]) for c in run_query(client, "commands", span)}

    until(on_record, 60, "the command in SQL", logs)
    found = run("alerts", "explain", alert["alert_id"])
    assert [e["model"] for e in found["events"]] == ["house-7b"] * 2
    assert [h["state"] for h in found["history"]] == ["firing", "acknowledged"]
