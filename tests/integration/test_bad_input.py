"""What cannot be an event becomes one dead letter with reason, origin and bytes on the real broker, and harms nobody."""

import asyncio
import time
from collections.abc import Callable

import pytest
from clickhouse_connect.driver.client import Client

from streams.kafka import topics
from streams.kafka.client import KafkaClient
from streams.settings import Settings
from tests.support.events import ENCODE, event, text
from tests.support.stages import Stage, until
from tests.support.traffic import stored_events

pytestmark = pytest.mark.integration


def bad_records(now: int) -> dict[str, bytes]:
    """By the reason that must be given, with a number for those that share one."""
    good = {"tenant_id": "neighbour", "event_time": now}
    return {
        "undecodable": b"\xff\xfenot avro",
        "unknown_schema": b"\0\0\0\0\x09" + ENCODE(event(1, **good))[10:],
        "missing_field": text(1, **good | {"event_id": None}).value or b"",
        "negative_quantity": ENCODE(
            event(1, **good, usage_json=None, quantities=[{"bucket": "requests", "amount": -1}])
        ),
        "absurd_quantity": ENCODE(
            event(1, **good, usage_json=None, quantities=[{"bucket": "requests", "amount": 10**15}])
        ),
        "naive_time": text(1, **good | {"event_time": "2026-11-24T10:00:00"}).value or b"",
        "future_time": ENCODE(event(1, **good | {"event_time": now + 3_600_000})),
        "empty_tenant": ENCODE(event(1, **good | {"tenant_id": ""})),
        "too_large": bytes([0xC3, 1]) + bytes(5_000_000),
        "trailing_bytes": ENCODE(event(1, **good)) + ENCODE(event(2, **good))[10:],
        # the example catalog's requirements.toml: this tenant's production refuses what says nobody's cost center
        "attribution": ENCODE(event(1, tenant_id="acme-bank", environment="production", event_time=now)),
        "invalid_utf8": ENCODE(event(1, **good, user_id="abc")).replace(b"abc", b"a\xffc"),
    }


async def send(settings: Settings, bad: dict[str, bytes], now: int) -> dict[str, tuple[int, int]]:
    """A good event before and behind each bad one; where each bad one came to lie."""
    kafka, places = KafkaClient(settings.bootstrap), {}
    try:
        producer = await kafka.producer()
        for number, (reason, value) in enumerate(bad.items()):
            for side in (0, 1):
                good = ENCODE(event(number * 2 + side, tenant_id="neighbour", event_time=now))
                await producer.send_and_wait(topics.EVENTS, good, partition=1)
                if side == 0:
                    sent = await producer.send_and_wait(topics.EVENTS, value, partition=1)
                    places[reason] = (1, sent.offset)
    finally:
        await kafka.close()
    return places


async def dead_letters(settings: Settings) -> dict[tuple[int, int], tuple[str, str, bytes]]:
    """(partition, source offset) -> reason, detail, bytes."""
    kafka, found = KafkaClient(settings.bootstrap), {}
    try:
        for partition in await kafka.partitions(topics.DEAD):
            async for message in kafka.log(topics.DEAD, partition).read(0):
                h = {name: value.decode() for name, value in message.headers}
                found[int(h["p"]), int(h["offset"])] = h["reason"], h["detail"], message.value or b""
    finally:
        await kafka.close()
    return found


def test_each_bad_record_is_one_dead_letter(settings: Settings, client: Client, stage: Callable[..., Stage]) -> None:
    now = int(time.time() * 1000)
    bad = bad_records(now)
    places = asyncio.run(send(settings, bad, now))
    stages = [stage(name) for name in ("meter", "warehouse")]

    until(lambda: stored_events(client, "neighbour") >= 2 * len(bad), 60, "the neighbours stored", stages[0].said)

    assert stored_events(client, "neighbour") == 2 * len(bad)
    letters = asyncio.run(dead_letters(settings))
    found = {reason: letters.get(place, ("none", "", b"")) for reason, place in places.items()}
    assert {reason: letter[0] for reason, letter in found.items()} == {reason: reason for reason in bad}
    assert all(found[reason][2] == value for reason, value in bad.items())
    assert all(letter[1] for letter in found.values())
