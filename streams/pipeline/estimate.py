"""What usage would cost if it ran otherwise: cached, in batch, flex, on another model; and bought as capacity instead.

There is no second way to price: a variant changes events and their lines, then `rate` prices them as it prices everything.
"""

from dataclasses import dataclass, replace
from decimal import Context, Decimal
from fractions import Fraction
from typing import NamedTuple

import polars as pl

from streams.catalog.book import Book
from streams.pipeline.attribute import attribute
from streams.pipeline.rate import rate
from streams.tokens.normalise import LINES, Usage

EXACT = Context(prec=60)
MILLION = 1_000_000


class Variant(NamedTuple):
    """Another way to run the same usage; None leaves what the events say."""

    name: str
    processing: str | None = None
    service_tier: str | None = None
    cached: bool = False


AS_IT_IS = Variant("online")
VARIANTS = (
    AS_IT_IS,
    Variant("cached", cached=True),
    Variant("batch", "batch", "standard"),
    Variant("batch, cached", "batch", "standard", cached=True),
    Variant("flex", "online", "flex"),
    Variant("flex, cached", "online", "flex", cached=True),
)


def variants(share: Fraction | None) -> tuple[Variant, ...]:
    """Those that can be told apart: without a share nothing is cached."""
    return VARIANTS if share else tuple(v for v in VARIANTS if not v.cached)


def estimated(
    events: pl.DataFrame,
    usage: Usage,
    book: Book,
    variant: Variant = AS_IT_IS,
    share: Fraction | None = None,
    model: tuple[str, str] | None = None,
) -> pl.DataFrame:
    """The rated events as if they ran as the variant says. events: decode's columns, not attributed yet.

    share: of the uncached text input, read from a cache in the cached variants
    model: provider and name that serve them instead
    """
    if model:
        events = events.with_columns(provider=pl.lit(model[0]), model=pl.lit(model[1]))
    if variant.processing is not None:
        events = events.with_columns(processing=pl.lit(variant.processing), service_tier=pl.lit(variant.service_tier))
    if model or variant.processing is not None:  # what a response said of its tier is not true of another run
        nothing = pl.lit(None, pl.String)
        usage = replace(usage, served=usage.served.with_columns(served_tier=nothing, served_speed=nothing))
    if variant.cached and share:
        usage = replace(usage, lines=cached(usage.lines, share))
    return rate(attribute(events, book), usage, book)


def cached(lines: pl.DataFrame, share: Fraction) -> pl.DataFrame:
    """lines: LINES. That share of `input_uncached` becomes `input_cache_read`, in whole tokens, rounded down."""
    plain = pl.col("bucket") == "input_uncached"
    read = pl.col("quantity") * share.numerator // share.denominator
    hits = lines.filter(plain).with_columns(bucket=pl.lit("input_cache_read"), quantity=read)
    rest = lines.with_columns(quantity=pl.when(plain).then(pl.col("quantity") - read).otherwise("quantity"))
    found = pl.concat([rest, hits]).group_by("source_offset", "bucket").agg(pl.col("quantity").sum())
    return found.filter(pl.col("quantity") > 0).select(LINES.names()).sort("source_offset", "bucket")


@dataclass(frozen=True, slots=True)
class Capacity:
    """Provisioned throughput: paid by the hour, used or not.

    hourly: of one unit; tokens_per_minute: of one unit, input and output together; hours: in which the usage comes
    """

    hourly: Decimal
    units: int
    tokens_per_minute: int
    hours: int

    @property
    def cost(self) -> Decimal:
        """Of all units in all hours."""
        return EXACT.multiply(self.hourly, Decimal(self.units * self.hours))

    @property
    def tokens(self) -> int:
        """What they could serve."""
        return self.units * self.tokens_per_minute * 60 * self.hours


@dataclass(frozen=True, slots=True)
class Provisioned:
    """Capacity beside pay as you go; ratios and prices per million are divisions, so at 60 digits.

    utilisation: of the capacity, 1 at most; spillover: share of the tokens beyond it, which are paid as they go
    per_million: of the capacity's cost, on the tokens that it serves; null where it serves none
    break_even:  utilisation from which it is cheaper; above 1 it never is; null without a price to compare with
    total:       capacity and spillover; null where spillover has no price
    """

    utilisation: Decimal
    spillover: Decimal
    per_million: Decimal | None
    as_you_go: Decimal | None
    break_even: Decimal | None
    total: Decimal | None


def provisioned(capacity: Capacity, tokens: int, token_price: Fraction | None) -> Provisioned:
    """token_price: what one token costs on average as it goes."""
    served = min(tokens, capacity.tokens)
    beyond = tokens - served
    cost = Fraction(capacity.cost)
    spilt = Fraction(0) if not beyond else (None if token_price is None else beyond * token_price)
    return Provisioned(
        _decimal(Fraction(served, capacity.tokens)),
        _decimal(Fraction(beyond, tokens) if tokens else Fraction(0)),
        _decimal(cost * MILLION / served) if served else None,
        None if token_price is None else _decimal(token_price * MILLION),
        _decimal(cost / (capacity.tokens * token_price)) if token_price else None,
        None if spilt is None else _decimal(cost + spilt),
    )


def _decimal(value: Fraction) -> Decimal:
    return EXACT.divide(Decimal(value.numerator), Decimal(value.denominator))
