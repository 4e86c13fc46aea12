"""What people do at runtime: read, refused, and folded so that a repeat changes nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.watch.commands import (
    KEEP_MS,
    Acknowledge,
    Annotate,
    AnyCommand,
    BadCommand,
    Commands,
    Decide,
    EndSilence,
    Match,
    Request,
    Revoke,
    Silence,
    StartSilence,
    ms_of,
    read_command,
    sendable,
    subject_of,
    write_command,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def fold(commands: Mapping[int, AnyCommand]) -> Commands:
    """All of them, by offset."""
    found = Commands()
    for offset in sorted(commands):
        found.take(offset, commands[offset])
    return found


def silence(name: str = "s", number: int = 0) -> StartSilence:
    held = Silence(name, NOON, NOON + timedelta(hours=number + 1), "release", Match(rules=("team-day",)))
    return StartSilence(command_id=f"silence-{name}-{number}", at=NOON, by="me", silence=held)


def lift(name: str = "s") -> EndSilence:
    return EndSilence(command_id=f"lift-{name}", at=NOON, by="me", silence_id=name)


def ack(name: str = "a", number: int = 0) -> Acknowledge:
    return Acknowledge(command_id=f"ack-{name}-{number}", at=NOON, by="me", alert_id=name)


def request(name: str = "r", number: int = 0) -> Request:
    return Request(
        command_id=f"request-{name}-{number}",
        at=NOON,
        by="me",
        request_id=name,
        budget="b",
        tenant="acme",
        extra=Decimal("1.50") + number,
        justification="why",
        expires=NOON + timedelta(days=1),
    )


def decide(name: str = "r", approved: bool = True) -> Decide:
    given = f"decide-{name}-{approved}"
    return Decide(command_id=given, at=NOON, by="ada", request_id=name, approved=approved, approver="ada")


def revoke(name: str = "r") -> Revoke:
    return Revoke(command_id=f"revoke-{name}", at=NOON, by="ada", request_id=name)


def annotate(name: str = "n") -> Annotate:
    return Annotate(
        command_id=f"annotate-{name}", at=NOON, by="ci", annotation_id=name, type="deploy", text="v2", moment=NOON
    )


ONE_OF_EACH: list[AnyCommand] = [silence(), lift(), ack(), request(), decide(), revoke(), annotate()]


@pytest.mark.parametrize("command", ONE_OF_EACH, ids=lambda c: type(c).__name__)
def test_a_command_is_read_as_it_was_written(command: AnyCommand) -> None:
    assert read_command(write_command(command)) == command


def test_the_record_is_plain_json() -> None:
    body = write_command(request())

    assert msgspec.json.decode(body)["kind"] == "request"
    assert b'"extra":"1.50"' in body
    assert b'"expires":"2026-11-21T12:00:00Z"' in body


@pytest.mark.parametrize(
    "body",
    [
        None,
        b"",
        b"{nonsense",
        b'{"kind":"launch"}',
        b'{"kind":"ack","command_id":"1","at":"2026-11-20T12:00:00Z","by":"me"}',
        b'{"kind":"ack","command_id":"1","at":"2026-11-20T12:00:00","by":"me","alert_id":"a"}',  # no zone
        b'{"kind":"ack","command_id":"","at":"2026-11-20T12:00:00Z","by":"me","alert_id":"a"}',
    ],
)
def test_what_cannot_be_read_says_so_with_a_remedy(body: bytes | None) -> None:
    with pytest.raises(BadCommand, match="it counts for nothing, mend it and send it again"):
        read_command(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"kind":"ack","command_id":"1","at":"2200-01-01T00:00:00Z","by":"me","alert_id":"a"}',
        b'{"kind":"silence","command_id":"1","at":"2026-11-20T12:00:00Z","by":"me","silence":{"id":"s","reason":"r",'
        b'"starts":"2026-11-20T12:00:00Z","ends":"9999-12-31T23:59:59-05:00"}}',
    ],
)
def test_a_moment_out_of_reach_is_not_sent_and_is_the_last_of_all_for_everybody_who_reads_it(body: bytes) -> None:
    with pytest.raises(BadCommand, match="before 1970 or after 2199; it counts for nothing, mend it"):
        sendable(body)

    again = write_command(read_command(body))

    assert b"2199-12-31T23:59:59Z" in again
    assert sendable(again) == read_command(body)


def test_a_field_of_a_later_version_is_no_error() -> None:
    body = write_command(ack()).replace(b'"by"', b'"new":1,"by"')

    assert read_command(body) == ack()


def test_ms_are_exact_in_every_zone() -> None:
    moment = datetime(2026, 11, 20, 13, 0, 0, 123_000, tzinfo=timezone(timedelta(hours=1)))

    assert ms_of(moment) == 1_795_176_000_123


def test_every_command_names_what_it_is_about() -> None:
    assert [subject_of(c) for c in ONE_OF_EACH] == ["s", "s", "a", "r", "r", "r", "n"]


def test_a_case_goes_from_requested_to_approved_to_revoked() -> None:
    state, seen = Commands(), []
    history: list[AnyCommand] = [request(), decide(), decide(approved=False), revoke(), revoke()]
    for offset, command in enumerate(history):
        state.take(offset, command)
        seen.append(state.cases["r"].state)

    assert seen == ["requested", "approved", "approved", "revoked", "revoked"]


@pytest.mark.parametrize("command", [decide(), revoke(), lift()])
def test_what_refers_to_nothing_changes_nothing(command: AnyCommand) -> None:
    assert Commands().take(0, command) is False


def test_what_is_denied_cannot_be_revoked() -> None:
    state = fold({0: request(), 1: decide(approved=False)})

    assert state.take(2, revoke()) is False


def test_what_ended_long_ago_is_forgotten() -> None:
    state = fold({0: silence(), 1: lift(), 2: request(), 3: decide(), 4: ack()})
    state.forget(ms_of(NOON + timedelta(days=1)) + KEEP_MS)
    assert state.cases.keys() == {"r"}

    state.forget(ms_of(NOON + timedelta(days=1)) + KEEP_MS + 1)

    assert state == Commands(taken=4)


names = st.sampled_from("ab")
commands = st.one_of(
    st.builds(silence, names, st.integers(0, 2)),
    st.builds(lift, names),
    st.builds(ack, names, st.integers(0, 2)),
    st.builds(request, names, st.integers(0, 2)),
    st.builds(decide, names, st.booleans()),
    st.builds(revoke, names),
    st.builds(annotate, names),
)
histories = st.lists(commands, max_size=12).map(lambda found: dict(enumerate(found)))


@settings(deadline=None)
@given(histories, st.integers(0, 12))
def test_snapshot_and_rest_give_what_everything_gives(history: dict[int, AnyCommand], cut: int) -> None:
    before = fold({at: c for at, c in history.items() if at < cut})
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(before), type=Commands)
    for at, command in history.items():  # what is in already is dropped
        state.take(at, command)

    assert state == fold(history)


@settings(deadline=None)
@given(histories, st.data())
def test_a_repeat_right_after_it_changes_nothing(history: dict[int, AnyCommand], data: st.DataObject) -> None:
    #  the sender repeats until the broker has answered, so the same command may stand there twice
    if not history:
        return
    at = data.draw(st.sampled_from(sorted(history)))
    found = [c for i, c in sorted(history.items()) for c in ([c, c] if i == at else [c])]

    twice = fold(dict(enumerate(found)))

    twice.taken = len(history) - 1
    assert twice == fold(history)


@settings(deadline=None)
@given(st.lists(st.builds(silence, names, st.integers(0, 2)) | st.builds(lift, names), max_size=10))
def test_a_silence_that_was_lifted_never_holds_again(history: list[AnyCommand]) -> None:
    state, lifted = Commands(), set[str]()
    for offset, command in enumerate(history):
        state.take(offset, command)
        lifted |= set(state.lifted)
        assert set(state.lifted) == lifted


@pytest.mark.parametrize("extra", ["0E-400000000", "1E-400000000", "1E400000000", "NaN", "-5", "0"])
def test_a_request_of_no_money_is_skipped_before_anybody_adds_it(extra: str) -> None:
    body = write_command(request()).replace(b'"extra":"1.50"', f'"extra":"{extra}"'.encode())

    with pytest.raises(BadCommand, match="extra of r is no money above 0; it counts for nothing"):
        read_command(body)
