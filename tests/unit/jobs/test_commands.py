"""What people ask for at runtime is validated where it enters; a refusal names the thing, what is wrong and what to do."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from streams.catalog.alerting import Maintenance
from streams.catalog.alerting import Silence as Written
from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget, Exemption
from streams.catalog.models import Catalog
from streams.jobs import commands as job
from streams.jobs.commands import Asker, CommandRefused
from streams.watch.commands import AnyCommand, Commands, read_command, write_command

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ME = Asker("me", NOW, command_id="0123456789abcdef")
ADA = Asker("ada", NOW)
ACME = Asker("me", NOW, "acme", "0123456789abcdef")
CATALOG = Catalog(
    budgets=(Budget(id="team-day", each=("team",), limit=Decimal(10), period=Calendar(every="day")),),
    exceptions=(
        Exemption(
            id="written", budget="team-day", tenant="acme", where={"team": "search"}, extra=Decimal(1), justification="j",
            approver="ada", starts=NOW, expires=NOW + timedelta(days=1),
        ),
    ),
    silences=(Written(id="quiet", starts=NOW, ends=NOW + timedelta(days=1), reason="r"),),
    maintenance=(Maintenance(id="backup", start="01:00", end="02:00", reason="r"),),
)  # fmt: skip
RECORD: dict[str, Any] = {"alert_id": "a1", "state": "firing", "tenant_id": "acme", "scope": "team-day|tenant_id=acme"}
ASKED: dict[str, Any] = {
    "id": "launch", "budget": "team-day", "tenant": "acme", "where": {"team": "search"}, "extra": "100",
    "justification": "launch week", "expires": "2026-12-31", "reason_ends": "2026-12-20T00:00:00+01:00",
}  # fmt: skip


def known(*commands: AnyCommand) -> Commands:
    state = Commands()
    for offset, command in enumerate(commands):
        state.take(offset, read_command(write_command(command)))
    return state


def silenced(**fields: Any) -> AnyCommand:
    given = {"id": "s", "reason": "load test", "ends": "2026-11-21"} | fields
    return job.start_silence(ME, given, Commands(), CATALOG)


def requested(asker: Asker = ME, **fields: Any) -> AnyCommand:
    return job.request(asker, ASKED | fields, Commands(), CATALOG)


APPROVED = (requested(), job.decide(ADA, "launch", True, "", known(requested())))


def test_a_request_says_who_asks_for_what_until_when() -> None:
    found = job.request(ME, ASKED, Commands(), CATALOG)

    assert (found.by, found.request_id, found.extra, found.where) == (
        "me",
        "launch",
        Decimal(100),
        {"team": "search"},
    )
    assert found.expires == datetime(2026, 12, 31, tzinfo=UTC)
    assert found.reason_ends == datetime(2026, 12, 19, 23, tzinfo=UTC)
    assert found.starts is None  # with the decision


def test_names_are_made_up_where_none_is_given() -> None:
    silence = job.start_silence(ME, {"reason": "r", "ends": "2026-11-21"}, Commands(), CATALOG)
    note = job.annotate(ME, {"type": "deploy", "text": "v2"})

    assert (silence.silence.id, silence.silence.starts) == ("silence-01234567", NOW)
    assert (note.annotation_id, note.moment) == ("note-01234567", NOW)
    assert job.request(ME, ASKED | {"id": None}, Commands(), CATALOG).request_id == "exception-01234567"


def test_the_approver_is_who_asks_unless_somebody_else_is_named() -> None:
    state = known(requested())

    assert job.decide(ADA, "launch", True, "fine", state).approver == "ada"
    assert job.decide(ADA, "launch", True, "fine", state, "cfo").approver == "cfo"


def test_who_asked_approves_it_where_they_say_that_it_is_their_own_and_the_note_keeps_that() -> None:
    state = known(requested())

    assert job.decide(ME, "launch", True, "", state, own=True).note == "own request"
    assert (
        job.decide(ME, "launch", True, "nobody else is here", state, own=True).note
        == "own request; nobody else is here"
    )
    assert job.decide(ADA, "launch", True, "fine", state, own=True).note == "fine"
    assert job.decide(ME, "launch", False, "too much", state).note == "too much"  # a limit that does not rise


Case = tuple[Callable[[], object], str]
CASES: dict[str, Case] = {
    "ack of what is over": (
        lambda: job.acknowledge(ME, RECORD | {"state": "resolved"}),
        "alert a1: is resolved; only what fires can be acknowledged",
    ),
    "ack of what somebody took": (
        lambda: job.acknowledge(ME, RECORD | {"state": "acknowledged", "acknowledged": {"by": "ada"}}),
        "alert a1: ada has acknowledged it already; nothing is left to do",
    ),
    "ack of another tenant's": (
        lambda: job.acknowledge(Asker("me", NOW, "globex"), RECORD),
        "alert a1: belongs to tenant acme, you are limited to globex; ask its owner",
    ),
    "silence without a reason": (lambda: silenced(reason=""), "silence s: reason is ''"),
    "silence without an end": (
        lambda: job.start_silence(ME, {"id": "s", "reason": "r"}, Commands(), CATALOG),
        "silence s: ends is missing; add it",
    ),
    "silence that is past": (
        lambda: silenced(starts="2026-11-01", ends="2026-11-02"),
        "silence s: ends 2026-11-02 00:00 is past; give a later end",
    ),
    "silence that ends before it starts": (
        lambda: silenced(starts="2026-11-22"),
        "silence s: ends after it starts; mend ends",
    ),
    "silence without a zone": (
        lambda: silenced(ends="2026-11-21T10:00:00"),
        "silence s: ends 2026-11-21T10:00:00 has no zone; write 2026-11-21T10:00:00Z for UTC",
    ),
    "silence of a dimension that nobody has": (
        lambda: silenced(match={"where": {"taem": "search"}}),
        "dimension taem: there is none; take one of",
    ),
    "silence under a name that the catalog uses": (lambda: silenced(id="backup"), "silence backup: there is one of"),
    "silence under a name that was used": (
        lambda: job.start_silence(ME, {"id": "s", "reason": "r", "ends": "2026-11-21"}, known(silenced()), CATALOG),
        "silence s: there is one of that name; take another, names are used once",
    ),
    "silence of every tenant by one": (
        lambda: job.start_silence(ACME, {"id": "s", "reason": "r", "ends": "2026-11-21"}, Commands(), CATALOG),
        "silence s: belongs to tenant *, you are limited to acme; ask its owner",
    ),
    "unsilence of the catalog's": (
        lambda: job.end_silence(ME, "quiet", Commands(), CATALOG),
        "silence quiet: stands in the catalog; take it out there and `usage-streams apply`",
    ),
    "unsilence of nothing": (lambda: job.end_silence(ME, "x", Commands(), CATALOG), "silence x: there is none"),
    "unsilence twice": (
        lambda: job.end_silence(
            ME, "s", known(silenced(), job.end_silence(ME, "s", known(silenced()), CATALOG)), CATALOG
        ),
        "silence s: is over; nothing is left to do",
    ),
    "request of an unknown budget": (lambda: requested(budget="teem-day"), "exception launch: budget teem-day is unknown"),
    "request that does not say which scope": (lambda: requested(where={}), "where lacks team"),
    "request of a float": (lambda: requested(extra=1.5), "exception launch: extra"),
    "request of nothing": (lambda: requested(extra="0"), "extra is above 0"),
    "request without a reason": (lambda: requested(justification=""), "exception launch: justification is ''"),
    "request that is past": (
        lambda: requested(starts="2026-01-01", expires="2026-02-01"),
        "exception launch: expires 2026-02-01 00:00 is past; give a later day",
    ),
    "request with a slip": (lambda: requested(expire="2026-12-31"), "exception launch: expire is no field of it"),
    "request under a name of the catalog": (lambda: requested(id="written"), "exception written: there is one of"),
    "request for another tenant": (
        lambda: requested(Asker("me", NOW, "globex")),
        "exception launch: belongs to tenant acme, you are limited to globex; ask its owner",
    ),
    "decision about nothing": (lambda: job.decide(ME, "x", True, "", Commands()), "exception x: nobody requested it"),
    "second decision": (
        lambda: job.decide(ME, "launch", False, "", known(*APPROVED)),
        "exception launch: was approved by ada on 2026-11-20; request it anew under another name",
    ),
    "approval of what one asked for": (
        lambda: job.decide(ME, "launch", True, "", known(requested())),
        "exception launch: me asked for it; somebody else must approve it, or give --own where one person does both",
    ),
    "approval by who asked in another name": (
        lambda: job.decide(ME, "launch", True, "", known(requested()), "cfo"),
        "exception launch: me asked for it; somebody else must approve it",
    ),
    "approval after it expired": (
        lambda: job.decide(Asker("ada", NOW + timedelta(days=99)), "launch", True, "", known(requested())),
        "exception launch: expired on 2026-12-31; request it anew with a later day",
    ),
    "revocation of the catalog's": (
        lambda: job.revoke(ME, "written", "", Commands(), CATALOG),
        "exception written: stands in the catalog",
    ),
    "revocation of what waits": (
        lambda: job.revoke(ME, "launch", "", known(requested()), CATALOG),
        "exception launch: is requested; deny it instead",
    ),
    "annotation of a type that nobody knows": (
        lambda: job.annotate(ME, {"type": "party", "text": "t"}),
        "annotation note-01234567: type is 'party'; write 'deploy', 'prompt_version', 'incident' or 'other'",
    ),
    "annotation without words": (lambda: job.annotate(ME, {"type": "deploy", "text": ""}), "text is ''"),
}  # fmt: skip


@pytest.mark.parametrize(("ask", "said"), CASES.values(), ids=CASES.keys())
def test_what_cannot_be_is_refused_in_a_line(ask: Callable[[], object], said: str) -> None:
    with pytest.raises(CommandRefused) as refused:
        ask()

    assert said in str(refused.value)
    assert ";" in str(refused.value)  # the remedy


def test_what_is_approved_can_be_revoked_once() -> None:
    revoke = job.revoke(ME, "launch", "moved", known(*APPROVED), CATALOG)

    with pytest.raises(CommandRefused, match="is revoked; nothing is left to do"):
        job.revoke(ME, "launch", "", known(*APPROVED, revoke), CATALOG)
