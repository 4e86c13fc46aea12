"""Anthropic messages: `input_tokens` excludes what was read from and written to the cache (domain.md §1.1)."""

import msgspec

from streams.tokens.buckets import Inconsistent


class CacheCreation(msgspec.Struct, gc=False):
    """cache_creation_input_tokens by time to live."""

    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class OutputDetails(msgspec.Struct, gc=False):
    """Parts of output_tokens."""

    thinking_tokens: int | None = None


class ServerTools(msgspec.Struct, gc=False):
    """Tools that the provider ran."""

    web_search_requests: int | None = None
    web_fetch_requests: int | None = None


class Usage(msgspec.Struct, gc=False):
    """The block `usage` of a message."""

    input_tokens: int
    output_tokens: int = 0
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputDetails | None = None
    server_tool_use: ServerTools | None = None


NO_TOOLS = ServerTools()
BUCKETS = (
    "input_cache_read", "input_cache_write_1h", "input_cache_write_5m", "input_uncached", "output_reasoning",
    "output_visible", "web_fetches", "web_searches",
)  # fmt: skip


def amounts(usage: Usage) -> tuple[int, ...]:
    """Of BUCKETS; without a split by time to live a cache write is the provider's default, 5 minutes."""
    written = usage.cache_creation_input_tokens or 0
    split = usage.cache_creation
    long = (split.ephemeral_1h_input_tokens or 0) if split else 0
    short = (split.ephemeral_5m_input_tokens or 0) if split else written
    if split and usage.cache_creation_input_tokens is not None and short + long != written:
        raise Inconsistent(f"cache_creation_input_tokens is {written}, its parts are {short + long}")
    thinking = (usage.output_tokens_details.thinking_tokens or 0) if usage.output_tokens_details else 0
    tools, read = usage.server_tool_use or NO_TOOLS, usage.cache_read_input_tokens or 0
    fetches, searches = tools.web_fetch_requests or 0, tools.web_search_requests or 0
    return read, long, short, usage.input_tokens, thinking, usage.output_tokens - thinking, fetches, searches
