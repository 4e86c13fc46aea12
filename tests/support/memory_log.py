"""A log in memory that can lose answers and land requests late, as a broker may."""

from collections.abc import AsyncIterator, Callable

from streams.kafka.ports import Headers, Message


class MemoryLog:
    """Implements `streams.kafka.ports.Log`. `fate` says what becomes of each append: ok, unknown, late or lost."""

    def __init__(self, fate: Callable[[], str] | None = None) -> None:
        self.messages: list[Message] = []
        self.late: list[tuple[bytes | None, Headers, bytes | None]] = []
        self.begin = 0
        self.trims = list[int]()
        self._fate = fate or (lambda: "ok")

    def land(self, value: bytes | None, headers: Headers, key: bytes | None = None) -> int:
        offset = len(self.messages)
        self.messages.append(Message(offset, 1_000 + offset, key, value, tuple(headers)))
        return offset

    def land_late(self) -> None:
        self.land(*self.late.pop(0))

    async def append(self, value: bytes | None, headers: Headers, key: bytes | None = None) -> int | None:
        match self._fate():
            case "ok":
                return self.land(value, headers, key)
            case "unknown":  # it landed, the answer was lost
                self.land(value, headers, key)
            case "late":
                self.late.append((value, headers, key))
        return None

    async def trim(self, before: int) -> None:
        self.trims.append(before)
        self.begin = max(self.begin, before)

    async def bounds(self) -> tuple[int, int]:
        return self.begin, len(self.messages)

    async def read(self, start: int, stop: int | None = None) -> AsyncIterator[Message]:
        for message in self.messages[max(start, self.begin) : stop]:
            yield message
