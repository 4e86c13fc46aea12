"""The writer's side of a chained log, one for ledger, seen set and windows (DESIGN §2.2 rules 1 and 2).

One append in flight, to the offset that must come next. Any other answer (another offset, none, an error) means: somebody
wrote, so fold to the log's end and let the caller drop what it computed. A late request of a dead owner is thus either
ignored by everybody or counted once by everybody.
"""

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from streams.kafka.ports import Headers, Log, Message, append_surely
from streams.pipeline.chain import Chain, LogBroken


class Superseded(Exception):
    """Somebody else writes this log: what was computed is dropped, and the state folded anew."""


class Counted(NamedTuple):
    """A message that counted: with `previous`, the log offset of the one that counted before it."""

    message: Message
    previous: int
    base: int
    to: int


Span = Callable[[Headers], tuple[int, int]]


def span_of(headers: Headers) -> tuple[int, int]:
    """What a message covers, by its headers `base` and `to`."""
    h = dict(headers)
    try:
        return int(h["base"]), int(h["to"])
    except (KeyError, ValueError) as error:
        raise LogBroken(f"chained log: a message without base and to ({error!r}); this is not a chained log") from error


class ChainedLog:
    """One partition as its writer folds it. `chain` is a value: who computed on it can see whether it moved."""

    def __init__(self, log: Log, chain: Chain | None = None) -> None:
        self._log = log
        self.chain = chain or Chain()
        self.ignored = 0

    async def fold(self) -> list[Counted]:
        """Fold everything that the log holds beyond `chain`, and say what counted; see `walk`."""
        return [counted async for _, counted in self.walk() if counted]

    async def walk(self) -> AsyncIterator[tuple[Message, Counted | None]]:
        """Fold everything that the log holds beyond `chain`, message by message, with what counted.

        Raises LogBroken when the log begins after what was folded, or ends before it.
        """
        begin, end = await self._log.bounds()
        if begin > self.chain.end:
            raise LogBroken(
                f"log begins at {begin}, but only {self.chain.end} messages were folded: retention took the rest;"
                " restore it, or rebuild"
            )
        if end < self.chain.end:
            raise LogBroken(f"log ends at {end}, but {self.chain.end} were folded: it was truncated or re-created")
        async for message in self._log.read(self.chain.end, end):
            base, to = span_of(message.headers)
            previous = self.chain.last
            self.chain, counted = self.chain.take(message.offset, base, to)
            if not counted:
                self.ignored += 1
            yield message, Counted(message, previous, base, to) if counted else None

    async def beside(self, value: bytes, headers: Headers) -> bool:
        """Append a message that never counts, until the broker has it; False when a fold found one that does."""
        offset = await append_surely(self._log, value, headers)
        if offset != self.chain.end:
            return not await self.fold()
        self.chain, _ = self.chain.take(offset, *span_of(headers))
        return True

    async def append(self, value: bytes, headers: Headers) -> tuple[bool, list[Counted]]:
        """Append once. (True, [ours]) if it counted where it had to come; else (False, whatever a fold found).

        The fold may find this very message, at another offset or after an unknown answer: the caller treats it like
        anybody's.
        """
        base, to = span_of(headers)
        offset = await self._log.append(value, headers)
        if offset is not None and offset < self.chain.end:
            raise LogBroken(f"log answered offset {offset}, but {self.chain.end} were folded: it was truncated")
        if offset == self.chain.end and base == self.chain.mark:
            previous = self.chain.last
            self.chain, _ = self.chain.take(offset, base, to)
            return True, [Counted(Message(offset, 0, None, value, tuple(headers)), previous, base, to)]
        return False, await self.fold()
