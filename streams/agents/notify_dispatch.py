"""Sends what is owed: an endpoint's posts never wait for another endpoint. One dispatcher a process, driven from outside.

An attempt is written down before it is made, with the moment at which somebody else may make it again (LEASE_MS); so a kill in
between repeats at most that one post, under the same ids. Nothing here sleeps: `pump` starts what is due and returns.
"""

import asyncio
import traceback
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiokafka.errors import KafkaError

from streams import metrics
from streams.agents.notify_log import DeliveryLog
from streams.catalog.routes import Endpoint
from streams.notify.alertmanager import RESEND_MS
from streams.notify.channels import TRAITS, Letter, Ports, Traits, send
from streams.notify.delivery import Delivery
from streams.notify.inhibit import inhibitor
from streams.notify.plan import Asked
from streams.notify.retry import HOUR, SCHEDULE, Answer, Breaker, next_attempt
from streams.outside import Away

log = structlog.get_logger()
LEASE_MS = 40_000  # longer than a post may take, its records included
THROTTLE_MS = 5_000  # when the other side asks for patience and does not say how much
STALE_MS = SCHEDULE[-1] + HOUR
MOST_AT_ONCE = 40  # alerts in one message
Records = Callable[[int, int], Coroutine[Any, Any, Mapping[str, Any] | None]]
Sender = Callable[[Endpoint, list[Letter], Ports, int], Coroutine[Any, Any, Answer]]


@dataclass(slots=True)
class Desk:
    """What a process knows of one endpoint: it is lost with it, and when the catalog changes it. `version`: which it knows."""

    traits: Traits
    version: str
    breaker: Breaker = field(default_factory=Breaker)
    paused_until: int = 0
    posted_at: int = 0
    resent_at: int = 0
    flying: int = 0

    def free(self, now: int) -> bool:
        return (
            self.flying < self.traits.at_once
            and now >= self.paused_until
            and now - self.posted_at >= self.traits.pace_ms
            and self.breaker.lets(now)
        )


