"""What every route of the API works with, and how it asks who is there."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import Request

from streams.doors.auth import Gate, Principal, Role
from streams.doors.sending import Sender
from streams.doors.view import View
from streams.links import Links


@dataclass(slots=True)
class Door:
    """Wired by `streams.doors.app`."""

    view: View
    gate: Gate
    sender: Sender
    links: Links

    def now(self) -> datetime:
        """By the clock that checks go by."""
        return datetime.fromtimestamp(self.view.now_ms() / 1000, UTC)

    def allows(self, role: Role) -> Callable[[Request], Principal]:
        """A dependency: whoever asks, if the role is theirs."""

        def principal(request: Request) -> Principal:
            return self.gate.allow(request.scope["headers"], role)

        return principal
