"""The meter of one partition with the real decision, over logs in memory: what it refuses, and what it says."""

import asyncio

import pytest

from streams.agents.meter_partition import MeterPartition, MeterPorts
from streams.catalog.models import Catalog
from streams.kafka.catalog_log import CatalogLog
from streams.kafka.ports import Headers
from streams.pipeline.chain import LogBroken
from streams.pipeline.frames import Record
from streams.pipeline.ledger import read_headers
from tests.support.events import NOW, avro
from tests.support.memory_log import MemoryLog
from tests.support.meters import meter_ports

HORIZON = 60


async def ports(confirmed: bool = False) -> MeterPorts:
    catalogs = CatalogLog(MemoryLog())
    await catalogs.publish(Catalog())
    return meter_ports(catalogs, 0, MemoryLog(), MemoryLog(), MemoryLog(), confirmed)


def produce(source: MemoryLog, count: int) -> list[Record]:
    for _ in range(count):
        number = len(source.messages)
        source.land(avro(number).value, [])
    return [Record(m.offset, m.timestamp, m.value, m.headers) for m in source.messages[-count:]]


async def rated_then_trimmed(to: int, confirmed: bool = False) -> MeterPorts:
    """Three records rated, three more produced, then retention takes everything below `to`."""
    given = await ports(confirmed)
    assert isinstance(given.source, MemoryLog)
    meter = await MeterPartition.open(given, 0, HORIZON)
    await meter.settle(produce(given.source, 3))
    produce(given.source, 3)
    await given.source.trim(to)
    return given


async def test_rated_events_that_lack_what_they_must_say_are_counted() -> None:
    given = await ports()
    meter = await MeterPartition.open(given, 0, HORIZON)
    records = [avro(0), avro(1, environment="development")]

    await meter.settle(records)

    assert (meter.counts.rated, meter.counts.lacking) == (2, 1)


class Broker(MemoryLog):
    """Refuses for ever what is larger than its topic takes."""

    async def append(self, value: bytes | None, headers: Headers, key: bytes | None = None) -> int | None:
        if len(value or b"") > 3_000:  # a schema alone is more
            return None
        return await super().append(value, headers, key)


async def test_totals_that_no_topic_takes_are_left_to_the_ledger_and_the_lane_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.pipeline.totals.MOST_BYTES", 3_000)
    given, sent = await ports(), Broker()
    given.totals = [sent]
    meter = await MeterPartition.open(given, 0, HORIZON)

    for number in range(2):
        await asyncio.wait_for(meter.settle([avro(number)]), 5)

    assert [m.value for m in sent.messages] == [b"", b""]
    stamps = [dict(m.headers) for m in sent.messages]
    assert [(h["stream"], h["p"], h["at"], h["previous"]) for h in stamps] == [
        (b"s1", b"0", b"0", b"-1"),
        (b"s1", b"0", b"1", b"0"),
    ]
    assert {h["catalog_sequence"] for h in stamps} == {b"1"}


async def test_unrated_records_that_retention_took_stop_the_worker_until_a_person_confirms_the_source() -> None:
    given = await rated_then_trimmed(5)

    with pytest.raises(LogBroken, match=r"2 records that were not rated are gone.*USAGE_STREAMS_CONFIRM_SOURCE=s1"):
        await MeterPartition.open(given, 3, HORIZON)

    assert len((await ledger(given)).messages) == 1


async def test_after_that_they_are_booked_as_lost() -> None:
    given = await rated_then_trimmed(5, confirmed=True)

    meter = await MeterPartition.open(given, 3, HORIZON)
    await meter.settle([Record(5, NOW, avro(5).value)])

    coverage, _ = read_headers((await ledger(given)).messages[-1].headers)
    assert (coverage.base, coverage.to, coverage.lost, coverage.rated) == (2, 5, (3, 4), 1)
    assert meter.counts.lost == 2


async def test_a_source_that_begins_right_after_what_was_rated_needs_nobody() -> None:
    given = await rated_then_trimmed(3)

    meter = await MeterPartition.open(given, 3, HORIZON)

    assert meter.mark == 2


