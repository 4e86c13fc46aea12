"""A notify stage in memory, in virtual time: the real plan, book and dispatcher over logs in memory; endpoints by script."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from streams.agents.notify import asked_of
from streams.agents.notify_dispatch import Dispatcher
from streams.agents.notify_log import DeliveryLog
from streams.agents.notify_partition import NotifyPartition
from streams.catalog.models import Catalog
from streams.catalog.parse import parse_files
from streams.catalog.routes import Endpoint
from streams.notify.address import look_up
from streams.notify.channels import Letter, Ports
from streams.notify.delivery import Delivery, decode
from streams.notify.inhibit import parents_of
from streams.notify.retry import Answer
from streams.notify.web import Web
from streams.pipeline.frames import Record
from tests.support.memory_log import MemoryLog

START = 1_795_000_000_000  # 2026-11-18
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000


def alert(name: str = "a1", revision: int = 1, state: str = "firing", **other: Any) -> dict[str, Any]:
    """A record of usage.alerts, as the contract has it."""
    return {
        "alert_id": name, "revision": revision, "state": state, "reason": "crossed" if state == "firing" else state,
        "kind": "budget", "tenant_id": "acme", "budget_id": "team-day", "scope": f"team-day|tenant_id=acme|team={name}",
        "dimensions": {"team": name}, "severity": "warning", "threshold": "0.8", "value": "41.5", "limit": "50",
        "percent": "83.0", "unit": "cost", "currency": "USD", "events": 120, "unpriced_events": 0, "owner": "platform",
        "accountable": "cfo@acme.example", "runbook": "https://wiki.acme.example/ai-spend",
        "window": {"name": "period", "kind": "calendar", "size": "day", "zone": "Europe/Berlin"},
        "period_start": "2026-11-17T23:00:00.000Z", "period_end": "2026-11-18T23:00:00.000Z",
        "occurred_at": "2026-11-18T10:00:00.000Z", "detected_at": "2026-11-18T10:00:01.000Z",
        "since": "2026-11-18T10:00:00.000Z", "late": False, "lateness_ms": 0,
        "contributors": [{"dimension": "model", "value": "gpt-5.2", "amount": "30.25", "share": "0.73"}],
        "query": "usage-streams query cost_by_team --param start='2026-11-17 23:00:00'", "link": f"/v1/alerts/{name}",
        "silenced": None, "acknowledged": None, "escalation": 0, "deduplication_key": name,
        "ledger": {"stream": "s", "partition": 0, "offset": 7}, "summary": f"team {name}: 83.0 % of 50 USD",
    } | other  # fmt: skip


def catalog(text: str) -> Catalog:
    """Of a TOML text."""
    return parse_files({"routes.toml": text})


class World:
    """One log of deliveries, one of alerts a partition, a clock; processes come and go. `script` answers posts by endpoint."""

    def __init__(self, text: str, partitions: int = 1) -> None:
        self.now = START
        self.catalog = catalog(text)
        self.deliveries = MemoryLog()
        self.alerts = [MemoryLog() for _ in range(partitions)]
        self.script: dict[str, Callable[[list[Letter]], Answer]] = {}
        self.posts: list[tuple[int, str, list[Letter]]] = []

    def publish(self, *records: Mapping[str, Any], partition: int = 0) -> None:
        for record in records:
            self.alerts[partition].land(json.dumps(record).encode(), [], str(record["alert_id"]).encode())

    def posted(self, endpoint: str = "") -> list[tuple[str, int]]:
        """Alert and revision of every post, in order."""
        return [
            (one.delivery.alert_id, one.delivery.revision)
            for _, name, letters in self.posts
            if endpoint in ("", name)
            for one in letters
        ]

    def records(self) -> list[Delivery]:
        return [decode(m.value or b"") for m in self.deliveries.messages]

    def last(self, alert_id: str, endpoint: str = "") -> Delivery:
        return [d for d in self.records() if d.alert_id == alert_id and endpoint in ("", d.endpoint)][-1]


class Process:
    """One worker: owns partitions, takes what they hold from where the group has committed."""

    def __init__(self, world: World, owns: set[int] | None = None, committed: dict[int, int] | None = None) -> None:
        self.world = world
        self.owns = set(range(len(world.alerts))) if owns is None else owns
        self.committed = {} if committed is None else committed
        self.log = DeliveryLog(world.deliveries)
        web = Web(False, lambda: world.now, look_up)

        async def publish(topic: str, key: bytes, value: bytes) -> int | None:
            return 0

        self.dispatcher = Dispatcher(
            self.log,
            Ports(web, publish),
            self._record,
            self.owns.__contains__,
            lambda: world.now,
            lambda: 0.0,
            self._send,
        )
        self._partitions: dict[int, NotifyPartition] = {}

    async def _record(self, partition: int, offset: int) -> Mapping[str, Any] | None:
        messages = self.world.alerts[partition].messages
        return dict(json.loads(messages[offset].value or b"")) if offset < len(messages) else None

    async def _send(self, endpoint: Endpoint, letters: list[Letter], ports: Ports, now: int) -> Answer:
        self.world.posts.append((now, endpoint.id, letters))
        script = self.world.script.get(endpoint.id)
        return script(letters) if script else Answer(200)

    async def _look(self) -> None:
        self.dispatcher.asked = asked_of(self.world.catalog)
        self.dispatcher.parents = parents_of(self.world.catalog.budgets, self.world.catalog.burn_rates)

    async def take(self, land: bool = True) -> None:
        """Everything that came, and whatever is due now."""
        for p in sorted(self.owns):
            if p not in self._partitions:
                self._partitions[p] = await NotifyPartition.open(
                    p, self.log, self.dispatcher, self._look, lambda: self.world.now
                )
            at = self.committed.get(p, 0)
            fresh = self.world.alerts[p].messages[at:]
            records = [Record(m.offset, self.world.now, m.value, m.headers, m.key) for m in fresh]
            await self._partitions[p].settle(records)
            self.committed[p] = at + len(fresh)
        if land:
            await self.dispatcher.landed()

    async def run(self, ms: int, step: int = SECOND) -> None:
        """Time goes on; looked at once a step, as the lanes do."""
        end = self.world.now + ms
        while self.world.now < end:
            self.world.now = min(self.world.now + step, end)
            await self.take()
