"""usage.deliveries as one process folds it: what it appends counts at once, what others append when it is read."""

import asyncio

import msgspec
import structlog

from streams.kafka.ports import Log, append_surely
from streams.notify.book import Book
from streams.notify.delivery import Delivery, decode, encode

log = structlog.get_logger()


class DeliveryLog:
    """One partition, several writers. Every record is folded once, whoever wrote it."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._at = 0
        self._own = set[int]()  # offsets that were folded when they were appended
        self._turn = asyncio.Lock()
        self.book = Book()

    async def refresh(self) -> None:
        """Read what is new."""
        async with self._turn:
            begin, end = await self._log.bounds()
            self._at = max(self._at, begin)
            async for message in self._log.read(self._at, end):
                self._at = message.offset + 1
                if message.offset in self._own:
                    self._own.discard(message.offset)
                elif message.value:
                    self._fold(message.offset, message.value)
            self._at = max(self._at, end)

    def _fold(self, offset: int, value: bytes) -> None:
        try:
            self.book.take(decode(value))
        except (msgspec.DecodeError, ValueError) as error:  # somebody else's record: it must not stop what pages
            log.error("a record of usage.deliveries cannot be read", offset=offset, error=type(error).__name__)

    async def append(self, *deliveries: Delivery) -> None:
        """Returns when the broker has them all and the book knows them."""
        await asyncio.gather(*(self._append(one) for one in deliveries))

    async def _append(self, one: Delivery) -> None:
        offset = await append_surely(self._log, encode(one), [], key=one.delivery_id.encode())
        if offset >= self._at:
            self._own.add(offset)
            self.book.take(one)
