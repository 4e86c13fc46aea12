"""Exceptions: who may spend more, until when, what of it was used, and which is open past its reason."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog.alerting import Rule
from streams.catalog.limits import Exemption, Paged
from streams.watch.commands import Commands, Decide, Request, Revoke, ms_of
from streams.watch.exceptions import (
    Grant,
    exception_field,
    extra_of,
    grants,
    overdue,
    overdue_scopes,
    uses,
)
from streams.watch.machine import advance
from streams.watch.raised import Raised

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TEAM = {"tenant_id": "acme", "team": "search"}
RULE = Rule(id="overdue", kind="exception_overdue")


def exemption(name: str = "launch", **other: Any) -> Exemption:
    given: dict[str, Any] = {
        "id": name, "budget": "team-day", "tenant": "acme", "where": {"team": "search"}, "extra": Decimal(5),
        "justification": "launch week", "approver": "ada", "starts": NOON, "expires": NOON + 7 * DAY,
    }  # fmt: skip
    return Exemption(**given | other)


def request(name: str = "r", **other: Any) -> Request:
    given: dict[str, Any] = {
        "command_id": f"c-{name}", "at": NOON, "by": "bob", "request_id": name, "budget": "team-day", "tenant": "acme",
        "where": {"team": "search"}, "extra": Decimal(3), "justification": "a migration", "expires": NOON + DAY,
    }  # fmt: skip
    return Request(**given | other)


def decide(approved: bool = True, name: str = "r") -> Decide:
    return Decide(command_id="d", at=NOON, by="ada", request_id=name, approved=approved, approver="ada")


def after(*commands: Any) -> Commands:
    state = Commands()
    for offset, command in enumerate(commands):
        state.take(offset, command)
    return state


def extra(known: Any, at: datetime, budget: str = "team-day", dims: dict[str, str] = TEAM) -> Decimal:
    return extra_of(known.in_force(budget, dims["tenant_id"], dims, ms_of(at)))


def test_an_exception_holds_from_its_start_until_it_expires_by_itself() -> None:
    known = grants([exemption()], Commands())
    moments = [NOON - timedelta(milliseconds=1), NOON, NOON + 7 * DAY - timedelta(milliseconds=1), NOON + 7 * DAY]

    assert [extra(known, at) for at in moments] == [0, 5, 5, 0]


@pytest.mark.parametrize(
    ("budget", "dims", "amount"),
    [
        ("team-day", TEAM, 5),
        ("other", TEAM, 0),
        ("team-day", TEAM | {"tenant_id": "globex"}, 0),
        ("team-day", TEAM | {"team": "ads"}, 0),
        ("team-day", TEAM | {"model": "gpt-5"}, 5),  # narrower scopes of the budget too
    ],
)
def test_an_exception_is_for_the_scopes_that_it_names(budget: str, dims: dict[str, str], amount: int) -> None:
    assert extra(grants([exemption()], Commands()), NOON, budget, dims) == amount


def test_a_request_adds_nothing_until_it_is_approved() -> None:
    asked = request()

    assert extra(grants((), after(asked)), NOON) == 0
    assert extra(grants((), after(asked, decide(False))), NOON) == 0
    assert extra(grants((), after(asked, decide())), NOON) == 3


def test_an_approval_holds_at_once_although_the_clock_of_events_is_behind_and_not_before() -> None:
    state, behind = after(request()), ms_of(NOON - DAY)

    state.take(1, decide(), clock=behind)

    known = grants((), state)
    assert [extra(known, NOON - DAY), extra(known, NOON - DAY - timedelta(milliseconds=1))] == [3, 0]


def test_a_request_for_later_waits_for_its_start() -> None:
    known = grants((), after(request(starts=NOON + timedelta(hours=6)), decide()))

    assert [extra(known, NOON), extra(known, NOON + timedelta(hours=6))] == [0, 3]
    assert known.changes("team-day", "acme", TEAM) == [ms_of(NOON) + 6 * 3_600_000, ms_of(NOON + DAY)]


def test_what_was_revoked_adds_nothing() -> None:
    revoke = Revoke(command_id="v", at=NOON, by="ada", request_id="r")

    assert extra(grants((), after(request(), decide(), revoke)), NOON) == 0


def test_the_first_decision_counts() -> None:
    assert extra(grants((), after(request(), decide(False), decide())), NOON) == 0


def test_exceptions_add_up_and_what_ends_first_is_used_first() -> None:
    #  base limit 10        long: 5 until +7 d      short: 3 until +1 d
    #  used 14       ->     short 3 of 3            long 1 of 5
    known = grants([exemption()], after(request(), decide()))
    found = known.in_force("team-day", "acme", TEAM, ms_of(NOON))

    assert extra_of(found) == 8
    assert [(u.grant.id, u.used) for u in uses(found, Decimal(14), Decimal(10))] == [
        ("r", Decimal(3)),
        ("launch", Decimal(1)),
    ]
    assert exception_field(uses(found, Decimal(14), Decimal(10))) == {
        "id": "r,launch",
        "until": "2026-11-21T12:00:00.000Z",
        "extra": "8",
        "used": "4",
        "parts": [
            {"id": "r", "until": "2026-11-21T12:00:00.000Z", "extra": "3", "used": "3"},
            {"id": "launch", "until": "2026-11-27T12:00:00.000Z", "extra": "5", "used": "1"},
        ],
    }


def test_without_an_exception_there_is_no_field() -> None:
    assert exception_field([]) is None


@settings(deadline=None)
@given(
    st.lists(st.decimals("0.01", 100, places=2), max_size=5),
    st.decimals(0, 500, places=2),
    st.decimals(1, 200, places=2),
)
def test_what_was_used_of_exceptions_is_what_was_spent_above_the_limit(
    extras: list[Decimal], value: Decimal, limit: Decimal
) -> None:
    known = grants([exemption(f"e{i}", extra=amount) for i, amount in enumerate(extras)], Commands())
    found = known.in_force("team-day", "acme", TEAM, ms_of(NOON))

    used = uses(found, value, limit)

    assert sum(u.used for u in used) == min(max(value - limit, Decimal(0)), sum(extras))
    assert all(0 <= u.used <= u.grant.extra for u in used)


def grant(**other: Any) -> Grant:
    (found,) = grants([exemption(**other)], Commands())
    return found


def test_an_exception_is_overdue_from_the_end_of_its_reason_until_it_expires() -> None:
    #  day      0         3 (reason ends)       5          7 (expires)
    #  alert              firing                           resolved
    found, raised = grant(reason_ends=NOON + 3 * DAY), dict[str, Raised]()
    told = []
    for day in (0, 2, 3, 5, 7, 8):
        clock = ms_of(NOON + day * DAY)
        told += [(day, t) for t in advance(raised, overdue(RULE, found, clock), clock, Paged(), "s", why="time")]

    assert [(day, t.raised.state, t.reason) for day, t in told] == [
        (3, "firing", "crossed"),
        (7, "resolved", "period_ended"),
    ]
    assert [t.raised.value for _, t in told] == [0, 4]  # full days past its reason
    assert told[0][1].condition is not None
    assert told[0][1].condition.said == (
        "exception launch from team-day is open although its business reason ended on 2026-11-23; it expires 2026-11-27,"
        " approved by ada"
    )


def test_a_review_that_is_due_is_an_alert_of_its_own() -> None:
    found = grant(reason_ends=NOON + 3 * DAY, review=NOON + 2 * DAY)

    said = {c.name: c.over for c in overdue(RULE, found, ms_of(NOON + 2 * DAY))}

    assert said == {"reason_ended": False, "review_due": True}


def test_a_reason_that_ends_when_it_expires_is_never_overdue() -> None:
    assert overdue(RULE, grant(reason_ends=NOON + 7 * DAY), ms_of(NOON + 8 * DAY)) == []


def test_each_exception_with_a_day_is_a_scope_of_the_rule() -> None:
    known = grants([exemption("a", review=NOON + DAY), exemption("b")], Commands())
    others = Rule(id="globex-only", kind="exception_overdue", tenant="globex")
    ads = Rule(id="ads-only", kind="exception_overdue", where={"team": "ads"})

    assert list(overdue_scopes([RULE, others, ads], known)) == ["overdue|tenant_id=acme|team=search|exception=a"]


def test_an_exception_that_says_its_tenant_in_where_too_names_it_once() -> None:
    known = grants([exemption("a", where={"tenant_id": "acme", "team": "search"}, review=NOON + DAY)], Commands())

    assert list(overdue_scopes([RULE], known)) == ["overdue|tenant_id=acme|team=search|exception=a"]
