"""The verbs of `catalog` against a real broker and the real engine."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from typer.testing import CliRunner

from streams.catalog.models import Catalog
from streams.catalog.prices import Price
from streams.catalog.wire import dump
from streams.cli import main
from streams.cli.catalog import simulated
from streams.cli.up import bring_up, take_down
from streams.pipeline.seen import SeenSet
from streams.pipeline.settle import settle
from streams.resources import catalog_folder
from streams.settings import Settings
from streams.warehouse.client import connect
from streams.warehouse.insert import LedgerMessage, insert_ledger
from streams.warehouse.usage_pages import pages
from tests.support.events import DECODER, NOW, avro
from tests.unit.pipeline.test_select import book

pytestmark = pytest.mark.integration
TENANT = "simulated"
DAY = timedelta(days=1)
THEN = datetime(2025, 3, 1, tzinfo=UTC)
if not main.app.registered_groups:
    main.mount()
run = CliRunner()


def price(bucket: str, amount: str, model: str = "gpt-5.2", **other: Any) -> Price:
    given = {
        "provider": "openai",
        "model": model,
        "bucket": bucket,
        "unit_price": Decimal(amount),
        "currency": "USD",
        "source": "s",
    }
    return Price(**{"effective_from": THEN - DAY, **given, **other})


CURRENT = Catalog(
    prices=(price("input_uncached", "0.001"), price("output_visible", "0.01"), price("requests", "1", "old"))
)
EVENTS: list[dict[str, Any]] = [
    {"team": "a"},
    {"team": "a", "usage_json": '{"prompt_tokens":300000,"completion_tokens":20,"total_tokens":300020}'},
    {"team": "b"},
    {
        "team": None,
        "model": "old",
        "usage_json": None,
        "usage_dialect": None,
        "quantities": [{"bucket": "requests", "amount": 2}],
    },
    {"team": "b", "model": "new"},
]


@pytest.fixture(scope="module")
def stored(settings: Settings) -> Iterator[Client]:
    """The events above in March 2025, as meter and warehouse would have written them; gone afterwards."""
    at = int(THEN.timestamp() * 1000)
    records = [avro(i, tenant_id=TENANT, **{"event_time": at + i, **e}) for i, e in enumerate(EVENTS)]
    outcome = settle([r._replace(offset=i) for i, r in enumerate(records)], -1, SeenSet(10), DECODER, book(), TENANT)
    assert [len(b.coverage.dead) for b in outcome.batches] == [0]
    client = connect(settings.clickhouse_url)
    insert_ledger(
        client, TENANT, 0, [LedgerMessage(i, NOW, b.headers(), b.payload) for i, b in enumerate(outcome.batches)]
    )
    yield client
    for table in ("rated_rows", "ledger_batches", "ledger_marks"):
        client.command(f"ALTER TABLE usage.{table} DELETE WHERE stream = '{TENANT}'", settings={"mutations_sync": 1})
    client.close()


def test_a_candidate_is_tried_on_past_usage_by_team_and_by_model(settings: Settings, stored: Client) -> None:
    candidate = Catalog(
        prices=(
            price("input_uncached", "0.002", context_to=200_001),
            price("input_uncached", "0.004", context_from=200_001),
            price("output_visible", "0.01"),
            price("input_uncached", "0.003", "new"),
            price("output_visible", "0.03", "new"),
        )
    )

    found = simulated(settings, CURRENT, candidate, THEN, THEN + DAY)

    # a: 100 x 0.001 + 20 x 0.01 = 0.3, and 300,000 x 0.001 + 0.2; then 0.2 + 0.2, and 300,000 x 0.004 + 0.2
    # b: 0.3; then 0.4, and what `new` costs: 100 x 0.003 + 20 x 0.03 = 0.9
    assert found.events == 5
    teams = {(v, c): (t.current, t.candidate, t.newly_unpriced, t.newly_priced) for v, c, t in found.of("team")}
    models = {(v, c): (t.current, t.candidate, t.newly_unpriced, t.newly_priced) for v, c, t in found.of("model")}
    assert teams == {
        ("a", "USD"): (Decimal("300.5"), Decimal("1200.6"), 0, 0),
        ("b", "USD"): (Decimal("0.3"), Decimal("1.3"), 0, 1),
        ("b", ""): (0, 0, 0, 0),
        (None, "USD"): (2, 0, 1, 0),
    }
    assert models == {
        ("openai/gpt-5.2", "USD"): (Decimal("300.8"), Decimal("1201"), 0, 0),
        ("openai/new", "USD"): (0, Decimal("0.9"), 0, 1),
        ("openai/new", ""): (0, 0, 0, 0),
        ("openai/old", "USD"): (2, 0, 1, 0),
    }


def test_pages_of_any_size_hold_every_event_once(stored: Client) -> None:
    for size in (1, 2, 5, 100):
        rows = [r for page in pages(stored, ("event_id", "source_offset"), THEN, THEN + DAY, size) for r in page.rows()]
        assert sorted(name for name, _ in rows) == ["e0", "e1", "e2", "e3", "e4"]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path]:
    """A stack whose catalog may be changed."""
    bring_up(tmp_path / "stack", stages=())
    yield tmp_path / "stack"
    take_down(tmp_path / "stack")


def verb(own: Path, *arguments: str) -> str:
    done = run.invoke(main.app, [*arguments], env={"USAGE_STREAMS_DATA": str(own)})
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def test_newer_base_prices_are_shown_published_and_kept_by_apply(own: Path, tmp_path: Path) -> None:
    folder, newer = str(catalog_folder()), tmp_path / "newer.json"
    verb(own, "apply", folder, "--yes", "--reason", "first prices")
    newest = datetime(2026, 1, 1, tzinfo=UTC)
    newer.write_bytes(dump(Catalog(prices=(price("input_uncached", "0.5", "gpt-4o", effective_from=newest),))))

    shown = verb(own, "catalog", "update", "--from", str(newer), "--dry-run")
    assert "openai/gpt-4o input_uncached: 2.5 -> 500000 USD +19999900.0 %" in shown
    assert "published" not in shown

    assert "published version 2" in verb(own, "catalog", "update", "--from", str(newer), "--yes")
    assert verb(own, "catalog", "update", "--from", str(newer), "--yes") == "nothing changes\n"

    verb(own, "apply", folder, "--yes")  # the installed base prices do not come back
    asked = ("catalog", "show", "--json", "--provider", "openai", "--model", "gpt-4o")
    now, before = json.loads(verb(own, *asked)), json.loads(verb(own, *asked, "--at", "2026-01-02"))
    assert [(p["bucket"], p["each"]) for p in now] == [("input_uncached", "0.5")]
    assert ("input_uncached", "0.0000025") in [(p["bucket"], p["each"]) for p in before]
    assert json.loads(verb(own, "catalog", "diff", folder, "--json")) == {
        "days": 30, "events": 0, "by_team": [], "by_model": []
    }  # fmt: skip
    *_, second, first = json.loads(verb(own, "catalog", "log", "--json"))
    assert (first["sequence"], first["reason"], second["sequence"]) == (1, "first prices", 2)
    assert first["by"] != ""  # whoever runs the tests
    assert any(change.startswith("prices: +") for change in second["changes"])
