"""What `usage-streams commitments` says to people, without a stack."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from streams.catalog.book import compile_book
from streams.catalog.commitments import Agreements
from streams.catalog.drawdown import position, pressing
from streams.catalog.models import Catalog
from streams.catalog.usage_frames import slice_minutes
from streams.cli import main
from streams.cli.commitments import bar, show
from streams.cli.moments import moment
from streams.cli.screen import Screen
from tests.support.usage import usage, used
from tests.unit.catalog.test_credits import quota, volume
from tests.unit.catalog.test_drawdown import MAY, credit, promise

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("at", "said"),
    [("tomorrow", "tomorrow: is no time; write 2026-"), ("2026-05-01T00:00:00", "has no zone; write it as")],
)
def test_a_moment_says_its_zone(at: str, said: str) -> None:
    if not main.app.registered_commands:
        main.mount()

    refused = CliRunner().invoke(main.app, ["commitments", "--at", at], env={"COLUMNS": "200"})

    assert refused.exit_code == 2
    assert said in refused.stderr


def test_a_day_is_a_moment_too() -> None:
    assert moment("2026-11-24") == datetime(2026, 11, 24, tzinfo=UTC)


def test_a_bar_is_full_only_when_all_is_used() -> None:
    agreed = Agreements(commitments=(credit("100"),))
    found = position(usage(used(MAY, 9_999)), agreed, compile_book(Catalog(), 1, "v"), MAY, MAY + DAY)

    assert bar(found.drawdowns["share"][0]) == "█" * 19 + "░"


def test_what_runs_out_what_is_unused_and_what_is_due_is_said() -> None:
    at = MAY + 32 * DAY
    agreed = Agreements(
        commitments=(credit("2.5"), promise("100")), quotas=(quota(100),), volumes=(volume("cliff", tiers=TIERS),)
    )
    rows = usage(used(MAY, 300), used(MAY + DAY, 50, None), used(MAY + 2 * DAY, 100))
    found = position(rows, agreed, compile_book(Catalog(), 1, "v"), MAY, at)
    text = io.StringIO()

    show(
        found,
        {tuple(r) for r in pressing(found.drawdowns, at).select("id", "start").iter_rows()},
        Screen(file=text, width=160),
    )

    said = text.getvalue()
    assert "credit, 2026-05-01 00:00 -: forecast: used up" in said  # 2 of 2.50 USD: the first 100 of each day are free
    assert "promise, 2026-05-01 00:00 - 2026-06-01 00:00: 98.00 was never used" in said
    assert "credit due in these periods: free 2.00 USD" in said
    assert "credit due in these periods: bulk 0.20 USD" in said or "bulk 0.2 USD" in said  # 10 % of 2
    assert "free unknown for 50 free units of 2026-05-02 00:00" in said
    assert "periods that nothing used are left out" in said
    assert "2026-05-20 00:00" not in said


TIERS = [{"above": "1", "multiplier": "0.9"}]


def test_usage_is_read_by_the_quarter_where_a_zone_lies_between_hours() -> None:
    at = datetime(2026, 5, 9, tzinfo=UTC)

    def minutes(zone: str) -> int:
        return slice_minutes(Agreements(commitments=(promise("1", "day", zone=zone),)), MAY, at)

    assert (minutes("Europe/Berlin"), minutes("Asia/Kolkata"), minutes("Asia/Kathmandu")) == (60, 15, 15)
