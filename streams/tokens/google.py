"""Google Gemini and Vertex: `promptTokenCount` includes cached content and excludes what tools put in; `candidatesTokenCount`
excludes thoughts (domain.md §1.1, §1.4). Where the total fits only if thoughts are inside, that reading is taken and said.
"""

from operator import sub

from streams.tokens.buckets import MODALITIES, Block, Count, Dialect, Ignored, Inconsistent, Notes, Said, counted


class Part(Block):
    """Tokens of one modality."""

    modality: str
    tokenCount: Count = 0


class Usage(Block):
    """`usageMetadata` of a response, a live session or an embedding."""

    promptTokenCount: int | None = None
    candidatesTokenCount: int | None = None
    responseTokenCount: int | None = None  # Live's name for candidates
    thoughtsTokenCount: int | None = None
    toolUsePromptTokenCount: int | None = None
    cachedContentTokenCount: int | None = None
    totalTokenCount: int | None = None
    promptTokensDetails: list[Part] | None = None
    promptTokenDetails: list[Part] | None = None  # embeddings write the singular
    cacheTokensDetails: list[Part] | None = None
    candidatesTokensDetails: list[Part] | None = None
    responseTokensDetails: list[Part] | None = None
    toolUsePromptTokensDetails: list[Part] | None = None
    trafficType: str | None = None
    serviceTier: str | None = None
    billablePromptUsage: Ignored = None


KINDS = ("text", *MODALITIES)
INPUTS = tuple(
    f"{bucket}{suffix}"
    for bucket in ("input_uncached", "input_cache_read", "input_tool_prompt")
    for suffix in ("", *(f"_{m}" for m in MODALITIES))
)
BUCKETS = (*INPUTS, *(f"output_visible{s}" for s in ("", *(f"_{m}" for m in MODALITIES))), "output_reasoning")
AT = {kind.upper(): i for i, kind in enumerate(KINDS)}
NOTHING = (0,) * len(KINDS)


def _by_kind(name: str, whole: int, parts: list[Part] | None) -> tuple[int, ...]:
    """Of KINDS. Details may say less than the whole: the rest is text (3 of 225 real blocks)."""
    if not parts or (len(parts) == 1 and parts[0].modality == "TEXT" and parts[0].tokenCount <= whole):
        return whole, 0, 0, 0, 0
    found = [0] * len(KINDS)
    for part in parts:
        at = AT.get(part.modality)
        if at is None:
            raise Inconsistent(f"{name}: modality {part.modality} is not known")
        found[at] += part.tokenCount
    if sum(found) > whole:
        raise Inconsistent(f"{name} are {sum(found)}, the count is {whole}")
    found[0] += whole - sum(found)
    return tuple(found)


def amounts(usage: Usage, notes: Notes) -> tuple[int, ...]:
    """Of BUCKETS."""
    prompt, cached, tool = (
        usage.promptTokenCount or 0,
        usage.cachedContentTokenCount or 0,
        usage.toolUsePromptTokenCount or 0,
    )
    done, thoughts = usage.candidatesTokenCount or usage.responseTokenCount or 0, usage.thoughtsTokenCount or 0
    total = usage.totalTokenCount
    if not (prompt or done or thoughts or tool):
        counted(usage.promptTokenCount, usage.candidatesTokenCount, usage.responseTokenCount, total)
    if total is not None and total != prompt + tool + done + thoughts:
        if not thoughts or total != prompt + tool + done:
            raise Inconsistent(f"totalTokenCount is {total}, the parts are {prompt + tool + done + thoughts}")
        notes.append("inferred: thoughtsTokenCount lies inside candidatesTokenCount, only so the total fits")
        done -= thoughts
    asked = _by_kind("promptTokensDetails", prompt, usage.promptTokensDetails or usage.promptTokenDetails)
    read = _cached(cached, asked, usage.cacheTokensDetails, notes) if cached else NOTHING
    tools = _by_kind("toolUsePromptTokensDetails", tool, usage.toolUsePromptTokensDetails) if tool else NOTHING
    made = _by_kind("candidatesTokensDetails", done, usage.candidatesTokensDetails or usage.responseTokensDetails)
    if cached:
        asked = tuple(map(sub, asked, read))
    return *asked, *read, *tools, *made, thoughts


def _cached(cached: int, asked: tuple[int, ...], parts: list[Part] | None, notes: Notes) -> tuple[int, ...]:
    """Cached tokens of each kind. Without details, or with details that exceed what was asked in a kind, text comes first."""
    if parts:
        return _by_kind("cacheTokensDetails", cached, parts)
    if cached <= asked[0]:
        return cached, 0, 0, 0, 0
    notes.append("inferred: cached tokens are text as far as there is text, then the other modalities in turn")
    read, rest = [], cached
    for whole in asked:
        read.append(min(whole, rest))
        rest -= read[-1]
    read[0] += rest  # more than was asked: the rest becomes negative, and is seen
    return tuple(read)


def served(usage: Usage) -> Said:
    """Tier of the Gemini API, traffic type of Vertex."""
    return usage.serviceTier or usage.trafficType, None, None, None, None


DIALECTS = {"generate_content": Dialect(Usage, BUCKETS, amounts, served)}
