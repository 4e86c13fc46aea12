"""usage.state: the scopes of one partition as a log that carries what changed and, in rounds, what did not.

A message covers totals (base, to] and counts by the rule of every chain. It holds the scopes that changed since the one before,
and then goes on with the sweep: the next scopes in the order of their keys, about as many bytes as changed. When the sweep has
passed the last key, the round is complete: every scope that lives has been written since the round began, so a reader needs
nothing before. Nobody ever writes, reads or holds the whole state at once.

    since=E,M,L  the last complete round began at log offset E, where the chain had the mark M and the last counted message L
    round=E,M,L  the same of the round that goes on; `cursor`: the key up to which it has swept, after this message
    done=1       this message completes its round; the one after it says `since` = its round, and begins another
    parts=ID     what is too large for one message lies before it in messages that never count and say `part` = ID

Rounds belong to the log, not to an owner: they are a function of the messages that count, so whoever comes next goes on where
the sweep was, and what a zombie says of a complete round is true, since it only repeats what counted.

Killed
- among the parts: their ID is in no message that counts; readers pass over them.
- before the answer of the message: it counts or it does not, for everybody alike; the next owner folds.
- after it, before the local file's commit: the file stands at the message before; the rest is read from the log.
- after a round, before the trim: the log is longer than it must be until the next round ends.
Trimmed is what lies before the round before the one that was completed: the newest message names that one, so it must stay.
"""

import uuid
import zlib
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import Any, NamedTuple, TypeVar

import msgspec

from streams.agents.tracks import SqliteTracks
from streams.kafka.chained_log import ChainedLog, Superseded
from streams.kafka.ports import Log, Message
from streams.kafka.snapshots import APART
from streams.pipeline.chain import Chain, LogBroken
from streams.watch.kept import Row
from streams.watch.state import Head

FORMAT = b"2"
PART_BYTES = 850_000  # of scopes in one message before compression, well under the broker's default of 1 MiB
SWEEP_BYTES = 16_384  # of unchanged scopes in a message that changes nothing
LOOK_BACK = 64  # messages in which the newest `since` is looked for
Headers = dict[str, bytes]
T = TypeVar("T")


class Place(NamedTuple):
    """A chain as headers say it."""

    end: int = 0
    mark: int = -1
    last: int = -1

    @classmethod
    def of(cls, chain: Chain) -> "Place":
        return cls(chain.end, chain.mark, chain.last)

    @classmethod
    def read(cls, header: bytes) -> "Place":
        end, mark, last = map(int, header.split(b","))
        return cls(end, mark, last)

    def header(self) -> bytes:
        return b"%d,%d,%d" % self

    @property
    def chain(self) -> Chain:
        return Chain(self.mark, self.end, self.last)


class Body(msgspec.Struct, array_like=True):
    """The value of a message that counts, deflated; that of a part is its rows alone."""

    head: Head
    rows: list[Row]


class FilePosition(msgspec.Struct):
    """What the local file says of the place of the log that it holds."""

    stream: str
    at: Place
    since: Place
    round: Place
    cursor: str
    head: Head
    budgets: int  # of usage.budgets, up to where its records are known to be what the file says


