"""The watch of one partition of totals: the protocol around `streams.watch.state`, over ports, without Faust.

Order, rule 5: alerts and enforcements acknowledged → budgets acknowledged → state message. Killed between: the next owner folds
usage.state, reads the totals above its mark again and publishes the same records under the same ids, which readers drop.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import polars as pl
import structlog

from streams import metrics
from streams.agents.heartbeat import Heartbeat
from streams.agents.meter_partition import Catalogs as MeterCatalogs
from streams.agents.meter_partition import in_thread
from streams.kafka import snapshots
from streams.kafka.chained_log import ChainedLog, Superseded, span_of
from streams.kafka.ports import Log, Message, append_surely
from streams.pipeline.adjust import adjusted_totals, read_pairs
from streams.pipeline.chain import Chain, LogBroken
from streams.pipeline.frames import Record
from streams.pipeline.ledger import read_frame
from streams.pipeline.totals import ADJUSTED, partition_of, read_totals, totals
from streams.watch.alerts import Cause
from streams.watch.commands import BadCommand, read_command
from streams.watch.freshness import is_beat
from streams.watch.scopes import Scope, rule_of
from streams.watch.state import Effects, WatchState
from streams.watch.windows import Delta

log = structlog.get_logger()
SNAPSHOT_MESSAGES = 500
STATE_SECONDS = 1.0
TICK_SECONDS = 10.0
SMALL = 20_000  # of a payload; what is larger is read off the event loop


class Catalogs(MeterCatalogs, Protocol):
    """What the watch needs of the catalog: also what was published last."""

    async def refresh(self) -> int: ...


@dataclass(slots=True)
class WatchPorts:
    """The logs of one partition q, and what is shared by all; `ledger(p)`, `adjustments(p)`: what partition p rated."""

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
    now_ms: Callable[[], int] = lambda: int(time.time() * 1000)
    monotonic: Callable[[], float] = time.monotonic
    offload: Callable[..., Any] = in_thread


@dataclass(slots=True)
class WatchPartition:
    """State of one partition, a fold of usage.state and of the totals above its mark."""

    ports: WatchPorts
    log: ChainedLog
    state: WatchState = field(default_factory=WatchState)
    at: int = -1  # the last offset of totals that is in
    unsaved: set[str] = field(default_factory=set)
    spare: int = 0  # of usage.state: what lies before the snapshot before last is not needed
    snapshot_end: int = 0
    saved_at: float = 0.0
    ticked_at: float = 0.0
    gaps: int = 0
    copied: int = -1  # the last offset of usage.commands that we appended to the totals
    at_ms: int = 0  # when the broker took that last message
    heartbeat: Heartbeat | None = None

    @classmethod
    async def open(cls, ports: WatchPorts) -> "WatchPartition":
        """Fold what is durable, catch up with the totals, publish budgets that are not ours. Raises LogBroken."""
        self = cls(ports, ChainedLog(ports.state))
        self.state = WatchState(ours=self._ours)
        if snapshot := await snapshots.load(ports.state):
            manifest = snapshot.manifest
            snapshots.check_identity(manifest, ports.stream)
            self.log = ChainedLog(ports.state, manifest.chain)
            self.state.load(snapshot.body)
            self.snapshot_end, self.spare = manifest.end, min(snapshot.first, manifest.end)
        for counted in await self.log.fold():
            self.state.load(counted.message.value or b"")
        self.at = self.log.chain.mark
        if sequence := self.state.head.sequence:
            published = await ports.catalogs.wait_for(sequence)
            self.state.adopt(sequence, published.catalog, published.published_ms)
        _, end = await ports.totals.bounds()
        if end <= self.at:
            raise LogBroken(
                f"usage.totals/{ports.partition}: ends at {end}, the state covers {self.at + 1}: the topic was"
                " re-created; `usage-streams rebuild` makes totals and state anew from the ledger"
            )
        await self._settle([m async for m in ports.totals.read(self.at + 1, end)])
        await self._claim()
        return self

    async def _claim(self) -> None:
        """Publish every scope whose last record is not our value: compaction may have kept one of a former owner."""
        last: dict[str, bytes | None] = {}
        begin, end = await self.ports.budgets.bounds()
        async for message in self.ports.budgets.read(begin, end):
            if not is_beat(message.key):
                last[(message.key or b"").decode()] = message.value
        wanted = self.state.budgets(set(last) | set(self.state.scopes), self._stamp())
        different = {k: v for k, v in wanted.items() if _figures(v) != _figures(_parsed(last.get(k)))}
        await self._publish_budgets(different)

    def _stamp(self) -> tuple[str, int, int]:
        return self.ports.stream, self.ports.partition, self.at

    async def settle(self, records: Sequence[Record]) -> None:
        """Take what came; the hole before it, if any, is read from the log (rule 4)."""
        fresh = [Message(r.offset, r.timestamp, None, r.value, r.headers) for r in records if r.offset > self.at]
        if fresh and fresh[0].offset > self.at + 1:
            fresh = [m async for m in self.ports.totals.read(self.at + 1, fresh[0].offset)] + fresh
        await self._settle(fresh)
        await self._copy_commands()
        await self._tick()
        await self._beat()
        await self._save()

    async def _settle(self, messages: Sequence[Message]) -> None:
        found = Effects()
        for message in messages:
            found.include(await self._take(message))
            self.at, self.at_ms = message.offset, message.timestamp
        await self._publish(found)

    async def _publish(self, found: Effects) -> None:
        """Records that are published again after a kill have the same ids, readers drop them."""
        ports = self.ports
        alerts = ((ports.alerts, a, str(a["alert_id"])) for a in found.alerts)
        enforced = ((ports.enforcements, e, str(e["enforcement_id"])) for e in found.enforcements)
        await asyncio.gather(
            *(
                append_surely(log, json.dumps(record).encode(), [], key=key.encode())
                for log, record, key in (*alerts, *enforced)
            )
        )
        await self._publish_budgets(self.state.budgets(found.dirty, self._stamp()))
        self.unsaved |= found.dirty

    async def _publish_budgets(self, records: dict[str, dict[str, object] | None]) -> None:
        await asyncio.gather(
            *(
                append_surely(self.ports.budgets, None if r is None else json.dumps(r).encode(), [], key=scope.encode())
                for scope, r in records.items()
            )
        )

    async def _take(self, message: Message) -> Effects:
        headers = dict(message.headers)
        cause = Cause(self.state.clock, message.timestamp, "", -1, -1)
        match headers.get("kind"):
            case b"tick":
                found = await self._follow(int(headers.get("catalog_sequence", b"0")), message.timestamp)
                found.include(self.state.tick(int(headers["now"]), cause))
                return found
            case b"command":
                return self._obey(int(headers["offset"]), message.value, cause)
        try:
            stream, p = headers["stream"].decode(), int(headers["p"])
            at, previous, sequence = (int(headers[name]) for name in ("at", "previous", "catalog_sequence"))
        except (KeyError, ValueError) as error:
            raise LogBroken(f"totals offset {message.offset}: headers cannot be read ({error!r})") from error
        effects = await self._follow(sequence, message.timestamp)
        name = f"{stream}/{p}"
        applied = self.state.head.applied.get(name, -1)
        if at <= applied:
            return effects
        if previous != applied:
            self.gaps += 1
            metrics.GAPS.inc()
            log.error("gap in totals; healing from the ledger", stream=stream, p=p, after=applied, previous=previous)
            deltas = await self._from_log(name, applied, at, None)
        else:
            deltas = await self._deltas(message.value or b"")
            if sequence < self.state.head.sequence:  # scopes that its writer did not know yet, or knew as others
                known = {s.id: s for s in (await self.ports.catalogs.wait_for(sequence)).scopes}
                other = {i for i, w in self.state.watched.items() if known.get(i) != w.scope}
                deltas = [d for d in deltas if rule_of(d.scope) not in other]
                deltas += await self._from_log(name, at - 1, at, other) if other else []
        self.state.head.applied[name] = at
        cause = Cause(self.state.clock, message.timestamp, stream, p, at)
        effects.include(self.state.take(deltas, cause, is_correction=stream.endswith(ADJUSTED)))
        return effects

    def _obey(self, offset: int, body: bytes | None, cause: Cause) -> Effects:
        try:
            return self.state.command(offset, read_command(body), cause)
        except BadCommand as error:
            log.warning("a command cannot be read", topic="usage.commands", offset=offset, error=str(error))
            return Effects()

    async def _deltas(self, payload: bytes) -> list[Delta]:
        frame = read_totals(payload) if len(payload) < SMALL else await self.ports.offload(read_totals, payload)
        return [Delta(*row) for row in frame.iter_rows()]

    async def _follow(self, sequence: int, detected: int) -> Effects:
        """Work with the highest version named so far; a scope that is new in it is filled from all that was applied."""
        if sequence <= self.state.head.sequence:
            return Effects()
        published = await self.ports.catalogs.wait_for(sequence)
        adopted = self.state.adopt(sequence, published.catalog, published.published_ms)
        cause = Cause(self.state.clock, detected, "", -1, -1)
        found = self.state.drop(adopted, cause)
        for name, at in sorted(self.state.head.applied.items()):
            if adopted.fresh:
                self.state.fill(await self._from_log(name, -1, at, adopted.fresh))
        found.include(self.state.refresh(sorted(self.state.keys_of(adopted.changed)), cause))
        return found

    async def _from_log(self, name: str, after: int, upto: int, only: set[str] | None) -> list[Delta]:
        """Deltas of this partition, of a stream's counted messages in (after, upto], for all scopes or `only` those."""
        stream, _, p = name.rpartition("/")
        is_correction = stream.endswith(ADJUSTED)
        log = self.ports.adjustments(int(p)) if is_correction else self.ports.ledger(int(p))
        scopes = [w.scope for i, w in self.state.watched.items() if only is None or i in only]
        if not scopes:
            return []
        chain, found = Chain(), list[Delta]()
        async for message in log.read(0, upto + 1):
            chain, counted = chain.take(message.offset, *span_of(message.headers))
            if not counted or message.offset <= after:
                continue
            frame = await self.ports.offload(_corrections if is_correction else _rated, message.value or b"", scopes)
            found += [d for d in map(Delta._make, frame.iter_rows()) if self._ours(d.scope)]
        return found

    def _ours(self, scope: str) -> bool:
        return partition_of(scope, self.ports.partitions) == self.ports.partition

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
        """Time goes on when nothing comes: as a message, so that a replay sees the same clock, and the same catalog."""
        now = self.ports.monotonic()
        if now - self.ticked_at < TICK_SECONDS:
            return
        self.ticked_at = now
        newest = await self.ports.catalogs.refresh()
        headers = [("kind", b"tick"), ("now", str(self.ports.now_ms()).encode())]
        headers.append(("catalog_sequence", str(newest).encode()))
        await append_surely(self.ports.totals, b"", headers)  # taken when it comes back, in its place among the others

    async def _beat(self) -> None:
        """Vouch for what is published: checks know by it how old their knowledge is."""
        if self.heartbeat is None:
            p = self.ports
            self.heartbeat = Heartbeat(p.partition, p.totals, p.budgets, p.now_ms, p.monotonic)
        await self.heartbeat.beat(self.at, self.at_ms, self.state.clock)

    async def _save(self) -> None:
        now = self.ports.monotonic()
        if self.at == self.log.chain.mark or now - self.saved_at < STATE_SECONDS:
            return
        headers = [("base", str(self.log.chain.mark).encode()), ("to", str(self.at).encode())]
        try:
            counted, _ = await self.log.append(self.state.dump(self.unsaved), headers)
        except LogBroken:  # a new owner's snapshot may have trimmed what we stand on; `open` says it if it is worse
            counted = False
        if not counted:
            raise Superseded(f"usage.state/{self.ports.partition}: somebody else writes it")
        self.unsaved, self.saved_at = set(), now
        if self.log.chain.end - self.snapshot_end >= SNAPSHOT_MESSAGES:
            await self._snapshot()

    async def _snapshot(self) -> None:
        chain = self.log.chain
        first = await snapshots.write(self.ports.state, chain, self.ports.stream, self.state.dump())
        await self.ports.state.trim(self.spare)
        self.snapshot_end, self.spare = chain.end, min(first, chain.end)


def _rated(payload: bytes, scopes: Sequence[Scope]) -> pl.DataFrame:
    return totals(read_frame(payload), scopes)


def _corrections(payload: bytes, scopes: Sequence[Scope]) -> pl.DataFrame:
    return adjusted_totals(read_pairs(payload), scopes)


def _parsed(body: bytes | None) -> dict[str, object] | None:
    return None if body is None else dict(json.loads(body))


def _figures(record: dict[str, object] | None) -> dict[str, object] | None:
    return None if record is None else {k: v for k, v in record.items() if k not in {"stamp", "sources"}}
