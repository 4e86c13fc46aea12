"""Totals of usage.adjustments[p]: the meter's rules 1-5 for what corrections change, with a commit and a stream of their own.

Nothing is decided here: what counts in the log is folded, and the totals of every counted message above the commit are sent, in
log order, each acknowledged before the next. What is sent again is dropped by the watch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streams.agents.meter_partition import Catalogs, in_thread
from streams.kafka.chained_log import span_of
from streams.kafka.ports import Log, Message, append_surely, since
from streams.pipeline.adjust import Pairs, read_pairs
from streams.pipeline.chain import Chain, LogBroken
from streams.pipeline.frames import Record
from streams.pipeline.runs import AdjustmentStamp, read_adjustment
from streams.pipeline.totals import ADJUSTED

if TYPE_CHECKING:
    from streams.kafka.catalog_log import Published


@dataclass(slots=True)
class AdjusterPorts:
    """The logs of one partition, and what is shared by all."""

    partition: int
    adjustments: Log
    totals: Sequence[Log]
    catalogs: Catalogs
    totals_of: Callable[[Pairs, "Published"], list[bytes]]  # one payload a partition of totals
    stream: str  # identity of the source topic
    offload: Callable[..., Any] = in_thread
    retry_seconds: float = 0.2


@dataclass(slots=True)
class Adjuster:
    """State of one partition: how far its corrections were folded. Throw it away and `open` again after an error."""

    ports: AdjusterPorts
    chain: Chain
    rows: int = 0  # whose totals were sent since the start

    @classmethod
    async def open(cls, ports: AdjusterPorts, committed: int) -> "Adjuster":
        """Fold the log and send what is owed above `committed`. Raises LogBroken."""
        self = cls(ports, Chain())
        begin, end = await ports.adjustments.bounds()
        if begin > 0 or committed > end:
            raise LogBroken(
                f"usage.adjustments/{ports.partition}: holds [{begin}, {end}), {committed} were committed: it was cut;"
                " restore the topic, its retention must be unlimited"
            )
        async for message in ports.adjustments.read(0, end):
            await self._take(message, owed=message.offset >= committed)
        return self

    async def settle(self, records: Sequence[Record]) -> None:
        """Send the totals of what came, and of the hole before it."""
        async for message in since(self.ports.adjustments, self.chain.end, records):
            await self._take(message, owed=True)

    async def _take(self, message: Message, owed: bool) -> None:
        previous = self.chain.last
        chain, counted = self.chain.take(message.offset, *span_of(message.headers))
        if counted and owed:
            await self._pay(message, previous)
        self.chain = chain  # only now: after an error the same message is read again

    async def _pay(self, message: Message, previous: int) -> None:
        stamp = read_adjustment(message.headers)
        if stamp.stream != self.ports.stream:
            raise LogBroken(
                f"usage.adjustments/{self.ports.partition}: offset {message.offset} corrects stream {stamp.stream}, the"
                f" source is {self.ports.stream}; restore the topic"
            )
        published = await self.ports.catalogs.wait_for(stamp.catalog_sequence)
        payloads = await self.ports.offload(self._totals_of, message.value, published)
        headers = self._headers(stamp, message.offset, previous)
        for log, payload in zip(self.ports.totals, payloads, strict=True):
            await append_surely(log, payload, headers, self.ports.retry_seconds)
        self.rows += stamp.rows

    def _headers(self, stamp: AdjustmentStamp, at: int, previous: int) -> list[tuple[str, bytes]]:
        return [
            ("stream", f"{stamp.stream}{ADJUSTED}".encode()),
            ("p", str(self.ports.partition).encode()),
            ("at", str(at).encode()),
            ("previous", str(previous).encode()),
            ("catalog_sequence", str(stamp.catalog_sequence).encode()),
        ]

    def _totals_of(self, payload: bytes | None, published: "Published") -> list[bytes]:
        return self.ports.totals_of(read_pairs(payload), published)
