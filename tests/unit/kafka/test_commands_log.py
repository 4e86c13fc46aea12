"""usage.commands and usage.alerts as readers see them: whatever stands there twice or cannot be read changes nothing."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from streams.kafka.alerts_log import AlertsLog
from streams.kafka.commands_log import CommandsLog
from streams.watch.commands import Acknowledge, Annotate, write_command
from tests.support.memory_log import MemoryLog

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def ack(name: str) -> Acknowledge:
    return Acknowledge(command_id=name, at=NOON, by="me", alert_id=name)


def note(name: str, text: str) -> Annotate:
    return Annotate(command_id=text, at=NOON, by="ci", annotation_id=name, type="deploy", text=text, moment=NOON)


async def test_a_command_is_read_where_it_was_appended() -> None:
    log = MemoryLog()
    commands = CommandsLog(log)
    await commands.refresh()

    assert await commands.append(ack("a")) == 0
    await commands.append(ack("b"))
    await commands.refresh()

    assert list(commands.state.acks) == ["a", "b"]
    assert [offset async for offset, _ in commands.read(1)] == [1]
    assert log.messages[0].key == b"a"


async def test_a_command_whose_answer_was_lost_stands_there_twice_and_counts_once() -> None:
    fates = iter(["unknown", "ok"])
    log = MemoryLog(lambda: next(fates))
    commands = CommandsLog(log)

    await commands.append(ack("a"))
    await commands.refresh()

    assert len(log.messages) == 2
    assert len(commands.state.acks) == 1


async def test_what_cannot_be_read_is_skipped_and_what_comes_after_counts() -> None:
    log = MemoryLog()
    for body in (b"{nonsense", None, b'{"kind":"later"}', write_command(ack("a"))):
        log.land(body, [])
    commands = CommandsLog(log)

    await commands.refresh()

    assert list(commands.history) == [3]
    assert commands.state.taken == 3


async def test_the_first_annotation_of_a_name_counts() -> None:
    log = MemoryLog()
    for found in (note("build-1", "first"), note("build-1", "again")):
        log.land(write_command(found), [])
    commands = CommandsLog(log)

    await commands.refresh()

    assert [a.text for a in commands.annotations.values()] == ["first"]


def alert(name: str, revision: int, **other: Any) -> bytes:
    return json.dumps(
        {
            "alert_id": name,
            "revision": revision,
            "kind": "budget",
            "severity": "warning",
            "tenant_id": "acme",
            "budget_id": "b",
            "scope": "b|tenant_id=acme",
            "occurred_at": f"2026-11-20T12:0{revision}:00Z",
        }
        | other
    ).encode()


@pytest.fixture
async def alerts() -> AlertsLog:
    """Two partitions; a replay published some of it again, out of order."""
    logs = [MemoryLog(), MemoryLog()]
    for partition, body in [
        (0, alert("ab", 1, state="firing")),
        (1, alert("ac", 1, state="firing", since="2026-11-20T13:00:00Z")),
        (0, alert("ab", 2, state="resolved")),
        (0, alert("ab", 1, state="firing")),
        (1, b"{nonsense"),
        (1, b"[]"),
    ]:
        logs[partition].land(body, [])
    found = AlertsLog(logs)
    await found.refresh()
    await found.refresh()
    return found


async def test_of_an_alert_the_highest_revision_is_how_it_stands(alerts: AlertsLog) -> None:
    assert alerts.newest("ab")["state"] == "resolved"
    assert [r["revision"] for r in alerts.history("ab")] == [1, 2]
    assert [r["alert_id"] for r in alerts.all()] == ["ac", "ab"]


async def test_an_alert_is_found_by_the_beginning_of_its_id(alerts: AlertsLog) -> None:
    assert (alerts.named("ab"), alerts.named("a"), alerts.named("x")) == (["ab"], ["ab", "ac"], [])
