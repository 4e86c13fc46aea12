"""The weekly digest: when it is due, across DST too; what it says."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from streams.catalog.routes import Digest
from streams.notify.digest import at_risk, body_of, digest_id, digest_notice, due, fired, owners_of, weeks_before
from tests.support.notifying import HOUR, alert

BERLIN = Digest(id="d", endpoints=("e",), day="mon", hour=8, zone="Europe/Berlin")


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def test_a_digest_is_due_at_its_hour_of_its_zone_for_a_day() -> None:
    monday = ms("2026-11-16T08:00:00+01:00")

    assert due(BERLIN, monday - 1) is None
    assert due(BERLIN, monday) == monday
    assert due(BERLIN, monday + 23 * HOUR) == monday  # a stage that was down
    assert due(BERLIN, monday + 24 * HOUR) is None


def test_the_hour_stays_where_it_is_when_the_clocks_change() -> None:
    assert due(BERLIN, ms("2026-10-19T08:00:00+02:00")) == ms("2026-10-19T08:00:00+02:00")
    assert due(BERLIN, ms("2026-10-26T08:00:00+01:00")) == ms("2026-10-26T08:00:00+01:00")


@given(
    st.integers(0, 4 * 365 * 24 * 60),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "UTC"]),
    st.integers(0, 23),
)
def test_every_week_has_one_moment(minutes: int, zone: str, hour: int) -> None:
    digest = Digest(id="d", endpoints=("e",), day="sun", hour=hour, zone=zone)
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    found = {due(digest, int((start + timedelta(hours=n)).timestamp() * 1000)) for n in range(8 * 24)} - {None}

    assert 1 <= len(found) <= 2
    for at in found:
        local = datetime.fromtimestamp((at or 0) / 1000, ZoneInfo(zone))
        assert local.strftime("%a") == "Sun"


@given(st.integers(0, 4 * 53), st.sampled_from(["Europe/Berlin", "America/New_York", "UTC"]), st.integers(0, 23))
def test_each_week_begins_where_the_one_before_it_ends(weeks: int, zone: str, hour: int) -> None:
    digest = Digest(id="d", endpoints=("e",), day="sun", hour=hour, zone=zone)
    at = int((datetime(2026, 1, 4, hour, tzinfo=ZoneInfo(zone)) + timedelta(weeks=weeks)).timestamp() * 1000)

    before = weeks_before(digest, at)

    assert due(digest, before) == before
    assert weeks_before(digest, at, 2) == weeks_before(digest, before)
    assert abs(at - before - 7 * 24 * HOUR) <= HOUR


def test_each_week_owner_and_endpoint_has_one_id() -> None:
    ids = {digest_id("d", owner, at, e) for owner in ("a", "b") for at in (1, 2) for e in ("x", "y")}

    assert len(ids) == 8
    assert digest_id("d", "a", 1, "x") in ids


def test_who_gets_one() -> None:
    assert owners_of(BERLIN, ["b", "a", "", "a"]) == ["a", "b"]
    assert owners_of(BERLIN.model_copy(update={"owners": ("c",)}), ["a"]) == ["c"]


def test_budgets_at_risk_are_full_or_will_be_before_their_period_ends() -> None:
    def budget(scope: str, used: str, **other: object) -> dict[str, object]:
        return {
            "scope": scope,
            "used": used,
            "limit": "100",
            "unit": "cost",
            "currency": "USD",
            "verdict": "allow",
        } | other

    early = {"exhausts_at": "2026-11-20T00:00:00Z"}
    found = at_risk(
        [
            budget("calm", "10"),
            budget("full", "95"),
            budget("soon", "40", forecast=early, period_end="2026-12-01T00:00:00Z"),
            budget("later", "40", forecast={"exhausts_at": "2026-12-05T00:00:00Z"}, period_end="2026-12-01T00:00:00Z"),
            budget("stopped", "50", verdict="stop"),
            budget("nothing", "0", limit=None),
        ]
    )

    assert [(b["scope"], b["percent"]) for b in found] == [("full", "95.0"), ("stopped", "50.0"), ("soon", "40.0")]


def test_alerts_of_the_week_are_counted_once_each_with_their_newest_state() -> None:
    start, end = ms("2026-11-16T00:00:00Z"), ms("2026-11-23T00:00:00Z")
    found = fired(
        [
            alert("a", 1, occurred_at="2026-11-18T10:00:00.000Z"),
            alert("a", 2, "resolved", occurred_at="2026-11-18T11:00:00.000Z"),
            alert("a", 3, occurred_at="2026-11-18T12:00:00.000Z"),
            alert("before", occurred_at="2026-11-15T23:59:59.999Z"),
            alert("after", occurred_at="2026-11-23T00:00:00.000Z"),
            alert("bad", severity="critical", occurred_at="2026-11-19T00:00:00.000Z"),
        ],
        start,
        end,
    )

    assert [(a["alert_id"], a["state"], a["times"]) for a in found] == [("bad", "firing", 1), ("a", "firing", 2)]


def test_only_what_begins_to_fire_is_counted_and_a_replay_counts_once() -> None:
    now = ms("2026-11-18T10:00:00Z")

    found = fired(
        [
            alert("a1"), alert("a1"), alert("a1", 2, reason="reminder"), alert("a1", 3, reason="escalated"),
            alert("old", 7, reason="reminder"),
        ],
        now - HOUR, now + HOUR,
    )  # fmt: skip

    assert [(a["alert_id"], a["times"]) for a in found] == [("a1", 1), ("old", 0)]
    shown = digest_notice("d", body_of(BERLIN, "o", now, [], found, [], ""), "")
    assert [line for name, lines in shown.sections if name == "Alerts" for line in lines][1].endswith(
        "fired before this week"
    )


def test_money_of_two_currencies_is_not_compared() -> None:
    spend = [
        {"budget_id": name, "currency": currency, "this_week": amount, "last_week": "0"}
        for name, currency, amount in (("tokyo", "JPY", "100000"), ("team", "USD", "9000"), ("lab", "USD", "10"))
    ]

    shown = digest_notice("d", body_of(BERLIN, "o", ms("2026-11-16T08:00:00+01:00"), spend, [], [], ""), "")

    assert [part.split(":")[0] for part in shown.summary.split("; ")] == ["tokyo", "team"]


def test_a_digest_says_what_changed_and_adds_nothing_across_budgets_that_overlap() -> None:
    def row(budget: str, team: str, now: str, before: str) -> dict[str, object]:
        return {
            "budget_id": budget,
            "scope": f"{budget}: acme, team={team}",
            "currency": "USD",
            "this_week": now,
            "last_week": before,
        }

    spend = [row("team-day", "a", "60", "40"), row("team-day", "b", "50", "60"), row("month", "", "100", "100")]
    notice = digest_notice("d", body_of(BERLIN, "platform", ms("2026-11-16T08:00:00+01:00"), spend, [], [], ""), "")

    assert notice.title == "AI spend of platform, week to 2026-11-16"
    assert notice.summary == "team-day: 110 USD against 100 USD the week before (+10 %)"
    assert notice.sections[0][1][0] == "team-day: acme, team=a: 60 USD, before 40 USD (+50 %)"
