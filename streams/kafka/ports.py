"""What a stage needs of a log, as protocols: the real adapters and the tests' fakes are interchangeable (contract tests)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from streams.pipeline.frames import Record

Headers = Sequence[tuple[str, bytes]]


class Message(NamedTuple):
    """One record of a partition as a groupless reader sees it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Log(Protocol):
    """One partition of one topic."""

    async def append(self, value: bytes | None, headers: Headers, key: bytes | None = None) -> int | None:
        """Ask once; the offset, or None when it cannot be known (it may have landed, may land later, or never)."""

    async def bounds(self) -> tuple[int, int]:
        """First offset that is there, and the offset that comes next."""

    async def trim(self, before: int) -> None:
        """Let the broker delete what lies before an offset; harmless to repeat, and to leave out."""

    def read(self, start: int, stop: int | None = None) -> AsyncIterator[Message]:
        """Messages [start, stop) in order; `stop` defaults to the end as it is when the call is made."""


async def append_surely(
    log: Log, value: bytes | None, headers: Headers, retry_seconds: float = 0.2, key: bytes | None = None
) -> int:
    """The same bytes until the broker has them: for records whose readers drop what comes twice (C13)."""
    while (offset := await log.append(value, headers, key)) is None:
        await asyncio.sleep(retry_seconds)
    return offset


async def since(log: Log, start: int, records: Sequence[Record]) -> AsyncIterator[Message]:
    """Messages from `start`: those that came, and before them the hole, read from the log."""
    fresh = [Message(r.offset, r.timestamp, r.key, r.value, r.headers) for r in records if r.offset >= start]
    stop = fresh[0].offset if fresh else None
    if stop is None or stop > start:
        async for message in log.read(start, stop):
            yield message
    for message in fresh:
        yield message
