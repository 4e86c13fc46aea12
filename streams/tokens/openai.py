"""OpenAI chat completions: `prompt_tokens` includes what was read from and written to the cache (domain.md §1.1)."""

import msgspec

from streams.tokens.buckets import Inconsistent


class PromptDetails(msgspec.Struct, gc=False):
    """Parts of prompt_tokens."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None


class CompletionDetails(msgspec.Struct, gc=False):
    """Parts of completion_tokens."""

    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


class Usage(msgspec.Struct, gc=False):
    """The block `usage` of a chat completion."""

    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


NO_PROMPT, NO_COMPLETION = PromptDetails(), CompletionDetails()
BUCKETS = (
    "input_cache_read", "input_cache_write_30m", "input_uncached", "input_uncached_audio", "output_reasoning",
    "output_visible", "output_visible_audio",
)  # fmt: skip


def amounts(usage: Usage) -> tuple[int, ...]:
    """Of BUCKETS; Inconsistent when the parts miss the total. Parts above the whole leave a negative rest."""
    prompt = usage.prompt_tokens_details or NO_PROMPT
    done = usage.completion_tokens_details or NO_COMPLETION
    read, write, audio_in = prompt.cached_tokens or 0, prompt.cache_write_tokens or 0, prompt.audio_tokens or 0
    reasoning, audio_out = done.reasoning_tokens or 0, done.audio_tokens or 0
    total = usage.prompt_tokens + usage.completion_tokens
    if usage.total_tokens is not None and usage.total_tokens != total:
        raise Inconsistent(f"total_tokens is {usage.total_tokens}, prompt and completion are {total}")
    rest, visible = usage.prompt_tokens - read - write - audio_in, usage.completion_tokens - reasoning - audio_out
    return read, write, rest, audio_in, reasoning, visible, audio_out
