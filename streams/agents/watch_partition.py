"""The watch of one partition of totals: the protocol around `streams.watch.state`, over ports, without Faust.

Order, rule 5: alerts and enforcements acknowledged → budgets acknowledged → state message. Killed between: the next owner folds
usage.state, reads the totals above its mark again and publishes the same records under the same ids, which readers drop.
Scopes live in a local file that is a cache of that fold (tracks.py, state_log.py).
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import polars as pl
import structlog

from streams import metrics
from streams.agents.heartbeat import Heartbeat
from streams.agents.meter_partition import Catalogs as MeterCatalogs
from streams.agents.meter_partition import in_thread
from streams.agents.state_log import StateLog
from streams.agents.told import Told
from streams.agents.tracks import SqliteTracks
from streams.catalog.limits_problems import NAMING_ALERTS
from streams.catalog.models import Catalog
from streams.kafka.chained_log import span_of
from streams.kafka.ports import Log, Message, append_surely
from streams.pipeline.adjust import adjusted_totals, read_pairs
from streams.pipeline.chain import Chain, LogBroken
from streams.pipeline.frames import Record
from streams.pipeline.ledger import read_frame
from streams.pipeline.totals import ADJUSTED, IN_LEDGER, partition_of, read_totals, totals
from streams.watch.alerts import Cause
from streams.watch.commands import BadCommand, read_command
from streams.watch.scopes import Scope, rule_of
from streams.watch.state import Effects, WatchState
from streams.watch.windows import Delta

log = structlog.get_logger()
STATE_SECONDS = 1.0
TICK_SECONDS = 10.0
SMALL = 20_000  # of a payload; what is larger is read off the event loop
TOGETHER = 100  # missed messages between whose settling the state is saved
FEW = 500  # rows that the event loop may be held for
Make = Callable[[bytes, Sequence[Scope]], pl.DataFrame]  # of a message of a log: TOTALS


class Catalogs(MeterCatalogs, Protocol):
    """What the watch needs of the catalog: also what was published last."""

    async def refresh(self) -> int: ...
    def sections(self, sequence: int, names: Iterable[str]) -> Catalog | None: ...


@dataclass(slots=True)
class WatchPorts:
    """The logs of one partition q, and what is shared by all; `ledger(p)`, `adjustments(p)`: what partition p rated.

    tracks: opens the local file of the partition; the one that it gave before is no longer used
    """

    partition: int
    partitions: int
    totals: Log
    state: Log
    alerts: Log
    budgets: Log
    enforcements: Log
    commands: Log
    ledger: Callable[[int], Log]
    adjustments: Callable[[int], Log]
    catalogs: Catalogs
    stream: str  # identity of the source topic, part of every stamp
    tracks: Callable[[], SqliteTracks]
    now_ms: Callable[[], int] = lambda: int(time.time() * 1000)
    monotonic: Callable[[], float] = time.monotonic
    offload: Callable[..., Any] = in_thread


@dataclass(slots=True)
class WatchPartition:
    """State of one partition, a fold of usage.state and of the totals above its mark."""

    ports: WatchPorts
    log: StateLog
    state: WatchState
    told: Told
    at: int  # the last offset of totals that is in
    unsaved: set[str] = field(default_factory=set)
    saved_at: float = 0.0
    ticked_at: float = 0.0
    tick: int = -1  # offset of our last tick
    gaps: int = 0
    copied: int = -1  # the last offset of usage.commands that we appended to the totals
    at_ms: int = 0  # when the broker took the last message that is in
    heartbeat: Heartbeat | None = None

    @classmethod
    async def open(cls, ports: WatchPorts) -> "WatchPartition":
        """Fold what is durable, catch up with the totals, publish budgets that are not ours. Raises LogBroken."""
        tracks = ports.tracks()
        with tracks.distrusted():
            return await cls._open(ports, tracks)

    @classmethod
    async def _open(cls, ports: WatchPorts, tracks: SqliteTracks) -> "WatchPartition":
        folded = await StateLog.open(ports.state, ports.stream, tracks, ports.offload)
        state = WatchState(folded.tracks, lambda key: partition_of(key, ports.partitions) == ports.partition)
        state.head = folded.head
        told = Told(ports.budgets, state, folded.tracks, folded.budgets)
        self = cls(ports, folded, state, told, folded.chain.chain.mark)
        if state.head.sequence:
            published = await ports.catalogs.wait_for(state.head.sequence)
            gone = set(state.head.last_in.values())
            former = [(last, (await ports.catalogs.wait_for(last)).catalog) for last in sorted(gone)]
            state.resume(published.catalog, published.published_ms, former)
        _, end = await ports.totals.bounds()
        if end <= self.at:
            raise LogBroken(
                f"usage.totals/{ports.partition}: ends at {end}, the state covers {self.at + 1}: the topic was"
                " re-created; delete usage.state too and run `usage-streams topics`: windows are filled from the ledger"
            )
        missed = list[Message]()
        async for message in ports.totals.read(self.at + 1, end):
            missed.append(message)
            if len(missed) == TOGETHER:
                await self._settle(missed)
                await self._save()
                missed = []
        await self._settle(missed)
        await self.told.claim(self._stamp())
        return self

    def close(self) -> None:
        """Somebody else has the partition: let go of memory and of the local file."""
        self.log.tracks.close()

    def _stamp(self) -> tuple[str, int, int]:
        return self.ports.stream, self.ports.partition, self.at

    async def settle(self, records: Sequence[Record]) -> None:
        """Take what came; the hole before it, if any, is read from the log (rule 4)."""
        with self.log.tracks.distrusted():
            await self._bring(records)

    async def _bring(self, records: Sequence[Record]) -> None:
        fresh = [Message(r.offset, r.timestamp, None, r.value, r.headers) for r in records if r.offset > self.at]
        if fresh and fresh[0].offset > self.at + 1:
            fresh = [m async for m in self.ports.totals.read(self.at + 1, fresh[0].offset)] + fresh
        await self._settle(fresh)
        await self.told.claim(self._stamp())
        await self._beat()
        await self._copy_commands()
        await self._tick()
        await self._save()

    async def _settle(self, messages: Sequence[Message]) -> None:
        effects = Effects()
        for message in messages:
            effects.add(await self._take(message))
            self.at, self.at_ms = message.offset, message.timestamp
        await self._publish(effects)

    async def _publish(self, effects: Effects) -> None:
        ports = self.ports
        alerts = ((ports.alerts, a, str(a["alert_id"])) for a in effects.alerts)
        enforced = ((ports.enforcements, e, str(e["enforcement_id"])) for e in effects.enforcements)
        await asyncio.gather(
            *(
                append_surely(log, json.dumps(record).encode(), [], key=key.encode())
                for log, record, key in (*alerts, *enforced)
            )
        )
        self.unsaved |= effects.dirty
        await self.told.publish(self.state.records(effects.dirty, effects.gone, self._stamp()))

    async def _take(self, message: Message) -> Effects:
        headers = dict(message.headers)
        cause = Cause(self.state.clock, message.timestamp, "", -1, -1)
        match headers.get("kind"):
            case b"tick":
                await self._follow(int(headers.get("catalog_sequence", b"0")))
                return self.state.tick(int(headers["now"]), cause)
            case b"command":
                return self._obey(int(headers["offset"]), message.value, cause)
        try:
            stream, p = headers["stream"].decode(), int(headers["p"])
            at, previous, sequence = (int(headers[name]) for name in ("at", "previous", "catalog_sequence"))
        except (KeyError, ValueError) as error:
            raise LogBroken(f"totals offset {message.offset}: headers cannot be read ({error!r})") from error
        await self._follow(sequence)
        name = f"{stream}/{p}"
        applied = self.state.head.applied.get(name, -1)
        if at <= applied:
            return Effects()
        if previous != applied:
            return await self._heal(name, applied, previous, at, message.timestamp)
        if message.value == IN_LEDGER:  # its rows were too large for a message
            deltas, other = [], set(self.state.watched)
        else:
            deltas, other = await self._deltas(message.value or b""), await self._other(sequence)
        if other:
            deltas = [d for d in deltas if rule_of(d.scope) not in other]
            async for _, more in self._from_log(name, at - 1, at, other, is_known=True):
                deltas += more
        return await self._apply(name, at, deltas, message.timestamp)

    async def _other(self, sequence: int) -> set[str]:
        """Rules whose scopes a writer of that version did not know yet, or knew as others."""
        if sequence == self.state.head.sequence:
            return set()
        theirs = {s.id: s for s in (await self.ports.catalogs.wait_for(sequence)).scopes}
        return {i for i, w in self.state.watched.items() if theirs.get(i) != w.scope}

    async def _apply(self, name: str, at: int, deltas: list[Delta], detected: int) -> Effects:
        stream, _, p = name.rpartition("/")
        self.state.head.applied[name] = at
        cause, is_correction = Cause(self.state.clock, detected, stream, int(p), at), stream.endswith(ADJUSTED)
        if len(deltas) < FEW:
            return self.state.take(deltas, cause, is_correction)
        effects: Effects = await self.ports.offload(self.state.take, deltas, cause, is_correction)
        return effects

    def _obey(self, offset: int, body: bytes | None, cause: Cause) -> Effects:
        try:
            return self.state.command(offset, read_command(body), cause)
        except BadCommand as error:
            log.warning("a command cannot be read", topic="usage.commands", offset=offset, error=str(error))
            return Effects()

    async def _heal(self, name: str, applied: int, previous: int, at: int, detected: int) -> Effects:
        """Totals are missing: those of every message that counts are made from the ledger, one after the other."""
        self.gaps += 1
        metrics.GAPS.inc()
        log.error("gap in totals; healing from the ledger", of=name, after=applied, previous=previous)
        effects = Effects()
        async for offset, deltas in self._from_log(name, applied, at, set(self.state.watched)):
            effects.add(await self._apply(name, offset, deltas, detected))
        self.state.head.applied[name] = at
        return effects

    async def _deltas(self, payload: bytes) -> list[Delta]:
        return _rows(payload) if len(payload) < SMALL else await self.ports.offload(_rows, payload)

    async def _follow(self, sequence: int) -> None:
        """Work with the highest version named so far; a scope that is new in it is filled from all that was applied."""
        if sequence <= self.state.head.sequence:
            return
        catalogs, last = self.ports.catalogs, self.state.head.sequence
        published = await catalogs.wait_for(sequence)
        sections = {n: catalogs.sections(n, NAMING_ALERTS) for n in range(last + 1, sequence)}
        between = {n: catalog for n, catalog in sections.items() if catalog is not None}
        fresh = self.state.adopt(sequence, published.catalog, published.published_ms, between)
        for name, at in sorted(self.state.head.applied.items()) if fresh else ():
            async for _, deltas in self._from_log(name, -1, at, fresh):
                self.unsaved |= await self.ports.offload(self.state.fill, deltas)

    async def _from_log(
        self, name: str, after: int, upto: int, only: Collection[str], is_known: bool = False
    ) -> AsyncIterator[tuple[int, list[Delta]]]:
        """Offset and deltas, of this partition and of the rules `only`, of a stream's counted messages in (after, upto].

        after: of a message that counts, or -1. is_known: the only message is known to count
        """
        stream, _, p = name.rpartition("/")
        is_correction = stream.endswith(ADJUSTED)
        ledger = self.ports.adjustments(int(p)) if is_correction else self.ports.ledger(int(p))
        scopes = [w.scope for i, w in self.state.watched.items() if i in only]
        if not scopes and is_known:
            return
        chain = Chain()
        async for message in ledger.read(max(after + is_known, 0), upto + 1):
            if message.offset == after and after >= 0:
                chain = Chain(span_of(message.headers)[1], after + 1, after)
                continue
            if not is_known:
                chain, counted = chain.take(message.offset, *span_of(message.headers))
                if not counted:
                    continue
            make = _corrections if is_correction else _rated
            yield message.offset, await self.ports.offload(self._ours, make, message.value or b"", scopes)

    def _ours(self, make: Make, payload: bytes, scopes: Sequence[Scope]) -> list[Delta]:
        rows = make(payload, scopes).iter_rows() if scopes else ()
        return [d for d in map(Delta._make, rows) if self._is_ours(d.scope)]

    def _is_ours(self, scope: str) -> bool:
        return partition_of(scope, self.ports.partitions) == self.ports.partition

    async def _beat(self) -> None:
        """Vouch for what is published: checks know by it how old their knowledge is."""
        if self.heartbeat is None:
            p = self.ports
            self.heartbeat = Heartbeat(p.partition, p.totals, p.budgets, p.now_ms, p.monotonic)
        offset = await self.heartbeat.beat(self.at, self.at_ms, self.state.clock)
        if offset is not None:
            self.told.passed(offset)

    async def _copy_commands(self) -> None:
        """What people did goes into the totals, in one order with everything else, so that a replay sees the same hands.

        Killed after an append: the next owner appends it again, and the state takes each offset once.
        """
        start = max(self.copied, self.state.head.commands.taken) + 1
        begin, end = await self.ports.commands.bounds()
        async for message in self.ports.commands.read(max(start, begin), end):
            headers = [("kind", b"command"), ("offset", str(message.offset).encode())]
            await append_surely(self.ports.totals, message.value or b"", headers)
            self.copied = message.offset

    async def _tick(self) -> None:
        """Time goes on when nothing comes: as a message, so that a replay sees the same clock, and the same catalog.

        Taken when it comes back, in its place among the others. While scopes wait to be looked at, the next one follows
        as soon as the one before is back.
        """
        now = self.ports.monotonic()
        is_time = now - self.ticked_at >= TICK_SECONDS
        if is_time or (self.at >= self.tick and self.state.is_behind()):
            self.ticked_at = now
            newest = str(await self.ports.catalogs.refresh()).encode()
            headers = [
                ("kind", b"tick"), ("now", str(self.ports.now_ms()).encode()), ("catalog_sequence", newest)
            ]  # fmt: skip
            self.tick = await append_surely(self.ports.totals, b"", headers)

    async def _save(self) -> None:
        now = self.ports.monotonic()
        if self.at == self.log.chain.chain.mark or now - self.saved_at < STATE_SECONDS:
            return
        await self.log.save(self.at, self.state.head, self.unsaved, self.told.end)
        self.unsaved, self.saved_at = set(), now


def _rows(payload: bytes) -> list[Delta]:
    return list(map(Delta._make, read_totals(payload).iter_rows()))


def _rated(payload: bytes, scopes: Sequence[Scope]) -> pl.DataFrame:
    return totals(read_frame(payload), scopes)


def _corrections(payload: bytes, scopes: Sequence[Scope]) -> pl.DataFrame:
    return adjusted_totals(read_pairs(payload), scopes)
