"""The watch as a state machine over the real code: repeats, gaps, crashes, zombies, ticks, corrections, a later scope.

The meter and the runs that feed it are real and calm. Totals reach the watch once, twice or never (a gap, healed from the
ledger). Whatever happened: windows equal the ledger, a (alert_id, revision) has one content for ever, a reader of the
alerts sees the history of an uninterrupted watch, and so do the scopes, usage.state and the last records of usage.budgets.
"""

import asyncio
import json
import tempfile
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from streams.agents import state_log, watch_partition
from streams.agents.adjuster import Adjuster, AdjusterPorts
from streams.agents.meter_partition import MeterPartition
from streams.agents.tracks import SqliteTracks
from streams.agents.watch_partition import WatchPartition, WatchPorts
from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget, Rolling
from streams.catalog.models import Catalog
from streams.catalog.prices import Price
from streams.jobs.rerate import Asked, RunPorts, apply
from streams.kafka.catalog_log import CatalogLog, Published
from streams.kafka.chained_log import Superseded, span_of
from streams.pipeline import totals as pipeline_totals
from streams.pipeline.adjust import adjusted_totals, read_pairs
from streams.pipeline.chain import Chain
from streams.pipeline.frames import Record
from streams.pipeline.ledger import read_frame
from streams.pipeline.runs import Kind, Selection
from streams.pipeline.totals import split, totals
from streams.watch import state as watch_state
from streams.watch.commands import Acknowledge, write_command
from streams.watch.freshness import is_beat
from streams.watch.kept import Row
from streams.watch.periods import edge
from streams.watch.scopes import rule_of
from streams.watch.tracks import advance, stretches
from tests.support.corrections import EVENT
from tests.support.events import ENCODE, NOW, event
from tests.support.gates import FAR, Gated, GatedLog, Owner, Turns, inline
from tests.support.memory_log import MemoryLog
from tests.support.meters import meter_ports

PRICE = Price(
    provider="openai",
    model="m",
    bucket="input_uncached",
    unit_price=Decimal("0.01"),
    effective_from=datetime(2020, 1, 1, tzinfo=UTC),
    currency="USD",
    source="test",
)
DAY = Budget(id="day", each=("team",), limit=Decimal(5), period=Calendar(every="day"))
HOUR = Budget(id="hour", each=("team",), limit=Decimal(2), period=Rolling(size="1h"))
LATER = Budget(id="later", each=("user_id",), limit=Decimal(3), period=Calendar(every="day"))
MINUTE_MS = 60_000
Uses = list[tuple[str, int, int]]
USES = st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 400), st.integers(0, 90)), min_size=1, max_size=3)


Id = tuple[object, ...]
REACHED = Counter[str]()  # how far histories got: else a run proves little
LEAST = {
    "saves": 150,
    "saves in parts": 40,
    "saves that did not count": 1,
    "rounds": 80,
    "trims": 50,
    "opened from a whole log": 1,
    "opened from a log that was cut": 20,
    "opened from the file": 5,
    "superseded": 10,
}


