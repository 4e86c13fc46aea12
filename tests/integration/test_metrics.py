"""What a scrape of a running stage says."""

import asyncio
import re
from collections.abc import Callable
from urllib.request import urlopen

import pytest
from clickhouse_connect.driver.client import Client

from streams.embedded.ports import free_port, listens
from streams.settings import Settings
from tests.support.stages import Stage, until
from tests.support.traffic import produce, stored_events

pytestmark = pytest.mark.integration


def scrape(port: int) -> dict[str, float]:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {name: float(value) for name, value in re.findall(r"^(usage_\S+) (\S+)$", text, re.MULTILINE)}


def test_a_scrape_counts_what_the_meter_did_and_how_far_behind_it_is(
    settings: Settings, client: Client, stage: Callable[..., Stage]
) -> None:
    port = free_port(0)
    meter = stage("meter", metrics_port=str(port))
    stage("warehouse")
    until(lambda: listens(port), 30, "metrics served", meter.said)

    sent = asyncio.run(produce(settings, "scraped", 500))
    until(lambda: stored_events(client, "scraped") == sent.good, 60, "everything stored", meter.said)
    wanted = {"rated": sent.good, "duplicate": sent.repeats, "dead": sent.poison}

    def counted() -> bool:  # a chunk is counted when it is finished, which may be after its rows can be queried
        now = scrape(port)
        return all(now.get(f'usage_events_total{{outcome="{o}"}}', 0) >= count for o, count in wanted.items())

    until(counted, 60, "counted", meter.said)
    found = scrape(port)
    lags = {name: value for name, value in found.items() if name.startswith("usage_stage_lag_seconds{")}
    for topic in ("usage.events", "usage.adjustments"):
        assert sum(f'topic="{topic}"' in name for name in lags) == settings.source_partitions
    assert max(lags.values()) < 60
    assert found["usage_conservation_difference"] == 0
    assert sum(v for n, v in found.items() if n.startswith("usage_seen_ids{")) >= sent.good
