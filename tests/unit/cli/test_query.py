"""What `usage-streams query` and `tail` print for people, without a stack."""

import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from streams.cli import main
from streams.cli.query import checked, show
from streams.cli.screen import Screen
from streams.cli.tail import Backlog, newest

ROW = {"why": ["a [b]", "c"], "cost": Decimal("0.10"), "events": 1_000, "at": datetime(2026, 11, 25, 9, tzinfo=UTC)}


def printed(rows: list[dict[str, Any]], width: int) -> list[str]:
    out = io.StringIO()
    show(rows, Screen(file=out, width=width))
    return [line.strip() for line in out.getvalue().splitlines()]


def test_a_table_that_fits_is_a_table() -> None:
    assert printed([ROW], 100) == [
        "why       cost  events  at",
        "a [b], c  0.1   1,000   2026-11-25 09:00:00",
    ]


def test_a_table_that_is_too_wide_becomes_a_list_a_row_and_cuts_nothing_off() -> None:
    assert printed([ROW], 40) == [
        "why     a [b], c", "cost    0.1", "events  1,000", "at      2026-11-25 09:00:00", ""
    ]  # fmt: skip


def test_no_rows_are_said() -> None:
    assert printed([], 40) == ["no rows"]


def test_without_a_name_every_question_is_listed() -> None:
    if not main.app.registered_commands:
        main.mount()

    said = CliRunner().invoke(main.app, ["query"])

    assert "cost_by_team: what did each team cost in [start, end)?" in said.stdout


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            ["cost_by_team", "--param", "strat=2026-11-01"],
            "parameter strat: the query has none of that name; take start, end",
        ),
        (["cost_by_team", "--param", "start=yesterday"], "start yesterday: is no time; write 2026-11-24,"),
        (["cost_by_attribute"], "parameters are missing; add --param key="),
    ],
)
def test_a_parameter_that_is_misspelt_or_missing_is_refused_before_the_warehouse_is_asked(
    asked: list[str], said: str
) -> None:
    if not main.app.registered_commands:
        main.mount()

    refused = CliRunner().invoke(main.app, ["query", *asked], env={"COLUMNS": "200"})

    assert refused.exit_code == 2
    assert said in refused.stderr


def test_a_list_is_written_with_commas_and_may_be_empty() -> None:
    sql = "has({tenants:Array(String)}, t) AND has({regions:Array(String)}, r) AND m = {minutes:UInt32}"

    assert checked({"tenants": "a,b", "regions": "", "minutes": "60"}, sql) == {
        "tenants": ["a", "b"], "regions": [], "minutes": "60"
    }  # fmt: skip


def test_a_time_is_taken_with_a_zone_or_in_utc() -> None:
    sql = "t >= {start:DateTime64(3, 'UTC')} AND t < {end:DateTime64(3, 'UTC')}"

    assert checked({"start": "2026-11-01", "end": "2026-11-02T01:30:00+01:00"}, sql) == {
        "start": "2026-11-01 00:00:00.000", "end": "2026-11-02 00:30:00.000"
    }  # fmt: skip


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match="minutes soon: is no number"):
        checked({"minutes": "soon"}, "m = {minutes:UInt32}")


def test_a_parameter_whose_absence_means_all_may_be_left_out() -> None:
    assert checked({}, "WHERE {scope:String} = '' OR scope = {scope:String}") == {"scope": ""}


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2)])  # a zombie may write what is older last
def test_of_a_budget_the_newest_state_is_kept(order: tuple[int, ...]) -> None:
    lines = [json.dumps({"scope": scope, "stamp": {"offset": at}}) for scope, at in (("a", 1), ("a", 2), ("b", 1))]

    assert sorted(newest([lines[i] for i in order])) == sorted([lines[1], lines[2]])
    assert sorted(newest(["{", "[]", "null", '{"scope": 1}', *lines])) == sorted([lines[1], lines[2]])


def test_of_what_was_there_the_last_lines_are_kept_in_the_order_of_time() -> None:
    backlog = Backlog(3)

    for at, line in ((1, "a"), (4, "d"), (4, "e"), (2, "b"), (3, "c")):  # of two partitions
        backlog.add(at, line)

    assert backlog.lines() == ["c", "d", "e"]
    assert backlog.left_out == 2
