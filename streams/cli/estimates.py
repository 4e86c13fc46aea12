"""The figures of `usage-streams estimate`: planned workloads and files of planned events, every variant rated by `rate`."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import polars as pl

from streams.catalog.book import Book
from streams.cli.events import checked
from streams.cli.workloads import Planned, WorkloadError, event_of
from streams.pipeline.decode import Decoder
from streams.pipeline.estimate import EXACT, Provisioned, Variant, estimated, provisioned, variants
from streams.pipeline.explain import understood
from streams.pipeline.frames import INSTANT, Record
from streams.resources import schema_text
from streams.tokens.normalise import normalise

LATEST = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp() * 1000)  # a plan may lie in the future, an event may not
AS_WRITTEN = "as written"
NO_TEAM = "(no team)"


class Figure(NamedTuple):
    """One request of a workload on one model in one variant; costs are null where some of it has no price."""

    model: str
    variant: str
    status: str
    reasons: list[str]
    quantities: dict[str, int]
    tokens: int
    currency: str | None
    at_list: Decimal | None
    contracted: Decimal | None


class Use(NamedTuple):
    """Capacity at one amount of usage."""

    name: str
    tokens: int
    found: Provisioned


def figures(one: Planned, at: datetime, book: Book) -> list[Figure]:
    """Of the workload's model first, then of those it is compared with, each in every variant."""
    for name in (one.model, *one.compare):
        split_known(name, book)
    decoder = Decoder(json.loads(schema_text("usage_event")))
    decoded = decoder.decode([Record(0, int(at.timestamp() * 1000), event_of(one, at))])
    for dead in decoded.dead:
        raise WorkloadError(f"{one.name}: {dead.detail}; mend it")
    events, found = decoded.frame, list[Figure]()
    usage = normalise(events)
    for name in dict.fromkeys((one.model, *one.compare)):
        for variant in variants(one.cached):
            row = estimated(events, usage, book, variant, one.cached, split(name)).row(0, named=True)
            quantities = {line["bucket"]: 0 for line in row["lines"]}
            for line in row["lines"]:
                quantities[line["bucket"]] += line["quantity"]
            found.append(
                Figure(
                    name, variant.name, row["pricing_status"], row["reasons"], quantities, row["total_tokens"],
                    row["currency"], row["list_cost"], row["contracted_cost"],
                )
            )  # fmt: skip
    return found


def split(name: str) -> tuple[str, str]:
    """Provider and model."""
    provider, _, model = name.partition("/")
    return provider, model


def split_known(name: str, book: Book) -> tuple[str, str]:
    """The same, if somebody knows the model."""
    provider, model = split(name)
    if not book.names.resolve(provider, model):
        raise WorkloadError(
            f"model {name}: {understood(provider, model, book)}; mend the name, or price it in a catalog and give --catalog"
        )
    return provider, model


def times_requests(each: Decimal | None, requests: int, growth: Decimal = Decimal(1)) -> Decimal | None:
    """Of so many requests, exactly."""
    return None if each is None else EXACT.multiply(EXACT.multiply(each, Decimal(requests)), growth)


def capacity_uses(one: Planned, found: Sequence[Figure]) -> list[Use]:
    """Capacity at the planned usage, and at the grown one. As it goes, the model's online price holds, cached if a share is."""
    if one.provisioned is None:
        return []
    figure = as_it_goes(one, found)
    if figure.currency not in (None, one.provisioned.currency):
        raise WorkloadError(
            f"{one.name}: provisioned is in {one.provisioned.currency}, {one.model} in {figure.currency};"
            f" give hourly in {figure.currency} and currency={figure.currency}"
        )
    if not figure.tokens:
        raise WorkloadError(f"{one.name}: provisioned: it uses no tokens to serve; leave provisioned out")
    price = None if figure.contracted is None else Fraction(figure.contracted) / figure.tokens
    capacity = one.provisioned.capacity
    used = one.provisioned.utilisation
    planned = figure.tokens * one.requests if used is None else int(capacity.tokens * used)
    uses = [Use("planned", planned, provisioned(capacity, planned, price))]
    if one.growth is not None:
        grown = int(planned * one.growth)
        uses.append(Use(f"{one.growth}x", grown, provisioned(capacity, grown, price)))
    return uses


