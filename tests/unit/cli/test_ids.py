"""Whoever types an id may stop as soon as no other begins so; what several begin with is refused, never guessed."""

import pytest

from streams.cli.deliveries import wanted
from streams.cli.watching import complete
from streams.jobs.commands import CommandRefused
from streams.notify.delivery import Delivery


def delivery(name: str, alert: str) -> Delivery:
    return Delivery(
        delivery_id=name, alert_id=alert, revision=1, endpoint="e", route="r", group="", partition=0, offset=0, status="sent",
        at=0, queued_at=0, facts={},
    )  # fmt: skip


def test_an_id_may_be_cut_short_as_long_as_it_is_the_only_one() -> None:
    known = ["3f9c01", "3f9d02", "3f"]

    assert complete("3f9c", known) == "3f9c01"
    assert complete("3f", known) == "3f"  # whole, although others begin so
    assert complete("77", known) is None
    with pytest.raises(CommandRefused, match="alert 3f9: 2 begin so; write more of its id, 3f9c01 is one"):
        complete("3f9", known)


def test_deliveries_are_found_by_the_beginning_of_an_alert_or_of_their_own() -> None:
    held = [delivery("d1aa", "3f9c01"), delivery("d1bb", "3f9c01"), delivery("d2", "77ab")]

    assert [d.delivery_id for d in wanted(held, "3f9c", False, "")] == ["d1aa", "d1bb"]
    assert [d.delivery_id for d in wanted(held, "d1a", False, "")] == ["d1aa"]
    assert wanted(held, "zzz", False, "") == []
    with pytest.raises(CommandRefused, match="delivery d1: 2 begin so"):
        wanted(held, "d1", False, "")
