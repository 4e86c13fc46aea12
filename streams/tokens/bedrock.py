"""AWS Bedrock: converse counts cache reads and writes apart from the input, and gives the sum of all four; invoke returns the
vendor's own block (domain.md §1.1, §1.4).
"""

from streams.tokens import anthropic
from streams.tokens.buckets import Block, Count, Dialect, Inconsistent, Notes, agree


class Write(Block):
    """Cache writes of one time to live."""

    ttl: str
    inputTokens: Count = 0


class ServerTools(Block):
    """Tools that Bedrock ran; seen empty so far, so that the first count in it is noticed."""


class Usage(Block):
    """`usage` of converse; bodies on the wire repeat the cache counts under a second name, of which one is read."""

    inputTokens: int
    outputTokens: int = 0
    totalTokens: int | None = None
    cacheReadInputTokens: int | None = None
    cacheWriteInputTokens: int | None = None
    cacheReadInputTokenCount: int | None = None
    cacheWriteInputTokenCount: int | None = None
    cacheDetails: list[Write] | None = None
    serverToolUsage: ServerTools | None = None


BUCKETS = ("input_cache_read", "input_cache_write_1h", "input_cache_write_5m", "input_uncached", "output_visible")


def amounts(usage: Usage, notes: Notes) -> tuple[int, ...]:
    """Of BUCKETS."""
    read = usage.cacheReadInputTokens if usage.cacheReadInputTokens is not None else usage.cacheReadInputTokenCount
    written = (
        usage.cacheWriteInputTokens if usage.cacheWriteInputTokens is not None else usage.cacheWriteInputTokenCount
    )
    read, short, long = read or 0, written or 0, 0
    if usage.cacheDetails:
        found = {"5m": 0, "1h": 0}
        for part in usage.cacheDetails:
            if part.ttl not in found:
                raise Inconsistent(f"cacheDetails: ttl {part.ttl} is not known")
            found[part.ttl] += part.inputTokens
        short, long = found["5m"], found["1h"]
        agree("cacheWriteInputTokens", written, "cacheDetails", short + long)
    total = usage.inputTokens + usage.outputTokens + read + short + long
    agree("totalTokens", usage.totalTokens, "input, output and cache", total)
    return read, long, short, usage.inputTokens, usage.outputTokens


class Llama(Block):
    """What a Llama model returns to invoke."""

    prompt_token_count: int
    generation_token_count: int = 0


class Titan(Block):
    """What a Titan model returns to invoke."""

    inputTextTokenCount: int
    tokenCount: int | None = None


def llama(usage: Llama, notes: Notes) -> tuple[int, ...]:
    """Input and output."""
    return usage.prompt_token_count, usage.generation_token_count


def titan(usage: Titan, notes: Notes) -> tuple[int, ...]:
    """Input and output."""
    return usage.inputTextTokenCount, usage.tokenCount or 0


TWO = ("input_uncached", "output_visible")
DIALECTS = {
    "converse": Dialect(Usage, BUCKETS, amounts),
    "invoke_anthropic": anthropic.DIALECTS["messages"],
    "invoke_nova": Dialect(Usage, BUCKETS, amounts),
    "invoke_llama": Dialect(Llama, TWO, llama),
    "invoke_titan": Dialect(Titan, TWO, titan),
}
