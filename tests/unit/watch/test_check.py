"""May this be spent: the worst verdict, the least headroom, and what holds when nothing fresh is known."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget, Exemption, Rung, RunLimits, Split
from streams.catalog.models import Catalog
from streams.watch.alerts import instant
from streams.watch.budget_record import budget_record
from streams.watch.budgets import standing_of_budget
from streams.watch.check import Answer, CurrencyUnclear, Question, UnknownScope, check
from streams.watch.conditions import Stretch
from streams.watch.coverage import ScopeUnreadable, coverage_of, parse_key
from streams.watch.lines import SEVERITY
from streams.watch.packed_record import pack, standing_of, unpack
from streams.watch.runs import standing_of_run
from streams.watch.scopes import key_of
from streams.watch.watched import watched
from streams.watch.windows import Sums
from tests.support.knowledge import DAY, NOW, Known, knowing, record

MONTH = Calendar(every="month")
COMPANY = Budget(id="company", limit=Decimal(100), period=MONTH)
TEAM = Budget(id="team", each=("team",), limit=Decimal(10), period=MONTH, parent="company")
RUN = RunLimits(id="run", iterations=5, cost=Decimal(2), repeats=3, elapsed="10m")
ACME = {"tenant_id": "acme", "team": "search"}
TEAM_KEY, COMPANY_KEY = "team|tenant_id=acme|team=search", "company|tenant_id=acme"


def ask(known: Known, *budgets: Any, dims: dict[str, str] = ACME, now: int = NOW, **question: Any) -> Answer:
    catalog = Catalog(
        budgets=tuple(b for b in budgets or (COMPANY, TEAM) if isinstance(b, Budget)),
        runs=tuple(b for b in budgets if isinstance(b, RunLimits)),
    )
    amount = Decimal(question.pop("amount", 0))
    return check(coverage_of(catalog), known, Question(dims, amount=amount, **question), now)


def test_a_scope_of_which_nothing_is_known_has_used_nothing() -> None:
    answer = ask(knowing())

    assert (answer.verdict, answer.headroom, answer.allowed, answer.degraded) == ("allow", "10", "10", False)
    assert {f.scope: f.used for f in answer.scopes} == {TEAM_KEY: "0", COMPANY_KEY: "0"}


def test_what_no_budget_covers_is_allowed_and_says_so() -> None:
    answer = ask(knowing(), TEAM, dims={"tenant_id": "acme"}, amount="5")

    assert (answer.verdict, answer.allowed, answer.headroom, answer.binding) == ("allow", "5", None, None)
    assert answer.text == "no budget and no run limit covers this"


def test_the_worst_scope_decides_and_is_named() -> None:
    answer = ask(knowing(record(TEAM_KEY, "9"), record(COMPANY_KEY, "100", "100")))

    assert (answer.verdict, answer.binding, answer.stop_reason) == ("stop", COMPANY_KEY, "limit")
    assert (answer.used, answer.limit, answer.percent) == ("100", "100", "100.0")
    assert [(f.scope, f.verdict) for f in answer.scopes] == [(COMPANY_KEY, "stop"), (TEAM_KEY, "warn")]
    assert answer.sources == {"s1/0": 41}


def test_a_child_cannot_spend_what_its_parent_lacks() -> None:
    answer = ask(knowing(record(TEAM_KEY, "1"), record(COMPANY_KEY, "97", "100")), amount="4")

    child = next(f for f in answer.scopes if f.scope == TEAM_KEY)
    assert (child.headroom, child.verdict) == ("3", "allow")
    assert (answer.verdict, answer.binding, answer.stop_reason, answer.allowed) == ("stop", COMPANY_KEY, "amount", "3")


def test_the_parent_is_asked_too_when_only_the_key_of_the_child_is_given() -> None:
    known = knowing(record(TEAM_KEY, "1"), record(COMPANY_KEY, "100", "100"))

    answer = ask(known, dims={}, scopes=(TEAM_KEY,))

    assert (answer.verdict, answer.binding) == ("stop", COMPANY_KEY)


@pytest.mark.parametrize(("amount", "verdict"), [("6", "allow"), ("6.000000000000000001", "stop")])
def test_an_amount_may_use_the_limit_up_to_its_last_digit(amount: str, verdict: str) -> None:
    answer = ask(knowing(record(TEAM_KEY, "4")), TEAM, amount=amount)

    assert (answer.verdict, answer.allowed) == (verdict, "6")


def test_an_amount_in_another_unit_or_currency_is_not_held_against_a_budget() -> None:
    known = knowing(record(TEAM_KEY, "4"))

    assert ask(known, TEAM, amount="900", unit="tokens").verdict == "allow"
    assert ask(known, TEAM, amount="900", currency="EUR").verdict == "allow"
    assert ask(known, TEAM, amount="900", currency="USD").verdict == "stop"


def test_an_amount_needs_a_currency_where_budgets_have_several() -> None:
    euros = TEAM.model_copy(update={"id": "euros", "currency": "EUR"})

    assert ask(knowing(), TEAM, euros).headroom is None
    with pytest.raises(CurrencyUnclear, match="the budgets in question are in EUR, USD; say which"):
        ask(knowing(), TEAM, euros, amount="1")
    assert ask(knowing(), TEAM, euros, amount="1", currency="EUR").headroom == "10"


@pytest.mark.parametrize(
    ("step", "verdict", "would_be", "allowed"),
    [("report", "allow", "stop", "5"), ("warn", "warn", "stop", "5"), ("require_approval", "require_approval", "stop", "1")],
)  # fmt: skip
def test_the_ladder_says_what_an_amount_over_the_limit_is(step: Any, verdict: str, would_be: str, allowed: str) -> None:
    budget = TEAM.model_copy(update={"ladder": (Rung(step=step, since=datetime(2020, 1, 1, tzinfo=UTC)),)})

    answer = ask(knowing(record(TEAM_KEY, "9", step=step, verdict="allow")), budget, amount="5")

    assert (answer.verdict, answer.scopes[0].would_be, answer.allowed) == (verdict, would_be, allowed)


def test_a_rung_that_begins_between_record_and_question_holds_at_once() -> None:
    rung = Rung(step="stop", since=datetime.fromtimestamp(NOW / 1000, UTC))
    budget = TEAM.model_copy(update={"ladder": (rung,)})
    known = knowing(record(TEAM_KEY, "11", verdict="allow", step="report"))

    assert ask(known, budget, now=NOW - 1).verdict == "allow"
    assert ask(known, budget).verdict == "stop"


def test_a_period_that_is_over_has_used_nothing_of_the_new_one() -> None:
    known = knowing(record(TEAM_KEY, "10"), fresh=NOW + DAY)

    before, after = (ask(known, TEAM, now=NOW + DAY - 1 + i) for i in (0, 1))

    assert (before.verdict, before.used) == ("stop", "10")
    assert (after.verdict, after.used, after.headroom) == ("allow", "0", "10")


def test_an_exception_ends_on_the_dot() -> None:
    exception = {"id": "x1", "until": "2026-09-21T14:13:30Z", "extra": "5", "used": "2"}  # 10 s after NOW
    known = knowing(record(TEAM_KEY, "12", "15", base_limit="10", exception=exception, verdict="warn"), fresh=NOW + DAY)

    held, ended = ask(known, TEAM, now=NOW), ask(known, TEAM, now=NOW + 10_000)

    assert (held.verdict, held.headroom, held.exception) == ("warn", "3", exception)
    assert (ended.verdict, ended.headroom, ended.exception, ended.stop_reason) == ("stop", "0", None, "limit")


def test_when_one_of_two_exceptions_ends_the_other_goes_on_at_once() -> None:
    start = datetime.fromtimestamp((NOW - DAY) / 1000, UTC)
    other = Exemption(
        id="x2", budget="team", tenant="acme", where={"team": "search"}, extra=Decimal(4), justification="launch",
        approver="cfo", starts=start, expires=datetime.fromtimestamp((NOW + DAY) / 1000, UTC),
    )  # fmt: skip
    first = {"id": "x1", "until": "2026-09-21T14:13:30Z", "extra": "5", "used": "2"}  # 10 s after NOW
    known = knowing(record(TEAM_KEY, "12", "19", base_limit="10", exception=first, verdict="allow"), fresh=NOW + DAY)
    found = coverage_of(Catalog(budgets=(TEAM,), exceptions=(other,)))

    ended = check(found, known, Question(ACME), NOW + 10_000)

    assert (ended.limit, ended.used, ended.headroom, ended.verdict) == ("14", "12", "2", "warn")
    assert ended.exception is not None
    assert ended.exception["id"] == "x2"


def test_exceptions_of_the_catalog_hold_for_a_scope_that_has_no_record_yet() -> None:
    def exemption(name: str, expires: int, team: str = "search") -> Exemption:
        start, end = (datetime.fromtimestamp((NOW + at) / 1000, UTC) for at in (-DAY, expires))
        return Exemption(
            id=name, budget="team", tenant="acme", where={"team": team}, extra=Decimal(5), justification="launch",
            approver="cfo", starts=start, expires=end,
        )  # fmt: skip

    found = coverage_of(
        Catalog(budgets=(TEAM,), exceptions=(exemption("a", DAY), exemption("b", 2 * DAY), exemption("c", DAY, "ads")))
    )

    answers = [check(found, knowing(fresh=NOW + at), Question(ACME), NOW + at) for at in (0, DAY, 2 * DAY)]

    assert [a.headroom for a in answers] == ["20", "15", "10"]


def test_tokens_without_a_price_that_reach_the_guard_are_the_limit_reached() -> None:
    budget = TEAM.model_copy(update={"guard_tokens": 1_000})
    known = knowing(record(TEAM_KEY, "1", verdict="stop", headroom="0", unpriced_tokens=1_000))

    answer = ask(known, budget, amount="1")

    assert (answer.verdict, answer.stop_reason, answer.allowed) == ("stop", "guard", "0")


def test_a_budget_without_a_limit_caps_nothing() -> None:
    budget = TEAM.model_copy(update={"limit": None, "fail": "closed"})

    answer = ask(knowing(record(TEAM_KEY, "999", None), fresh=None), budget, amount="5")

    assert (answer.verdict, answer.allowed, answer.headroom, answer.degraded) == ("allow", "5", None, True)


def test_a_share_of_a_split_is_the_limit_of_its_scope_and_the_others_share_one() -> None:
    split = Split(by="application", shares={"mail": Decimal("0.6"), "*": Decimal("0.1")})
    budget = Budget(id="agent", limit=Decimal(10), period=MONTH, split=split)

    def of(**dims: str) -> tuple[str | None, str | None]:
        answer = ask(knowing(), budget, dims={"tenant_id": "acme", **dims})
        return answer.binding, answer.limit

    assert of(application="mail") == ("agent|tenant_id=acme|application=mail", "6")
    assert of(application="chat") == of() == ("agent|tenant_id=acme|application=*", "1")


def test_an_exception_for_the_others_of_a_split_raises_what_they_share() -> None:
    split = Split(by="application", shares={"mail": Decimal("0.6"), "*": Decimal("0.1")})
    given = Exemption(
        id="a", budget="agent", tenant="acme", where={"application": "*"}, extra=Decimal(5), justification="launch",
        approver="cfo", starts=instant(NOW - DAY), expires=instant(NOW + DAY),
    )  # fmt: skip
    found = coverage_of(
        Catalog(budgets=(Budget(id="agent", limit=Decimal(10), period=MONTH, split=split),), exceptions=(given,))
    )

    def of(**dims: str) -> str | None:
        return check(found, knowing(), Question({"tenant_id": "acme", **dims}), NOW).limit

    assert (of(application="chat"), of(), of(application="mail")) == ("6", "6", "6")


# what limits a run


def run_record(used: dict[str, str], **more: Any) -> dict[str, Any]:
    limits = {name: {"used": used.get(name, "0"), "limit": limit} for name, limit in
              {"iterations": "5", "cost": "2", "repeats": "3", "elapsed": "600000"}.items()}  # fmt: skip
    found = record("run|tenant_id=acme|run_id=r1", "0", None, kind="run", limits=limits, period_start=None)
    return found | more


@pytest.mark.parametrize(
    ("used", "amount", "verdict", "reason", "measure"),
    [
        ({"iterations": "5"}, "0", "stop", "iterations", "iterations"),
        ({"repeats": "3"}, "0", "stop", "loop", "repeats"),
        ({"cost": "1.9"}, "0", "warn", None, "cost"),
        ({"cost": "1.9"}, "0.2", "stop", "amount", "cost"),
        ({"iterations": "3", "cost": "1"}, "0", "allow", None, "iterations"),
    ],
)
def test_whatever_limit_of_a_run_is_reached_first_stops_it(
    used: dict[str, str], amount: str, verdict: str, reason: str | None, measure: str
) -> None:
    answer = ask(knowing(run_record(used)), RUN, dims={"tenant_id": "acme", "run_id": "r1"}, amount=amount)

    assert (answer.verdict, answer.stop_reason, answer.scopes[0].measure) == (verdict, reason, measure)


def test_a_run_that_was_idle_for_too_long_is_over_and_the_next_one_begins_with_nothing() -> None:
    ends = "2026-09-21T14:13:30Z"  # 10 s after NOW
    known = knowing(run_record({"iterations": "5"}, period_end=ends, verdict="stop"), fresh=NOW + DAY)
    dims = {"tenant_id": "acme", "run_id": "r1"}

    assert [ask(known, RUN, dims=dims, now=NOW + at).verdict for at in (9_999, 10_000)] == ["stop", "allow"]


def test_what_the_watch_wrote_for_the_user_is_what_the_user_reads_unless_the_amount_decides() -> None:
    told = "team search: 9 USD used, the limit is 10 USD. Requests are still answered."
    known = knowing(record(TEAM_KEY, "9", text=told))

    assert ask(known, TEAM).text == told
    assert ask(known, TEAM, amount="2").text == "team search: 9 of 10 USD used, 2 more are over the limit"


def test_the_time_of_a_run_passes_although_it_sends_nothing() -> None:
    known = knowing(run_record({}, period_start="2026-09-21T14:03:20Z"), fresh=NOW + DAY)  # 10 min before NOW
    dims = {"tenant_id": "acme", "run_id": "r1"}

    verdicts = [ask(known, RUN, dims=dims, now=NOW + at).verdict for at in (-300_000, -100_000, 0)]

    assert verdicts == ["allow", "warn", "stop"]


def test_a_reached_limit_in_another_unit_leaves_nothing_to_spend() -> None:
    dims = {**ACME, "run_id": "r1"}

    answer = ask(knowing(run_record({"iterations": "5"})), RUN, TEAM, dims=dims, amount="1")

    assert (answer.verdict, answer.allowed, answer.headroom) == ("stop", "0", "2")


# what holds when nothing fresh is known


@pytest.mark.parametrize("fresh", [NOW - 60_001, None])
@pytest.mark.parametrize(("fail", "verdict", "allowed"), [("open", "allow", "1"), ("closed", "stop", "0")])
def test_knowledge_older_than_tolerated_lets_the_budget_decide(
    fresh: int | None, fail: Any, verdict: str, allowed: str
) -> None:
    budget = TEAM.model_copy(update={"fail": fail})

    answer = ask(knowing(record(TEAM_KEY, "9"), fresh=fresh), budget, amount="1")

    assert (answer.verdict, answer.degraded, answer.allowed) == (verdict, True, allowed)
    assert answer.staleness_ms == (None if fresh is None else 60_001)
    assert answer.stop_reason == (None if fail == "open" else "stale")
    assert f"60 s are tolerated), so it fails {fail}" in answer.text


def test_knowledge_just_as_old_as_tolerated_is_good_enough() -> None:
    answer = ask(knowing(record(TEAM_KEY, "10"), fresh=NOW - 60_000), TEAM)

    assert (answer.verdict, answer.degraded, answer.staleness_ms) == ("stop", False, 60_000)


def test_a_budget_that_fails_closed_blocks_no_more_than_its_ladder() -> None:
    rung = Rung(step="warn", since=datetime(2020, 1, 1, tzinfo=UTC))
    budget = TEAM.model_copy(update={"fail": "closed", "ladder": (rung,)})

    assert ask(knowing(fresh=None), budget).verdict == "warn"


def test_a_fresh_scope_still_stops_beside_one_that_fails_open() -> None:
    patient = TEAM.model_copy(update={"stale_after": 3_600_000, "parent": None})

    answer = ask(knowing(record(TEAM_KEY, "10"), fresh=NOW - 90_000), COMPANY, patient)

    assert (answer.verdict, answer.degraded, answer.binding) == ("stop", True, TEAM_KEY)


# scopes by their keys


@pytest.mark.parametrize(
    ("scope", "error", "message"),
    [
        ("tema|tenant_id=acme|team=search", UnknownScope, "no budget and no run limit is called tema"),
        ("team|tenant_id=acme|taem=search", UnknownScope, r"write it as team\|tenant_id=\*\|team="),
        ("team|tenant_id=acme", UnknownScope, "team has none like it"),
        ("team", ScopeUnreadable, r"write it as budget\|tenant_id=acme\|team=search"),
        ("", ScopeUnreadable, "is no key of a scope"),
    ],
)
def test_a_key_that_names_no_scope_is_refused_with_the_remedy(scope: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ask(knowing(), dims={}, scopes=(scope,))


@given(
    st.text(), st.lists(st.tuples(st.sampled_from(("team", "user_id", "model")), st.text()), unique_by=lambda p: p[0])
)
def test_a_key_is_read_as_it_was_written(tenant: str, values: list[tuple[str, str]]) -> None:
    assert parse_key(key_of("b", tenant, values)) == ("b", {"tenant_id": tenant, **dict(values)})


def test_a_packed_record_is_the_record() -> None:
    standing = standing_of(record(TEAM_KEY, "3.5", forecast={"mid": "8"}, sources={"s/0": 1}))

    assert unpack(pack(standing)) == standing


# properties

CENTS = st.integers(0, 3_000).map(lambda n: str(Decimal(n) / 100))
STEPS = st.sampled_from(["report", "warn", "require_approval", "stop"])


def laddered(budget: Budget, step: Any, fail: Any) -> Budget:
    return budget.model_copy(
        update={"ladder": (Rung(step=step, since=datetime(2020, 1, 1, tzinfo=UTC)),), "fail": fail}
    )


def as_judged(scope: str, used: str, limit: str, step: str) -> dict[str, Any]:
    """What the watch would say, from the definition."""
    caps = {"report": "allow", "warn": "warn"}.get(step, step)
    share = Decimal(used) / Decimal(limit)
    verdict = caps if share >= 1 else "warn" if share >= Decimal("0.8") and step != "report" else "allow"
    return record(scope, used, limit, step=step, verdict=verdict)


@given(
    CENTS, CENTS, CENTS, CENTS, STEPS, STEPS, st.sampled_from(["open", "closed"]), st.sampled_from([0, 59_000, 61_000])
)
def test_more_used_or_more_asked_never_gives_a_milder_verdict(
    used: str, more: str, parents: str, amount: str, step: str, above: str, fail: str, age: int
) -> None:
    budgets = laddered(TEAM, step, fail), laddered(COMPANY, above, fail)

    def of(used: str, amount: str) -> Answer:
        known = knowing(
            as_judged(TEAM_KEY, used, "10", step), as_judged(COMPANY_KEY, parents, "20", above), fresh=NOW - age
        )
        return ask(known, *budgets, amount=amount)

    first, then, asked = (of(*given) for given in (
        (used, amount), (str(Decimal(used) + Decimal(more)), amount), (used, str(Decimal(amount) + Decimal(more)))
    ))  # fmt: skip

    assert SEVERITY[then.verdict] >= SEVERITY[first.verdict]
    assert SEVERITY[asked.verdict] >= SEVERITY[first.verdict]
    assert Decimal(then.headroom or 0) <= Decimal(first.headroom or 0)
    assert first.verdict == max((f.verdict for f in first.scopes), key=SEVERITY.__getitem__)


@given(CENTS, CENTS, CENTS)
def test_a_child_never_has_more_headroom_than_its_parent_and_what_is_allowed_fits_in_both(
    used: str, parents: str, amount: str
) -> None:
    known = knowing(as_judged(TEAM_KEY, used, "10", "stop"), as_judged(COMPANY_KEY, parents, "20", "stop"))

    answer = ask(known, amount=amount)

    left = {f.budget_id: Decimal(f.headroom or 0) for f in answer.scopes}
    assert left["team"] <= left["company"]
    if Decimal(amount):
        assert Decimal(answer.allowed or 0) == min(Decimal(amount), left["team"])
        assert (answer.verdict == "stop") == (left["team"] == 0 or Decimal(amount) > left["team"])


@given(STEPS, CENTS, st.sampled_from(["open", "closed"]))
def test_how_old_knowledge_is_changes_an_answer_only_through_fail(step: str, used: str, fail: str) -> None:
    budget = laddered(TEAM, step, fail)
    records = as_judged(TEAM_KEY, used, "10", step)

    fresh, stale = (ask(knowing(records, fresh=NOW - age), budget) for age in (0, 60_001))

    blocks = {"report": "allow"}.get(step, step)
    assert stale.verdict == ("allow" if fail == "open" else blocks)
    assert fresh.verdict == records["verdict"]


# with the watch itself


@given(
    CENTS,
    st.sampled_from([None, "5", "12.34"]),
    STEPS,
    st.integers(0, 3_000),
    st.sampled_from([None, 1_500]),
    st.sampled_from(["cost", "tokens"]),
)
def test_a_check_says_what_the_watch_says_and_says_it_again_when_it_must_judge_by_itself(
    used: str, limit: str | None, step: Any, unpriced: int, guard: int | None, unit: Any
) -> None:
    budget = laddered(TEAM, step, "open").model_copy(
        update={"limit": Decimal(limit) if limit else None, "guard_tokens": guard, "unit": unit, "parent": None}
    )
    sums = Sums(events=2, tokens=int(Decimal(used)), cost=Decimal(used), unpriced_tokens=unpriced)
    stretches = {"period": Stretch(NOW - DAY, NOW + DAY, sums)}
    watched_budget = watched(Catalog(budgets=(budget,)))["team"]
    judged = standing_of_budget(budget, stretches, NOW, Decimal(0), TEAM_KEY)
    published = budget_record(watched_budget, TEAM_KEY, stretches, judged, NOW, Decimal(0), ("s1", 0, 7), {"s1/0": 41})

    taken_at_its_word = ask(knowing(published), budget)
    judged_again = ask(knowing(published | {"exception": {"id": "x", "until": instant(NOW)}}), budget)

    for answer in (taken_at_its_word, judged_again):
        assert (answer.verdict, answer.scopes[0].would_be) == (judged.verdict, judged.would_be)
        left = answer.scopes[0].headroom
        assert (left and Decimal(left)) == judged.headroom
    assert taken_at_its_word.used == published["used"]


@given(st.integers(0, 7), CENTS, st.integers(0, 4), st.integers(0, 900_000))
def test_a_check_says_of_a_run_what_the_watch_says(events: int, cost: str, repeats: int, elapsed: int) -> None:
    sums = Sums(
        events=events, cost=Decimal(cost) / 10, first_ms=NOW - elapsed, last_ms=NOW, extras={"tool:t:1": repeats}
    )
    stretches = {"period": Stretch(NOW - elapsed, NOW + DAY, sums)}
    key = "run|tenant_id=acme|run_id=r1"
    judged = standing_of_run(RUN, stretches, Decimal(0))
    published = budget_record(
        watched(Catalog(runs=(RUN,)))["run"], key, stretches, judged, NOW, Decimal(0), ("s1", 0, 7), {}
    )

    answer = ask(knowing(published), RUN, dims={"tenant_id": "acme", "run_id": "r1"})

    time_alone = events == 0 and elapsed >= 480_000  # no event says how long it takes; the clock does
    assert answer.verdict == judged.verdict or time_alone
