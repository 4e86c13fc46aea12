"""What 830 real payloads cost, to the last digit, against genai-prices; and where ours differs, with the reason."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache

import polars as pl
import pytest
from genai_prices import Usage, calc_price

from streams.catalog.base_prices import base_catalog
from streams.catalog.book import Book, compile_book
from streams.pipeline.attribute import attribute
from streams.pipeline.rate import rate
from streams.tokens.normalise import normalise
from tests.support.corpus import Payload, payloads
from tests.support.events import DECODER, avro

AT = datetime(2026, 6, 1, tzinfo=UTC)  # before the prices that came after the file was made
ADVISOR = "another model's tokens are without a price, so the sum is not whole; theirs leaves them out"
COMPACTION = "the compaction pass is billed and is counted"
MISTRAL = "the cached part is counted as cached: at its own price, or unpriced where the source has none"
HIDDEN = "total_tokens contradicts its parts: inconsistent, no cost"
AUDIO = "audio tokens without an audio price are unpriced; theirs bills them as text"
FREE = "a price of 0 counts only where the model is marked as free"
DIFFERENCES = {
    **{(p, n): ADVISOR for p in ("anthropic", "aws", "azure", "google") for n in (102, 125)},
    **{(p, 121): COMPACTION for p in ("anthropic", "aws", "azure", "google")},
    **{("mistral", n): MISTRAL for n in (161, 164, 165, 196, 197, 205, 206, 208, 253, 264, 265, 385, 406, 414)},
    **{("mistral", n): MISTRAL for n in (432, 433, 434, 469, 470, 472, 488, 505)},
    ("google", 528): HIDDEN,
    ("openai", 529): AUDIO,
    ("azure", 529): AUDIO,
    ("cerebras", 542): FREE,
    ("openrouter", 826): FREE,
}
STALE = {("google", 108), ("azure", 185), ("azure", 648), ("mistral", 796)}  # genai-prices itself says now what we say

Case = tuple[Payload, str, Decimal, Decimal]


@cache
def book() -> Book:
    return compile_book(base_catalog(), 1, "base")


@cache
def cases() -> tuple[Case, ...]:
    return tuple((p, name, Decimal(a), Decimal(b)) for p in payloads() for name, a, b in p.prices)


@cache
def priced() -> pl.DataFrame:
    records = [
        avro(i, provider=name, model=p.model, event_time=AT, usage_json=json.dumps(p.block), usage_dialect=p.dialect)
        for i, (p, name, _, _) in enumerate(cases())
    ]
    frame = attribute(DECODER.decode(records).frame, book())
    return rate(frame, normalise(frame), book())


def costs(number: int) -> tuple[Decimal | None, Decimal | None]:
    """Input and output cost of one case; None where a line has no price."""
    found = []
    for side in ("input_", "output_"):
        amounts = [line["amount"] for line in priced()["lines"][number].to_list() if line["bucket"].startswith(side)]
        found.append(None if None in amounts else sum(amounts, Decimal(0)))
    return found[0], found[1]


def test_every_price_agrees_to_the_last_digit_or_is_on_the_list_of_differences() -> None:
    differ = {(name, p.number) for i, (p, name, a, b) in enumerate(cases()) if costs(i) != (a, b)}

    assert len(cases()) == 1_395
    assert differ == set(DIFFERENCES) | STALE


@pytest.mark.parametrize(("provider", "number"), sorted(STALE))
def test_where_the_file_is_older_than_the_prices_the_library_agrees_with_us(provider: str, number: int) -> None:
    at = next(i for i, (p, name, _, _) in enumerate(cases()) if (name, p.number) == (provider, number))
    payload = payloads()[number]

    theirs = calc_price(
        Usage(**payload.extracted), model_ref=str(payload.model), provider_id=provider, genai_request_timestamp=AT
    )

    assert costs(at) == (theirs.input_price, theirs.output_price)


def test_no_price_is_ever_a_silent_zero() -> None:
    nothing = priced().filter(pl.col("effective_cost") == 0, pl.col("total_tokens") > 0)

    assert nothing.height == 0
    assert set(priced()["pricing_status"]) == {"priced", "partial", "unpriced", "inconsistent", "free"}


def test_no_column_of_a_rated_row_is_a_float() -> None:
    def kinds(kind: pl.DataType) -> list[pl.DataType]:
        inner = [*getattr(kind, "fields", [])]
        parts = [f.dtype for f in inner] or ([kind.inner] if isinstance(kind, pl.List) else [])
        return [kind, *(k for p in parts for k in kinds(p))]

    assert not [name for name, kind in priced().schema.items() if any(k.is_float() for k in kinds(kind))]
