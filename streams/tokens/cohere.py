"""Cohere bills `billed_units`; `tokens` is what the model saw, larger, and `cached_tokens` a part of that."""

from streams.tokens.buckets import Block, Dialect, Ignored, Inconsistent, Notes, counted


class Billed(Block):
    """What is charged; units may come as 3.0."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    search_units: int | None = None
    classifications: int | None = None
    images: int | None = None
    image_tokens: int | None = None
    pages: int | None = None


class Usage(Block):
    """`usage` of chat v2, `meta` of embed, rerank and chat v1."""

    billed_units: Billed | None = None
    tokens: Ignored = None
    cached_tokens: Ignored = None
    api_version: Ignored = None
    warnings: Ignored = None


BUCKETS = (
    "classifications", "images", "input_uncached", "input_uncached_image", "output_visible", "pages", "search_units",
)  # fmt: skip


def amounts(usage: Usage, notes: Notes) -> tuple[int, ...]:
    """Of BUCKETS."""
    b = usage.billed_units
    if b is None:
        raise Inconsistent("billed_units are missing; what the model saw is not what is charged")
    found = b.classifications, b.images, b.input_tokens, b.image_tokens, b.output_tokens, b.pages, b.search_units
    counted(*found)
    return tuple(n or 0 for n in found)


DIALECTS = {name: Dialect(Usage, BUCKETS, amounts) for name in ("chat", "embed", "rerank", "classify")}
