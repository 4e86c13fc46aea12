"""What a Python application imports to send usage events: aiokafka and fastavro, nothing else.

async with UsageProducer("127.0.0.1:9092") as usage:
    await usage.send({"event_id": response.id, "tenant_id": "acme", "event_time": now_ms, "provider": "openai",
                      "model": response.model, "usage_dialect": "openai.chat", "usage_json": response.usage.model_dump_json()})
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from aiokafka import AIOKafkaProducer

from streams.pipeline.encode import Encoder
from streams.resources import schema_text

TOPIC = "usage.events"
TOOL_NAME_BYTES = 111  # so that NAME:HASH has at most 128 bytes


def tool_call_hash(name: str, arguments: Any) -> str:
    """An item of `tool_call_hashes`, NAME:HASH: the same for the same call, and the arguments cannot be read from it.

    arguments: what the model gave, as JSON text or as values; spaces and the order of keys make no difference
    """
    if isinstance(arguments, str | bytes):
        try:
            arguments = json.loads(arguments)
        except ValueError:  # broken off, or no JSON at all: the text itself
            arguments = arguments if isinstance(arguments, str) else arguments.decode(errors="replace")
    canonical = json.dumps(arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    digest = hashlib.sha256(canonical.encode(errors="surrogatepass")).hexdigest()[:16]
    bare = "_".join(name.split()) or "unnamed"
    return f"{bare.encode(errors='replace')[:TOOL_NAME_BYTES].decode(errors='ignore')}:{digest}"


class UsageProducer:
    """Sends usage events, keyed by event_id, in Avro single-object encoding; a broker that is away is waited for."""

    def __init__(self, bootstrap: str, topic: str = TOPIC, **options: Any) -> None:
        self._topic = topic
        self._encode = Encoder(json.loads(schema_text("usage_event")))
        given = {"enable_idempotence": True, "linger_ms": 20, "compression_type": "lz4", **options}
        self._producer = AIOKafkaProducer(bootstrap_servers=bootstrap, **given)

    async def __aenter__(self) -> "UsageProducer":
        await self._producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._producer.stop()

    async def send(self, event: Mapping[str, Any]) -> "asyncio.Future[Any]":
        """Queue one event; await what is returned to know that the broker has it.

        Raises ValueError or TypeError when the event does not fit `schemas/avro/usage_event.avsc`.
        """
        value = self._encode(event)
        sent: asyncio.Future[Any] = await self._producer.send(self._topic, value, key=str(event["event_id"]).encode())
        return sent

    async def flush(self) -> None:
        """Wait until the broker has everything that was sent."""
        await self._producer.flush()
