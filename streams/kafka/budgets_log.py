"""usage.budgets as a reader sees it: of each scope the record that stands."""

from typing import Any

import structlog

from streams.kafka import topics
from streams.kafka.client import KafkaClient
from streams.watch.freshness import is_beat
from streams.watch.published import Unreadable, budget_of

log = structlog.get_logger()
Record = dict[str, Any]


async def read_budgets(kafka: KafkaClient) -> dict[str, Record]:
    """By scope. What cannot be read is named and left out."""
    found = dict[str, Record]()
    for partition in await kafka.partitions(topics.BUDGETS):
        records = kafka.log(topics.BUDGETS, partition)
        begin, end = await records.bounds()
        async for message in records.read(begin, end):
            if is_beat(message.key):
                continue
            try:
                take(found, message.key, message.value)
            except Unreadable as error:
                where = {"topic": topics.BUDGETS, "partition": partition, "offset": message.offset}
                log.warning("a record cannot be read", **where, error=str(error))
    return found


def take(found: dict[str, Record], key: bytes | None, body: bytes | None) -> None:
    """One record more: of a scope the highest stamp stays, whoever wrote later; a tombstone ends it. Raises Unreadable."""
    if body is None:
        found.pop((key or b"").decode(errors="replace"), None)
        return
    record = budget_of(key, body)
    scope = (key or b"").decode()
    known, stamp = found.get(scope), record["stamp"]
    if known is None or known["stamp"]["stream"] != stamp["stream"] or known["stamp"]["offset"] <= stamp["offset"]:
        found[scope] = record
