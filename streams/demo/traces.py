"""The traces as usage events, in the order of their time: what an application would have sent."""

import csv
import io
import json
import lzma
from collections.abc import Iterator
from datetime import datetime
from heapq import merge
from pathlib import Path
from typing import Any, NamedTuple

from streams.demo.assign import Assigned, assign

DATA = Path(__file__).with_name("data")
AZURE, MOONCAKE = "AzureLLMInferenceTrace_conv.csv.xz", "conversation_trace.jsonl.xz"
BLOCK = 512  # input tokens of one hash id


class Sent(NamedTuple):
    """An event and when it is sent, ms since the trace began."""

    at: int
    event: dict[str, Any]


HOUSE_PRICES = (DATA / "house-prices.toml").read_text()


def text_of(name: str) -> str:
    """A shipped file, unpacked."""
    return lzma.decompress((DATA / name).read_bytes()).decode()


def azure() -> Iterator[Sent]:
    """OpenAI chat usage blocks; this trace knows no cache."""
    first = None
    for number, row in enumerate(csv.DictReader(io.StringIO(text_of(AZURE)))):
        moment = datetime.fromisoformat(row["TIMESTAMP"][:26])
        first = first or moment
        tokens, made = int(row["ContextTokens"]), int(row["GeneratedTokens"])
        block = {"prompt_tokens": tokens, "completion_tokens": made, "total_tokens": tokens + made}
        at = round((moment - first).total_seconds() * 1000)
        yield Sent(at, _event("azure", str(number), assign("azure", str(number), at), "openai.chat", block))


def mooncake() -> Iterator[Sent]:
    """Anthropic messages usage blocks; leading blocks that were seen before are read from the cache."""
    seen = set[int]()
    for number, line in enumerate(text_of(MOONCAKE).splitlines()):
        row = json.loads(line)
        ids, length = row["hash_ids"], row["input_length"]
        hits = next((i for i, block in enumerate(ids) if block not in seen), len(ids))
        seen.update(ids)
        cached = min(hits * BLOCK, length)
        block = {
            "input_tokens": length - cached,
            "cache_read_input_tokens": cached,
            "output_tokens": row["output_length"],
        }
        assigned = assign("mooncake", _conversation(ids), row["timestamp"])
        event = _event("mooncake", str(number), assigned, "anthropic.messages", block)
        yield Sent(row["timestamp"], event | {"conversation_id": f"c{_conversation(ids)}"})


def _conversation(ids: list[int]) -> str:
    """Block 0 is shared by most; the second tells conversations apart."""
    return str(ids[1] if len(ids) > 1 else ids[0])


def _event(trace: str, number: str, a: Assigned, dialect: str, block: dict[str, int]) -> dict[str, Any]:
    return {
        "event_id": f"{trace}-{number}",
        "provider": a.provider,
        "model": a.model,
        "usage_dialect": dialect,
        "usage_json": json.dumps(block, separators=(",", ":")),
        "application": f"{trace}-assistant",
        "environment": "production",
        "team": a.team,
        "user_id": a.user,
        "run_id": a.run,
        "usage_source": "provider",
    }


def requests() -> list[Sent]:
    """Both traces, by time."""
    return list(merge(azure(), mooncake(), key=lambda sent: sent.at))


def events(tenant: str, end_ms: int, sent: list[Sent]) -> Iterator[Sent]:
    """The requests as this tenant's, shifted so that the last one is at `end_ms`."""
    last = sent[-1].at
    for at, event in sent:
        yield Sent(at, event | {"tenant_id": tenant, "event_time": end_ms - (last - at)})