class StateLog:
    """One partition of usage.state and the scopes that it folds to, in `tracks`."""

    def __init__(self, log: Log, stream: str, tracks: SqliteTracks, offload: Callable[..., Any]) -> None:
        self._log, self._stream, self.tracks, self._offload = log, stream, tracks, offload
        self.chain = ChainedLog(log)
        self.since, self.round, self.cursor = Place(), Place(), ""
        self.head = Head()  # as of the last message that counted
        self.budgets = -1
        self.was_in_file = False

    @classmethod
    async def open(cls, log: Log, stream: str, tracks: SqliteTracks, offload: Callable[..., Any]) -> "StateLog":
        """Fold what is durable into `tracks`: what came after the local file's place, or all since the last round."""
        self = cls(log, stream, tracks, offload)
        self.was_in_file = await self._take_from_file()
        if not self.was_in_file:
            tracks.clear()
            await self._begin()
        await self._fold()
        await self._offload(self._commit)
        return self

    async def _take_from_file(self) -> bool:
        """Whether the local file holds a place of this log; from there on the log is read."""
        stored = self.tracks.place().get("standing")
        if stored is None:
            return False
        standing = msgspec.msgpack.decode(stored, type=FilePosition)
        at = standing.at
        begin, end = await self._log.bounds()
        if standing.stream != self._stream or begin > at.last + 1 or at.end > end:
            return False
        if at.last >= begin:  # is it the log that the file knows?
            async for message in self._log.read(at.last, at.last + 1):
                if int(dict(message.headers).get("to", b"-9")) != at.mark:
                    return False
        self.chain = ChainedLog(self._log, at.chain)
        self.since, self.round, self.cursor = standing.since, standing.round, standing.cursor
        self.head, self.budgets = standing.head, standing.budgets
        return True

    async def _begin(self) -> None:
        """Stand where the last complete round began. Raises LogBroken when the log does not hold one."""
        begin, end = await self._log.bounds()
        found = Place() if begin == 0 else None
        for start in dict.fromkeys((max(begin, end - LOOK_BACK), begin)):
            async for message in self._log.read(start, end):
                headers = dict(message.headers)
                if (since := headers.get("since")) is not None and Place.read(since).end >= begin:
                    found = max(found or Place(), Place.read(since))
            if found is not None:
                break
        if found is None:
            raise LogBroken(
                f"usage.state: begins at {begin}, and no message says since when it is complete: it was cut; restore the topic"
            )
        self.chain = ChainedLog(self._log, found.chain)  # at least what completed that round counts from here on

    async def _fold(self) -> None:
        """Take what counts beyond the chain: one pass says what does, a second one reads it.

        Parts lie after the message that counted before theirs, perhaps before the chain's end: when that was read nobody knew
        whether they would count. Copies that come after their message are passed over, since newer ones may say otherwise.
        """
        start, counting, parts = self.chain.chain.last + 1, set[int](), dict[bytes, int]()
        try:
            async for message, counted in self.chain.walk():
                if counted:
                    counting.add(message.offset)
                    if name := self._checked(message).get("parts"):
                        parts[name] = message.offset
        except LogBroken:
            await self._must_hold(start)
            raise
        async for message in self._log.read(start, self.chain.chain.end):
            headers = dict(message.headers)
            if message.offset < parts.get(headers.get("part", b""), 0):
                await self._offload(self._load_part, message.value or b"")
            elif message.offset in counting:
                await self._offload(self._load, message, headers)
        await self._must_hold(start)

    async def _must_hold(self, start: int) -> None:
        """A former owner may complete rounds, and trim, while we read: then what it said last is read."""
        if (await self._log.bounds())[0] > start:
            raise Superseded("usage.state: somebody else trimmed what was being read")

    def _checked(self, message: Message) -> Headers:
        headers = dict(message.headers)
        if headers.get("format") != FORMAT:
            raise LogBroken(
                f"usage.state: offset {message.offset} is of format {headers.get('format', b'1').decode()}, this worker writes"
                f" {FORMAT.decode()}; delete the topics usage.state and usage.totals and run `usage-streams topics`: the next"
                " event of each partition fills all windows from the ledger"
            )
        if headers["stream"].decode() != self._stream:
            raise LogBroken(
                f"usage.state: belongs to stream {headers['stream'].decode()}, the source is {self._stream}; a topic was"
                " re-created: restore it"
            )
        return headers

    def _load_part(self, value: bytes) -> None:
        self.tracks.load(msgspec.msgpack.decode(zlib.decompress(value), type=list[Row]))

    def _load(self, message: Message, headers: Headers) -> None:
        body = msgspec.msgpack.decode(zlib.decompress(message.value or b""), type=Body)
        self.tracks.load(body.rows)
        self.head = body.head
        self.since, self.round, self.cursor = (
            Place.read(headers["since"]),
            Place.read(headers["round"]),
            headers["cursor"].decode(),
        )
        if "done" in headers:
            self._next_round(Place(message.offset + 1, int(headers["to"]), message.offset))

    def _next_round(self, start: Place) -> None:
        self.since, self.round, self.cursor = self.round, start, ""

    async def save(self, to: int, head: Head, changed: Collection[str], budgets: int) -> None:
        """Append what changed up to `to`, and the next scopes of the sweep. Raises Superseded when somebody else writes.

        budgets: how far usage.budgets is known to say what the scopes say
        """
        name = uuid.uuid4().hex.encode()
        bodies, cursor, count = self._bodies(changed), self.cursor, 0
        while True:
            rows, cursor, is_done, is_last = await self._offload(next, bodies)
            if is_last:
                break
            part = [*APART, ("part", name), ("number", str(count).encode())]
            body = await self._offload(_deflated, rows)
            if not await _unless_trimmed(self.chain.beside(body, part)):
                raise Superseded("usage.state: somebody else writes it")
            count += 1
        headers = [
            ("base", str(self.chain.chain.mark).encode()),
            ("to", str(to).encode()),
            ("format", FORMAT),
            ("stream", self._stream.encode()),
            ("since", self.since.header()),
            ("round", self.round.header()),
            ("cursor", cursor.encode()),
            *([("done", b"1")] if is_done else []),
            *([("parts", name)] if count else []),
        ]
        body = await self._offload(_deflated, Body(head, rows))
        counted, _ = await _unless_trimmed(self.chain.append(body, headers))
        if not counted:
            raise Superseded("usage.state: somebody else writes it")
        self.head, self.cursor, self.budgets = head, cursor, budgets
        trimmed = self.since.end
        if is_done:
            self._next_round(Place.of(self.chain.chain))
        await self._offload(self._commit)
        if is_done and trimmed:
            await self._log.trim(trimmed)

    def _bodies(self, changed: Collection[str]) -> Iterator[tuple[list[Row], str, bool, bool]]:
        """Rows that fit a message, the sweep's cursor, whether the round is complete, whether these are the last."""
        written = changed if isinstance(changed, set | frozenset) else set(changed)
        rows, size, total = list[Row](), 0, 0
        for row in self.tracks.rows(sorted(changed)):
            if size >= PART_BYTES:
                yield rows, self.cursor, False, False
                rows, size = [], 0
            rows.append(row)
            size += _size(row)
            total += _size(row)
        swept, cursor, is_done = 0, self.cursor, True
        for row in self.tracks.above(self.cursor):
            if swept >= total + SWEEP_BYTES:
                is_done = False
                break
            cursor = row.key
            swept += _size(row)
            if row.key in written:
                continue
            if size >= PART_BYTES:
                yield rows, cursor, False, False
                rows, size = [], 0
            rows.append(row)
            size += _size(row)
        yield rows, cursor, is_done, True

    def _commit(self) -> None:
        standing = FilePosition(
            self._stream, Place.of(self.chain.chain), self.since, self.round, self.cursor, self.head, self.budgets
        )
        self.tracks.commit({"standing": msgspec.msgpack.encode(standing)})


async def _unless_trimmed(asked: Awaitable[T]) -> T:
    """A new owner may have trimmed what we stand on; `open` says it if it is worse."""
    try:
        return await asked
    except LogBroken as error:
        raise Superseded("usage.state: somebody else writes it") from error


def _deflated(value: object) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(value), 1)


def _size(row: Row) -> int:
    return len(row.key) + 16 + len(row.body or b"")
