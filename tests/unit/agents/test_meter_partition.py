"""The meter of one partition with the real decision, over logs in memory: what it refuses, and what it says."""

from collections.abc import Sequence

import pytest

from streams.agents.meter_partition import MeterPartition, MeterPorts
from streams.catalog.models import Catalog
from streams.kafka.catalog_log import CatalogLog, Published
from streams.pipeline.chain import LogBroken
from streams.pipeline.frames import Record
from streams.pipeline.ledger import read_headers
from streams.pipeline.seen import SeenSet
from streams.pipeline.settle import settle
from streams.pipeline.settle_outcome import Outcome
from streams.pipeline.totals import split, totals
from tests.support.events import DECODER, NOW, avro
from tests.support.memory_log import MemoryLog

HORIZON = 60


def decide(
    records: Sequence[Record], base: int, seen: SeenSet, published: Published, stream: str, begin: int
) -> Outcome:
    return settle(records, base, seen, DECODER, published.book, stream, begin)


async def ports(confirmed: bool = False) -> MeterPorts:
    catalogs = CatalogLog(MemoryLog())
    await catalogs.publish(Catalog())
    return MeterPorts(
        partition=0,
        source=MemoryLog(),
        ledger=MemoryLog(),
        dead=MemoryLog(),
        seen=MemoryLog(),
        totals=[MemoryLog()],
        catalogs=catalogs,
        decide=decide,
        totals_of=lambda rows, published: split(totals(rows, published.scopes), 1),
        stream="s1",
        confirmed=confirmed,
    )


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
