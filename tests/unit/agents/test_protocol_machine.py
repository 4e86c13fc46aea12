"""The ledger protocol as a state machine that hypothesis explores over the real code (DESIGN §2.2 rules 1 to 6 and 8).

Every request of an owner waits at a gate; the machine lets it through, loses its answer, delays it, kills the owner or leaves
it as a zombie that goes on much later. Whatever happened: every offset is accounted for once, each event is rated once, and
what a reader of the totals applies equals the ledger.
"""

import asyncio
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from streams.agents import meter_partition
from streams.agents.meter_partition import MeterPartition, MeterPorts
from streams.pipeline.chain import Chain, LogBroken
from streams.pipeline.frames import INSTANT, Dead, Record
from streams.pipeline.ledger import Coverage, Stamp, batches, read_frame, read_headers
from streams.pipeline.seen import SeenSet
from streams.pipeline.settle_outcome import Outcome
from tests.support.gates import Gated, GatedLog, Owner, Turns, inline
from tests.support.memory_log import MemoryLog

Q = 2
HORIZON = 1_000_000


class Published:
    def __init__(self, sequence: int) -> None:
        self.sequence = sequence


class Catalogs:
    """What is published, and one owner's view of it, which may be behind."""

    def __init__(self) -> None:
        self.newest = 1

    def view(self) -> "View":
        return View(self)


class View:
    def __init__(self, catalogs: Catalogs) -> None:
        self.catalogs, self.sequence = catalogs, 1  # it has read nothing yet

    async def wait_for(self, sequence: int) -> Any:
        assert sequence <= self.catalogs.newest
        self.sequence = max(self.sequence, sequence)
        return Published(sequence)


def decide(strict: bool) -> Callable[..., Outcome]:
    """Small but honest: ids from bytes, `!` is poison, `?` is poison for strict writers only (a roll-out)."""

    def work(records: Sequence[Record], base: int, seen: SeenSet, published: Any, stream: str, begin: int) -> Outcome:
        rows, dead, duplicates, new = list[tuple[Any, ...]](), [], [], set()
        for r in records:
            text = (r.value or b"").decode()
            key = zlib.crc32(text.encode()) + 1
            if text.startswith("!") or (strict and text.startswith("?")):
                dead.append(Dead(r, "poison", text))
                continue
            known, _ = seen.find(
                pl.Series([key], dtype=pl.UInt64).to_numpy(), pl.Series([0], dtype=pl.UInt32).to_numpy()
            )
            if known[0] or key in new:
                duplicates.append(r.offset)
                continue
            new.add(key)
            rows.append((r.offset, key, 1, datetime(1970, 1, 1, tzinfo=UTC), text, [], "", []))
        frame = pl.DataFrame(
            rows,
            {
                "source_offset": pl.Int64,
                "id_hash": pl.UInt64,
                "fingerprint": pl.UInt64,
                "append_time": INSTANT,
                "id": pl.String,
                "lacks": pl.List(pl.String),
                "usage_dialect": pl.String,
                "reasons": pl.List(pl.String),
            },
            orient="row",
        )
        coverage = Coverage(base, records[-1].offset, tuple(duplicates), tuple(d.record.offset for d in dead))
        stamp = Stamp(stream, published.sequence, f"v{published.sequence}")
        crcs = {r.offset: zlib.crc32(r.value or b"") for r in records}
        whole = batches(frame, coverage, stamp, lambda o: crcs.get(o, 0))
        return Outcome(whole, dead)

    return work


def totals_of(rows: pl.DataFrame, published: Any) -> list[bytes]:
    ids = rows["id"].to_list() if rows.height else []
    return [",".join(i for i in ids if zlib.crc32(i.encode()) % Q == q).encode() for q in range(Q)]


class MeterOwner(Owner):
    """One worker's meter: reads from the commit, settles chunks, commits if it still owns the partition."""

    def __init__(self, world: "LedgerProtocol", generation: int, strict: bool) -> None:
        super().__init__()
        self.world, self.generation, self.view = world, generation, world.catalogs.view()
        ports = MeterPorts(
            partition=0,
            source=world.source,
            ledger=GatedLog(world.ledger, self),
            dead=GatedLog(world.dead, self),
            seen=GatedLog(world.seen, self),
            totals=[GatedLog(t, self) for t in world.totals],
            catalogs=self.view,
            decide=decide(strict),
            totals_of=totals_of,
            stream="s",
            offload=inline,
            retry_seconds=0,
        )
        self.task = world.loop.create_task(self._run(ports))

    async def _run(self, ports: MeterPorts) -> None:
        world = self.world
        state = await MeterPartition.open(ports, world.commit, HORIZON)
        position = world.commit
        while True:
            records = [
                Record(m.offset, m.timestamp, m.value) for m in world.source.messages[position : position + world.chunk]
            ]
            if not records:
                if self.calm:
                    return
                await asyncio.sleep(0)
                continue
            if world.skip and len(records) > 1:  # a transport that loses the head of a chunk: rule 4
                records = records[1:]
            await state.settle(records)
            position = records[-1].offset + 1
            if self.generation == world.generation:
                world.commit = max(world.commit, position)
                await state.checkpoint(world.commit)


