"""What a consumer group has committed: the checkpoint of the totals (DESIGN §2.2 rule 3)."""

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    GroupCoordinatorNotAvailableError,
    NotCoordinatorForGroupError,
)
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

SOON = (GroupCoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorForGroupError)


@retry(retry=retry_if_exception_type(SOON), wait=wait_fixed(0.2), stop=stop_after_delay(30), reraise=True)
async def committed_offsets(bootstrap: str, group: str) -> dict[tuple[str, int], int]:
    """(topic, partition) -> the next offset that the group would read; what was never committed is absent."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    return {(tp.topic, tp.partition): int(meta.offset) for tp, meta in found.items() if meta.offset >= 0}


async def committed_offset(bootstrap: str, group: str, topic: str, partition: int) -> int:
    """The next offset that the group would read of one partition; 0 when nothing was committed."""
    tp = TopicPartition(topic, partition)
    return (await committed_offsets(bootstrap, group)).get((tp.topic, tp.partition), 0)
