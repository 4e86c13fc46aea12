"""Providers that speak OpenAI's chat API with fields of their own (domain.md §1.1, §1.4): what differs, and nothing else."""

from decimal import Decimal

from streams.tokens import openai
from streams.tokens.buckets import Block, Dialect, Ignored, Inconsistent, Notes, Said, agree, billed, milliseconds
from streams.tokens.openai import ChatUsage, InputDetails

TICKS = Decimal(10) ** 10  # of xAI's cost, in a US dollar


class Groq(ChatUsage, kw_only=True):
    """With the seconds that each phase took; reasoning lies inside the completion."""

    queue_time: Ignored = None
    prompt_time: Ignored = None
    completion_time: Ignored = None
    total_time: Ignored = None


class Flat(ChatUsage, kw_only=True):
    """Cached tokens at the top level: Together, Hugging Face's routers."""

    cached_tokens: int | None = None


def flat(usage: Flat, notes: Notes) -> tuple[int, ...]:
    """Of openai.BUCKETS."""
    if usage.prompt_tokens_details is None and usage.cached_tokens:
        usage.prompt_tokens_details = InputDetails(cached_tokens=usage.cached_tokens)
    return openai.chat(usage, notes)


class DeepSeek(ChatUsage, kw_only=True):
    """The prompt is what the cache had and what it had not; writing to it costs nothing."""

    prompt_cache_hit_tokens: int | None = None
    prompt_cache_miss_tokens: int | None = None


def deepseek(usage: DeepSeek, notes: Notes) -> tuple[int, ...]:
    """Of openai.BUCKETS."""
    hit, missed = usage.prompt_cache_hit_tokens, usage.prompt_cache_miss_tokens
    if hit is not None:
        if missed is not None:
            agree("prompt_tokens", usage.prompt_tokens, "hit and miss", hit + missed)
        told = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None
        agree("cached_tokens", told, "prompt_cache_hit_tokens", hit)
        usage.prompt_tokens_details = InputDetails(cached_tokens=hit)
    return openai.chat(usage, notes)


class Xai(ChatUsage, kw_only=True):
    """Reasoning lies outside the completion, inside the total."""

    num_sources_used: int | None = None
    cost_in_usd_ticks: int | None = None
    server_side_tools_used: Ignored = None


def xai(usage: Xai, notes: Notes) -> tuple[int, ...]:
    """Of openai.BUCKETS and web_searches (sources of live search)."""
    made = usage.completion_tokens_details
    reasoning = (made.reasoning_tokens or 0) if made else 0
    done = usage.completion_tokens or 0
    total = usage.prompt_tokens + done
    if usage.total_tokens == total:  # REST of some models counts it inside, as OpenAI does
        if reasoning:
            notes.append("inferred: reasoning_tokens lie inside completion_tokens, only so the total fits")
    else:
        agree("total_tokens", usage.total_tokens, "prompt, completion and reasoning", total + reasoning)
        done += reasoning
    return (
        *openai.inclusive(usage.prompt_tokens, usage.prompt_tokens_details, done, made, notes),
        usage.num_sources_used or 0,
    )


def xai_served(usage: Xai) -> Said:
    """What xAI says that it charges."""
    ticks = usage.cost_in_usd_ticks
    return None, None, None, *billed(None if ticks is None else ticks / TICKS)


class PerplexityCost(Block):
    """What Perplexity says that it charges, in US dollars."""

    total_cost: Decimal | None = None
    input_tokens_cost: Ignored = None
    output_tokens_cost: Ignored = None
    reasoning_tokens_cost: Ignored = None
    citation_tokens_cost: Ignored = None
    search_queries_cost: Ignored = None
    request_cost: Ignored = None


class Perplexity(ChatUsage, kw_only=True):
    """Citations and reasoning lie outside prompt and completion, at prices of their own."""

    citation_tokens: int | None = None
    reasoning_tokens: int | None = None
    num_search_queries: int | None = None
    search_context_size: Ignored = None
    cost: PerplexityCost | None = None


def perplexity(usage: Perplexity, notes: Notes) -> tuple[int, ...]:
    """Input, citations, reasoning, output, searches."""
    done = usage.completion_tokens or 0
    agree("total_tokens", usage.total_tokens, "prompt and completion", usage.prompt_tokens + done)
    cited, reasoning = usage.citation_tokens or 0, usage.reasoning_tokens or 0
    return usage.prompt_tokens, cited, reasoning, done, usage.num_search_queries or 0


