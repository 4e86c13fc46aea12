"""The meter of one partition: the ledger protocol (DESIGN §2.2) over ports, without Faust, so that a model can drive it.

Order, rule 5: dead letters acknowledged → append acknowledged → totals acknowledged → the caller acknowledges the chunk.
Killed between any two: the next owner folds the ledger, sends again the totals of every counted message above the commit
(readers drop what they have), and rates again only what the ledger does not cover.
"""

import asyncio
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from streams.kafka import snapshots
from streams.kafka.chained_log import ChainedLog, Counted
from streams.kafka.ports import Log, append_surely
from streams.pipeline.chain import Chain, LogBroken
from streams.pipeline.dedupe import minutes_of
from streams.pipeline.frames import Dead, Record, above
from streams.pipeline.ledger import Batch, read_frame, read_headers
from streams.pipeline.rate import unknown_fields
from streams.pipeline.seen import SeenSet
from streams.pipeline.settle_outcome import Outcome

if TYPE_CHECKING:
    from streams.kafka.catalog_log import Published

SNAPSHOT_MESSAGES = 2_000  # ledger messages between two snapshots at least; a fold reads that many and no more

MOST_FIELDS, OTHER_FIELD = (
    100,
    ("other", "other"),
)  # labels of a metric are kept; a hostile producer must not make them many


class Catalogs(Protocol):
    """What the meter needs of the catalog."""

    @property
    def sequence(self) -> int: ...

    async def wait_for(self, sequence: int) -> "Published": ...


class Decide(Protocol):
    """`streams.pipeline.settle.settle` with its decoder: the whole decision for some records, pure."""

    def __call__(
        self, records: Sequence[Record], base: int, seen: SeenSet, published: "Published", stream: str, begin: int
    ) -> Outcome: ...


async def in_thread(work: Callable[..., Any], *args: Any) -> Any:
    """Frame work leaves the event loop: polars releases the GIL."""
    return await asyncio.to_thread(work, *args)


@dataclass(slots=True)
class MeterPorts:
    """The logs of one partition, and what is shared by all."""

    partition: int
    source: Log
    ledger: Log
    dead: Log
    seen: Log
    totals: Sequence[Log]
    catalogs: Catalogs
    decide: Decide
    totals_of: Callable[[pl.DataFrame, "Published"], list[bytes]]  # one payload a partition of totals
    stream: str  # identity of the source topic
    confirmed: bool = False  # a person says that the source is that stream, although no record is left to show it
    offload: Callable[..., Any] = in_thread
    retry_seconds: float = 0.2
    committed: Callable[[], Awaitable[int]] | None = (
        None  # the next source offset that the group would read, asked of the broker
    )


@dataclass(slots=True)
class Counts:
    """What happened since the start, for metrics."""

    rated: int = 0
    duplicate: int = 0
    dead: int = 0
    skipped: int = 0
    lost: int = 0
    lacking: int = 0  # of the rated
    unknown: Counter[tuple[str, str]] = field(default_factory=Counter)  # dialect and field of usage blocks
    appends: int = 0
    recomputed: int = 0
    paid: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """The fold at one moment; a value, so that keeping it costs nothing."""

    chain: Chain
    seen: SeenSet
    sequence: int
    crc: int


