"""The topics: names that are fixed, how each is kept, and their creation."""

import uuid
from dataclasses import dataclass

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from streams.settings import Settings

log = structlog.get_logger()

EVENTS, DEAD, RATED, TOTALS = "usage.events", "usage.dead", "usage.rated", "usage.totals"
SEEN, STATE, ALERTS, BUDGETS = "usage.seen", "usage.state", "usage.alerts", "usage.budgets"
CATALOG, COMMANDS, ENFORCEMENTS = "usage.catalog", "usage.commands", "usage.enforcements"
DELIVERIES, RUNS, ADJUSTMENTS = "usage.deliveries", "usage.runs", "usage.adjustments"
NOTIFICATIONS = "usage.notifications"
FOREVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}  # the record of what happened
LARGE = {"max.message.bytes": str(8 << 20)}  # a record that is too large must reach us, to become a dead letter
APPEND_TIME = {"message.timestamp.type": "LogAppendTime"}


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic and how it is kept; `like` names the setting that counts its partitions."""

    name: str
    partitions: int
    configs: dict[str, str]


def topics(settings: Settings) -> list[Topic]:
    """Every topic of the service."""
    p, q = settings.source_partitions, settings.totals_partitions
    return [
        Topic(EVENTS, p, {**APPEND_TIME, **LARGE, "retention.ms": str(7 * 86_400_000)}),
        Topic(DEAD, p, {**APPEND_TIME, **FOREVER, "max.message.bytes": str(9 << 20)}),
        Topic(RATED, p, {**APPEND_TIME, **FOREVER}),
        Topic(ADJUSTMENTS, p, {**APPEND_TIME, **FOREVER, **LARGE}),  # old and new rows of a whole batch
        Topic(SEEN, p, {**APPEND_TIME, **FOREVER}),
        Topic(TOTALS, q, {**APPEND_TIME, **FOREVER}),
        Topic(STATE, q, {**APPEND_TIME, **FOREVER, **LARGE}),  # one scope may be large
        Topic(ALERTS, q, {**APPEND_TIME, **FOREVER}),
        Topic(BUDGETS, q, {**APPEND_TIME, "cleanup.policy": "compact", "segment.ms": str(3_600_000)}),  # it beats
        Topic(NOTIFICATIONS, 1, {**APPEND_TIME, "retention.ms": str(7 * 86_400_000)}),  # alerts for whoever listens
        *(Topic(name, 1, {**APPEND_TIME, **FOREVER}) for name in (CATALOG, COMMANDS, ENFORCEMENTS, DELIVERIES, RUNS)),
    ]


async def create_topics(settings: Settings) -> list[str]:
    """Create what is missing; the names of the new ones."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap, client_id=f"topics-{uuid.uuid4().hex[:8]}")
    await admin.start()
    try:
        wanted = topics(settings)
        there = set(await admin.list_topics())
        new = [t for t in wanted if t.name not in there]
        if not new:
            return []
        answer = await admin.create_topics(
            [NewTopic(t.name, t.partitions, settings.replication, topic_configs=t.configs) for t in new]
        )
        for name, code, *_ in answer.topic_errors:
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:
                raise error(f"topic {name}: cannot be created")
        return [t.name for t in new]
    finally:
        await admin.close()