class WatchOwner(Owner):
    """One worker's watch: opens, then takes what the topic holds, one message at a time."""

    def __init__(self, world: "Watching", calm: bool = False, is_elsewhere: bool = False) -> None:
        super().__init__(calm)
        self.world, self.monotonic, self.is_elsewhere = world, 0.0, is_elsewhere
        self.file: SqliteTracks | None = None
        self.idle_at = -1
        ports = WatchPorts(
            partition=0,
            partitions=1,
            totals=GatedLog(world.totals, self),
            state=GatedLog(world.state, self),
            alerts=GatedLog(world.alerts, self),
            budgets=GatedLog(world.budgets, self),
            enforcements=GatedLog(world.enforcements, self),
            commands=world.commands,
            ledger=lambda p: world.ledgers[p],
            adjustments=lambda p: world.adjustments[p],
            catalogs=CatalogLog(world.catalog_log),
            stream="s1",
            tracks=self._tracks,
            now_ms=lambda: NOW,
            monotonic=self._tick,
            offload=inline,
        )
        self.task = world.loop.create_task(self._run(ports))

    def _tracks(self) -> SqliteTracks:
        """The file that the last worker of this machine left, or an empty one; hardly anything stays decoded."""
        if self.file:
            self.file.close()
        try:
            folder = Path(self.world.folder.name)
            self.file = SqliteTracks(None, 1) if self.is_elsewhere else SqliteTracks.of_partition(folder, 0, 1)
        except OSError:  # so many zombies
            self.file = SqliteTracks(None, 1)
        return self.file

    def _tick(self) -> float:
        """A second passes with each look at the clock, so that states are saved and ticks come often."""
        self.monotonic += 1.0
        return self.monotonic

    async def _run(self, ports: WatchPorts) -> None:
        try:
            await self._work(ports)
        finally:
            if self.file and not self.calm:
                self.file.close()  # what was not committed is not in it, as after a kill

    @property
    def is_idle(self) -> bool:
        """Whether it has taken all there is."""
        return self.idle_at == len(self.world.totals.messages)

    async def _work(self, ports: WatchPorts) -> None:
        watch = await self._open(ports)
        while True:
            end = len(self.world.totals.messages)
            if watch.at + 1 >= end:
                if self.calm:
                    self.world.final = watch
                    return
                self.idle_at = end
                await asyncio.sleep(0)
                continue
            self.idle_at = -1
            try:
                m = self.world.totals.messages[watch.at + 1]
                await watch.settle([Record(m.offset, m.timestamp, m.value, m.headers, m.key)])
            except Superseded:
                REACHED["superseded"] += 1
                watch = await self._open(ports)

    async def _open(self, ports: WatchPorts) -> WatchPartition:
        """As a lane does it: what is superseded meanwhile is opened once more."""
        while True:
            try:
                watch = await WatchPartition.open(ports)
            except Superseded:
                REACHED["superseded while opening"] += 1
                continue
            if self.world.state.messages:
                is_cut = "a log that was cut" if self.world.state.begin else "a whole log"
                REACHED[f"opened from {'the file' if watch.log.was_in_file else is_cut}"] += 1
            return watch


def contents(log: MemoryLog, *names: str) -> dict[Id, str]:
    """Records by id, as their bytes: an id may be published again, with the same content."""
    found: dict[Id, str] = {}
    for m in log.messages:
        body = (m.value or b"").decode()
        record = json.loads(body)
        assert found.setdefault(tuple(record[n] for n in names), body) == body, "one id was published with two contents"
    return found