def perplexity_served(usage: Perplexity) -> Said:
    """What Perplexity says that it charges."""
    return None, None, None, *billed(usage.cost.total_cost if usage.cost else None)


class UpstreamCost(Block):
    """What the vendor behind the router charges."""

    upstream_inference_cost: Ignored = None
    upstream_inference_prompt_cost: Ignored = None
    upstream_inference_completions_cost: Ignored = None
    upstream_inference_input_cost: Ignored = None
    upstream_inference_output_cost: Ignored = None


class OpenRouter(ChatUsage, kw_only=True):
    """With the router's own cost in credits, that is US dollars."""

    cost: Decimal | None = None
    cost_details: UpstreamCost | None = None
    is_byok: bool | None = None
    server_tool_use: Ignored = None


class OpenRouterResponses(openai.ResponsesUsage, kw_only=True):
    """The same for the responses API."""

    cost: Decimal | None = None
    cost_details: UpstreamCost | None = None
    is_byok: bool | None = None


def routed(usage: OpenRouter | OpenRouterResponses) -> Said:
    """What OpenRouter says that it charges."""
    return None, None, None, *billed(usage.cost)


class Mistral(ChatUsage, kw_only=True):
    """Cached tokens lie inside the prompt, under any of three names."""

    num_cached_tokens: int | None = None
    prompt_token_details: InputDetails | None = None
    prompt_audio_seconds: Decimal | int | None = None
    service_tier: str | None = None
    connector_tokens: int | None = None
    connectors: Ignored = None


def mistral(usage: Mistral, notes: Notes) -> tuple[int, ...]:
    """Of openai.BUCKETS, input_tool_prompt (tokens that connectors put in) and audio_ms."""
    details = usage.prompt_tokens_details or usage.prompt_token_details
    told = [c for c in (usage.num_cached_tokens, details.cached_tokens if details else None) if c]
    if len(set(told)) > 1:
        raise Inconsistent(f"num_cached_tokens is {told[0]}, cached_tokens is {told[1]}")
    asked = (
        InputDetails(cached_tokens=told[0], audio_tokens=details.audio_tokens if details else None) if told else details
    )
    done, tools = usage.completion_tokens or 0, usage.connector_tokens or 0
    agree("total_tokens", usage.total_tokens, "prompt, completion and connectors", usage.prompt_tokens + done + tools)
    heard = usage.prompt_audio_seconds
    return (
        *openai.inclusive(usage.prompt_tokens, asked, done, usage.completion_tokens_details, notes),
        tools,
        milliseconds(None if heard is None else Decimal(heard)),
    )


class MistralOcr(Block):
    """`usage_info` of OCR."""

    pages_processed: int
    doc_size_bytes: Ignored = None


def mistral_served(usage: Mistral) -> Said:
    """The tier."""
    return usage.service_tier, None, None, None, None


PERPLEXITY_BUCKETS = ("input_uncached", "input_citation", "output_reasoning", "output_visible", "web_searches")
CHAT = openai.DIALECTS["chat"]
FLAT = Dialect(Flat, openai.BUCKETS, flat)
# OpenRouter and the LiteLLM proxy pass on the vendor's cache, whose default time to live is 5 minutes.
SHORT = tuple(b.replace("write_30m", "write_5m") for b in openai.BUCKETS)
DIALECTS = {
    "groq.chat": Dialect(Groq, openai.BUCKETS, openai.chat),
    "together.chat": FLAT,
    "fireworks.chat": FLAT,
    "huggingface.chat": FLAT,
    "cerebras.chat": CHAT,
    "deepseek.chat": Dialect(DeepSeek, openai.BUCKETS, deepseek),
    "xai.chat": Dialect(Xai, (*openai.BUCKETS, "web_searches"), xai, xai_served),
    "perplexity.chat": Dialect(Perplexity, PERPLEXITY_BUCKETS, perplexity, perplexity_served),
    "openrouter.chat": Dialect(OpenRouter, SHORT, openai.chat, routed),
    "openrouter.responses": Dialect(OpenRouterResponses, SHORT, openai.responses, routed),
    "mistral.chat": Dialect(Mistral, (*openai.BUCKETS, "input_tool_prompt", "audio_ms"), mistral, mistral_served),
    "mistral.ocr": Dialect(MistralOcr, ("pages",), lambda usage, notes: (usage.pages_processed,)),
}
