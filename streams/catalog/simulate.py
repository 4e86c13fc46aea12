"""What a candidate catalog would have charged for usage that is there: the same events rated twice, by team and by model. Pure.

Attribution is taken as it stands on the rows: a simulation is about prices. Money is added per currency, never across.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, localcontext

import polars as pl

from streams.catalog.book import Book
from streams.pipeline.rate import rate
from streams.tokens.normalise import normalise

EVENTS = (
    "source_offset", "event_time", "tenant_id", "provider", "model", "sku_model", "team", "service_tier", "processing", "speed",
    "region", "account_id", "billing_mode", "usage_source", "completion_state", "billed_cost", "billed_currency",
    "usage_dialect", "usage_json", "quantities", "provider_total_tokens",
)  # fmt: skip
BY = ("team", "model")
UNKNOWN = ""  # the currency of what has no price on either side


@dataclass(slots=True)
class Tally:
    """What a team or model costs before and after; events whose cost becomes unknown, or known."""

    events: int = 0
    current: Decimal = Decimal(0)
    candidate: Decimal = Decimal(0)
    newly_unpriced: int = 0
    newly_priced: int = 0

    @property
    def difference(self) -> Decimal:
        """What the candidate charges more."""
        return self.candidate - self.current


@dataclass(slots=True)
class Simulation:
    """Tallies by (dimension, value, currency); `value` null is what does not say it."""

    events: int = 0
    tallies: dict[tuple[str, str | None, str], Tally] = field(default_factory=dict)

    def add(self, events: pl.DataFrame, current: Book, candidate: Book) -> None:
        """One chunk of EVENTS, source_offset ascending."""
        self.events += events.height
        for key, row in _tallies(compared(events, current, candidate)):
            tally = self.tallies.setdefault(key, Tally())
            with localcontext(prec=60):
                tally.events += row.events
                tally.current += row.current
                tally.candidate += row.candidate
                tally.newly_unpriced += row.newly_unpriced
                tally.newly_priced += row.newly_priced

    def of(self, dimension: str) -> list[tuple[str | None, str, Tally]]:
        """Value, currency and tally; the largest difference first, then the largest cost."""
        found = [
            (value, currency, t)
            for (d, value, currency), t in self.tallies.items()
            if d == dimension and (t.events or currency != UNKNOWN)  # what becomes unpriced is told beside its currency
        ]
        return sorted(found, key=lambda r: (-abs(r[2].difference), -r[2].current, r[0] or "", r[1]))


def compared(events: pl.DataFrame, current: Book, candidate: Book) -> pl.DataFrame:
    """events: EVENTS. Team, model, and cost and currency by either book; null is unknown."""
    usage = normalise(events)
    sides = []
    for name, book in (("current", current), ("candidate", candidate)):
        rated = rate(events, usage, book)
        sides.append(rated.select(pl.col("effective_cost").alias(name), pl.col("currency").alias(f"{name}_currency")))
    return events.select(
        "team", model=pl.concat_str("provider", pl.coalesce("sku_model", "model"), separator="/")
    ).hstack([column for side in sides for column in side.get_columns()])


def _tallies(frame: pl.DataFrame) -> Iterator[tuple[tuple[str, str | None, str], Tally]]:
    """Per dimension, value and currency; an event that changes its currency counts on both sides."""
    lost = pl.col("current").is_not_null() & pl.col("candidate").is_null()
    gained = pl.col("current").is_null() & pl.col("candidate").is_not_null()
    sides = (
        ("current", "current_currency", lost.sum(), pl.lit(0), pl.len()),
        ("candidate", "candidate_currency", pl.lit(0), gained.sum(), pl.lit(0)),
    )
    for dimension in BY:
        for side, currency, unpriced, priced, events in sides:
            known = pl.when(pl.col(side).is_not_null()).then(currency).fill_null(UNKNOWN).alias("currency")
            grouped = frame.group_by(pl.col(dimension).alias("value"), known).agg(
                cost=pl.col(side).sum(), lost=unpriced, gained=priced, events=events
            )
            for row in grouped.iter_rows(named=True):
                costs = {side: row["cost"]}
                tally = Tally(row["events"], newly_unpriced=row["lost"], newly_priced=row["gained"], **costs)
                yield (dimension, row["value"], row["currency"]), tally


def simulate(chunks: Iterable[pl.DataFrame], current: Book, candidate: Book) -> Simulation:
    """All chunks."""
    found = Simulation()
    for chunk in chunks:
        found.add(chunk, current, candidate)
    return found