@dataclass(slots=True)
class MeterPartition:
    """State of one partition: a fold of its ledger. Throw it away and `open` again whenever the generation changes."""

    ports: MeterPorts
    seen: SeenSet
    ledger: ChainedLog
    debt: list[tuple[Counted, pl.DataFrame | None]] = field(default_factory=list)
    sequence: int = 0  # the highest catalog version in the ledger: nobody appends with a lower one (rule 8)
    crc: int = 0  # of the source record at `mark`, as the ledger has it
    candidate: "Candidate | None" = None  # a state that becomes a snapshot once the commit has passed it
    snapshot_end: int = 0  # ledger position of the newest snapshot
    spare: int = 0  # where it begins in usage.seen
    counts: Counts = field(default_factory=Counts)

    @property
    def mark(self) -> int:
        return self.ledger.chain.mark

    @classmethod
    async def open(cls, ports: MeterPorts, committed: int, horizon_minutes: int) -> "MeterPartition":
        """Fold the ledger and pay the debt above `committed`, the next source offset that the group would read.

        Raises LogBroken when ledger and commit, or ledger and source, do not belong together.
        """
        self = cls(ports, SeenSet(horizon_minutes), ChainedLog(ports.ledger))
        if snapshot := await snapshots.load(ports.seen):
            manifest = snapshot.manifest
            snapshots.check_identity(manifest, ports.stream)
            self.ledger = ChainedLog(ports.ledger, manifest.chain)
            self.seen = SeenSet.load(horizon_minutes, snapshot.body)
            self.sequence, self.crc = manifest.extra["sequence"], manifest.extra["crc"]
            self.snapshot_end, self.spare = manifest.end, snapshot.first
        await self._catch_up(owed_from=committed)
        if committed > self.mark + 1:
            raise LogBroken(
                f"partition {ports.partition}: {committed} source records were committed, but the ledger covers only"
                f" {self.mark + 1}: it has lost its tail; restore usage.rated"
            )
        await self._check_source()
        await self._pay()
        return self

    async def _check_source(self) -> None:
        """Rule 7: the source is the one that the ledger knows, by the CRC of the record at the mark."""
        if self.mark < 0:
            return
        begin, end = await self.ports.source.bounds()
        if end <= self.mark:
            raise LogBroken(
                f"partition {self.ports.partition}: the source ends at {end}, the ledger covers {self.mark + 1}:"
                " the topic was re-created; give it a new ledger, or restore it"
            )
        if begin == self.mark + 1:
            return  # retention took what was rated and not one more: no other topic stands exactly there
        if begin > self.mark and not self.ports.confirmed:
            raise LogBroken(
                f"partition {self.ports.partition}: the source begins at {begin}, {begin - self.mark - 1} records that were"
                " not rated are gone, and so is the one that proves it is the same topic; if it is, set"
                f" USAGE_STREAMS_CONFIRM_SOURCE={self.ports.stream}: they are then booked as lost"
            )
        async for message in self.ports.source.read(self.mark, self.mark + 1):
            if message.offset == self.mark and zlib.crc32(message.value or b"") != self.crc:
                raise LogBroken(
                    f"partition {self.ports.partition}: source record {self.mark} is not the one that was rated:"
                    " the topic was re-created; give it a new ledger, or restore it"
                )

    async def _catch_up(self, owed_from: int) -> None:
        await self._take(await self.ledger.fold(), owed_from)

    async def _take(self, found: Sequence[Counted], owed_from: int) -> None:
        """Fold messages that others wrote (or we, unknowingly): their ids are seen, their totals are owed."""
        for counted in found:
            _, stamp = read_headers(counted.message.headers)
            if stamp.stream != self.ports.stream:
                raise LogBroken(
                    f"partition {self.ports.partition}: the ledger belongs to stream {stamp.stream}, the source is"
                    f" {self.ports.stream}; point the worker at its own ledger"
                )
            self.sequence, self.crc = max(self.sequence, stamp.catalog_sequence), stamp.crc
            ids = read_frame(counted.message.value or b"", ["id_hash", "fingerprint", "append_time"])
            self._remember(ids)
            if counted.to >= owed_from:
                self.debt.append((counted, None))

    def _remember(self, rows: pl.DataFrame) -> None:
        self.seen = self.seen.add(
            rows["id_hash"].to_numpy(), rows["fingerprint"].to_numpy(), minutes_of(rows["append_time"])
        )

    async def _pay(self) -> None:
        """Totals of counted messages in ledger order, one message to every partition of totals, empty ones too."""
        while self.debt:
            counted, frame = self.debt[0]
            _, stamp = read_headers(counted.message.headers)
            published = await self.ports.catalogs.wait_for(stamp.catalog_sequence)
            payloads = await self.ports.offload(self._totals_of, counted, frame, published)
            headers = [
                ("stream", stamp.stream.encode()),
                ("p", str(self.ports.partition).encode()),
                ("at", str(counted.message.offset).encode()),
                ("previous", str(counted.previous).encode()),
                ("catalog_sequence", str(stamp.catalog_sequence).encode()),
            ]
            for log, payload in zip(self.ports.totals, payloads, strict=True):
                await append_surely(log, payload, headers, self.ports.retry_seconds)
            self.counts.paid += 1
            self.debt.pop(0)

    def _totals_of(self, counted: Counted, frame: pl.DataFrame | None, published: "Published") -> list[bytes]:
        rows = read_frame(counted.message.value or b"") if frame is None else frame
        return self.ports.totals_of(rows, published)

    def _checkpoint_is_due(self) -> bool:
        return self.candidate is not None or self.ledger.chain.end - self.snapshot_end >= SNAPSHOT_MESSAGES

    async def checkpoint(self, committed: int) -> bool:
        """Write a snapshot of what lies below `committed`, when enough has come since the last one; True if written.

        Rule 6: a snapshot above the commit would hide totals that are still owed.
        """
        if self.candidate is None and self._checkpoint_is_due():
            self.candidate = Candidate(self.ledger.chain, self.seen, self.sequence, self.crc)
        ready = self.candidate
        if ready is None or ready.chain.mark >= committed:
            return False
        extra = {"sequence": ready.sequence, "crc": ready.crc}
        first = await snapshots.write(self.ports.seen, ready.chain, self.ports.stream, ready.seen.dump(), extra)
        await self.ports.seen.trim(self.spare)  # the snapshot before stays: ours is not proven by a reader yet
        self.snapshot_end, self.candidate, self.spare = ready.chain.end, None, first
        return True

    async def settle(self, records: Sequence[Record]) -> None:
        """Bring every offset of the chunk into the ledger, by us or by whoever was first, and its totals out."""
        await self._pay()
        records, begin = await self._fill_hole(above(records, self.mark))
        while records := above(records, self.mark):
            published = await self.ports.catalogs.wait_for(max(self.sequence, self.ports.catalogs.sequence))
            outcome: Outcome = await self.ports.offload(
                self.ports.decide, records, self.mark, self.seen, published, self.ports.stream, begin
            )
            for batch in outcome.batches:
                if not await self._append(batch, outcome.dead_of(batch)):
                    self.counts.recomputed += 1
                    break  # the rest stands on a base that may be gone
        if self.ports.committed and self._checkpoint_is_due():
            await self.checkpoint(await self.ports.committed())

    async def _fill_hole(self, records: Sequence[Record]) -> tuple[Sequence[Record], int]:
        """Rule 4: neither transport nor commits are trusted for completeness; the source is read for what is missing."""
        if not records or records[0].offset == self.mark + 1:
            return records, 0
        begin, _ = await self.ports.source.bounds()
        start = max(begin, self.mark + 1)
        missing = [
            Record(m.offset, m.timestamp, m.value, m.headers, m.key)
            async for m in self.ports.source.read(start, records[0].offset)
        ]
        return [*missing, *records], begin

    async def _append(self, batch: Batch, dead: Sequence[Dead]) -> bool:
        """Dead letters, then the batch, then its totals; False when the batch did not land where it had to."""
        await asyncio.gather(*(self._bury(d) for d in dead))
        counted, found = await self.ledger.append(batch.payload, batch.headers())
        self.counts.appends += 1
        if not counted:
            await self._take(found, owed_from=-1)
            await self._pay()
            return False
        self.sequence, self.crc = max(self.sequence, batch.stamp.catalog_sequence), batch.stamp.crc
        self._remember(batch.frame)
        self.debt.append((found[0], batch.frame))
        self._count(batch)
        await self._pay()
        return True

    def _count(self, batch: Batch) -> None:
        c = self.counts
        c.rated += batch.frame.height
        c.lacking += int((batch.frame["lacks"].list.len() > 0).sum())
        for named, n in unknown_fields(batch.frame).items():
            c.unknown[named if named in c.unknown or len(c.unknown) < MOST_FIELDS else OTHER_FIELD] += n
        c.duplicate += len(batch.coverage.duplicates)
        c.dead += len(batch.coverage.dead)
        c.skipped += len(batch.coverage.skipped)
        c.lost += len(batch.coverage.lost)

    async def _bury(self, dead: Dead) -> None:
        headers = [
            ("stream", self.ports.stream.encode()),
            ("p", str(self.ports.partition).encode()),
            ("offset", str(dead.record.offset).encode()),
            ("reason", dead.reason.encode()),
            ("detail", dead.detail.encode(errors="replace")),
            *((f"record.{name}", value) for name, value in dead.record.headers),  # apart: none may pass for ours
            *([("record.key", dead.record.key)] if dead.record.key is not None else []),
        ]
        await append_surely(self.ports.dead, dead.record.value or b"", headers, self.ports.retry_seconds)