class Watching(Gated):
    @initialize(
        part=st.sampled_from([1, 400, 100_000]),
        sweep=st.sampled_from([0, 200, 5_000]),
        step=st.integers(1, 3),
        fits=st.sampled_from([0, 3_600, 100_000]),
    )
    def begin(self, part: int, sweep: int, step: int, fits: int = 100_000) -> None:
        """fits: bytes of a totals message, so that the rows of all, of some or of none are read from the ledger."""
        self.limits = state_log.PART_BYTES, state_log.SWEEP_BYTES, watch_state.STEP, pipeline_totals.MOST_BYTES
        state_log.PART_BYTES, state_log.SWEEP_BYTES, watch_state.STEP, pipeline_totals.MOST_BYTES = (
            part, sweep, step, fits
        )  # fmt: skip
        self.together, watch_partition.TOGETHER = watch_partition.TOGETHER, 3
        self.folder = tempfile.TemporaryDirectory()
        self.loop = Turns()
        self.sources, self.ledgers = [MemoryLog(), MemoryLog()], [MemoryLog(), MemoryLog()]
        self.runs, self.adjustments = MemoryLog(), [MemoryLog(), MemoryLog()]
        self.amount, self.published = "0.01", 0
        self.truth, self.catalog_log = MemoryLog(), MemoryLog()
        self.totals, self.state, self.alerts, self.budgets = MemoryLog(), MemoryLog(), MemoryLog(), MemoryLog()
        self.owners = []
        self.enforcements, self.commands = MemoryLog(), MemoryLog()
        self.logs = [self.totals, self.state, self.alerts, self.budgets, self.enforcements]
        self.final: WatchPartition | None = None
        self.delivered = 0
        self.loop.run_until_complete(CatalogLog(self.catalog_log).publish(self.catalog()))
        self.meters = [self.loop.run_until_complete(self.meter(p)) for p in (0, 1)]
        self.adjusters = [self.loop.run_until_complete(self.adjuster(p)) for p in (0, 1)]
        self.start()

    def catalog(self) -> Catalog:
        """What is decided at the moment."""
        price = PRICE.model_copy(update={"unit_price": Decimal(self.amount)})
        return Catalog(prices=(price,), budgets=(DAY, HOUR, LATER) if self.published % 2 else (DAY, HOUR))

    async def adjuster(self, p: int) -> Adjuster:
        """Sends the totals of corrections to where the meter sends its own."""
        ports = AdjusterPorts(
            partition=p,
            adjustments=self.adjustments[p],
            totals=[self.truth],
            catalogs=CatalogLog(self.catalog_log),
            totals_of=lambda pairs, published: split(adjusted_totals(pairs, published.scopes), 1),
            stream="s1",
            offload=inline,
        )
        return await Adjuster.open(ports, 0)

    async def meter(self, p: int) -> MeterPartition:
        """With its own view of the catalog, which may be behind."""
        catalogs = CatalogLog(self.catalog_log)
        await catalogs.refresh()
        ports = meter_ports(catalogs, p, self.sources[p], self.ledgers[p], self.truth)
        return await MeterPartition.open(ports, 0, 1_000_000)

    @rule(
        p=st.integers(0, 1),
        uses=USES,
    )
    def use(self, p: int, uses: Uses) -> None:
        """(team, tokens, minutes ago) -> one batch of the ledger."""
        records, source = [], self.sources[p]
        for team, amount, ago in uses:
            offset = len(source.messages)
            quantities = [{"bucket": "input_uncached", "amount": amount}]
            given = event(2 * offset + p, model="m", team=team, user_id=f"u{team}", event_time=NOW - ago * MINUTE_MS,
                          usage_json=None, usage_dialect=None, quantities=quantities)  # fmt: skip
            value = ENCODE(given)
            source.land(value, [])
            records.append(Record(offset, NOW, value))
        self.loop.run_until_complete(self.meters[p].settle(records))

    @rule(how=st.sampled_from(["once", "once", "once", "twice", "never"]))
    def deliver(self, how: str) -> None:
        if self.delivered == len(self.truth.messages):
            return
        message = self.truth.messages[self.delivered]
        self.delivered += 1
        for _ in range({"once": 1, "twice": 2, "never": 0}[how]):
            self.totals.land(message.value, message.headers)
        self.run()

    @rule(batches=st.lists(st.tuples(st.integers(0, 1), USES), min_size=1, max_size=3))
    def flow(self, batches: list[tuple[int, Uses]]) -> None:
        """A busy time, in which nothing is lost."""
        for p, uses in batches:
            self.use(p, uses)
        while self.delivered < len(self.truth.messages):
            self.deliver("once")

    @rule(times=st.integers(1, 10))
    def idle(self, times: int) -> None:
        """Nothing comes but time, so that the sweep of usage.state goes on alone."""
        for _ in range(times):
            self.totals.land(b"", [("kind", b"tick"), ("now", b"%d" % NOW), ("catalog_sequence", b"0")])
        self.run()

    @precondition(lambda self: self.delivered)
    @rule(data=st.data())
    def again(self, data: st.DataObject) -> None:
        """A new owner of the meter sends what it owes, once more, much later."""
        message = self.truth.messages[data.draw(st.integers(0, self.delivered - 1))]
        self.totals.land(message.value, message.headers)
        self.run()

    @precondition(lambda self: self.alerts.messages)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        """Somebody takes on an alert, perhaps one that is long over."""
        record = json.loads(self.alerts.messages[data.draw(st.integers(0, len(self.alerts.messages) - 1))].value or b"")
        command = Acknowledge(
            command_id=f"c{len(self.commands.messages)}", at=datetime(2026, 11, 1, tzinfo=UTC), by="me",
            alert_id=record["alert_id"], scope=record["scope"],
        )  # fmt: skip
        self.commands.land(write_command(command), [])
        self.run()

    @rule(p=st.integers(0, 1))
    def publish(self, p: int) -> None:
        """A scope comes, known to one meter before the other, so that its windows are filled from the ledger; or it goes."""
        catalogs = self.meters[p].ports.catalogs
        assert isinstance(catalogs, CatalogLog)
        self.published += 1
        self.loop.run_until_complete(catalogs.publish(self.catalog()))

    @rule(amount=st.sampled_from(["0.01", "0.02", "0.05"]))
    def rerate(self, amount: str) -> None:
        """A price was wrong from its first day on: it is mended and brought to what was rated."""
        self.amount = amount
        self.loop.run_until_complete(CatalogLog(self.catalog_log).publish(self.catalog()))
        self.correct("rerate", Selection())

    @rule(team=st.sampled_from("ab"))
    def void(self, team: str) -> None:
        """What a team has used so far was a test."""
        self.correct("void", Selection(where=(("team", team),)))

    def correct(self, kind: Kind, selection: Selection) -> None:
        async def run() -> None:
            catalogs = CatalogLog(self.catalog_log)
            await catalogs.refresh()
            ports = RunPorts(
                partitions=(0, 1),
                runs=self.runs,
                ledger=lambda p: self.ledgers[p],
                adjustments=lambda p: self.adjustments[p],
                catalogs=catalogs,
                stream="s1",
                event=EVENT,
                offload=inline,
            )
            await apply(ports, Asked(f"r{len(self.runs.messages)}", kind, selection, "a test", "somebody"))

        self.loop.run_until_complete(run())

    @rule(p=st.integers(0, 1))
    def send(self, p: int) -> None:
        """The totals of corrections, perhaps after those of a later version of the catalog."""
        self.loop.run_until_complete(self.adjusters[p].settle([]))

    @rule(is_elsewhere=st.booleans(), most=FAR)
    def start(self, is_elsewhere: bool = False, most: int = 0) -> None:
        """The partition moves, perhaps to another machine: the former owners are zombies that do not know it."""
        self.owners.append(WatchOwner(self, is_elsewhere=is_elsewhere))
        self.run()
        self.go_on(self.owners[-1], most)

    @rule(most=FAR)
    def restart(self, most: int) -> None:
        """All are killed, and the next one finds the file of one of them."""
        for owner in self.owners:
            owner.task.cancel()
        self.run()
        self.start(most=most)

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            if hasattr(self, "folder"):
                self.folder.cleanup()
                state_log.PART_BYTES, state_log.SWEEP_BYTES, watch_state.STEP, pipeline_totals.MOST_BYTES = self.limits
                watch_partition.TOGETHER = self.together

    def settle(self) -> None:
        owner = WatchOwner(self, calm=True, is_elsewhere=len(self.alerts.messages) % 2 == 0)
        self.loop.run_until_complete(owner.task)

    def end(self) -> None:
        for p in (0, 1):
            self.use(p, [("a", 1, 0)])  # whatever was never delivered shows as a gap before this one
        self.correct("void", Selection(where=(("team", "nobody"),)))  # and so does what was corrected
        for p in (0, 1):
            self.send(p)
        while self.delivered < len(self.truth.messages):
            self.deliver("once")
        for owner in [*reversed(self.owners), *self.owners]:  # the youngest first, so that zombies learn what they are
            self.go_on(owner, 60)
        self.land_all()
        self.settle()
        self.check()

    def check(self) -> None:
        watch = self.final
        assert watch is not None
        self.count()
        published = self.loop.run_until_complete(CatalogLog(self.catalog_log).wait_for(watch.state.head.sequence))
        assert self.windows(watch) == self.brute_force(published), (
            f"windows and ledger differ: {self.windows(watch)} {self.brute_force(published)}"
        )
        alerts, enforced, rows = self.uninterrupted()
        assert contents(self.alerts, "alert_id", "revision") == alerts, "not the alerts of an uninterrupted watch"
        assert contents(self.enforcements, "enforcement_id") == enforced, "not the verdicts of an uninterrupted watch"
        assert list(watch.state.tracks.above("")) == rows, "the scopes are not those of an uninterrupted watch"
        assert self.reopened() == rows, "usage.state does not hold what the watch knows"
        said = {(m.key or b"").decode(): m for m in self.budgets.messages if not is_beat(m.key)}
        told = {r.key: r.told for r in rows if r.told}
        assert {k for k, m in said.items() if m.value is not None} == set(told)
        assert all(int(dict(said[key].headers)["figures"]) == n for key, n in told.items())

    def count(self) -> None:
        chain = Chain()
        for m in self.state.messages:
            chain, counted = chain.take(m.offset, *span_of(m.headers))
            headers = dict(m.headers)
            REACHED["saves"] += counted
            REACHED["saves in parts"] += counted and "parts" in headers
            REACHED["rounds"] += counted and "done" in headers
            REACHED["saves that did not count"] += not counted and "part" not in headers
        REACHED["trims"] += len(set(self.state.trims))

    @staticmethod
    def windows(watch: WatchPartition) -> dict[str, tuple[int, Decimal]]:
        """Events and cost of every scope in its window as of the clock."""
        found = {}
        for key, scoped in watch.state.tracks.items():
            known = watch.state.watched.get(rule_of(key))
            if known is None:  # it is being dropped
                continue
            advance(known, scoped.track, watch.state.clock)
            sums = stretches(known, scoped.track, watch.state.clock)["period"].sums
            found[key] = sums.events, sums.cost
        return {key: sums for key, sums in found.items() if sums[0]}

    def brute_force(self, published: Published) -> dict[str, tuple[int, Decimal]]:
        """From the ledger, by plain addition of what lies in the window."""
        found: dict[str, tuple[int, Decimal]] = {}
        assert self.final is not None
        clock = self.final.state.clock
        # All messages count, since meters and runs are calm.
        parts = [totals(read_frame(m.value or b""), published.scopes) for log in self.ledgers for m in log.messages]
        parts += [
            adjusted_totals(read_pairs(m.value), published.scopes) for log in self.adjustments for m in log.messages
        ]
        for part in parts:
            for row in part.iter_rows(named=True):
                start = edge(clock, MINUTE_MS) - 60 * MINUTE_MS
                if row["scope"].startswith("hour|") and not start <= row["slice"] < start + 60 * MINUTE_MS:
                    continue
                events, cost = found.get(row["scope"], (0, Decimal(0)))
                found[row["scope"]] = events + row["events"], cost + row["cost"]
        return {key: sums for key, sums in found.items() if sums[0]}

    def alone(self, state: MemoryLog, alerts: MemoryLog, enforced: MemoryLog) -> WatchPartition:
        """A watch that nobody disturbs, on an empty machine, as soon as it has read everything."""
        ports = WatchPorts(0, 1, self.totals, state, alerts, MemoryLog(), enforced, self.commands,
                           lambda p: self.ledgers[p], lambda p: self.adjustments[p], CatalogLog(self.catalog_log),
                           "s1", SqliteTracks, lambda: NOW,
                           lambda: 0.0, inline)  # fmt: skip
        return self.loop.run_until_complete(WatchPartition.open(ports))

    def uninterrupted(self) -> tuple[dict[Id, str], dict[Id, str], list[Row]]:
        """What one watch that never stumbled says of the same topic, from its first message on."""
        alerts, enforced = MemoryLog(), MemoryLog()
        rows = list(self.alone(MemoryLog(), alerts, enforced).state.tracks.above(""))
        return contents(alerts, "alert_id", "revision"), contents(enforced, "enforcement_id"), rows

    def reopened(self) -> list[Row]:
        """From usage.state and what the topic holds above it."""
        return list(self.alone(self.state, MemoryLog(), MemoryLog()).state.tracks.above(""))