class Dispatcher:
    """`flying`: deliveries that are being posted. `asked` is what the catalog says; its owner replaces it."""

    def __init__(
        self,
        deliveries: DeliveryLog,
        ports: Ports,
        records: Records,
        owns: Callable[[int], bool],
        now_ms: Callable[[], int],
        jitter: Callable[[], float],
        sender: Sender = send,
    ) -> None:
        self._deliveries, self._ports, self._records, self._owns = deliveries, ports, records, owns
        self._now, self._jitter, self._send = now_ms, jitter, sender
        self.asked = Asked({}, (), {})
        self.parents: Mapping[str, frozenset[str]] = {}
        self.flying: dict[str, tuple[str, str]] = {}
        self.desks: dict[str, Desk] = {}
        self._tasks = set[asyncio.Task[None]]()
        self._turn = asyncio.Lock()

    async def pump(self) -> None:
        """Start every post that is due and may be; hold back and let go what inhibition says."""
        async with self._turn:  # two partitions at once would decide the same twice
            now = self._now()
            await self._settle(list(self._decided(now)))
            for endpoint in self._deliveries.book.endpoints():
                self._start(endpoint, now)
            self._resend(now)
            self._tell(now)

    async def landed(self, seconds: float | None = None) -> None:
        """Until everything in the air has landed, or for so long."""
        while tasks := [t for t in self._tasks if not t.done()]:
            _, pending = await asyncio.wait(tasks, timeout=seconds)
            if pending:
                return

    def _decided(self, now: int) -> Iterator[Delivery]:
        """What needs no post: endpoints that are not there any more or gone, children whose parents page, and are over."""
        book = self._deliveries.book
        for one in list(book.open.values()):
            if one.delivery_id in self.flying or not self._owns(one.partition):
                continue
            if one.held_by is not None:
                if self._parent(one) is None:
                    yield one.now(now, status="sending", queued_at=now, next_at=now)
                continue
            if one.next_at is None or one.next_at > now:
                continue
            if one.endpoint not in self.asked.endpoints:
                yield one.now(now, status="given_up", error="the endpoint is no longer in the catalog")
            elif book.gone.get(one.endpoint) == self.asked.versions[one.endpoint] and not one.again:
                yield one.now(now, status="given_up", error="the endpoint answered 410; change it, or redeliver")
            elif now - one.queued_at > STALE_MS:
                yield one.now(now, status="given_up", error="was owed for more than a day")
            elif parent := self._parent(one):
                yield one.now(now, status="suppressed", held_by=parent, error=f"its parent pages, alert {parent}")

    def _parent(self, one: Delivery) -> str | None:
        if one.state != "firing" or one.may_have_arrived or not self.parents:
            return None
        return inhibitor(one, self._deliveries.book.paging(), self.parents)

    async def _settle(self, decided: list[Delivery]) -> None:
        for one in decided:
            if not one.owed or one.status == "failed":
                metrics.DELIVERIES.labels(one.endpoint, one.status).inc()
        await self._deliveries.append(*decided)

    def _start(self, name: str, now: int) -> None:
        endpoint = self.asked.endpoints.get(name)
        if endpoint is None:
            return
        desk = self._desk(endpoint)
        while desk.free(now) and (unit := self._next(endpoint, now)):
            for one in unit:
                self.flying[one.delivery_id] = one.alert_id, name
            self._launch(desk, now, self._post(endpoint, desk, unit))

    def _desk(self, endpoint: Endpoint) -> Desk:
        """A pause or a breaker of an address holds for no other one."""
        version = self.asked.versions[endpoint.id]
        desk = self.desks.setdefault(endpoint.id, Desk(TRAITS[endpoint.kind], version))
        if desk.version != version:  # what flies goes on flying
            desk.traits, desk.version, desk.breaker, desk.paused_until = TRAITS[endpoint.kind], version, Breaker(), 0
        return desk

    def _launch(self, desk: Desk, now: int, flight: Coroutine[Any, Any, None]) -> None:
        desk.flying += 1
        desk.posted_at = now
        desk.breaker.sending()
        task = asyncio.create_task(flight)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _next(self, endpoint: Endpoint, now: int) -> list[Delivery]:
        """The longest owed delivery that is due, and what is posted together with it."""
        book, busy = self._deliveries.book, set(self.flying.values())
        due = [
            d
            for d in book.at(endpoint.id)
            if d.next_at is not None
            and d.next_at <= now
            and d.held_by is None
            and d.delivery_id not in self.flying
            and (d.alert_id, endpoint.id) not in busy
            and not any(e.revision < d.revision and e.held_by is None for e in book.owed(d.alert_id, endpoint.id))
            and self._owns(d.partition)
        ]
        if not due:
            return []
        first = self._unit(endpoint, due[0])
        if not TRAITS[endpoint.kind].grouped:
            return due[:1]
        chosen = dict[str, Delivery]()
        for one in due:  # of an alert one revision a post, so that they arrive in their order
            if self._unit(endpoint, one) == first:
                chosen.setdefault(one.alert_id, one)
        return list(chosen.values())[:MOST_AT_ONCE]

    def _unit(self, endpoint: Endpoint, one: Delivery) -> tuple[str, str]:
        """What is posted together: a group; or what changes one message; else one alert."""
        if one.body is not None:
            return "digest", one.delivery_id
        told = self._deliveries.book.told.get((one.alert_id, one.endpoint))
        if told is not None and told.answer and endpoint.kind == "slack_bot":
            return ("message" if one.state != "firing" else "thread"), told.answer
        return ("group", one.group) if TRAITS[endpoint.kind].grouped else ("alert", one.alert_id)

    async def _post(self, endpoint: Endpoint, desk: Desk, unit: list[Delivery]) -> None:
        answer, version = None, desk.version
        try:
            now = self._now()
            unit = [one.now(now, status="sending", attempt=one.attempt + 1, next_at=now + LEASE_MS) for one in unit]
            await self._deliveries.append(*unit)
            letters, lost = await self._letters(unit)
            answer = await self._asked(endpoint, letters) if letters else None
            now = self._now()
            done = [one.now(now, status="given_up", error="its alert is no longer on usage.alerts") for one in lost]
            if answer is not None:
                done += [self._judged(one, answer, now) for one in unit if one not in lost]
                if desk.version == version:
                    self._learn(desk, answer, now)
            await self._settle(done)
        except (KafkaError, OSError, Away) as error:  # the broker: the lease runs out, and somebody tries again
            log.warning("a delivery waits for the broker", endpoint=endpoint.id, error=type(error).__name__)
        finally:
            desk.flying -= 1
            desk.breaker.probing = False
            for one in unit:
                self.flying.pop(one.delivery_id, None)
        self._start(endpoint.id, self._now())

    async def _letters(self, unit: list[Delivery]) -> tuple[list[Letter], list[Delivery]]:
        """What to say, and what cannot be said since its alert is lost; a message of several alerts is said whole."""
        book = self._deliveries.book
        routes = {one.id: one.hand_off for one in self.asked.routes}
        letters, lost = list[Letter](), list[Delivery]()
        told = book.told.get((unit[0].alert_id, unit[0].endpoint))
        answer = told.answer if told else None
        rest = book.messages.get((unit[0].endpoint, answer), {}) if answer and unit[0].state != "firing" else {}
        others = [d for alert, d in rest.items() if alert not in {one.alert_id for one in unit}]
        for one in [*unit, *others[: MOST_AT_ONCE - 1]]:
            record = None if one.body is not None else await self._records(one.partition, one.offset)
            if record is None and one.body is None:
                lost += [one] if one in unit else []
            else:
                letters.append(Letter(one, record, routes.get(one.route, ""), answer))
        return letters, lost

    async def _asked(self, endpoint: Endpoint, letters: list[Letter]) -> Answer:
        try:
            return await self._send(endpoint, letters, self._ports, self._now())
        except Exception as error:  # ours, not theirs: the same payload would fail for ever, its neighbours must not
            where = "".join(traceback.format_tb(error.__traceback__)[-3:])  # places alone: messages may hold anything
            log.error("a message cannot be made", endpoint=endpoint.id, error=type(error).__name__, at=where)
            return Answer(None, f"the message cannot be made ({type(error).__name__})", final=True)

    def _judged(self, one: Delivery, answer: Answer, now: int) -> Delivery:
        said = {"code": answer.code, "error": answer.error, "answer": answer.reference or one.answer}
        if answer.taken:
            return one.now(now, status="sent", **said)
        again = (
            None if answer.final else next_attempt(one.queued_at, one.attempt, now, self._jitter(), answer.retry_after)
        )
        if again is None:
            return one.now(now, status="given_up", **said)
        return one.now(now, status="failed", next_at=again, **said)

    def _learn(self, desk: Desk, answer: Answer, now: int) -> None:
        desk.breaker.saw(answer, now)
        if not answer.taken and answer.throttled:
            pause = THROTTLE_MS if answer.retry_after is None else int(answer.retry_after * 1000)
            desk.paused_until = max(desk.paused_until, now + pause)

    def _resend(self, now: int) -> None:
        """Alertmanager forgets what it is not told again; these repeats are no deliveries, and are not written down."""
        standing: dict[str, list[Delivery]] = {}
        for (_, name), one in self._deliveries.book.told.items():
            endpoint = self.asked.endpoints.get(name)
            if endpoint is not None and endpoint.kind == "alertmanager" and self._owns(one.partition):
                standing.setdefault(name, []).append(one)
        for name, found in standing.items():
            desk = self._desk(self.asked.endpoints[name])
            fresh = [one for one in found if now - one.at >= RESEND_MS]
            if fresh and now - desk.resent_at >= RESEND_MS and desk.free(now):
                desk.resent_at = now
                self._launch(desk, now, self._repeat(self.asked.endpoints[name], desk, found))

    async def _repeat(self, endpoint: Endpoint, desk: Desk, found: list[Delivery]) -> None:
        try:
            for i in range(0, len(found), MOST_AT_ONCE):
                letters, _ = await self._letters(found[i : i + MOST_AT_ONCE])
                if letters:
                    answer = await self._asked(endpoint, letters)
                    self._learn(desk, answer, self._now())
                    metrics.DELIVERIES.labels(endpoint.id, "repeated" if answer.taken else "failed").inc()
        except (KafkaError, OSError, Away) as error:
            log.warning("a delivery waits for the broker", endpoint=endpoint.id, error=type(error).__name__)
        finally:
            desk.flying -= 1
            desk.breaker.probing = False

    def _tell(self, now: int) -> None:
        owed = [d.queued_at for d in self._deliveries.book.open.values() if d.owed and self._owns(d.partition)]
        metrics.OLDEST_DELIVERY.set((now - min(owed)) / 1000 if owed else 0)
        for name, desk in self.desks.items():
            metrics.BREAKER.labels(name).set(desk.breaker.state(now))
