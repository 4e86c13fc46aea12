"""Events for benches: 20 models, 50 teams, distinct ids; written by librdkafka, which is the fastest way to fill a topic."""

import json
import random
import time
from collections.abc import Iterator
from functools import lru_cache
from itertools import cycle

from confluent_kafka import Producer

from streams.pipeline.encode import Encoder
from streams.resources import schema_text
from tests.support.events import event

MODELS = tuple(f"model-{i}" for i in range(20))
TEAMS = tuple(f"team-{i}" for i in range(50))
PARTITIONS = 4
DISTINCT = 20_000  # encoded bodies; the id in them is patched for each event


@lru_cache(maxsize=1)
def encoder() -> Encoder:
    return Encoder(json.loads(schema_text("usage_event")))


def one(rng: random.Random, now: int) -> dict[str, object]:
    """A usage event with the attribution of a real one; its id holds a place for a number of ten digits."""
    prompt, made, cached = rng.randrange(10, 50_000), rng.randrange(1, 2_000), rng.randrange(0, 10)
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": made,
        "total_tokens": prompt + made,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    return event(
        0,
        event_id="bench-0000000000",
        event_time=now - rng.randrange(60_000),
        model=rng.choice(MODELS),
        team=rng.choice(TEAMS),
        application="bench",
        environment="production",
        user_id=f"user-{rng.randrange(5_000)}",
        usage_json=json.dumps(usage, separators=(",", ":")),
    )


def bodies(as_json: bool) -> list[bytes]:
    """Distinct encoded events."""
    rng, now = random.Random(7), int(time.time() * 1000)
    events = [one(rng, now) for _ in range(DISTINCT)]
    return [json.dumps(e).encode() for e in events] if as_json else [encoder()(e) for e in events]


def records(count: int, as_json: bool = False, bad: float = 0.0) -> Iterator[bytes]:
    """`count` records; a share `bad` of them: half cut short, a quarter random bytes, a quarter with bytes behind."""
    rng, made, kinds = random.Random(11), bodies(as_json), cycle(("cut", "cut", "random", "longer"))
    places = [body.index(b"bench-0000000000") + 6 for body in made]
    every = round(1 / bad) if bad else 0
    for number in range(count):
        at = number % DISTINCT
        body, place = made[at], places[at]
        value = body[:place] + f"{number:010d}".encode() + body[place + 10 :]
        if every and number % every == 0:
            match next(kinds):
                case "cut":
                    value = value[: rng.randrange(11, len(value))]
                case "random":
                    value = rng.randbytes(200)
                case "longer":
                    value += b"\0\1"
        yield value


def fill(bootstrap: str, topic: str, count: int, as_json: bool = False, bad: float = 0.0) -> None:
    """Write `count` records, spread over the partitions in runs, as producers with a linger do."""
    settings = {"bootstrap.servers": bootstrap, "linger.ms": 20, "compression.type": "lz4", "acks": "all"}
    producer = Producer({**settings, "queue.buffering.max.messages": 500_000})
    for number, value in enumerate(records(count, as_json, bad)):
        while True:
            try:
                producer.produce(topic, value, partition=number // 100 % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.05)
        if number % 1_000 == 0:
            producer.poll(0)
    producer.flush()
