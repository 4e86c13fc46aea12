"""830 usage blocks as providers sent them, each with what genai-prices extracted (tests/data/genai-prices)."""

import json
import lzma
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

HOME = Path(__file__).parents[1] / "data" / "genai-prices"
# Flavours of genai-prices' extractors that read a block as its own API is meant; `anthropic` on a chat block is none.
SAME_API = {
    "chat": ("chat", "default"), "responses": ("responses",), "embeddings": ("embeddings",),
    "messages": ("default", "anthropic"), "generate_content": ("default",), "converse": ("default",), "embed": ("embeddings",),
}  # fmt: skip
SPEAKERS = ("openrouter", "groq", "mistral", "deepseek", "huggingface", "cerebras")


@dataclass(frozen=True, slots=True)
class Payload:
    """One real block.

    dialect:   by shape and by the cassette's name
    provider:  who bills it in genai-prices' terms, and the flavour of its extractor
    extracted: genai-prices' inclusive reading
    prices:    (provider, input, output) as decimal strings, of every provider whose extractor means this API
    """

    number: int
    file: str
    model: str | None
    dialect: str
    provider: str
    flavour: str
    block: dict[str, Any]
    extracted: dict[str, int]
    prices: tuple[tuple[str, str, str], ...]


def _dialect(file: str, block: dict[str, Any]) -> tuple[str, str, str]:
    """Dialect, provider and flavour."""
    if "billed_units" in block:
        return ("cohere.chat", "cohere", "default") if "tokens" in block else ("cohere.embed", "cohere", "embeddings")
    if "inputTokens" in block:
        return "bedrock.converse", "aws", "default"
    if "promptTokenCount" in block or "promptTokenDetails" in block:
        return "google.generate_content", "google", "default"
    if "prompt_tokens" in block:
        speaker = next((s for s in SPEAKERS if s in file.lower()), "openai")
        flavour = "default" if speaker in ("groq", "mistral") else "chat"
        if speaker == "openai" and "completion_tokens" not in block:
            return "openai.embeddings", "openai", "embeddings"
        return f"{speaker}.chat", {"huggingface": "huggingface_groq"}.get(speaker, speaker), flavour
    if "total_tokens" in block:
        return ("openrouter.responses" if "cost" in block else "openai.responses"), "openai", "responses"
    return ("anthropic.messages", "anthropic", "default")


@cache
def payloads() -> tuple[Payload, ...]:
    """All of them, in the file's order."""
    found = []
    for i, entry in enumerate(json.loads(lzma.decompress((HOME / "usages.json.xz").read_bytes()))):
        body = entry["body"]
        block = body.get("usage") or body.get("usageMetadata") or body["meta"]
        dialect, provider, flavour = _dialect(body["file"], block)
        extracted, prices = {}, list[tuple[str, str, str]]()
        for reading in entry["extracted"]:
            for one in reading["extractors"]:
                if (one["provider_id"], one["api_flavor"]) == (provider, flavour):
                    extracted = reading["usage"]
                if one["api_flavor"] in SAME_API[dialect.split(".")[1]] and (
                    "input_price" in one or "output_price" in one
                ):
                    prices.append((one["provider_id"], one.get("input_price", "0"), one.get("output_price", "0")))
        model = body.get("model") or body.get("modelVersion")
        found.append(Payload(i, body["file"], model, dialect, provider, flavour, block, extracted, tuple(prices)))
    return tuple(found)
