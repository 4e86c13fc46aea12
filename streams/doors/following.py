"""Keeps a view up to date: follows the topics, reads the catalog when it changes, looks at what the meter has covered."""

import asyncio
import contextlib

import structlog
from aiokafka.errors import KafkaError

from streams import metrics
from streams.doors.auth import Gate
from streams.doors.view import FOLLOWED, SECTIONS, View
from streams.kafka import topics
from streams.kafka.catalog_log import CatalogLog
from streams.kafka.client import KafkaClient
from streams.kafka.follower import Follower
from streams.kafka.metered import Metered
from streams.outside import Away
from streams.pipeline.chain import LogBroken
from streams.settings import Settings, group_of

log = structlog.get_logger()
LOOK_SECONDS = 0.5
RETRY_SECONDS = 1.0
SLICE = 20  # records at once, then requests get their turn
FORGET_EVERY = 7_200  # looks


class Following:
    """Two tasks; `run` ends only when it is cancelled. The broker away: what is known grows old, nothing else happens."""

    def __init__(self, settings: Settings, view: View, gate: Gate | None = None) -> None:
        self._settings, self.view, self._gate = settings, view, gate
        self._kafka = KafkaClient(settings.bootstrap)
        self._catalogs = CatalogLog(self._kafka.log(topics.CATALOG, 0))

    async def run(self) -> None:
        """Follow for good."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow())
                tasks.create_task(self._look())
        finally:
            await self._kafka.close()

    async def _follow(self) -> None:
        while True:
            follower = Follower(self._kafka, FOLLOWED)
            try:
                await follower.start()
                self.view.partitions = follower.partitions[topics.BUDGETS]
                await self._read(follower)
            except (Away, KafkaError, OSError) as error:
                self.view.waits_for = self.view.waits_for and str(error)  # what was once read goes on being answered
                await asyncio.sleep(RETRY_SECONDS)
            finally:
                await follower.stop()

    async def _read(self, follower: Follower) -> None:
        is_new = True  # the catalog was not read by this follower yet
        async for topic, partition, messages in follower.batches():
            for i in range(0, len(messages), SLICE):
                self.view.take(topic, partition, messages[i : i + SLICE])
                await asyncio.sleep(0)
            is_new = is_new or (topic == topics.CATALOG and bool(messages))
            if is_new and not follower.behind:
                await self._adopt()
                is_new = False
            if not follower.behind and self.view.waits_for:
                self.view.waits_for = ""

    async def _adopt(self) -> None:
        try:
            sequence = await self._catalogs.refresh()
        except LogBroken as error:
            log.error("catalog cannot be read; the last one stays in use", error=str(error))
            return
        if sequence > self.view.sequence:
            catalog = await asyncio.to_thread(self._catalogs.sections, sequence, SECTIONS)
            if catalog is not None:
                self.view.adopt(sequence, catalog)
                log.info("catalog in use", sequence=sequence, budgets=len(catalog.budgets), runs=len(catalog.runs))

    async def _look(self) -> None:
        metered = Metered(self._kafka, group_of(self._settings, "meter"))
        looks = 0
        try:
            while True:
                if found := await metered.look():
                    self.view.freshness.observe(found.at, found.ends, found.covered, found.now)
                for q, age in self.view.staleness().items():
                    metrics.CHECK_STALENESS.labels(str(q)).set(float("nan") if age is None else age / 1000)
                looks += 1
                if self._gate and looks % 10 == 0:
                    self._gate.look()
                if looks % FORGET_EVERY == 0:
                    self.view.commands.forget(self.view.now_ms())
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await metered.stop()


async def caught_up(following: Following, seconds: float) -> str:
    """Run it until its view can answer and is fresh, or the time is over; why it is not fresh, or nothing."""
    task, view = asyncio.create_task(following.run()), following.view
    try:
        async with asyncio.timeout(seconds):
            while view.waits_for or not view.sequence or None in view.staleness().values():
                if task.done():
                    await task
                await asyncio.sleep(0.05)
    except TimeoutError:
        return "; ".join(view.reasons(int(seconds * 1000)))
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    return ""
