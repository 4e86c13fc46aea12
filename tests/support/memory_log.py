"""A log in memory that can lose answers and land requests late, as a broker may."""

from collections.abc import AsyncIterator, Callable

from streams.kafka.ports import Headers, Message


class MemoryLog:
    """Implements `streams.kafka.ports.Log`. `fate` says what becomes of each append: ok, unknown, late or lost."""

    def __init__(self, fate: Callable[[], str] | None = None) -> None:
        self.messages: list[Message] = []
        self.late: list[tuple[bytes, Headers]] = []
        self.begin = 0
        self._fate = fate or (lambda: "ok")

    def land(self, value: bytes, headers: Headers) -> int:
        offset = len(self.messages)
        self.messages.append(Message(offset, 1_000 + offset, None, value, tuple(headers)))
        return offset

    def land_late(self) -> None:
        value, headers = self.late.pop(0)
        self.land(value, headers)

    async def append(self, value: bytes, headers: Headers) -> int | None:
        match self._fate():
            case "ok":
                return self.land(value, headers)
            case "unknown":  # it landed, the answer was lost
                self.land(value, headers)
            case "late":
                self.late.append((value, headers))
        return None

    async def bounds(self) -> tuple[int, int]:
        return self.begin, len(self.messages)

    async def read(self, start: int, stop: int | None = None) -> AsyncIterator[Message]:
        for message in self.messages[max(start, self.begin) : stop]:
            yield message