def test_whatever_happens_windows_alerts_and_what_is_durable_are_those_of_an_uninterrupted_watch() -> None:
    REACHED.clear()

    # Always the same histories, since it is also counted how far they get; to look for others, take `derandomize` away.
    run_state_machine_as_test(
        Watching, settings=settings(max_examples=40, stateful_step_count=40, deadline=None, derandomize=True)
    )

    assert {what: REACHED[what] for what, least in LEAST.items() if REACHED[what] < least} == {}


def test_a_correction_that_comes_after_a_scope_it_does_not_know_counts_in_that_scope_too() -> None:
    world = Watching()
    world.begin(400, 200, 2)
    world.use(0, [("a", 100, 0), ("b", 50, 0)])
    world.void("a")  # with the catalog before the scope `later`
    world.publish(0)
    world.use(0, [("a", 1, 0)])
    while world.delivered < len(world.truth.messages):
        world.deliver("once")

    world.send(0)

    world.teardown()  # compares every window with the logs


@pytest.mark.parametrize("requests", range(28, 45, 4))
def test_killed_while_it_drops_a_budget_whose_alerts_fire_the_next_owner_ends_them_alike(requests: int) -> None:
    world = Watching()
    world.begin(400, 200, 1)
    world.publish(0)
    world.use(0, [("a", 400, 0), ("b", 400, 0)])
    world.publish(0)
    world.use(0, [("a", 1, 0)])
    while world.delivered < len(world.truth.messages):
        world.deliver("once")
    [owner] = world.owners

    for _ in range(requests):
        if owner.waiting is not None and not owner.waiting.done():
            owner.waiting.set_result("ok")
        world.run()
    owner.task.cancel()
    world.run()

    world.teardown()  # compares every alert with those of an uninterrupted watch
