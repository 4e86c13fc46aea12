"""Usage that somebody between us and the provider wrote: OpenTelemetry gen_ai attributes of both generations, LiteLLM's usage.

Their convention is inclusive, whatever the provider's (domain.md §9). A cache that is larger than the input proves an old,
exclusive instrumentation: the row says that this was inferred.
"""

from msgspec import structs

from streams.tokens import openai
from streams.tokens.anthropic import CacheCreation, ServerTools
from streams.tokens.buckets import Block, Dialect, Ignored, Inconsistent, Notes, Said, agree
from streams.tokens.compatible import SHORT
from streams.tokens.openai import ChatUsage, InputDetails, OutputDetails

SPELLED = "gen_ai.usage."


class Otel(Block, rename=lambda name: SPELLED + name.replace("__", ".")):
    """Attributes `gen_ai.usage.*` of a span or an event."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens: int | None = None  # the oldest names
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cache_read__input_tokens: int | None = None
    cache_write__input_tokens: int | None = None
    cache_creation__input_tokens: int | None = None  # renamed to cache_write
    reasoning__output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


def otel(usage: Otel, notes: Notes) -> tuple[int, ...]:
    """Of SHORT."""
    told = [n for n in (usage.input_tokens, usage.prompt_tokens) if n is not None]
    made = [n for n in (usage.output_tokens, usage.completion_tokens) if n is not None]
    if len(set(told)) > 1 or len(set(made)) > 1:
        raise Inconsistent(f"input_tokens and prompt_tokens are {told}, output_tokens and completion_tokens are {made}")
    if not told and not made:
        raise Inconsistent("neither input nor output tokens are given")
    read = usage.cache_read__input_tokens or usage.cached_tokens or 0
    written = usage.cache_write__input_tokens or usage.cache_creation__input_tokens or 0
    asked, done = told[0] if told else 0, made[0] if made else 0
    total = usage.total_tokens
    if read + written > asked or (
        total is not None and total != asked + done and total == asked + done + read + written
    ):
        notes.append("inferred: input_tokens exclude the cache, an instrumentation older than the convention")
        asked += read + written
    if total is not None and total != asked + done:
        raise Inconsistent(f"total_tokens is {total}, input and output are {asked + done}")
    reasoning = usage.reasoning__output_tokens or usage.reasoning_tokens
    details = InputDetails(cached_tokens=read, cache_write_tokens=written)
    return openai.inclusive(asked, details, done, OutputDetails(reasoning_tokens=reasoning), notes)


class LiteDetails(InputDetails, kw_only=True):
    """Chat's details with LiteLLM's name of a cache write."""

    cache_creation_tokens: int | None = None
    cache_creation_token_details: CacheCreation | None = None
    web_search_requests: Ignored = None  # repeats server_tool_use


class LiteLLM(ChatUsage, kw_only=True):
    """LiteLLM's `usage`: chat's, with Anthropic's cache fields and tools beside; the prompt includes the cache."""

    prompt_tokens_details: LiteDetails | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    server_tool_use: ServerTools | None = None
    inference_geo: Ignored = None
    service_tier: str | None = None
    speed: str | None = None
    cost: Ignored = None  # LiteLLM's own estimate, no provider's


def litellm(usage: LiteLLM, notes: Notes) -> tuple[int, ...]:
    """Of SHORT, input_cache_write_1h, web_fetches, web_searches."""
    details = usage.prompt_tokens_details or LiteDetails()
    read = details.cached_tokens or usage.cache_read_input_tokens or 0
    written = details.cache_write_tokens or details.cache_creation_tokens or usage.cache_creation_input_tokens or 0
    split = details.cache_creation_token_details
    long = (split.ephemeral_1h_input_tokens or 0) if split else 0
    if split:
        agree("cache_creation_tokens", written, "its parts", long + (split.ephemeral_5m_input_tokens or 0))
    usage.prompt_tokens_details = structs.replace(details, cached_tokens=read, cache_write_tokens=written)
    found = list(openai.chat(usage, notes))
    found[SHORT.index("input_cache_write_5m")] -= long
    tools = usage.server_tool_use or ServerTools()
    return *found, long, tools.web_fetch_requests or 0, tools.web_search_requests or 0


def litellm_served(usage: LiteLLM) -> Said:
    """Tier and speed."""
    return usage.service_tier, usage.speed, None, None, None


LITELLM_BUCKETS = (*SHORT, "input_cache_write_1h", "web_fetches", "web_searches")
DIALECTS = {
    "otel.gen_ai": Dialect(Otel, SHORT, otel),
    "litellm": Dialect(LiteLLM, LITELLM_BUCKETS, litellm, litellm_served),
}
