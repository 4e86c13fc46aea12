"""Each provider's block by its documented rules, and the bugs that others shipped (PEERS.md I-1 to I-7)."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.tokens.dialects import DIALECTS
from streams.tokens.read import Read, read_block


def read(name: str, /, **block: Any) -> Read:
    return read_block(name, json.dumps(block))


CASES: dict[str, tuple[str, dict[str, Any], dict[str, int]]] = {
    "openai counts cached tokens inside the prompt": (
        "openai.chat",
        {
            "prompt_tokens": 100,
            "completion_tokens": 30,
            "total_tokens": 130,
            "prompt_tokens_details": {"cached_tokens": 60},
            "completion_tokens_details": {"reasoning_tokens": 10},
        },
        {"input_uncached": 40, "input_cache_read": 60, "output_visible": 20, "output_reasoning": 10},
    ),
    "openai responses split cache writes by time to live": (
        "openai.responses",
        {
            "input_tokens": 100,
            "output_tokens": 5,
            "total_tokens": 105,
            "input_tokens_details": {
                "cached_tokens": 10,
                "cache_write_tokens": 70,
                "cache_write_tokens_details": {"ttl_30m_tokens": 30, "ttl_12h_tokens": 40},
            },
        },
        {
            "input_uncached": 20,
            "input_cache_read": 10,
            "input_cache_write_30m": 30,
            "input_cache_write_12h": 40,
            "output_visible": 5,
        },
    ),
    "openai realtime subtracts cached tokens in each modality (langchainjs#10339)": (
        "openai.realtime",
        {
            "total_tokens": 253,
            "input_tokens": 132,
            "output_tokens": 121,
            "input_token_details": {
                "text_tokens": 119,
                "audio_tokens": 13,
                "cached_tokens": 64,
                "cached_tokens_details": {"text_tokens": 60, "audio_tokens": 4},
            },
            "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
        },
        {
            "input_uncached": 59,
            "input_uncached_audio": 9,
            "input_cache_read": 60,
            "input_cache_read_audio": 4,
            "output_visible": 30,
            "output_visible_audio": 91,
        },
    ),
    "openai transcription by duration": ("openai.audio", {"type": "duration", "seconds": 9.25}, {"audio_ms": 9250}),
    "openai transcription by tokens": (
        "openai.audio",
        {
            "type": "tokens",
            "input_tokens": 14,
            "output_tokens": 45,
            "total_tokens": 59,
            "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
        },
        {"input_uncached_audio": 14, "output_visible": 45},
    ),
    "openai images come out as image tokens": (
        "openai.images",
        {
            "total_tokens": 100,
            "input_tokens": 50,
            "output_tokens": 50,
            "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
        },
        {"input_uncached": 10, "input_uncached_image": 40, "output_visible_image": 50},
    ),
    "anthropic counts cached tokens beside the input": (
        "anthropic.messages",
        {
            "input_tokens": 10,
            "output_tokens": 5,
            "cache_read_input_tokens": 90,
            "cache_creation_input_tokens": 7,
            "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
        },
        {
            "input_uncached": 10,
            "input_cache_read": 90,
            "input_cache_write_5m": 3,
            "input_cache_write_1h": 4,
            "output_visible": 5,
        },
    ),
    "anthropic's compaction is added to the top level": (
        "anthropic.messages",
        {
            "input_tokens": 220,
            "output_tokens": 8,
            "iterations": [
                {"type": "compaction", "input_tokens": 55196, "output_tokens": 125},
                {"type": "message", "input_tokens": 220, "output_tokens": 8},
            ],
        },
        {"input_uncached": 55416, "output_visible": 133},
    ),
    "anthropic's server tools are units of their own": (
        "anthropic.messages",
        {"input_tokens": 1, "output_tokens": 1, "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}},
        {"input_uncached": 1, "output_visible": 1, "web_searches": 2, "web_fetches": 1},
    ),
    "gemini counts thoughts beside the candidates (vercel/ai#6089)": (
        "google.generate_content",
        {"promptTokenCount": 10, "candidatesTokenCount": 5, "thoughtsTokenCount": 100, "totalTokenCount": 115},
        {"input_uncached": 10, "output_visible": 5, "output_reasoning": 100},
    ),
    "gemini's thoughts may lie inside the candidates (openinference#3177)": (
        "google.generate_content",
        {"promptTokenCount": 341, "candidatesTokenCount": 3362, "thoughtsTokenCount": 3347, "totalTokenCount": 3703},
        {"input_uncached": 341, "output_visible": 15, "output_reasoning": 3347},
    ),
    "gemini's tool prompt lies outside the prompt": (
        "google.generate_content",
        {"promptTokenCount": 10, "toolUsePromptTokenCount": 30, "candidatesTokenCount": 5, "totalTokenCount": 45},
        {"input_uncached": 10, "input_tool_prompt": 30, "output_visible": 5},
    ),
    "bedrock counts the cache beside the input, twice over in its body": (
        "bedrock.converse",
        {
            "inputTokens": 4,
            "outputTokens": 10,
            "totalTokens": 1523,
            "cacheReadInputTokens": 9,
            "cacheReadInputTokenCount": 9,
            "cacheWriteInputTokens": 1500,
            "cacheWriteInputTokenCount": 1500,
            "cacheDetails": [{"ttl": "1h", "inputTokens": 1500}],
        },
        {"input_uncached": 4, "input_cache_read": 9, "input_cache_write_1h": 1500, "output_visible": 10},
    ),
    "mistral's cached tokens (vercel/ai#14382)": (
        "mistral.chat",
        {"prompt_tokens": 152, "completion_tokens": 12, "total_tokens": 164, "num_cached_tokens": 151},
        {"input_uncached": 1, "input_cache_read": 151, "output_visible": 12},
    ),
    "cohere bills less than the model saw": (
        "cohere.chat",
        {
            "billed_units": {"input_tokens": 2406, "output_tokens": 2},
            "cached_tokens": 2928,
            "tokens": {"input_tokens": 2935},
        },
        {"input_uncached": 2406, "output_visible": 2},
    ),
    "deepseek's prompt is hit and miss": (
        "deepseek.chat",
        {
            "prompt_tokens": 30,
            "completion_tokens": 5,
            "total_tokens": 35,
            "prompt_cache_hit_tokens": 10,
            "prompt_cache_miss_tokens": 20,
        },
        {"input_uncached": 20, "input_cache_read": 10, "output_visible": 5},
    ),
    "xai's reasoning lies outside the completion (inspect_ai#5528: 8.7 times too low)": (
        "xai.chat",
        {
            "prompt_tokens": 32,
            "completion_tokens": 9,
            "total_tokens": 135,
            "completion_tokens_details": {"reasoning_tokens": 94},
            "prompt_tokens_details": {"text_tokens": 32, "cached_tokens": 6},
        },
        {"input_uncached": 26, "input_cache_read": 6, "output_visible": 9, "output_reasoning": 94},
    ),
    "perplexity charges citations and reasoning apart": (
        "perplexity.chat",
        {
            "prompt_tokens": 10,
            "completion_tokens": 20,
            "total_tokens": 30,
            "citation_tokens": 7,
            "reasoning_tokens": 9,
            "num_search_queries": 2,
        },
        {"input_uncached": 10, "input_citation": 7, "output_visible": 20, "output_reasoning": 9, "web_searches": 2},
    ),
    "an otel input includes the cache, whatever the provider (I-3, I-5)": (
        "otel.gen_ai",
        {
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 5,
            "gen_ai.usage.cache_read.input_tokens": 60,
            "gen_ai.usage.cache_creation.input_tokens": 10,
        },
        {"input_uncached": 30, "input_cache_read": 60, "input_cache_write_5m": 10, "output_visible": 5},
    ),
    "an otel cache larger than the input proves an older, exclusive instrumentation (I-7)": (
        "otel.gen_ai",
        {
            "gen_ai.usage.prompt_tokens": 4,
            "gen_ai.usage.completion_tokens": 5,
            "gen_ai.usage.cache_read.input_tokens": 60,
        },
        {"input_uncached": 4, "input_cache_read": 60, "output_visible": 5},
    ),
    "litellm's prompt includes the cache that it also names as anthropic does (I-1)": (
        "litellm",
        {
            "prompt_tokens": 12304,
            "completion_tokens": 550,
            "total_tokens": 12854,
            "cache_creation_input_tokens": 12304 - 4,
            "cache_read_input_tokens": 0,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
        {"input_uncached": 4, "input_cache_write_5m": 12300, "output_visible": 550},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_block_is_read_as_its_provider_means_it(case: str) -> None:
    name, block, expected = CASES[case]

    found = read(name, **block)

    assert (found.quantities, found.problem, found.unknown) == (expected, None, [])


CONTRADICTIONS: dict[str, tuple[str, dict[str, Any], str]] = {
    "more cached than prompt (langfuse#13724 clamps to 0)": (
        "openai.chat",
        {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 60}},
        "inconsistent: input_uncached would be -50",
    ),
    "a total that its parts miss": (
        "openai.chat",
        {"prompt_tokens": 66, "completion_tokens": 6, "total_tokens": 100},
        "inconsistent: total_tokens is 100, prompt and completion are 72",
    ),
    "a split by time to live that misses the whole": (
        "anthropic.messages",
        {"input_tokens": 1, "cache_creation_input_tokens": 9, "cache_creation": {"ephemeral_5m_input_tokens": 4}},
        "inconsistent: cache_creation_input_tokens is 9, its parts are 4",
    ),
    "a pass of a kind that nobody knows": (
        "anthropic.messages",
        {"input_tokens": 1, "iterations": [{"type": "dream"}]},
        "inconsistent: iterations: type dream is not known, nor whether it is billed",
    ),
    "a modality that nobody knows": (
        "google.generate_content",
        {"promptTokenCount": 5, "promptTokensDetails": [{"modality": "SMELL", "tokenCount": 5}]},
        "inconsistent: promptTokensDetails: modality SMELL is not known",
    ),
    "half a token": (
        "openai.chat",
        {"prompt_tokens": 1.5},
        "bad_usage: Expected `int`, got `float` - at `$.prompt_tokens`",
    ),
    "a dialect that nobody knows": ("nobody.chat", {}, "unknown_dialect: nobody.chat"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_contradiction_is_named_with_both_figures_and_never_clamped(case: str) -> None:
    name, block, problem = CONTRADICTIONS[case]

    found = read(name, **block)

    assert (found.problem, found.quantities) == (problem, {})


def test_a_field_that_no_struct_knows_is_named_and_the_rest_counts() -> None:
    found = read(
        "openai.chat",
        prompt_tokens=10,
        total_tokens=10,
        holographic_tokens=7,
        prompt_tokens_details={"cached_tokens": 4, "smell_tokens": 1},
    )

    assert found.quantities == {"input_uncached": 6, "input_cache_read": 4}
    assert sorted(found.unknown) == ["holographic_tokens", "prompt_tokens_details.smell_tokens"]


def test_what_a_provider_says_that_it_charges_is_kept_exactly() -> None:
    xai = read("xai.chat", prompt_tokens=1, completion_tokens=1, cost_in_usd_ticks=37_756_000)
    router = read_block("openrouter.chat", '{"prompt_tokens": 1, "cost": 0.1234567890123456789}')

    assert xai.served.billed_cost == Decimal("0.0037756")
    assert router.served.billed_cost == Decimal("0.1234567890123456789")


def test_the_tier_is_read_from_the_response() -> None:
    found = read("anthropic.messages", input_tokens=1, service_tier="priority", speed="fast", inference_geo="us")

    assert found.served[:3] == ("priority", "fast", "us")


small = st.integers(0, 10**6)


@given(small, small, small, small, small)
def test_parts_of_openais_usage_add_up_to_its_total(
    fresh: int, read_: int, write: int, visible: int, thought: int
) -> None:
    block = {
        "prompt_tokens": fresh + read_ + write,
        "completion_tokens": visible + thought,
        "total_tokens": fresh + read_ + write + visible + thought,
        "prompt_tokens_details": {"cached_tokens": read_, "cache_write_tokens": write},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }

    assert sum(read("openai.chat", **block).quantities.values()) == block["total_tokens"]


@given(
    st.lists(st.tuples(st.sampled_from(["TEXT", "IMAGE", "AUDIO", "VIDEO", "DOCUMENT"]), small, small), max_size=5),
    small,
    small,
)
def test_parts_of_geminis_usage_add_up_to_its_total(
    parts: list[tuple[str, int, int]], visible: int, thought: int
) -> None:
    prompt, cached = sum(n + c for _, n, c in parts), sum(c for _, _, c in parts)
    block = {
        "promptTokenCount": prompt,
        "cachedContentTokenCount": cached,
        "candidatesTokenCount": visible,
        "thoughtsTokenCount": thought,
        "totalTokenCount": prompt + visible + thought,
        "promptTokensDetails": [{"modality": m, "tokenCount": n + c} for m, n, c in parts],
        "cacheTokensDetails": [{"modality": m, "tokenCount": c} for m, _, c in parts],
    }

    found = read("google.generate_content", **block)

    assert sum(found.quantities.values()) == block["totalTokenCount"]
    assert sum(n for b, n in found.quantities.items() if "cache_read" in b) == cached


def test_every_dialect_is_named_provider_and_api_and_gives_each_bucket_once() -> None:
    for name, dialect in DIALECTS.items():
        assert name == name.lower()
        assert "." in name or name == "litellm"
        assert len(set(dialect.buckets)) == len(dialect.buckets)
