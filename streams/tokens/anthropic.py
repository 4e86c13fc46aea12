"""Anthropic messages, wherever they are served. `input_tokens` excludes what was read from and written to the cache; output
includes thinking (domain.md §1.1, §1.4).

`iterations`: the top level counts the entries of type `message` only. Compaction is billed and is added; what another model
answered (an advisor, a fallback) is kept in buckets that have no price, so that the row says that its cost is not whole.
"""

from streams.tokens.buckets import Block, Count, Dialect, Ignored, Inconsistent, Notes, Said, agree


class CacheCreation(Block):
    """cache_creation_input_tokens by time to live."""

    ephemeral_5m_input_tokens: Count | None = None
    ephemeral_1h_input_tokens: Count | None = None


class OutputDetails(Block):
    """Parts of output_tokens; gateways write reasoning_tokens."""

    thinking_tokens: int | None = None
    reasoning_tokens: int | None = None


class ServerTools(Block):
    """Tools that the provider ran."""

    web_search_requests: int | None = None
    web_fetch_requests: int | None = None
    code_execution_requests: Ignored = None  # billed by the hour of a container, not by the call


class Counts(Block, kw_only=True):
    """Tokens of one pass of a model."""

    input_tokens: Count = 0
    output_tokens: Count = 0
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_creation: CacheCreation | None = None


class Iteration(Counts, kw_only=True):
    """One pass inside a request."""

    type: str
    model: str | None = None
    output_tokens_details: OutputDetails | None = None


class Usage(Counts, kw_only=True):
    """The block `usage` of a message."""

    input_tokens: int
    output_tokens_details: OutputDetails | None = None
    server_tool_use: ServerTools | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None
    iterations: list[Iteration] | None = None
    fallback_credit: Ignored = None


BUCKETS = (
    "input_cache_read", "input_cache_write_1h", "input_cache_write_5m", "input_uncached", "output_reasoning",
    "output_visible", "web_fetches", "web_searches", "input_other_model", "output_other_model",
)  # fmt: skip
NO_DETAILS, NO_TOOLS = OutputDetails(), ServerTools()


def _written(counts: Counts) -> tuple[int, int]:
    """Cache writes of 5 minutes and of an hour; without a split the provider's default, 5 minutes."""
    split = counts.cache_creation
    if split is None:
        return counts.cache_creation_input_tokens or 0, 0
    short, long = split.ephemeral_5m_input_tokens or 0, split.ephemeral_1h_input_tokens or 0
    agree("cache_creation_input_tokens", counts.cache_creation_input_tokens, "its parts", short + long)
    return short, long


def amounts(usage: Usage, notes: Notes) -> tuple[int, ...]:
    """Of BUCKETS."""
    short, long = _written(usage)
    read, fresh, done = usage.cache_read_input_tokens or 0, usage.input_tokens, usage.output_tokens
    details, tools = usage.output_tokens_details or NO_DETAILS, usage.server_tool_use or NO_TOOLS
    thinking = details.thinking_tokens or details.reasoning_tokens or 0
    other_in = other_out = 0
    for step in usage.iterations or ():
        written = _written(step)
        if step.type == "message":
            continue
        if step.type == "compaction":
            short, long = short + written[0], long + written[1]
            read += step.cache_read_input_tokens or 0
            fresh, done = fresh + step.input_tokens, done + step.output_tokens
        elif step.type in ("advisor_message", "fallback_message"):
            asked = step.input_tokens + sum(written) + (step.cache_read_input_tokens or 0)
            other_in, other_out = other_in + asked, other_out + step.output_tokens
            notes.append(f"{step.type}: {asked} input and {step.output_tokens} output tokens of {step.model}")
        else:
            raise Inconsistent(f"iterations: type {step.type} is not known, nor whether it is billed")
    searches, fetches = tools.web_search_requests or 0, tools.web_fetch_requests or 0
    return read, long, short, fresh, thinking, done - thinking, fetches, searches, other_in, other_out


def served(usage: Usage) -> Said:
    """Tier, speed and place of inference."""
    return usage.service_tier, usage.speed, usage.inference_geo, None, None


DIALECTS = {"messages": Dialect(Usage, BUCKETS, amounts, served)}
