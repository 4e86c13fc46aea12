"""Runs of agents: a ledger of each, a condition for each limit, and a verdict that names what stopped it."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.catalog.limits import RunLimits
from streams.watch.budget_record import budget_record
from streams.watch.conditions import Condition, Stretch
from streams.watch.judge import judge, verdict_of
from streams.watch.runs import LIMITS, used_by
from streams.watch.verdicts import VERDICTS, Standing
from streams.watch.windows import Sums
from tests.support.judging import by_name, ms, of

START = ms("2026-11-27T10:00")
KEY = "agent|tenant_id=acme|run_id=r-1"
LOOP = "tool:search:0123456789abcdef"


def limits(**other: Any) -> RunLimits:
    return RunLimits.model_validate({"id": "agent", "iterations": 200, "cost": "5", "repeats": 5} | other)


def lived(sums: Sums) -> dict[str, Stretch]:
    return {"period": Stretch(START, START + 60_000, sums)}


def conditions(given_: RunLimits, sums: Sums, extra: int = 0) -> dict[str, Condition]:
    return dict(by_name(judge(of(given_), lived(sums), [], START, Decimal(extra))))


def standing(given_: RunLimits, sums: Sums, extra: int = 0) -> Standing:
    found = verdict_of(of(given_), lived(sums), START, Decimal(extra))
    assert found is not None
    return found


def test_a_run_s_ledger_counts_what_its_limits_are_about() -> None:
    sums = Sums(
        events=3, tokens=900, cost=Decimal("0.5"), first_ms=START, last_ms=START + 90_000,
        extras={"tool_calls": 4, "retries": 1, LOOP: 2, "tool:fetch:00000000": 3},
    )  # fmt: skip

    assert used_by(sums) == {
        "iterations": 3, "tool_calls": 4, "tokens": 900, "retries": 1, "elapsed": 90_000, "cost": Decimal("0.5"),
        "repeats": 3,
    }  # fmt: skip
    assert set(used_by(Sums()).values()) == {0}


def test_each_limit_is_one_condition_and_one_warns() -> None:
    found = conditions(limits(), Sums(events=50, cost=Decimal("4.5")))

    assert {n: (c.over, c.clear) for n, c in found.items()} == {
        "iterations": (False, True), "cost": (False, True), "repeats": (False, True), "warn": (True, False),
    }  # fmt: skip
    assert (found["warn"].unit, found["warn"].severity) == ("cost", "warning")
    assert {(c.anchor, c.end, c.latched) for c in found.values()} == {(START, START + 60_000, True)}
    assert found["warn"].said == "90.0 % of 5 USD"


@pytest.mark.parametrize(
    ("name", "limit", "sums", "said"),
    [
        ("iterations", 200, Sums(events=200), "100.0 % of 200 iterations"),
        ("tool_calls", 10, Sums(extras={"tool_calls": 11}), "110.0 % of 10 tool calls"),
        ("tokens", 1_000, Sums(tokens=1_000), "100.0 % of 1,000 tokens"),
        ("retries", 2, Sums(extras={"retries": 3}), "150.0 % of 2 retries"),
        ("elapsed", "10m", Sums(events=2, first_ms=START, last_ms=START + 600_000), "100.0 % of 10m"),
        ("cost", "0.5", Sums(cost=Decimal("0.5")), "100.0 % of 0.5 USD"),
        (
            "repeats",
            5,
            Sums(extras={LOOP: 5, "tool:a:00000000": 4}),
            "100.0 % of 5 repeats: search was called 5 times with the same arguments",
        ),
    ],
)
def test_whatever_is_reached_first_stops_the_run_and_is_named(name: str, limit: Any, sums: Sums, said: str) -> None:
    given_ = RunLimits.model_validate({"id": "agent", name: limit})

    found, where = conditions(given_, sums)[name], standing(given_, sums)

    assert (found.over, found.said, found.severity, found.unit) == (True, said, "critical", name)
    assert (where.verdict, where.binding, where.headroom) == ("stop", name, Decimal(0))


@pytest.mark.parametrize("given_", [{"cost": "0"}, {"elapsed": "0s"}, {"cost": "0", "tokens": 5}])
def test_a_limit_of_nothing_is_reached_by_the_first_request(given_: dict[str, Any]) -> None:
    own = RunLimits.model_validate({"id": "agent", **given_})

    assert standing(own, Sums(events=1, tokens=4)).verdict == "stop"
    assert [c.name for c in conditions(own, Sums(events=1, tokens=4)).values() if c.over] == [next(iter(given_))]


def test_of_several_limits_the_one_of_which_most_is_used_binds() -> None:
    assert standing(limits(), Sums(events=100, cost=Decimal("4.9"))).binding == "cost"
    assert standing(limits(), Sums(events=210, cost=Decimal("4.9"))).binding == "iterations"


def test_a_limit_that_is_reached_pages_alone_and_a_warning_before_it_stays() -> None:
    found = conditions(limits(), Sums(events=10, cost=Decimal(6)))

    assert (found["cost"].over, found["warn"].over, found["warn"].clear) == (True, False, False)


@pytest.mark.parametrize("step", ["report", "warn", "require_approval", "stop"])
def test_the_step_decides_what_a_limit_means(step: Any) -> None:
    found = standing(limits(step=step), Sums(events=200))

    assert found.would_be == "stop"
    assert found.verdict == ("allow" if step == "report" else step)


def test_an_exception_raises_the_money_of_a_run_alone() -> None:
    assert standing(limits(), Sums(cost=Decimal(6)), extra=5).verdict == "allow"
    assert standing(limits(), Sums(events=200), extra=5).verdict == "stop"


def test_the_record_shows_all_limits_and_everything_that_was_used() -> None:
    known = of(limits())
    sums = Sums(events=200, tokens=70, cost=Decimal("1.25"), extras={"tool_calls": 4, LOOP: 3})
    where = verdict_of(known, lived(sums), START)
    assert where is not None

    found = budget_record(known, KEY, lived(sums), where, START, Decimal(0), ("s", 0, 1), {})

    assert found["limits"] == {
        "iterations": {"used": "200", "limit": "200"}, "cost": {"used": "1.25", "limit": "5"},
        "repeats": {"used": "3", "limit": "5"},
    }  # fmt: skip
    assert found["used_by"] == {
        "iterations": "200", "tool_calls": "4", "tokens": "70", "retries": "0", "elapsed": "0", "cost": "1.25",
        "repeats": "3",
    }  # fmt: skip
    assert (found["unit"], found["used"], found["limit"], found["headroom"]) == ("cost", "1.25", "5", "3.75")
    assert (found["kind"], found["verdict"], found["stop_reason"], found["percent"]) == (
        "run", "stop", "iterations", "100.0",
    )  # fmt: skip
    assert found["measures"] == {"repeats": 3, "tool_calls": 4}
    assert found["text"] == (
        "run r-1: 200 AI requests made, the limit is 200 AI requests. No more requests are answered in it."
    )


def test_a_run_whose_money_is_not_capped_has_tokens_in_its_record() -> None:
    known = of(RunLimits(id="agent", tokens=100))
    where = verdict_of(known, lived(Sums(tokens=30)), START)
    assert where is not None

    found = budget_record(known, KEY, lived(Sums(tokens=30)), where, START, Decimal(0), ("s", 0, 1), {})

    assert (found["unit"], found["currency"], found["used"], found["limit"], found["headroom"]) == (
        "tokens", None, "30", "100", "70",
    )  # fmt: skip


COUNT = st.integers(1, 20)
RUNS = st.fixed_dictionaries(
    {}, optional={"iterations": COUNT, "tool_calls": COUNT, "tokens": COUNT, "retries": COUNT, "cost": COUNT.map(str),
                  "repeats": st.integers(2, 9), "elapsed": st.sampled_from(["1s", "5s"])},
).filter(bool).map(lambda given_: limits(**{"iterations": None, "cost": None, "repeats": None} | given_))  # fmt: skip
USES = st.builds(
    lambda events, tokens, cost, calls, retries, loop, length: Sums(
        events=events, tokens=tokens, cost=cost, first_ms=START, last_ms=START + length,
        extras={"tool_calls": calls, "retries": retries, LOOP: loop},
    ),
    *[st.integers(1, 25), st.integers(0, 25), st.decimals("0", "25", places=3), *[st.integers(0, 25)] * 3],
    st.integers(0, 6_000),
)  # fmt: skip


@given(RUNS, USES, USES)
def test_more_use_never_lowers_a_verdict_and_never_clears(given_: RunLimits, sums: Sums, more: Sums) -> None:
    later = Sums(
        events=sums.events + more.events, tokens=sums.tokens + more.tokens, cost=sums.cost + more.cost,
        first_ms=sums.first_ms, last_ms=sums.last_ms + more.last_ms - START,
        extras={name: amount + more.extras[name] for name, amount in sums.extras.items()},
    )  # fmt: skip
    before, after = conditions(given_, sums), conditions(given_, later)

    assert VERDICTS.index(standing(given_, sums).verdict) <= VERDICTS.index(standing(given_, later).verdict)
    assert all(after[n].over for n, c in before.items() if c.over and n != "warn")
    assert all(before[n].clear for n, c in after.items() if c.clear)


@given(RUNS, USES, st.sampled_from(LIMITS), st.integers(1, 30))
def test_a_higher_limit_never_stops_a_run(given_: RunLimits, sums: Sums, name: str, more: int) -> None:
    if getattr(given_, name) is None:
        return
    wider = given_.model_copy(update={name: getattr(given_, name) + more})

    assert VERDICTS.index(standing(wider, sums).verdict) <= VERDICTS.index(standing(given_, sums).verdict)
    assert all(conditions(given_, sums)[n].over for n, c in conditions(wider, sums).items() if c.over and n != "warn")
