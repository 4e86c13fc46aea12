"""What the stages share: one Faust agent over a topic that puts chunks into lanes, one lane a partition."""

from collections.abc import Awaitable, Callable
from typing import Any

from streams import metrics
from streams.agents.lanes import Lane, Partition
from streams.kafka.transport import chunks
from streams.settings import Settings

WAKE_SECONDS = 1.0


def follow(
    app: Any,
    stage: str,
    topic: str,
    settings: Settings,
    open_state: Callable[[int], Awaitable[Partition]],
    publish: Callable[[int, Partition], None] = lambda partition, state: None,
    linger_seconds: float = 0.0,
) -> set[int]:
    """Register a stage's agent; the set of partitions that it owns at any moment.

    A lane opens its state on assignment and looks at it once a second even if nothing comes.
    """
    lanes: dict[int, Lane] = {}
    owned: set[int] = set()

    def lane(partition: int) -> Lane:
        if partition not in lanes:
            lanes[partition] = Lane(
                stage,
                partition,
                open_state,
                lambda: int(app.consumer_generation_id),
                settings.chunk,
                linger_seconds,
                publish,
            )
            metrics.LAG.labels(stage, topic, str(partition)).set_function(lanes[partition].lag_seconds)
            app.add_future(lanes[partition].run())
        return lanes[partition]

    @app.on_partitions_assigned.connect(weak=False)  # type: ignore[untyped-decorator]  # faust has no types
    async def assigned(_app: Any, assigned: set[Any], **_: Any) -> None:
        owned.clear()
        owned.update(tp.partition for tp in assigned if tp.topic == topic)
        for partition in owned:
            lane(partition).wake()
        for partition in lanes.keys() - owned:
            lanes[partition].leave()

    @app.on_partitions_revoked.connect(weak=False)  # type: ignore[untyped-decorator]
    async def revoked(_app: Any, revoked: set[Any], **_: Any) -> None:
        owned.clear()

    @app.agent(app.topic(topic, value_serializer="raw", value_type=bytes), name=f"{stage}.{topic}", concurrency=1)  # type: ignore[untyped-decorator]
    async def agent(stream: Any) -> None:
        async for chunk in chunks(stream):  # leaving the loop, however, acks nothing
            await lane(chunk.partition).put(chunk)

    @app.timer(WAKE_SECONDS)  # type: ignore[untyped-decorator]
    async def look() -> None:
        for partition in owned:
            lane(partition).wake()

    return owned
