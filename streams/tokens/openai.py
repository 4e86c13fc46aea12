"""OpenAI chat completions: `prompt_tokens` includes what was read from and written to the cache (domain.md §1.1)."""

import msgspec

from streams.tokens.buckets import Buckets, Inconsistent


class PromptDetails(msgspec.Struct):
    """Parts of prompt_tokens."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None


class CompletionDetails(msgspec.Struct):
    """Parts of completion_tokens."""

    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


class Usage(msgspec.Struct):
    """The block `usage` of a chat completion."""

    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


def buckets(usage: Usage) -> Buckets:
    """Disjoint buckets; raises Inconsistent when the parts are more than the whole or miss the total."""
    prompt = usage.prompt_tokens_details or PromptDetails()
    done = usage.completion_tokens_details or CompletionDetails()
    read, write, audio_in = prompt.cached_tokens or 0, prompt.cache_write_tokens or 0, prompt.audio_tokens or 0
    reasoning, audio_out = done.reasoning_tokens or 0, done.audio_tokens or 0
    parts = {
        "input_uncached": usage.prompt_tokens - read - write - audio_in,
        "input_cache_read": read,
        "input_cache_write_30m": write,
        "input_uncached_audio": audio_in,
        "output_visible": usage.completion_tokens - reasoning - audio_out,
        "output_reasoning": reasoning,
        "output_visible_audio": audio_out,
    }
    total = usage.prompt_tokens + usage.completion_tokens
    if usage.total_tokens is not None and usage.total_tokens != total:
        raise Inconsistent(f"total_tokens is {usage.total_tokens}, prompt and completion are {total}")
    return parts