class LedgerProtocol(Gated):
    @initialize(chunk=st.integers(1, 6), skip=st.booleans(), snapshot_every=st.integers(1, 4))
    def begin(self, chunk: int, skip: bool, snapshot_every: int) -> None:
        self.loop = Turns()
        self.source, self.ledger, self.dead, self.seen = MemoryLog(), MemoryLog(), MemoryLog(), MemoryLog()
        self.totals = [MemoryLog() for _ in range(Q)]
        self.catalogs, self.commit, self.generation = Catalogs(), 0, 0
        self.chunk, self.skip = chunk, skip
        self.owners = []
        self.logs = [self.ledger, self.dead, self.seen, *self.totals]
        meter_partition.SNAPSHOT_MESSAGES = snapshot_every
        self.start(strict=False)

    @rule(
        ids=st.lists(
            st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h", "?x", "?y", "!bad"]), min_size=1, max_size=6
        )
    )
    def produce(self, ids: list[str]) -> None:
        for text in ids:
            self.source.land(text.encode(), [])
        self.run()

    @rule(strict=st.booleans())
    def start(self, strict: bool) -> None:
        """The partition moves: the former owners are zombies that do not know it."""
        self.generation += 1
        self.owners.append(MeterOwner(self, self.generation, strict))
        self.run()

    @rule()
    def publish(self) -> None:
        """A new version; whoever runs learns of it later."""
        self.catalogs.newest += 1

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def learn(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(self.owners))
        owner.view.sequence = self.catalogs.newest

    def settle(self) -> None:
        self.generation += 1
        self.owners.append(MeterOwner(self, self.generation, strict=False))
        self.owners[-1].calm = True
        self.loop.run_until_complete(asyncio.wait_for(self.owners[-1].task, 20))
        for owner in self.owners[:-1]:
            owner.task.cancel()
        self.run()

    def end(self) -> None:
        for _ in range(2):  # again after the late requests have landed
            self.settle()
            self.land_all()
        self.settle()
        self.check()

    def check(self) -> None:
        chain, rated, accounted, dead_of, versions = Chain(), [], [], set(), []
        counted_at = []
        for m in self.ledger.messages:
            coverage, stamp = read_headers(m.headers)
            chain, counted = chain.take(m.offset, coverage.base, coverage.to)
            if not counted:
                continue
            counted_at.append(m.offset)
            rows = read_frame(m.value or b"")
            rated += rows["id"].to_list()
            accounted += [*rows["source_offset"], *coverage.duplicates, *coverage.dead]
            dead_of |= set(coverage.dead)
            versions.append(stamp.catalog_sequence)
            assert not coverage.skipped
            assert not coverage.lost
        n = len(self.source.messages)
        assert sorted(accounted) == list(range(n)), "an offset is missing or counted twice"
        assert max(Counter(rated).values(), default=1) == 1, "an event is rated twice"
        texts = [(m.value or b"").decode() for m in self.source.messages]
        assert {t for t in texts if t[0] not in "!?"} == {t for t in rated if t[0] != "?"}
        assert versions == sorted(versions), "a batch was rated with an older catalog than the one before it"
        buried = {int(dict(m.headers)["offset"]) for m in self.dead.messages}
        assert dead_of <= buried, "a dead letter is missing"
        applied: list[str] = []
        for log in self.totals:
            last = -1
            for m in log.messages:
                h = dict(m.headers)
                at, previous = int(h["at"]), int(h["previous"])
                if at <= last:
                    continue
                assert previous == last, "a gap in the totals"
                last = at
                applied += [t for t in (m.value or b"").decode().split(",") if t]
            assert last == (counted_at[-1] if counted_at else -1), "the totals lack the ledger's tail"
        assert sorted(applied) == sorted(rated), "totals and ledger differ"


TestProtocol = LedgerProtocol.TestCase
TestProtocol.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


async def test_a_commit_above_the_ledger_stops_the_worker() -> None:
    class World:
        source, ledger, dead, seen, totals = MemoryLog(), MemoryLog(), MemoryLog(), MemoryLog(), [MemoryLog()]

    ports = MeterPorts(
        0,
        World.source,
        World.ledger,
        World.dead,
        World.seen,
        World.totals,
        Catalogs().view(),
        decide(False),
        totals_of,
        "s",
    )
    try:
        await MeterPartition.open(ports, 7, HORIZON)
    except LogBroken as error:
        assert "lost its tail" in str(error)  # noqa: PT017 - the message is the remedy
    else:
        raise AssertionError("opened")