async def test_no_header_of_a_refused_record_passes_for_ours() -> None:
    given = await ports()
    meter = await MeterPartition.open(given, 0, HORIZON)

    await meter.settle([Record(0, 1_000, b"poison", (("reason", b"fine"), ("offset", b"99")), b"key")])

    assert isinstance(given.dead, MemoryLog)
    names = [name for name, _ in given.dead.messages[0].headers]
    headers = dict(given.dead.messages[0].headers)
    assert (headers["reason"], headers["offset"]) == (b"undecodable", b"0")
    assert (headers["record.reason"], headers["record.offset"], headers["record.key"]) == (b"fine", b"99", b"key")
    assert len(names) == len(set(names))


async def ledger(given: MeterPorts) -> MemoryLog:
    assert isinstance(given.ledger, MemoryLog)
    return given.ledger


async def rated(count: int) -> MeterPorts:
    """So many records rated and committed."""
    given = await ports()
    assert isinstance(given.source, MemoryLog)
    meter = await MeterPartition.open(given, 0, HORIZON)
    await meter.settle(produce(given.source, count))
    return given


def recreated(count: int) -> MemoryLog:
    """A topic of the same name with other records."""
    log = MemoryLog()
    for number in range(count):
        log.land(avro(1_000 + number).value, [])
    return log


async def refused(given: MeterPorts, committed: int, message: str) -> None:
    """Opening stops with the remedy, and nothing is written anywhere."""
    logs = [given.source, given.ledger, given.dead, given.seen, *given.totals]
    before = [await log.bounds() for log in logs]

    with pytest.raises(LogBroken, match=message):
        await MeterPartition.open(given, committed, HORIZON)

    assert [await log.bounds() for log in logs] == before


async def test_a_source_that_was_created_again_and_is_shorter_stops_the_worker() -> None:
    given = await rated(5)
    given.source = recreated(3)

    await refused(
        given, 3, r"the source ends at 3, the ledger covers 5: the topic was re-created; give it a new ledger"
    )


async def test_a_source_that_was_created_again_and_has_grown_stops_the_worker() -> None:
    given = await rated(5)
    given.source = recreated(9)

    await refused(given, 5, r"source record 4 is not the one that was rated")


async def test_a_ledger_that_lost_its_tail_stops_the_worker() -> None:
    given = await rated(5)
    assert isinstance(given.ledger, MemoryLog)
    given.ledger.messages.pop()

    await refused(given, 5, r"5 source records were committed, but the ledger covers only 0: it has lost its tail")


async def test_a_ledger_of_another_stream_stops_the_worker() -> None:
    given = await rated(5)
    given.stream = "s2"

    await refused(given, 5, r"the ledger belongs to stream s1, the source is s2; point the worker at its own ledger")


@pytest.mark.parametrize(
    ("stream", "committed", "message"),
    [
        ("s2", 0, r"snapshot belongs to stream s1, the source is s2; a topic was re-created: rebuild"),
        ("s1", 5, r"log ends at 0, but 1 were folded: it was truncated or re-created"),
    ],
)
async def test_a_snapshot_that_belongs_to_another_stream_or_a_longer_ledger_stops_the_worker(
    monkeypatch: pytest.MonkeyPatch, stream: str, committed: int, message: str
) -> None:
    monkeypatch.setattr("streams.agents.meter_partition.SNAPSHOT_MESSAGES", 1)
    given = await rated(5)
    meter = await MeterPartition.open(given, 5, HORIZON)
    assert await meter.checkpoint(6)
    given.stream, given.ledger = stream, MemoryLog()

    await refused(given, committed, message)


async def test_a_ledger_message_of_a_newer_format_stops_the_worker() -> None:
    given = await rated(5)
    assert isinstance(given.ledger, MemoryLog)
    [message] = given.ledger.messages
    given.ledger.messages[0] = message._replace(
        headers=tuple((n, b"2" if n == "format" else v) for n, v in message.headers)
    )

    await refused(given, 5, r"format 2 is newer than 1; upgrade this worker")
