"""Anthropic messages: `input_tokens` excludes what was read from and written to the cache (domain.md §1.1)."""

import msgspec

from streams.tokens.buckets import Buckets, Inconsistent


class CacheCreation(msgspec.Struct):
    """cache_creation_input_tokens by time to live."""

    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class OutputDetails(msgspec.Struct):
    """Parts of output_tokens."""

    thinking_tokens: int | None = None


class ServerTools(msgspec.Struct):
    """Tools that the provider ran."""

    web_search_requests: int | None = None
    web_fetch_requests: int | None = None


class Usage(msgspec.Struct):
    """The block `usage` of a message."""

    input_tokens: int
    output_tokens: int = 0
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputDetails | None = None
    server_tool_use: ServerTools | None = None


def buckets(usage: Usage) -> Buckets:
    """Disjoint buckets; without a split by time to live a cache write is the provider's default, 5 minutes."""
    written = usage.cache_creation_input_tokens or 0
    split = usage.cache_creation
    long = (split.ephemeral_1h_input_tokens or 0) if split else 0
    short = (split.ephemeral_5m_input_tokens or 0) if split else written
    if split and usage.cache_creation_input_tokens is not None and short + long != written:
        raise Inconsistent(f"cache_creation_input_tokens is {written}, its parts are {short + long}")
    thinking = (usage.output_tokens_details.thinking_tokens or 0) if usage.output_tokens_details else 0
    tools = usage.server_tool_use or ServerTools()
    return {
        "input_uncached": usage.input_tokens,
        "input_cache_read": usage.cache_read_input_tokens or 0,
        "input_cache_write_5m": short,
        "input_cache_write_1h": long,
        "output_visible": usage.output_tokens - thinking,
        "output_reasoning": thinking,
        "web_searches": tools.web_search_requests or 0,
        "web_fetches": tools.web_fetch_requests or 0,
    }
