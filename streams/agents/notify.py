"""Notify as a Faust agent: usage.alerts into lanes; what to do is in notify_partition.py and notify_dispatch.py."""

import hashlib
import random
import time
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any

from streams.agents.notify_digest import Digests
from streams.agents.notify_dispatch import Dispatcher
from streams.agents.notify_log import DeliveryLog
from streams.agents.notify_partition import NotifyPartition
from streams.agents.stage import follow
from streams.catalog.models import Catalog
from streams.catalog.routes import Endpoint
from streams.kafka import topics
from streams.kafka.catalog_log import CatalogLog
from streams.kafka.client import KafkaClient
from streams.notify.channels import Ports
from streams.notify.inhibit import parents_of
from streams.notify.plan import Asked
from streams.notify.web import Web
from streams.settings import Settings
from streams.watch.published import read_alert

LANDING_SECONDS = 5.0  # how long a rebalance or a stop waits for posts in the air
MOST_RECORDS = 2_000  # alerts kept in memory, so that a retry need not read the topic
DIGEST_SECONDS = 60.0


def now_ms() -> int:
    """The wall clock: whom to tell and when is about people, not about events."""
    return int(time.time() * 1000)


def version_of(endpoint: Endpoint) -> str:
    """Changes when the catalog changes the endpoint."""
    return hashlib.sha256(endpoint.model_dump_json().encode()).hexdigest()[:12]


def asked_of(catalog: Catalog) -> Asked:
    """What a catalog says about deliveries."""
    endpoints = {e.id: e for e in catalog.endpoints}
    return Asked(endpoints, catalog.routes, {name: version_of(e) for name, e in endpoints.items()})


def sending(settings: Settings, kafka: KafkaClient) -> Ports:
    """The ways out of this process."""

    async def publish(topic: str, key: bytes, value: bytes) -> int | None:
        parts = await kafka.partitions(topic)
        place = int(hashlib.sha256(key).hexdigest()[:8], 16) % len(parts)
        return await kafka.log(topic, parts[place]).append(value, [("content-type", b"application/json")], key)

    return Ports(Web(settings.notify_private, now_ms), publish, settings.public_url)


class Alerts:
    """Records of usage.alerts by their place; None for what is not there any more."""

    def __init__(self, kafka: KafkaClient) -> None:
        self._kafka = kafka
        self._kept: OrderedDict[tuple[int, int], Mapping[str, Any]] = OrderedDict()

    async def __call__(self, p: int, offset: int) -> Mapping[str, Any] | None:
        if (p, offset) in self._kept:
            self._kept.move_to_end((p, offset))
            return self._kept[p, offset]
        log = self._kafka.log(topics.ALERTS, p)
        begin, end = await log.bounds()
        if not begin <= offset < end:
            return None
        async for message in log.read(offset, offset + 1):
            if found := read_alert(message.value):
                self._kept[p, offset] = found
                if len(self._kept) > MOST_RECORDS:
                    self._kept.popitem(last=False)
                return found
        return None


class Decided:
    """Keeps the dispatcher at the newest catalog; decoded only when it changed."""

    def __init__(self, catalogs: CatalogLog, dispatcher: Dispatcher) -> None:
        self._catalogs, self._dispatcher = catalogs, dispatcher
        self._sequence = 0
        self.catalog: Catalog | None = None

    async def look(self) -> None:
        sequence = await self._catalogs.refresh()
        if sequence == self._sequence or (found := self._catalogs.catalog(sequence)) is None:
            return
        self._dispatcher.asked = asked_of(found)
        self._dispatcher.parents = parents_of(found.budgets, found.burn_rates)
        self._sequence, self.catalog = sequence, found.model_copy(update={"prices": (), "aliases": ()})


def create_notify(app: Any, settings: Settings, kafka: KafkaClient, catalogs: CatalogLog) -> None:
    """Register the stage on a Faust app."""
    owned: set[int] = set()
    deliveries = DeliveryLog(kafka.log(topics.DELIVERIES, 0))
    dispatcher = Dispatcher(
        deliveries, sending(settings, kafka), Alerts(kafka), lambda p: p in owned, now_ms, random.random
    )
    decided = Decided(catalogs, dispatcher)

    async def open_partition(partition: int) -> NotifyPartition:
        return await NotifyPartition.open(partition, deliveries, dispatcher, decided.look, now_ms)

    owned = follow(app, "notify", topics.ALERTS, settings, open_partition)
    digests = Digests(settings, kafka, deliveries, decided, now_ms)

    @app.on_partitions_revoked.connect(weak=False)  # type: ignore[untyped-decorator]  # faust has no types
    async def landed(_app: Any, revoked: set[Any], **_: Any) -> None:
        await dispatcher.landed(LANDING_SECONDS)  # so that the next owner knows what arrived

    app.on_before_shutdown.connect(partial(_last, dispatcher), weak=False)

    @app.timer(DIGEST_SECONDS)  # type: ignore[untyped-decorator]
    async def tell_the_week() -> None:
        if 0 in owned:
            await digests.look()


async def _last(dispatcher: Dispatcher, _app: Any, **_: Any) -> None:
    await dispatcher.landed(LANDING_SECONDS)
