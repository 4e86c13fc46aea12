"""The same job by other means, each a process of its own: `python -m tests.bench.peers NAME BOOTSTRAP COUNT`.

raw_read:    aiokafka reads and counts; nothing is decoded
by_hand:     confluent-kafka and fastavro, a loop, dicts; no durability of its state
stock_faust: a Faust agent, event by event, with a table of totals
The last line is JSON: events, seconds, cpu_us.
"""

import asyncio
import json
import sys
import time
import uuid
from decimal import Decimal
from typing import Any

from tests.bench.load import MODELS

TOPIC = "usage.events"
OUT = "usage.adjustments"  # a topic that is there and otherwise unused in a bench
PRICE = {"input_uncached": "0.000002", "input_cache_read": "0.0000002", "output_visible": "0.00001"}
PRICES = {model: {bucket: Decimal(amount) for bucket, amount in PRICE.items()} for model in MODELS}


class Meter:
    """The job for one event, plainly: decode, deduplicate, normalise, rate, add up."""

    def __init__(self) -> None:
        import fastavro

        from streams.resources import schema_text

        self._schema = fastavro.parse_schema(json.loads(schema_text("usage_event")))
        self._read = fastavro.schemaless_reader
        self.seen: set[tuple[str, str]] = set()
        self.totals: dict[tuple[str, int], Decimal] = {}

    def __call__(self, value: bytes) -> bytes | None:
        import io

        event: Any = self._read(io.BytesIO(value[10:]), self._schema, None)
        key = event["tenant_id"], event["event_id"]
        if key in self.seen:
            return None
        self.seen.add(key)
        usage = json.loads(event["usage_json"])
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        parts = {
            "input_uncached": usage["prompt_tokens"] - cached,
            "input_cache_read": cached,
            "output_visible": usage["completion_tokens"],
        }
        prices = PRICES[event["model"]]
        cost = sum((prices[bucket] * count for bucket, count in parts.items()), Decimal(0))
        scope = event["team"], int(event["event_time"].timestamp() // 60)
        self.totals[scope] = self.totals.get(scope, Decimal(0)) + cost
        return json.dumps({"id": event["event_id"], "team": event["team"], "cost": str(cost), "lines": parts}).encode()


async def raw_read(bootstrap: str, count: int) -> tuple[int, float, float]:
    from aiokafka import AIOKafkaConsumer

    consumer = AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=bootstrap,
        group_id=None,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 << 20,
    )
    await consumer.start()
    await consumer.seek_to_beginning()
    seen, wall, cpu = 0, time.perf_counter(), time.process_time()
    while seen < count:
        for found in (await consumer.getmany(timeout_ms=1_000, max_records=10_000)).values():
            seen += len(found)
    took = time.perf_counter() - wall, time.process_time() - cpu
    await consumer.stop()
    return seen, *took


def by_hand(bootstrap: str, count: int) -> tuple[int, float, float]:
    from confluent_kafka import Consumer, Producer

    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": uuid.uuid4().hex,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
        }
    )
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 500_000})
    consumer.subscribe([TOPIC])
    meter, seen, first = Meter(), 0, consumer.consume(1, 30)
    wall, cpu, batch = time.perf_counter(), time.process_time(), first
    while seen < count:
        for message in batch:
            seen += 1
            priced = meter(message.value())
            if priced is not None:
                producer.produce(OUT, priced)
        producer.poll(0)
        batch = consumer.consume(5_000, 1.0)
    producer.flush()
    took = time.perf_counter() - wall, time.process_time() - cpu
    consumer.close()
    return seen, *took


async def stock_faust(bootstrap: str, count: int) -> tuple[int, float, float]:
    import faust

    app = faust.App(
        f"stock-{uuid.uuid4().hex[:8]}", broker=f"kafka://{bootstrap}", store="memory://", web_enabled=False,
        topic_allow_declare=True, topic_replication_factor=1, value_serializer="raw", key_serializer="raw",
        consumer_auto_offset_reset="earliest", datadir=f"/tmp/stock-{uuid.uuid4().hex[:8]}", topic_disable_leader=True,
    )  # fmt: skip
    meter, done, marks = Meter(), asyncio.Event(), [0.0, 0.0, 0.0, 0.0]
    totals = app.Table("totals", default=str, partitions=4)
    out = app.topic(OUT, value_serializer="raw")
    seen = 0

    @app.agent(app.topic(TOPIC, value_serializer="raw", value_type=bytes))  # type: ignore[untyped-decorator]
    async def agent(stream: Any) -> None:
        nonlocal seen
        async for value in stream:
            if seen == 0:
                marks[0], marks[1] = time.perf_counter(), time.process_time()
            priced = meter(value)
            if priced is not None:
                found = json.loads(priced)
                totals[found["team"]] = str(Decimal(totals[found["team"]] or "0") + Decimal(found["cost"]))
                await out.send(value=priced)
            seen += 1
            if seen == count:
                marks[2], marks[3] = time.perf_counter(), time.process_time()
                done.set()

    app.finalize()
    await app.start()
    await asyncio.wait_for(done.wait(), 300)
    await app.stop()
    return seen, marks[2] - marks[0], marks[3] - marks[1]


def main() -> None:
    name, bootstrap, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    work: Any = {"raw_read": raw_read, "by_hand": by_hand, "stock_faust": stock_faust}[name](bootstrap, count)
    seen, wall, cpu = asyncio.run(work) if asyncio.iscoroutine(work) else work
    print(json.dumps({"events": seen, "seconds": wall, "cpu_us": cpu / seen * 1e6}))


if __name__ == "__main__":
    main()
