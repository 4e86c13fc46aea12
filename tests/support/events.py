"""Usage events and records for tests."""

import json
from typing import Any

from streams.pipeline.decode import Decoder
from streams.pipeline.encode import Encoder
from streams.pipeline.frames import Record
from streams.resources import schema_text

SCHEMA = json.loads(schema_text("usage_event"))
ENCODE = Encoder(SCHEMA)
DECODER = Decoder(SCHEMA)
NOW = 1_800_000_000_000
OPENAI_USAGE = '{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120}'


def event(number: int = 1, **other: Any) -> dict[str, Any]:
    """A small good event."""
    return {
        "event_id": f"e{number}",
        "tenant_id": "acme",
        "event_time": NOW - 1_000,
        "provider": "openai",
        "model": "gpt-5.2",
        "usage_dialect": "openai.chat",
        "usage_json": OPENAI_USAGE,
        "team": "search",
    } | other


def avro(number: int = 1, **other: Any) -> Record:
    """The event as an Avro record at the offset `number`."""
    return Record(number, NOW, ENCODE(event(number, **other)))


def text(number: int = 1, **other: Any) -> Record:
    """The event as a JSON record at the offset `number`; a value None leaves the field out."""
    return Record(number, NOW, json.dumps({k: v for k, v in event(number, **other).items() if v is not None}).encode())
