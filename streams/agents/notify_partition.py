"""Notify for one partition of usage.alerts: what its records owe goes to usage.deliveries, then the consumer may move on.

The commit never waits for an endpoint: what is owed for a day lives in usage.deliveries. Read twice, an alert owes nothing new.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog

from streams import metrics
from streams.agents.notify_dispatch import Dispatcher
from streams.agents.notify_log import DeliveryLog
from streams.catalog.routes import matching
from streams.notify.delivery import Delivery
from streams.notify.plan import Place, plan
from streams.pipeline.frames import Record
from streams.watch.published import read_alert

log = structlog.get_logger()


class NotifyPartition:
    """One partition. `look` brings the catalog up to date before its routes are asked."""

    def __init__(
        self,
        partition: int,
        deliveries: DeliveryLog,
        dispatcher: Dispatcher,
        look: Callable[[], Awaitable[None]],
        now_ms: Callable[[], int],
    ) -> None:
        self._partition, self._deliveries, self._dispatcher = partition, deliveries, dispatcher
        self._look, self._now = look, now_ms

    @classmethod
    async def open(
        cls,
        partition: int,
        deliveries: DeliveryLog,
        dispatcher: Dispatcher,
        look: Callable[[], Awaitable[None]],
        now_ms: Callable[[], int],
    ) -> "NotifyPartition":
        """With everything folded that anybody wrote, and what is owed under way."""
        self = cls(partition, deliveries, dispatcher, look, now_ms)
        await self.settle([])
        return self

    async def settle(self, records: Sequence[Record]) -> None:
        """Owe what came, start what is due. With no records, the latter alone."""
        await self._look()
        await self._deliveries.refresh()
        batch: dict[str, list[Delivery]] = {}
        for record in records:
            alert = read_alert(record.value)
            if alert is None:
                log.error("a record of usage.alerts cannot be read", partition=self._partition, offset=record.offset)
                continue
            if alert["alert_id"] in batch:  # its state decides what this one owes
                await self._append(batch)
            batch[alert["alert_id"]] = self._owed(alert, record)
        await self._append(batch)
        await self._dispatcher.pump()

    def _owed(self, alert: Mapping[str, Any], record: Record) -> list[Delivery]:
        if alert.get("state") == "firing" and not any(matching(alert, self._dispatcher.asked.routes)):
            metrics.DELIVERIES.labels("", "unrouted").inc()
        place = Place(self._partition, record.offset, record.timestamp)
        flying = self._dispatcher.flying
        return plan(alert, place, self._dispatcher.asked, self._deliveries.book, flying, self._now())

    async def _append(self, batch: dict[str, list[Delivery]]) -> None:
        found = [one for owed in batch.values() for one in owed]
        batch.clear()
        for one in found:
            if one.status == "suppressed":
                metrics.DELIVERIES.labels(one.endpoint, one.status).inc()
        # Two steps: what overtakes knows whether somebody heard of the alert, so it must be safe before the other ends.
        await self._deliveries.append(*(one for one in found if one.stands))
        await self._deliveries.append(*(one for one in found if not one.stands))
