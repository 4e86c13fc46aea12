"""`usage-streams budgets`: which record of a scope holds, how scopes are chosen, what people read."""

import json
from typing import Any

import click
import pytest
import typer
from typer.testing import CliRunner

from streams.cli import main
from streams.cli.budgets import chosen, expected, gauge, lines_of, share
from streams.kafka.budgets_log import take
from streams.watch.published import Unreadable

if not main.app.registered_commands:
    main.mount()
run = CliRunner()


def record(scope: str = "b|tenant_id=acme", offset: int = 1, **other: Any) -> dict[str, Any]:
    return {
        "scope": scope, "tenant_id": "acme", "budget_id": "b", "used": "25", "limit": "100", "headroom": "75", "unit": "cost",
        "currency": "USD", "events": 3, "unpriced_events": 1, "foreign_events": 0, "verdict": "warn", "would_be": "stop",
        "period_start": "2026-11-01T00:00:00.000Z", "period_end": "2026-12-01T00:00:00.000Z",
        "as_of": "2026-11-20T00:00:00.000Z",
        "stamp": {"stream": "s", "partition": 0, "offset": offset},
        "forecast": {"low": "80", "mid": "120.5", "high": "200", "coverage_percent": 80, "method": "level", "origins": 4,
                     "exhausts_at": "2026-11-27T10:00:00.000Z", "exhausts_from": "2026-11-24T10:00:00.000Z",
                     "error_percent": "9.1"},
    } | other  # fmt: skip


def test_of_a_scope_the_highest_stamp_holds_whoever_wrote_later() -> None:
    found: dict[str, dict[str, Any]] = {}
    for offset in (5, 9, 7):
        take(found, b"b|tenant_id=acme", json.dumps(record(offset=offset)).encode())
    with pytest.raises(Unreadable):
        take(found, b"b|tenant_id=acme", json.dumps(record(offset=11, used=25)).encode())

    assert found["b|tenant_id=acme"]["stamp"]["offset"] == 9
    take(found, b"b|tenant_id=acme", None)
    assert found == {}


def test_of_a_limit_of_nothing_all_is_used() -> None:
    assert share(record(used="0", limit="0")) == share(record(used="3", limit="0")) == 1
    assert share(record(limit=None)) is None


def test_a_scope_is_found_by_its_key_or_by_words_that_no_other_has(capsys: pytest.CaptureFixture[str]) -> None:
    every = {name: record(name) for name in ("b|team=a", "b|team=ab", "c|team=a")}

    assert chosen(every, "b|team=a")["scope"] == "b|team=a"
    assert chosen(every, "c team")["scope"] == "c|team=a"
    with pytest.raises((click.exceptions.Exit, typer.Exit)):
        chosen(every, "team")
    assert "is 3 scopes" in capsys.readouterr().err
    with pytest.raises((click.exceptions.Exit, typer.Exit)):
        chosen(every, "nobody")
    assert "budgets list" in capsys.readouterr().err


def test_people_read_the_share_the_forecast_and_when_it_is_used_up() -> None:
    said = dict(lines_of(record(), {}))

    assert said["used"] == "25 USD of 100 USD, 25.0 % ██░░░░░░░░"
    assert str(said["forecast"]).startswith(
        "120.50 (80 to 200) USD at the end; the interval holds in 80 % of cases; by level, error 9.1 %"
    )
    assert said["used up"] == "2026-11-27 10:00 UTC, at the earliest 2026-11-24 10:00"
    assert "stop" in said["verdict"]


def test_a_budget_that_discovers_has_no_share() -> None:
    one = record(limit=None, headroom=None, forecast=None)

    assert share(one) is None
    assert gauge(share(one)) == "no limit"
    assert expected(one) == "-"
    assert str(dict(lines_of(one, {}))["forecast"]).startswith("none")


def test_the_headroom_of_parents_stands_beside() -> None:
    every = {"org": record("org", headroom="3"), "team": record("team", parent="org")}

    assert ("parent", "org: 3 USD left, warn") in lines_of(every["team"], every)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["propose", "--by", "teams"], "dimension teams: there is none"),
        (["propose", "--uplift", "a lot"], "write 1.15"),
        (["propose", "--uplift", "15"], "out of bounds"),
        (["propose", "--period", "hour"], "period hour"),
        (["propose", "--unit", "euros"], "unit euros"),
        (["propose", "--each", "user_id"], "each user_id"),
        (["propose", "--days", "10"], "30"),
        (["propose", "--out", "README.md"], "is there already"),
        (["list", "--verdict", "never"], "verdict never"),
    ],
)
def test_slips_are_refused_with_the_remedy(arguments: list[str], said: str) -> None:
    answer = run.invoke(main.app, ["budgets", *arguments])

    assert answer.exit_code == 2
    assert said in " ".join(answer.stderr.replace("│", " ").split())
