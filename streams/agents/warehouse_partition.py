"""The warehouse of one partition of a log: from its mark on, insert what counts, mark it. ClickHouse away means waiting."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from streams.kafka.ports import Log, Message
from streams.pipeline.chain import Chain, LogBroken
from streams.pipeline.frames import Record
from streams.pipeline.ledger import read_headers
from streams.warehouse.client import ask
from streams.warehouse.insert import LedgerMessage, insert_ledger
from streams.warehouse.marks import Mark, read_mark, write_mark
from streams.warehouse.records import insert_records

JOIN_BYTES = 16 << 20  # neighbours in one insert, catching up


async def since(log: Log, start: int, records: Sequence[Record]) -> AsyncIterator[Message]:
    """Messages from `start`: those that came, and before them the hole, read from the log."""
    fresh = [Message(r.offset, r.timestamp, r.key, r.value, r.headers) for r in records if r.offset >= start]
    stop = fresh[0].offset if fresh else None
    if stop is None or stop > start:
        async for message in log.read(start, stop):
            yield message
    for message in fresh:
        yield message


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
    """Stores one partition of usage.alerts or usage.budgets, a row a record."""

    client: Client
    log: Log
    topic: str
    partition: int
    at: int

    @classmethod
    async def open(cls, connect: Callable[[], Client], log: Log, topic: str, partition: int) -> "RecordWarehouse":
        """At its mark, everything above it stored. Raises LogBroken."""
        client = await ask(connect)
        mark = await at_mark(client, log, topic, partition)
        self = cls(client, log, topic, partition, mark.offset)
        await self.settle([])
        return self

    async def settle(self, records: Sequence[Record]) -> None:
        """Store what came, and the hole before it; twice is harmless, a row is keyed by its place in the topic."""
        begin, _ = await self.log.bounds()  # compaction and deletion leave holes that nobody can fill
        messages = [m async for m in since(self.log, max(begin, self.at + 1), records)]
        if not messages:
            return
        await ask(insert_records, self.client, self.topic, self.partition, messages)
        self.at = messages[-1].offset
        mark = Mark(self.topic, self.partition, self.at)
        await ask(write_mark, self.client, mark)
