"""Each change of a verdict is told once, under an id that a replay finds again, with a text for the user concerned."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget, Lifetime, Rolling, RunLimits
from streams.watch.enforcement import Enforced, enforce, scope_text, user_text
from streams.watch.judge import verdict_of
from streams.watch.verdicts import Standing
from streams.watch.watched import Watched
from streams.watch.windows import Sums
from tests.support.judging import month, ms, of, spent

NOON = ms("2026-11-10T12:00")
KEY = "b|tenant_id=acme|team=search"


def budget(**other: Any) -> Watched:
    return of(
        Budget.model_validate({"id": "b", "each": ("team",), "limit": "40", "period": Calendar(every="month")} | other)
    )


def at(known: Watched, sums: Sums) -> Standing:
    found = verdict_of(known, month(sums), NOON)
    assert found is not None
    return found


def test_a_change_is_a_record_with_everything_that_decided() -> None:
    known = budget()

    after, found = enforce(Enforced("warn", 1), known, KEY, at(known, spent("40.5")), NOON, NOON + 5, "e-1")

    assert after == Enforced("stop", 2)
    assert found == {
        "enforcement_id": "7bd63aff0cf209953b8e829f", "scope": KEY, "tenant_id": "acme", "budget_id": "b", "kind": "budget",
        "dimensions": {"tenant_id": "acme", "team": "search"}, "verdict": "stop", "previous": "warn", "stop_reason": "limit",
        "limit": "40", "value": "40.5", "unit": "cost", "currency": "USD", "at": "2026-11-10T12:00:00.000Z",
        "detected_at": "2026-11-10T12:00:00.005Z", "exception": "e-1",
        "text": "team search: 40.5 USD used, the limit is 40 USD. No more requests are answered until its period ends or the"
        " limit is raised.",
    }  # fmt: skip


def test_what_stays_the_same_is_not_told_again() -> None:
    known = budget()

    assert enforce(Enforced("stop", 3), known, KEY, at(known, spent(99)), NOON, NOON) == (Enforced("stop", 3), None)
    assert enforce(Enforced(), known, KEY, at(known, spent(1)), NOON, NOON) == (Enforced(), None)


def test_a_new_period_or_a_limit_that_is_gone_lets_the_user_go_on_and_says_so() -> None:
    known = budget(text="Ask Ann.")

    for standing in (at(known, spent(1)), None):
        after, found = enforce(Enforced("stop", 1), known, KEY, standing, NOON, NOON)

        assert after == Enforced("allow", 2)
        assert found is not None
        assert (found["verdict"], found["previous"], found["stop_reason"]) == ("allow", "stop", None)
        assert found["text"] == "team search: within limits again; requests are answered as usual."


def test_the_same_change_at_another_time_is_another_one() -> None:
    known, one = budget(), Enforced()

    ids = {(enforce(one, known, KEY, at(known, spent(99)), clock, 0)[1] or {})["enforcement_id"] for clock in (1, 2)}

    assert len(ids) == 2  # a scope that was forgotten begins to count again


@pytest.mark.parametrize(
    ("known", "sums", "text"),
    [
        (budget(), spent(33), "team search: 33 USD used, the limit is 40 USD. Requests are still answered."),
        (budget(text="Ask Ann."), spent(41), "Ask Ann."),
        (
            budget(ladder=[{"step": "require_approval", "since": "2026-01-01"}]),
            spent(41),
            "team search: 41 USD used, the limit is 40 USD. More needs an approval.",
        ),
        (
            budget(period=Rolling(size="24h"), unit="tokens"),
            Sums(tokens=41_000),
            "team search: 41,000 tokens used, the limit is 40 tokens. No more requests are answered until earlier use is out"
            " of the window or the limit is raised.",
        ),
        (
            budget(guard_tokens=10),
            Sums(unpriced_tokens=12),
            "team search: 12 tokens have no price, so that what they cost is not known; 10 tokens are allowed. No more requests"
            " are answered until its period ends or the limit is raised.",
        ),
        (
            of(RunLimits(id="b", repeats=5)),
            Sums(extras={"tool:search:00000000": 5}),
            "team search: one tool was called 5 times with the same arguments, the limit is 5 times. No more requests are"
            " answered in it.",
        ),
        (
            of(RunLimits(id="b", elapsed="1h")),
            Sums(events=2, first_ms=NOON, last_ms=NOON + 5_400_000),
            "team search: running for 90m, the limit is 1h. No more requests are answered in it.",
        ),
    ],
)  # fmt: skip
def test_the_user_is_told_what_stopped_them(known: Watched, sums: Sums, text: str) -> None:
    assert user_text(known, KEY, at(known, sums)) == text


def test_a_scope_is_said_in_words() -> None:
    assert scope_text("b|tenant_id=acme|team=a\\|b|user_id=u-1") == "team a|b, user u-1"
    assert scope_text("b|tenant_id=acme") == "tenant acme"


AMOUNTS = st.lists(st.integers(0, 60), max_size=30)


@given(AMOUNTS)
def test_replaying_the_same_sums_tells_the_same_changes_and_each_differs_from_the_last(amounts: list[int]) -> None:
    def replay() -> list[dict[str, Any]]:
        known, state, told = budget(period=Lifetime()), Enforced(), []
        for i, amount in enumerate(amounts):
            state, found = enforce(state, known, KEY, at(known, spent(amount)), i, i)
            told += [found] if found else []
        return told

    told = replay()

    assert told == replay()
    assert len({t["enforcement_id"] for t in told}) == len(told)
    assert [t["previous"] for t in told] == ["allow", *(t["verdict"] for t in told)][: len(told)]
    assert all(t["verdict"] != t["previous"] and Decimal(t["value"]) >= 0 for t in told)
