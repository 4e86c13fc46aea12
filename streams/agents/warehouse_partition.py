"""The warehouse of one partition of a log: from its mark on, insert what counts, mark it. ClickHouse away means waiting."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from streams.kafka.chained_log import span_of
from streams.kafka.ports import Log, Message, since
from streams.pipeline.chain import Chain, LogBroken
from streams.pipeline.frames import Record
from streams.pipeline.ledger import read_headers
from streams.warehouse.client import ask
from streams.warehouse.insert import LedgerMessage, insert_ledger
from streams.warehouse.marks import Mark, read_mark, write_mark
from streams.warehouse.records import insert_records
from streams.watch.freshness import is_beat

JOIN_BYTES = 16 << 20  # neighbours in one insert, catching up


async def at_mark(client: Client, log: Log, topic: str, partition: int) -> Mark:
    """The mark in the warehouse; LogBroken when the log ends before it."""
    mark = await ask(read_mark, client, topic, partition)
    _, end = await log.bounds()
    if end <= mark.offset:
        raise LogBroken(f"{topic}/{partition}: ends at {end}, offset {mark.offset} is stored; restore the topic")
    return mark


class LedgerWarehouse:
    """Stores one partition of the ledger; one at a time uses the client."""

    def __init__(self, client: Client, log: Log, topic: str, partition: int, mark: Mark) -> None:
        self._client, self._log, self._topic, self._partition = client, log, topic, partition
        self._stream = mark.stream
        at = mark.offset
        self._chain = Chain(mark=mark.source_to, end=at + 1, last=at)

    @classmethod
    async def open(cls, connect: Callable[[], Client], log: Log, topic: str, partition: int) -> "LedgerWarehouse":
        """At its mark, everything above it stored. Raises LogBroken."""
        client = await ask(connect)
        self = cls(client, log, topic, partition, await at_mark(client, log, topic, partition))
        await self.settle([])
        return self

    async def settle(self, records: Sequence[Record]) -> None:
        """Store what came, and the hole before it; killed anywhere, the same rows meet in ReplacingMergeTree."""
        async for messages, chain in self._counted(records):
            if messages:
                await ask(insert_ledger, self._client, self._topic, self._partition, messages)
            self._chain = chain  # only now: after an error the same messages are read again

    async def _counted(self, records: Sequence[Record]) -> AsyncIterator[tuple[list[LedgerMessage], Chain]]:
        chain, size, messages = self._chain, 0, list[LedgerMessage]()
        async for m in since(self._log, chain.end, records):
            coverage, stamp = read_headers(m.headers)
            chain, counted = chain.take(m.offset, coverage.base, coverage.to)
            if not counted:
                continue
            if self._stream and stamp.stream != self._stream:
                raise LogBroken(
                    f"ledger offset {m.offset}: is of stream {stamp.stream}, not {self._stream}; restore the topic"
                )
            self._stream = stamp.stream
            messages.append(LedgerMessage(m.offset, m.timestamp, m.headers, m.value or b""))
            size += len(m.value or b"")
            if size >= JOIN_BYTES:
                yield messages, chain
                size, messages = 0, []
        yield messages, chain


@dataclass(slots=True)
class RecordWarehouse:
    """Stores one partition of a topic of JSON records, as warehouse/records.py says."""

    client: Client
    log: Log
    topic: str
    partition: int
    at: int
    insert: "InsertRecords" = insert_records

    @classmethod
    async def open(
        cls,
        connect: Callable[[], Client],
        log: Log,
        topic: str,
        partition: int,
        insert: "InsertRecords" = insert_records,
    ) -> "RecordWarehouse":
        """At its mark, everything above it stored. Raises LogBroken."""
        client = await ask(connect)
        mark = await at_mark(client, log, topic, partition)
        self = cls(client, log, topic, partition, mark.offset, insert)
        await self.settle([])
        return self

    async def settle(self, records: Sequence[Record]) -> None:
        """Store what came, and the hole before it; twice is harmless, a row is keyed by its place in the topic."""
        begin, _ = await self.log.bounds()  # compaction and deletion leave holes that nobody can fill
        messages = [m async for m in since(self.log, max(begin, self.at + 1), records)]
        if rows := [m for m in messages if not is_beat(m.key)]:
            await ask(self.insert, self.client, self.topic, self.partition, rows)
            await ask(write_mark, self.client, Mark(self.topic, self.partition, messages[-1].offset))
        if messages:  # heartbeats alone are not worth a mark: they are read again after a restart
            self.at = messages[-1].offset


InsertRecords = Callable[[Client, str, int, Sequence[Message]], None]
Insert = Callable[[Client, str, int, Sequence[Message], int], None]


class ChainWarehouse:
    """Stores what counts in one partition of usage.adjustments or usage.runs; `insert` writes rows, then their mark."""

    def __init__(self, client: Client, log: Log, mark: Mark, insert: Insert) -> None:
        self._client, self._log, self._insert = client, log, insert
        self._topic, self._partition = mark.topic, mark.partition
        self._chain = Chain(mark=mark.source_to, end=mark.offset + 1, last=mark.offset)

    @classmethod
    async def open(
        cls, connect: Callable[[], Client], log: Log, topic: str, partition: int, insert: Insert
    ) -> "ChainWarehouse":
        """At its mark, everything above it stored. Raises LogBroken."""
        client = await ask(connect)
        self = cls(client, log, await at_mark(client, log, topic, partition), insert)
        await self.settle([])
        return self

    async def settle(self, records: Sequence[Record]) -> None:
        """Store what came, and the hole before it; twice is harmless, a row is keyed by what it corrects and the run."""
        chain, size, messages = self._chain, 0, list[Message]()
        async for m in since(self._log, chain.end, records):
            chain, counted = chain.take(m.offset, *span_of(m.headers))
            if counted:
                messages.append(m)
                size += len(m.value or b"")
            if size >= JOIN_BYTES:
                await self._store(messages, chain)
                size, messages = 0, []
        await self._store(messages, chain)

    async def _store(self, messages: Sequence[Message], chain: Chain) -> None:
        if messages:
            await ask(self._insert, self._client, self._topic, self._partition, messages, chain.mark)
        self._chain = chain  # only now: after an error the same messages are read again
