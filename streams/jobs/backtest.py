"""History for back-tests: stored usage page after page, or the ledger's batches as the live watch got them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import Any

from clickhouse_connect.driver.client import Client

from streams.kafka import topics
from streams.kafka.chained_log import span_of
from streams.kafka.client import KafkaClient
from streams.kafka.ports import Log, Message
from streams.pipeline.chain import Chain
from streams.pipeline.ledger import read_frame, read_headers
from streams.warehouse.usage_pages import count, pages
from streams.watch.alerts import Cause
from streams.watch.backtest import Backtest, columns_of, warm_from

Moved = Callable[[int, int], None]  # done, of how many


def from_warehouse(client: Client, tests: Sequence[Backtest], moved: Moved) -> None:
    """Stored usage with its corrections, once for all tests, whose time is the same; memory holds a page."""
    start = min(warm_from(test.known, test.start) for test in tests)
    span = datetime.fromtimestamp(start / 1000, UTC), datetime.fromtimestamp(tests[0].end / 1000, UTC)
    columns = list(dict.fromkeys(name for test in tests for name in columns_of(test.known)))
    done, total = 0, count(client, *span)
    for page in pages(client, columns, *span):
        for test in tests:
            test.take(page)
        done += page.height
        moved(done, total)


async def from_topic(kafka: KafkaClient, tests: Sequence[Backtest], moved: Moved) -> None:
    """usage.rated of all partitions, in the order in which the broker took it; corrections are not in it."""
    start, end = min(warm_from(test.known, test.start) for test in tests), tests[0].end
    logs = {p: kafka.log(topics.RATED, p) for p in await kafka.partitions(topics.RATED)}
    done, total = 0, sum([(await log.bounds())[1] for log in logs.values()])
    async with aclosing(_merged(logs)) as messages:
        async for p, message in messages:
            done += 1
            moved(done, total)
            if message.timestamp < start:
                continue  # what was reported before happened before
            if message.timestamp >= end:
                return
            _, stamp = read_headers(message.headers)
            cause = Cause(0, message.timestamp, stamp.stream, p, message.offset)
            rows = await asyncio.to_thread(read_frame, message.value or b"")
            for test in tests:
                await asyncio.to_thread(test.take_batch, rows, cause)


async def _merged(logs: Mapping[int, Log]) -> AsyncGenerator[tuple[int, Message]]:
    """Counted messages of all partitions, the oldest first."""
    readers = {p: _counted(log) for p, log in logs.items()}
    heads: list[tuple[int, int, Any]] = []
    for p, reader in readers.items():
        if (first := await anext(reader, None)) is not None:
            heappush(heads, (first.timestamp, p, first))
    while heads:
        _, p, message = heappop(heads)
        yield p, message
        if (following := await anext(readers[p], None)) is not None:
            heappush(heads, (following.timestamp, p, following))


async def _counted(log: Log) -> AsyncGenerator[Message]:
    chain: Chain | None = None
    begin, end = await log.bounds()
    async for message in log.read(begin, end):
        if chain is None:  # retention may have taken the beginning
            chain = Chain() if begin == 0 else Chain(mark=span_of(message.headers)[0])
        chain, is_counted = chain.take(message.offset, *span_of(message.headers))
        if is_counted:
            yield message
