"""Two partitions of a ledger in memory, rated by the real meter, and what readers of its corrections make of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from streams.agents.adjuster import Adjuster, AdjusterPorts
from streams.agents.meter_partition import MeterPartition
from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget
from streams.catalog.models import Catalog
from streams.catalog.prices import Price
from streams.jobs.ports import event_columns
from streams.jobs.rerate import Asked, RunPorts
from streams.kafka.catalog_log import CatalogLog
from streams.kafka.chained_log import span_of
from streams.pipeline import adjust
from streams.pipeline.chain import Chain
from streams.pipeline.frames import Record
from streams.pipeline.ledger import read_frame
from streams.pipeline.runs import Kind, Selection
from streams.pipeline.totals import read_totals, split
from tests.support.events import ENCODE, NOW, event
from tests.support.gates import inline
from tests.support.memory_log import MemoryLog
from tests.support.meters import meter_ports

EVENT = event_columns()
TEAM_DAY = Budget(id="day", each=("team",), limit=Decimal(5), period=Calendar(every="day"))


class Killed(Exception):
    """The process dies at this request."""


def catalog(**prices: str) -> Catalog:
    """Prices per request by model."""
    found = tuple(
        Price(
            provider="openai",
            model=model,
            bucket="requests",
            unit_price=Decimal(amount),
            effective_from=datetime(2020, 1, 1, tzinfo=UTC),
            currency="USD",
            source="test",
        )
        for model, amount in prices.items()
    )
    return Catalog(prices=found, budgets=(TEAM_DAY,))


def asked(run_id: str, kind: Kind = "rerate", *where: tuple[str, str]) -> Asked:
    return Asked(run_id, kind, Selection(where=where), f"reason of {run_id}", "somebody")


@dataclass
class Ledgers:
    """`fate` decides what becomes of each request of a run; the meters are calm."""

    fate: Callable[[], str] = lambda: "ok"
    catalog_log: MemoryLog = field(default_factory=MemoryLog)
    sources: list[MemoryLog] = field(default_factory=lambda: [MemoryLog(), MemoryLog()])
    ledgers: list[MemoryLog] = field(default_factory=lambda: [MemoryLog(), MemoryLog()])

    def __post_init__(self) -> None:
        self.runs = MemoryLog(self._fate)
        self.adjustments = [MemoryLog(self._fate) for _ in self.ledgers]
        self.totals = MemoryLog()

    def _fate(self) -> str:
        return self.fate()  # as it is then

    async def publish(self, **prices: str) -> None:
        await CatalogLog(self.catalog_log).publish(catalog(**prices))

    async def catalogs(self) -> CatalogLog:
        found = CatalogLog(self.catalog_log)
        await found.refresh()
        return found

    async def use(
        self, p: int, *uses: tuple[str, str, int], batch: int = 2, catalogs: CatalogLog | None = None
    ) -> None:
        """(team, model, requests) -> messages of the ledger with `batch` events each; by a meter that knows `catalogs`."""
        ports = meter_ports(catalogs or await self.catalogs(), p, self.sources[p], self.ledgers[p], self.totals)
        meter = await MeterPartition.open(ports, len(self.sources[p].messages), 1_000_000)
        for i in range(0, len(uses), batch):
            records = []
            for team, model, amount in uses[i : i + batch]:
                offset = len(self.sources[p].messages)
                quantities = [{"bucket": "requests", "amount": amount}]
                given = event(2 * offset + p, model=model, team=team, usage_json=None, usage_dialect=None,
                              quantities=quantities, run_id=f"run-{offset}")  # fmt: skip
                self.sources[p].land(ENCODE(given), [])
                records.append(Record(offset, NOW, ENCODE(given)))
            await meter.settle(records)

    async def ports(self) -> RunPorts:
        return RunPorts(
            partitions=(0, 1),
            runs=self.runs,
            ledger=lambda p: self.ledgers[p],
            adjustments=lambda p: self.adjustments[p],
            catalogs=await self.catalogs(),
            stream="s1",
            event=EVENT,
            offload=inline,
        )

    def counted(self, p: int) -> list[Any]:
        """Messages of usage.adjustments[p] that count."""
        chain, found = Chain(), []
        for message in self.adjustments[p].messages:
            chain, counts = chain.take(message.offset, *span_of(message.headers))
            found += [message] if counts else []
        return found

    def stands(self) -> list[tuple[str, str, Decimal | None, str, int]]:
        """Every event as it stands: id, model, cost, status, voided."""
        found = []
        for p in (0, 1):
            later = adjust.latest([adjust.read_pairs(m.value).new for m in self.counted(p) if m.value])
            for m in self.ledgers[p].messages:  # a calm meter's messages all count
                own = later.filter(pl.col("ledger_offset") == m.offset)
                rows = adjust.as_they_stand(read_frame(m.value or b""), m.offset, own)
                found += rows.select("event_id", "model", "effective_cost", "pricing_status", "is_deleted").rows()
        return sorted(found)

    async def budget_totals(self, committed: Sequence[int] = (0, 0)) -> dict[str, tuple[int, int, Decimal]]:
        """By scope: events, unpriced and cost of the ledger's totals and those that the adjusters send."""
        catalogs, sent = await self.catalogs(), MemoryLog()
        for p in (0, 1):
            ports = AdjusterPorts(
                partition=p,
                adjustments=self.adjustments[p],
                totals=[sent],
                catalogs=catalogs,
                totals_of=lambda pairs, published: split(adjust.adjusted_totals(pairs, published.scopes), 1),
                stream="s1",
                offload=inline,
            )
            await Adjuster.open(ports, committed[p])
        found: dict[str, tuple[int, int, Decimal]] = {}
        for message in (*self.totals.messages, *sent.messages):
            for row in read_totals(message.value or b"").iter_rows(named=True):
                events, unpriced, cost = found.get(row["scope"], (0, 0, Decimal(0)))
                found[row["scope"]] = events + row["events"], unpriced + row["unpriced"], cost + row["cost"]
        return found
