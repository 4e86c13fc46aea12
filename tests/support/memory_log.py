"""A log in memory that can lose answers and land requests late, as a broker may."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

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


class Looked(MemoryLog):
    """A test looks in before each request, with its name and its number since then; its own requests are not looked at.

    starts: from where it was read
    """

    def __init__(self) -> None:
        super().__init__()
        self.look: Callable[[str, int], Awaitable[None]] | None = None
        self.asked = Counter[str]()
        self.starts = list[int]()

    async def _asked(self, name: str) -> None:
        look, self.look = self.look, None
        if look:
            self.asked[name] += 1
            await look(name, self.asked[name])
        self.look = look

    async def append(self, value: bytes | None, headers: Headers, key: bytes | None = None) -> int | None:
        await self._asked("append")
        return await super().append(value, headers, key)

    async def bounds(self) -> tuple[int, int]:
        await self._asked("bounds")
        return await super().bounds()

    async def trim(self, before: int) -> None:
        await self._asked("trim")
        await super().trim(before)

    async def read(self, start: int, stop: int | None = None) -> AsyncIterator[Message]:
        self.starts.append(start)
        await self._asked("read")
        async for message in super().read(start, stop):
            yield message
