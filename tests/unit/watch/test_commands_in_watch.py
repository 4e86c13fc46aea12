"""What people do, through the whole state of the watch: limits that rise and fall, silences, who takes an alert on."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from streams.catalog.alerting import Rule
from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget
from streams.catalog.models import Catalog
from streams.watch.alerts import Cause
from streams.watch.commands import (
    Acknowledge,
    AnyCommand,
    Decide,
    EndSilence,
    Match,
    Request,
    Revoke,
    Silence,
    StartSilence,
    ms_of,
)
from streams.watch.kept import MemoryTracks
from streams.watch.scopes import key_of
from streams.watch.state import WatchState
from streams.watch.windows import Delta

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
BUDGET = Budget(
    id="team-day", each=("team",), limit=Decimal(10), period=Calendar(every="day"), thresholds=(Decimal(1),)
)
CATALOG = Catalog(budgets=(BUDGET,), rules=(Rule(id="overdue", kind="exception_overdue"),))
SCOPE = key_of("team-day", "acme", [("team", "search")])
Said = list[tuple[str, str, str]]


class Watch:
    """The state of one partition; what it is told has offsets of its own."""

    def __init__(self) -> None:
        self.state, self.offset = WatchState(MemoryTracks()), 0
        self.state.adopt(1, CATALOG)

    def use(self, cost: str, at: datetime = NOON) -> Said:
        ms = ms_of(at)
        delta = Delta(SCOPE, ms - ms % 900_000, "USD", 1, 10, 0, 0, Decimal(cost), ms, ms)
        return self.said(self.state.take([delta], self.cause()).alerts)

    def tick(self, at: datetime) -> Said:
        return self.said(self.state.tick(ms_of(at), self.cause()).alerts)

    def do(self, command: AnyCommand) -> Said:
        self.offset += 1
        return self.said(self.state.command(self.offset, command, self.cause()).alerts)

    def cause(self) -> Cause:
        return Cause(0, self.offset, "s", 0, self.offset)

    def said(self, alerts: list[dict[str, Any]]) -> Said:
        self.last = alerts
        return [(a["kind"], a["state"], a["reason"]) for a in alerts]

    def verdict(self) -> dict[str, Any]:
        _, record = self.state.records([SCOPE], (), ("s", 0, 0), again=True)[SCOPE]
        assert record is not None
        return record


def request(**other: Any) -> Request:
    given: dict[str, Any] = {
        "command_id": "1", "at": NOON, "by": "bob", "request_id": "launch", "budget": "team-day", "tenant": "acme",
        "where": {"team": "search"}, "extra": Decimal(5), "justification": "launch", "expires": NOON + 7 * DAY,
    }  # fmt: skip
    return Request(**given | other)


def decide(at: datetime = NOON) -> Decide:
    return Decide(command_id="2", at=at, by="ada", request_id="launch", approved=True, approver="ada")


def revoke(at: datetime = NOON) -> Revoke:
    return Revoke(command_id="3", at=at, by="ada", request_id="launch")


def test_an_approval_lifts_the_limit_at_once_although_the_clock_of_events_is_behind() -> None:
    #  events until 12:00, approved at 12:30 by the wall
    watch = Watch()
    assert watch.use("12") == [("budget", "firing", "crossed")]
    assert watch.do(request()) == []

    assert watch.do(decide(NOON + 30 * MINUTE)) == [("budget", "resolved", "limit_changed")]

    record = watch.verdict()
    assert (record["verdict"], record["limit"], record["base_limit"], record["used"]) == ("allow", "15", "10", "12")
    assert record["exception"]["parts"] == [
        {"id": "launch", "until": "2026-11-27T12:00:00.000Z", "extra": "5", "used": "2"}
    ]


def test_what_is_revoked_falls_back_and_the_same_alert_fires_again() -> None:
    watch = Watch()
    watch.use("12")
    first = watch.last[0]["alert_id"]
    watch.do(request())
    watch.do(decide())

    assert watch.do(revoke()) == [("budget", "firing", "crossed")]

    assert (watch.last[0]["alert_id"], watch.last[0]["revision"]) == (first, 3)
    assert (watch.verdict()["verdict"], watch.verdict()["exception"]) == ("stop", None)


def test_an_exception_expires_by_itself_when_time_passes_though_nothing_comes() -> None:
    #  12:00 used 12 of 10 + 5, until 13:00; a tick at 13:00
    watch = Watch()
    watch.do(request(expires=NOON + 60 * MINUTE))
    watch.do(decide())
    assert watch.use("12") == []

    assert watch.tick(NOON + 59 * MINUTE) == []
    assert watch.tick(NOON + 60 * MINUTE) == [("budget", "firing", "crossed")]
    assert watch.verdict()["limit"] == "10"


def test_an_exception_of_today_says_nothing_about_yesterday() -> None:
    #  yesterday 9 of 10, today approved 5 more; a late event of yesterday crosses yesterday's limit
    watch = Watch()
    watch.use("9", NOON - DAY)
    watch.use("1")
    watch.do(request())
    watch.do(decide())

    assert watch.use("2", NOON - DAY) == [("budget", "firing", "late_data")]
    assert watch.last[0]["late"] is True


def test_an_exception_that_is_open_past_its_reason_is_an_alert_until_it_is_revoked() -> None:
    watch = Watch()
    watch.do(request(reason_ends=NOON + DAY))
    watch.do(decide())

    assert watch.tick(NOON + DAY - MINUTE) == []
    assert watch.tick(NOON + DAY) == [("exception_overdue", "firing", "crossed")]
    assert watch.last[0]["exception"]["justification"] == "launch"
    assert watch.tick(NOON + 2 * DAY) == []
    assert [said[:2] for said in watch.do(revoke(NOON + 2 * DAY))] == [("exception_overdue", "resolved")]


def silence(ends: datetime) -> StartSilence:
    held = Silence("quiet", NOON, ends, "load test", Match(rules=("team-day",)))
    return StartSilence(command_id="4", at=NOON, by="bob", silence=held)


def test_what_fires_in_a_silence_is_told_when_it_ends() -> None:
    watch = Watch()
    watch.do(silence(NOON + 60 * MINUTE))
    assert watch.use("12") == [("budget", "firing", "crossed")]
    assert (watch.last[0]["silenced"]["id"], watch.last[0]["told"]) == ("quiet", False)

    assert watch.tick(NOON + 30 * MINUTE) == []
    assert watch.tick(NOON + 60 * MINUTE) == [("budget", "firing", "silence_over")]
    assert (watch.last[0]["silenced"], watch.last[0]["told"]) == (None, True)


def test_a_silence_that_is_lifted_tells_what_still_fires_at_once() -> None:
    watch = Watch()
    watch.do(silence(NOON + 60 * MINUTE))
    watch.use("12")

    lifted = watch.do(EndSilence(command_id="5", at=NOON, by="bob", silence_id="quiet"))

    assert lifted == [("budget", "firing", "silence_over")]


def test_an_acknowledgement_is_published_once_and_names_who() -> None:
    watch = Watch()
    watch.use("12")
    ack = Acknowledge(command_id="6", at=NOON, by="ada", alert_id=watch.last[0]["alert_id"], note="on it", scope=SCOPE)

    assert watch.do(ack) == [("budget", "acknowledged", "acknowledged")]
    assert watch.last[0]["acknowledged"] == {"by": "ada", "at": "2026-11-20T12:00:00.000Z", "note": "on it"}
    assert watch.do(ack) == []  # sent twice
    assert watch.tick(NOON + 12 * 60 * MINUTE) == [("budget", "resolved", "period_ended")]
