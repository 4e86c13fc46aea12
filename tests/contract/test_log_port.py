"""One suite for the port `Log`: what stages rely on holds for the broker and for the fake that the state machines drive."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.kafka.client import KafkaClient
from streams.kafka.ports import Log, Message, append_surely
from tests.support.memory_log import MemoryLog

BROKER = pytest.param("broker", marks=pytest.mark.integration)


@pytest.fixture(params=["memory", BROKER])
def bootstrap(request: pytest.FixtureRequest) -> str:
    """Empty stands for the fake."""
    return str(request.getfixturevalue("settings").bootstrap) if request.param == "broker" else ""


@pytest.fixture
async def log(bootstrap: str) -> AsyncIterator[Log]:
    if not bootstrap:
        yield MemoryLog()
        return
    topic, admin, kafka = (
        f"contract-{uuid.uuid4().hex}",
        AIOKafkaAdminClient(bootstrap_servers=bootstrap),
        KafkaClient(bootstrap),
    )
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    yield kafka.log(topic, 0)
    await kafka.close()


async def read(log: Log, start: int, stop: int | None = None) -> list[Message]:
    return [m async for m in log.read(start, stop)]


async def filled(log: Log, count: int) -> None:
    for i in range(count):
        assert await log.append(f"v{i}".encode(), [("n", str(i).encode())], f"k{i}".encode()) == i


async def test_an_empty_log_begins_and_ends_at_0(log: Log) -> None:
    assert await log.bounds() == (0, 0)
    assert await read(log, 0) == []


async def test_an_append_answers_the_offset_that_came_next_and_moves_the_end(log: Log) -> None:
    await filled(log, 3)

    assert await log.bounds() == (0, 3)


async def test_what_was_appended_is_read_as_it_was(log: Log) -> None:
    headers = [("a", b"1"), ("a", b"2"), ("empty", b"")]

    await log.append(b"value", headers, b"key")
    await log.append(None, [], b"tombstone")
    await log.append(b"", [])

    first, second, third = await read(log, 0)
    assert (first.offset, first.key, first.value, first.headers) == (0, b"key", b"value", tuple(headers))
    assert (second.offset, second.key, second.value, second.headers) == (1, b"tombstone", None, ())
    assert (third.offset, third.key, third.value) == (2, None, b"")
    assert first.timestamp > 0


async def test_a_read_gives_start_to_stop_in_order(log: Log) -> None:
    await filled(log, 6)

    assert [m.offset for m in await read(log, 2, 5)] == [2, 3, 4]
    assert [m.offset for m in await read(log, 4)] == [4, 5]
    assert await read(log, 3, 3) == []
    assert await read(log, 6) == []


async def test_a_read_without_stop_ends_where_the_log_ended_when_it_began(log: Log) -> None:
    await filled(log, 2)
    found = []

    async for message in log.read(0):
        found.append(message.offset)
        await log.append(b"later", [])

    assert found == [0, 1]


async def test_a_trim_moves_the_beginning_and_what_remains_is_read(log: Log) -> None:
    await filled(log, 5)

    await log.trim(3)
    await log.trim(3)

    assert await log.bounds() == (3, 5)
    assert [m.value for m in await read(log, 3)] == [b"v3", b"v4"]
    assert await log.append(b"v5", []) == 5


async def test_two_appends_at_once_both_land_and_each_knows_where(log: Log) -> None:
    offsets = await asyncio.gather(*(log.append(str(i).encode(), []) for i in range(20)))

    values = {m.offset: m.value for m in await read(log, 0)}
    assert sorted(o for o in offsets if o is not None) == list(range(20))
    assert [values[o] for o in offsets if o is not None] == [str(i).encode() for i in range(20)]


async def test_an_append_that_must_land_lands(log: Log) -> None:
    assert await append_surely(log, b"v", [("h", b"1")], key=b"k") == 0
    assert [m.value for m in await read(log, 0)] == [b"v"]


async def test_the_fake_can_lose_an_answer_and_the_same_bytes_then_come_twice() -> None:
    fates = iter(["unknown", "ok"])
    log = MemoryLog(lambda: next(fates))

    assert await append_surely(log, b"v", [], retry_seconds=0) == 1
    assert [m.value for m in await read(log, 0)] == [b"v", b"v"]
