"""An alert as the state of its scope keeps it; small, since a million scopes may have some. Changed by machine.py alone."""

from decimal import Decimal
from typing import NamedTuple

import msgspec

PENDING, FIRING, ACKNOWLEDGED, RESOLVED = "pending", "firing", "acknowledged", "resolved"


class Ack(msgspec.Struct, frozen=True, array_like=True):
    """Who has taken an alert on, and when (ms)."""

    by: str
    at: int
    note: str = ""


class Hush(NamedTuple):
    """A silence or a maintenance window in force, and when it ends (ms)."""

    id: str
    until: int
    reason: str


class Raised(msgspec.Struct, frozen=True, array_like=True):
    """One alert of a scope. Times are the watch's clock in ms; 0 = never.

    revision: counts its changes, each is published under its own number
    name:     of the condition that it is about
    start:    of the period that it belongs to; of an episode the end of the slice in which it began. Part of its id
    end:      of that period; of an episode the end of its window when it was last looked at
    since:    when it crossed, this time
    value, limit, unit, severity: as last seen; the limit as of when it was last over
    clear:    since when it has been clear without a break, and `clearing` for which reason
    paged:    when somebody was first told of it, this time; `told`: when last. Both later by what was silent since
    seen:     until when that is taken into account
    level:    how often it was escalated
    hushed:   when the silence ends that held at the last look
    """

    state: str
    revision: int
    name: str
    start: int
    end: int
    since: int
    value: Decimal
    limit: Decimal
    unit: str
    severity: str
    episode: bool
    clear: int = 0
    clearing: str = ""
    paged: int = 0
    told: int = 0
    level: int = 0
    hushed: int = 0
    ack: Ack | None = None
    seen: int = 0

    @property
    def is_open(self) -> bool:
        return self.state != RESOLVED

    @property
    def is_late(self) -> bool:
        """Whether it was opened when its period was over."""
        return not self.episode and self.since >= self.end
