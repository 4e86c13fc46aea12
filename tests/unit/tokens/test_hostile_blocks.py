"""Blocks that somebody wrote to hurt: each fails alone, in time and in one line, and its neighbours count."""

import time

import polars as pl
import pytest

from streams.tokens.normalise import LINES, Usage, normalise
from streams.tokens.read import read_block

EVENTS = pl.Schema(
    {
        "source_offset": pl.Int64(),
        "usage_dialect": pl.String(),
        "usage_json": pl.String(),
        "quantities": pl.List(pl.Struct({"bucket": pl.String, "amount": pl.Int64})),
        "provider_total_tokens": pl.Int64(),
    }
)
NINES = "9" * 4_300  # as long as Python reads an integer; two of them have a sum that it refuses to write out
SPENT = '{"prompt_tokens":1,"cost":%s}'
HOSTILE = {
    "a cost that is a signaling NaN": ("openrouter.chat", SPENT % '"sNaN"'),
    "a cost that is NaN": ("openrouter.chat", SPENT % '"NaN"'),
    "a cost that is infinite": ("openrouter.chat", SPENT % '"Infinity"'),
    "a cost of a million digits": ("openrouter.chat", SPENT % "1e999999"),
    "a cost of a million digits after the point": ("openrouter.chat", SPENT % "1e-999999"),
    "a cost in ticks beyond all bounds": ("xai.chat", '{"prompt_tokens":1,"cost_in_usd_ticks":1%s}' % ("0" * 40)),
    "a duration of a million digits": ("openai.audio", '{"type":"duration","seconds":1e999990}'),
    "a duration of five thousand digits": ("mistral.chat", '{"prompt_tokens":1,"prompt_audio_seconds":1e5000}'),
    "a count far below 64 bits": ("openai.chat", '{"prompt_tokens":-%s}' % ("9" * 30)),
    "a sum that cannot be written": (
        "anthropic.messages",
        f'{{"input_tokens":{NINES},"output_tokens":1,"iterations":[{{"type":"compaction","input_tokens":{NINES}}}]}}',
    ),
}


def used(*blocks: tuple[str | None, str | None], totals: tuple[int | None, ...] = ()) -> Usage:
    """Of one event a block, at the offsets 1, 2, ..."""
    names, texts = zip(*blocks, strict=True)
    told = totals or (None,) * len(blocks)
    columns = {"source_offset": range(1, len(blocks) + 1), "usage_dialect": names, "usage_json": texts}
    empty = {"quantities": [None] * len(blocks), "provider_total_tokens": told}
    return normalise(pl.DataFrame(columns | empty, EVENTS))


@pytest.mark.parametrize("case", HOSTILE)
def test_it_fails_alone_and_at_once(case: str) -> None:
    begun = time.perf_counter()

    found = used(HOSTILE[case], ("openai.chat", '{"prompt_tokens":7}'))

    assert time.perf_counter() - begun < 5  # not a minute, of which a chunk would have hundreds
    assert found.lines.rows() == [(2, "input_uncached", 7)]
    assert found.problems["source_offset"].to_list() == [1]
    assert found.problems["reason"][0].startswith(("inconsistent: ", "bad_usage: "))
    assert len(found.problems["reason"][0]) < 200
    assert read_block(*HOSTILE[case]).problem == found.problems["reason"][0]
    assert found.lines.schema == LINES


def test_a_total_that_no_token_bucket_meets_is_told_with_both_figures() -> None:
    frame = pl.DataFrame([(1, None, None, [{"bucket": "images", "amount": 3}], 9)], EVENTS, orient="row")

    found = normalise(frame)

    assert found.problems.rows() == [(1, "inconsistent: provider_total_tokens is 9, the buckets are 0")]


def test_a_block_that_cannot_be_read_has_one_reason_whatever_its_total() -> None:
    found = used(("openai.chat", "{}"), totals=(9,))

    assert found.problems["reason"].to_list() == ["bad_usage: Object missing required field `prompt_tokens`"]


@pytest.mark.parametrize(
    ("dialect", "block"),
    [
        ("google.generate_content", "{}"),
        ("google.generate_content", '{"promptTokenCount":null}'),
        ("google.generate_content", '{"prompt_tokens":10,"completion_tokens":3}'),  # of another dialect
        ("cohere.chat", '{"billed_units":{}}'),
        ("openai.audio", '{"type":"tokens"}'),
    ],
)
def test_a_block_without_any_count_is_not_free(dialect: str, block: str) -> None:
    found = used((dialect, block))

    assert found.problems["reason"].to_list() == ["inconsistent: the block gives no count; is it of this dialect?"]


def test_a_count_that_is_zero_was_measured() -> None:
    found = used(
        ("google.generate_content", '{"promptTokenCount":0,"totalTokenCount":0}'),
        ("cohere.chat", '{"billed_units":{"input_tokens":0}}'),
        ("openai.audio", '{"type":"tokens","input_tokens":0,"output_tokens":0}'),
    )

    assert found.problems.rows() == found.lines.rows() == []


@pytest.mark.parametrize(
    ("dialect", "block"),
    [
        (
            "google.generate_content",
            '{"promptTokenCount":100,"promptTokensDetails":[{"modality":"TEXT","tokenCount":-50},'
            '{"modality":"TEXT","tokenCount":150}]}',
        ),
        (
            "anthropic.messages",
            '{"input_tokens":100,"output_tokens":5,"iterations":[{"type":"compaction","input_tokens":-50}]}',
        ),
        (
            "bedrock.converse",
            '{"inputTokens":1,"cacheDetails":[{"ttl":"5m","inputTokens":-5},{"ttl":"5m","inputTokens":15}]}',
        ),
    ],
)
def test_a_negative_part_does_not_hide_in_a_sum(dialect: str, block: str) -> None:
    found = used((dialect, block))

    assert found.lines.height == 0
    assert found.problems["reason"][0].startswith("bad_usage: Expected `int` >= 0")


def test_quantities_beside_a_block_are_not_counted_and_the_row_says_so() -> None:
    block, own = '{"prompt_tokens":7}', [{"bucket": "web_searches", "amount": 5}]

    found = normalise(pl.DataFrame([(1, "openai.chat", block, own, None)], EVENTS, orient="row"))

    assert found.lines.rows() == [(1, "input_uncached", 7)]
    assert found.notes.rows() == [(1, "quantities are not counted: usage_json is there too; send one of the two")]
