"""A delivery: one revision of one alert to one endpoint, as usage.deliveries has it; and what is posted together.

Statuses: sending (owed; an `attempt` above 0 may have reached the other side), failed (that one did; `next_at` says when the
next one is due), sent, given_up (final), suppressed (decided so; with `held_by` it waits until that alert is over).
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Status = Literal["sending", "sent", "failed", "given_up", "suppressed"]
FINAL = ("sent", "given_up", "suppressed")
FACTS = ("tenant_id", "budget_id", "kind", "severity", "owner", "state", "reason", "threshold", "detected_at")


class Delivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One record of usage.deliveries; times are ms since 1970, UTC.

    group:     what may be posted in one message with it: route and the values that it groups by
    partition, offset: where the alert's record stands in usage.alerts; offset -1 is a digest, whose figures are `body`
    queued_at: when it was first owed; the schedule of attempts counts from there
    again:     how often a person asked for it again
    code:      of the last answer (HTTP or SMTP); `error` in words, never with a secret
    answer:    what the other side calls the message, by which it is changed later
    version:   of the endpoint as the catalog had it
    stands:    False when it says nothing of how its alert stands: overtaken, or asked for again when that is over
    heard:     an earlier revision of its alert, overtaken since, may have arrived there
    facts:     of the alert, so that whoever reads this topic needs no other
    """

    delivery_id: str
    alert_id: str
    revision: int
    endpoint: str
    route: str
    group: str
    partition: int
    offset: int
    status: Status
    at: int
    queued_at: int
    next_at: int | None = None
    attempt: int = 0
    again: int = 0
    code: int | None = None
    error: str | None = None
    answer: str | None = None
    held_by: str | None = None
    version: str = ""
    by: str | None = None
    facts: dict[str, Any] = {}
    dimensions: dict[str, str] = {}
    body: dict[str, Any] | None = None
    stands: bool = True
    heard: bool = False

    @property
    def owed(self) -> bool:
        return self.status in ("sending", "failed")

    @property
    def final(self) -> bool:
        return self.status in FINAL and self.held_by is None

    @property
    def state(self) -> str:
        """Of the alert, in this revision."""
        return str(self.facts.get("state", ""))

    @property
    def may_have_arrived(self) -> bool:
        """Somebody may know of its alert: by it, or by what it overtook."""
        return self.attempt > 0 or self.heard

    def now(self, at: int, **changes: Any) -> "Delivery":
        """The next record of it."""
        fresh = {"next_at": None, "code": None, "error": None, "held_by": None, **changes}
        return msgspec.structs.replace(self, at=at, **fresh)


def delivery_id(alert_id: str, revision: int, endpoint: str) -> str:
    """The same for every replay: an idempotency key for whoever knows such a thing."""
    return hashlib.sha256(f"{alert_id}\n{revision}\n{endpoint}".encode()).hexdigest()[:32]


def facts_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Of an alert's record, what its deliveries repeat."""
    return {name: record[name] for name in FACTS if record.get(name) is not None}


def encode(one: Delivery) -> bytes:
    """As JSON."""
    return msgspec.json.encode(one)


def decode(value: bytes) -> Delivery:
    """What `encode` wrote, by this version or a later one."""
    return msgspec.json.decode(value, type=Delivery)