def as_it_goes(one: Planned, found: Sequence[Figure]) -> Figure:
    """What capacity is compared with."""
    name = "cached" if one.cached else "online"
    return next(f for f in found if (f.model, f.variant) == (one.model, name))


@dataclass(slots=True)
class Sum:
    """Of a group of events in one variant; money by currency.

    without, unlisted: events without a price, without a list price; with any of them the money is only a part
    """

    events: int = 0
    without: int = 0
    unlisted: int = 0
    tokens: int = 0
    at_list: dict[str, Decimal] = field(default_factory=dict)
    contracted: dict[str, Decimal] = field(default_factory=dict)

    def add(self, row: dict[str, Any]) -> None:
        """Rows of one currency."""
        self.events += row["events"]
        self.without += row["without"]
        self.unlisted += row["unlisted"]
        self.tokens += row["tokens"]
        for costs, cost, without in (
            (self.at_list, row["at_list"], row["unlisted"]),
            (self.contracted, row["contracted"], row["without"]),
        ):
            if row["currency"] is not None and row["events"] > without:
                costs[row["currency"]] = EXACT.add(costs.get(row["currency"], Decimal(0)), cost)


@dataclass(slots=True)
class FileSums:
    """Sums of a file.

    labels:  (variant, model in place of the events' own, or empty)
    sums:    (label, what it is by: "", "model" or "team", which one) -> Sum
    problems: one sentence for each line that is no event
    """

    labels: list[tuple[str, str]]
    sums: dict[tuple[tuple[str, str], str, str], Sum] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def groups(self, by: str, label: tuple[str, str]) -> list[str]:
        """Names of the groups, those with most events first."""
        found = {which: one.events for (of, kind, which), one in self.sums.items() if (of, kind) == (label, by)}
        return sorted(found, key=lambda which: (-found[which], which))


def file_sums(path: str, book: Book, at: datetime | None, cached: Fraction | None, compare: Sequence[str]) -> FileSums:
    """A file of planned events, checked as `price` checks them, but for the future, in which they may lie."""
    ways = list(_ways(cached, [split_known(name, book) for name in compare]))
    found = FileSums([label for label, _, _ in ways])
    for chunk in checked(path, LATEST):
        found.problems += chunk.problems
        events = chunk.frame
        if at is not None:
            events = events.with_columns(event_time=pl.lit(at, INSTANT))
        usage = normalise(events)
        for label, variant, model in ways:
            rated = estimated(events, usage, book, variant, cached, model)
            named = rated.select(
                "currency", "total_tokens", "list_cost", "contracted_cost",
                model=pl.format("{}/{}", "provider", "sku_model"), team=pl.col("team").fill_null(NO_TEAM),
            ).with_columns(pl.lit("").alias(""))  # fmt: skip
            for by in ("", "model", "team"):
                for row in _grouped(named, by).iter_rows(named=True):
                    found.sums.setdefault((label, by, row["which"]), Sum()).add(row)
    return found


def _ways(
    cached: Fraction | None, compare: Sequence[tuple[str, str]]
) -> Iterator[tuple[tuple[str, str], Variant, tuple[str, str] | None]]:
    for model in (None, *compare):
        for variant in variants(cached):
            name = AS_WRITTEN if variant.name == "online" else variant.name
            yield (name, "/".join(model) if model else ""), variant, model


def _grouped(rated: pl.DataFrame, by: str) -> pl.DataFrame:
    return rated.group_by(pl.col(by).alias("which"), "currency").agg(
        events=pl.len(),
        without=pl.col("contracted_cost").null_count(),
        unlisted=pl.col("list_cost").null_count(),
        tokens=pl.col("total_tokens").sum(),
        at_list=pl.col("list_cost").sum(),
        contracted=pl.col("contracted_cost").sum(),
    )
