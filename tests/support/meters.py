"""The meter of one partition with the real decision, over logs in memory."""

from collections.abc import Sequence

from streams.agents.meter_partition import MeterPorts
from streams.kafka.catalog_log import CatalogLog, Published
from streams.pipeline.frames import Record
from streams.pipeline.seen import SeenSet
from streams.pipeline.settle import settle
from streams.pipeline.settle_outcome import Outcome
from streams.pipeline.totals import split, totals
from tests.support.events import DECODER
from tests.support.gates import inline
from tests.support.memory_log import MemoryLog


def decide(
    records: Sequence[Record], base: int, seen: SeenSet, published: Published, stream: str, begin: int
) -> Outcome:
    return settle(records, base, seen, DECODER, published.book, stream, begin)


def meter_ports(
    catalogs: CatalogLog,
    partition: int,
    source: MemoryLog,
    ledger: MemoryLog,
    totals_log: MemoryLog,
    confirmed: bool = False,
) -> MeterPorts:
    """Ports of a meter that belongs to the stream `s1`, with one partition of totals."""
    return MeterPorts(
        partition=partition,
        source=source,
        ledger=ledger,
        dead=MemoryLog(),
        seen=MemoryLog(),
        totals=[totals_log],
        catalogs=catalogs,
        decide=decide,
        totals_of=lambda rows, published: split(totals(rows, published.scopes), 1),
        stream="s1",
        confirmed=confirmed,
        offload=inline,
    )
