"""The warehouse stage of one partition: follow the ledger from its mark, insert what counts, mark it. Wired elsewhere."""

import asyncio
from collections.abc import AsyncIterator

from clickhouse_connect.driver.client import Client

from streams.kafka.ports import Log
from streams.pipeline.chain import Chain, LogBroken
from streams.pipeline.ledger import read_headers
from streams.warehouse.insert import LedgerMessage, insert_ledger
from streams.warehouse.marks import Mark, read_mark

JOIN_BYTES = 16 << 20  # neighbours in one insert, catching up


class WarehouseStage:
    """Stores one partition of the ledger; one at a time uses the client."""

    def __init__(self, client: Client, log: Log, topic: str, partition: int) -> None:
        self._client, self._log, self._topic, self._partition = client, log, topic, partition
        self._mark: Mark | None = None
        self._chain = Chain()

    async def start(self) -> None:
        """Read the mark back; LogBroken when the ledger ends before it."""
        self._mark = await asyncio.to_thread(read_mark, self._client, self._topic, self._partition)
        _, end = await self._log.bounds()
        at = self._mark.offset
        if end <= at:
            raise LogBroken(f"{self._topic}/{self._partition}: ends at {end}, offset {at} is stored; restore the topic")
        self._chain = Chain(mark=self._mark.source_to, end=at + 1, last=at)

    async def step(self) -> int:
        """Store everything up to the log's end as of now; how many messages counted."""
        if self._mark is None:
            await self.start()
        stored = 0
        async for messages, chain in self._counted():
            if messages:
                self._mark = await asyncio.to_thread(
                    insert_ledger, self._client, self._topic, self._partition, messages
                )
                stored += len(messages)
            self._chain = chain  # only now: after an error the same messages are read again
        return stored

    async def run(self, pause_seconds: float = 0.25) -> None:
        """Follow the ledger until cancelled."""
        while True:
            if not await self.step():
                await asyncio.sleep(pause_seconds)

    async def _counted(self) -> AsyncIterator[tuple[list[LedgerMessage], Chain]]:
        chain, size, messages = self._chain, 0, list[LedgerMessage]()
        stream = self._mark.stream if self._mark else ""
        async for m in self._log.read(chain.end):
            coverage, stamp = read_headers(m.headers)
            chain, counted = chain.take(m.offset, coverage.base, coverage.to)
            if not counted:
                continue
            if stream and stamp.stream != stream:
                raise LogBroken(
                    f"ledger offset {m.offset}: is of stream {stamp.stream}, not {stream}; restore the topic"
                )
            stream = stamp.stream
            messages.append(LedgerMessage(m.offset, m.headers, m.value or b""))
            size += len(m.value or b"")
            if size >= JOIN_BYTES:
                yield messages, chain
                size, messages = 0, []
        yield messages, chain
