"""A door in this process: its view fed by hand, its commands in a log of memory that may lose answers."""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from streams.catalog.models import Catalog
from streams.doors.app import create_api
from streams.doors.auth import Gate, new_token
from streams.doors.door import Door
from streams.doors.sending import Sender
from streams.doors.view import View
from streams.kafka import topics
from streams.kafka.ports import Log, Message
from streams.links import Links
from streams.watch.alerts import instant
from streams.watch.freshness import beat_key, beat_record
from tests.support.knowledge import NOW
from tests.support.memory_log import MemoryLog

SECRET = "a secret for signing links"


class Clock:
    """The time of a door."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class Doorway:
    """A door and what it is fed."""

    def __init__(
        self,
        catalog: Catalog,
        tokens: Path | None = None,
        log: Log | None = None,
        most: int = 1_000,
        patience: float = 5.0,
    ) -> None:
        self.clock = Clock()
        self.view = View(most, self.clock)
        self.view.waits_for = ""
        self.view.adopt(1, catalog)
        self.log = MemoryLog() if log is None else log
        gate = Gate(tokens, "127.0.0.1")
        self.door = Door(self.view, gate, Sender(self.log, patience), Links([SECRET], lambda: self.clock.now / 1000))
        self.app = create_api(self.door)
        self._offsets = dict.fromkeys((topics.BUDGETS, topics.ALERTS, topics.ENFORCEMENTS, topics.COMMANDS), 0)
        self.be_fresh(NOW)

    def be_fresh(self, at: int) -> None:
        """Everything until then is known."""
        self.view.freshness.observe(at, {0: 5}, {0: 5}, at)
        self.take(topics.BUDGETS, [(beat_key(0), beat_record(0, at, at))])

    def take(self, topic: str, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        messages = []
        for key, value in records:
            messages.append(Message(self._offsets[topic], NOW, key, value, ()))
            self._offsets[topic] += 1
        self.view.take(topic, 0, messages)

    def budgets(self, *records: dict[str, Any]) -> None:
        self.take(topics.BUDGETS, [(r["scope"].encode(), json.dumps(r).encode()) for r in records])

    def alerts(self, *records: dict[str, Any]) -> None:
        self.take(topics.ALERTS, [(r["alert_id"].encode(), json.dumps(r).encode()) for r in records])

    def enforcements(self, *records: dict[str, Any]) -> None:
        self.take(topics.ENFORCEMENTS, [(r["scope"].encode(), json.dumps(r).encode()) for r in records])

    def sent(self) -> list[dict[str, Any]]:
        """Commands that were appended."""
        return [json.loads(m.value or b"") for m in self.log.messages]  # type: ignore[attr-defined]  # a MemoryLog

    def hear(self) -> None:
        """The door reads its own commands, as it does from the topic."""
        self.view.take(topics.COMMANDS, 0, self.log.messages)  # type: ignore[attr-defined]

    @asynccontextmanager
    async def client(self, token: str = "", host: str = "localhost") -> AsyncIterator[httpx2.AsyncClient]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=f"http://{host}:8686", headers=headers) as client:
            yield client


def alert(
    name: str = "a1", revision: int = 1, state: str = "firing", team: str = "search", **more: Any
) -> dict[str, Any]:
    """A record of usage.alerts; it opened just then, unless `since` says otherwise."""
    return {
        "alert_id": name,
        "revision": revision,
        "state": state,
        "kind": "budget",
        "tenant_id": "acme",
        "budget_id": "team",
        "scope": f"team|tenant_id=acme|team={team}",
        "dimensions": {"tenant_id": "acme", "team": team},
        "severity": "warning",
        "owner": "platform",
        "occurred_at": instant(NOW + revision),
        "since": instant(NOW + revision),
        "summary": f"{team}: 80 % of 10 USD",
        **more,
    }


def enforcement(number: int, verdict: str = "stop", team: str = "search") -> dict[str, Any]:
    """A record of usage.enforcements."""
    return {
        "enforcement_id": f"e{number}",
        "scope": f"team|tenant_id=acme|team={team}",
        "tenant_id": "acme",
        "budget_id": "team",
        "dimensions": {"tenant_id": "acme", "team": team},
        "verdict": verdict,
        "previous": "allow",
        "limit": "10",
        "value": "10.5",
        "unit": "cost",
        "currency": "USD",
        "at": instant(NOW + number),
        "detected_at": instant(NOW + number + 300),
        "text": "the team's money is spent",
        "exception": None,
    }


def tokens(path: Path, **entries: str) -> dict[str, str]:
    """Write a file of tokens, name -> what its entry says besides; the secrets by name."""
    secrets, lines = dict[str, str](), list[str]()
    for name, said in entries.items():
        secret, entry = new_token(name)
        secrets[name] = secret
        lines.append("\n".join([line for line in entry.splitlines() if not line.startswith("roles")] + [said]))
    path.write_text("\n".join(lines))
    return secrets
