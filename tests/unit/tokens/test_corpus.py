"""830 real blocks: our disjoint buckets against what genai-prices extracted, and where ours differ, with the reason."""

import json
from collections import Counter
from typing import Any

import polars as pl
import pytest

from streams.tokens.normalise import normalise
from streams.tokens.read import read_block
from tests.support.corpus import Payload, payloads

COMPARED = {
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "output_reasoning_tokens", "input_audio_tokens",
    "input_image_tokens", "input_video_tokens", "output_image_tokens", "input_tool_tokens", "web_searches",
}  # fmt: skip
# Number in the file -> why ours differs. The README's table of differences is this list, by reason.
DOCUMENT = "documents are a modality of their own, not images (google-genai: MediaModality.DOCUMENT)"
VIDEO = "OpenRouter's video_tokens are counted as video, not as text"
MISTRAL = "num_cached_tokens is read: the cached part is billed at a tenth (vercel/ai#14382, genai-prices#444)"
COMPACTION = "the compaction pass is billed beside the top level (anthropic SDK: BetaCompactionIterationUsage)"
ADVISOR = "the advisor's pass is kept, as tokens of another model (anthropic SDK: BetaAdvisorMessageIterationUsage)"
HIDDEN = "total_tokens is 100 where prompt and completion are 72: hidden thoughts, so inconsistent instead of 72"
EMPTY = "all counts are 0: genai-prices extracts nothing, ours is an event without usage"
DIFFERENCES = {
    **dict.fromkeys((67, 71, 79, 260, 324, 418), DOCUMENT),
    86: VIDEO,
    **dict.fromkeys((102, 125), ADVISOR),
    121: COMPACTION,
    **dict.fromkeys((161, 164, 165, 196, 197, 205, 206, 208, 253, 264, 265, 385, 406, 414, 432, 433, 434), MISTRAL),
    **dict.fromkeys((469, 470, 472, 488, 505), MISTRAL),
    528: HIDDEN,
    670: EMPTY,
}  # fmt: skip


def inclusive(quantities: dict[str, int]) -> dict[str, int]:
    """Disjoint buckets as genai-prices counts: sums that overlap."""
    found: Counter[str] = Counter()
    for bucket, amount in quantities.items():
        side, _, rest = bucket.partition("_")
        if side not in ("input", "output"):
            found[bucket] += amount
            continue
        found[f"{side}_tokens"] += amount
        for kind in ("cache_read", "cache_write"):
            if rest.startswith(kind):
                found[f"{kind}_tokens"] += amount
        if rest == "reasoning":
            found["output_reasoning_tokens"] += amount
        if rest.startswith("tool_prompt"):
            found["input_tool_tokens"] += amount
        for modality in ("audio", "image", "video"):
            if rest.endswith(modality):
                found[f"{side}_{modality}_tokens"] += amount
    return {name: amount for name, amount in found.items() if name in COMPARED}


def differs(payload: Payload) -> bool:
    found = read_block(payload.dialect, json.dumps(payload.block))
    told = {name: amount for name, amount in payload.extracted.items() if amount and name in COMPARED}
    return found.problem is not None or inclusive(found.quantities) != told


def test_every_real_block_agrees_with_genai_prices_or_is_on_the_list_of_differences() -> None:
    found = {p.number for p in payloads() if differs(p) or not p.extracted}

    assert len(payloads()) == 830
    assert found == set(DIFFERENCES)


def test_every_field_of_the_real_blocks_is_known_but_a_gateways_own() -> None:
    unknown = Counter(u for p in payloads() for u in read_block(p.dialect, json.dumps(p.block)).unknown)

    assert unknown == {"pydantic_ai_gateway": 2}


def test_one_real_block_contradicts_itself_and_both_figures_are_kept() -> None:
    problems = [p for p in payloads() if read_block(p.dialect, json.dumps(p.block)).problem]

    assert [read_block(p.dialect, json.dumps(p.block)).problem for p in problems] == [
        "inconsistent: total_tokens is 100, prompt and completion are 72"
    ]


def frame(some: list[Payload]) -> pl.DataFrame:
    rows: list[tuple[int, str, str, list[Any], None]] = [
        (p.number, p.dialect, json.dumps(p.block), [], None) for p in some
    ]
    kinds: dict[str, Any] = {
        "source_offset": pl.Int64,
        "usage_dialect": pl.String,
        "usage_json": pl.String,
        "quantities": pl.List(pl.Struct({"bucket": pl.String, "amount": pl.Int64})),
        "provider_total_tokens": pl.Int64,
    }
    return pl.DataFrame(rows, kinds, orient="row")


def test_the_columns_say_what_the_scalar_twin_says() -> None:
    found = normalise(frame(list(payloads())))

    expected = {p.number: read_block(p.dialect, json.dumps(p.block)) for p in payloads()}
    lines = [(n, b, q) for n, r in expected.items() for b, q in r.quantities.items()]
    assert found.lines.rows() == sorted(lines)
    assert found.problems.rows() == sorted((n, r.problem) for n, r in expected.items() if r.problem)
    assert found.notes["reason"].to_list().count("unknown_field: pydantic_ai_gateway") == 2


@pytest.mark.parametrize("cut", [1, 7, 400, 829])
def test_any_split_into_chunks_gives_identical_lines(cut: int) -> None:
    everything = list(payloads())

    parts = [normalise(frame(everything[:cut])), normalise(frame(everything[cut:]))]

    whole = normalise(frame(everything))
    assert pl.concat([p.lines for p in parts]).equals(whole.lines)
    assert pl.concat([p.served for p in parts]).equals(whole.served)
    assert pl.concat([p.notes for p in parts]).equals(whole.notes)


def test_money_that_providers_return_is_kept_to_the_digit() -> None:
    told = normalise(frame([p for p in payloads() if p.dialect.startswith("openrouter")])).served

    assert told["told_cost"].drop_nulls().to_list()[:3] == ["0.000102", "0.000151", "0.00216775"]
    assert told["told_currency"].drop_nulls().unique().to_list() == ["USD"]
    assert told["told_cost"].drop_nulls().len() == 22
