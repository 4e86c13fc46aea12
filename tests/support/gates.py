"""What the state machines share: workers whose every request waits at a gate until hypothesis says what becomes of it."""

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from streams.kafka.ports import Headers, Message
from tests.support.memory_log import MemoryLog

FAR = st.sampled_from([5, 20, 60, 200])
FATES = st.sampled_from(["ok"] * 5 + ["unknown", "late", "lost"])


class Turns(asyncio.SelectorEventLoop):
    """A loop whose clock moves with each look at it, so that a pause before a retry is some turns, on every machine alike."""

    _now = 0.0

    def time(self) -> float:
        self._now += 0.01
        return self._now


async def inline(work: Callable[..., Any], *args: Any) -> Any:
    """Frame work without a thread: the order of everything is hypothesis' alone."""
    return work(*args)


class Owner:
    """One worker; `calm` lets everything through. A subclass sets `task`, and may say when it has nothing to do."""

    task: "asyncio.Task[None]"

    def __init__(self, calm: bool = False) -> None:
        self.calm = calm
        self.waiting: asyncio.Future[str] | None = None

    async def gate(self) -> str:
        if self.calm:
            return "ok"
        while self.waiting is not None:  # what is sent side by side goes one after the other here
            await asyncio.sleep(0)
        self.waiting = asyncio.get_running_loop().create_future()
        try:
            return await self.waiting
        finally:
            self.waiting = None

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to do."""
        return False

    @property
    def is_stuck(self) -> bool:
        """Whether it does not go on by itself."""
        return self.task.done() or self.is_idle or (self.waiting is not None and not self.waiting.done())


class GatedLog:
    """A log whose every append waits until the machine says what becomes of it."""

    def __init__(self, log: MemoryLog, owner: Owner) -> None:
        self.log, self.owner = log, owner

    async def append(self, value: bytes | None, headers: Headers, key: bytes | None = None) -> int | None:
        fate = await self.owner.gate()
        if fate == "late":
            self.log.late.append((value, headers, key))
            return None
        if fate == "lost":
            return None
        offset = self.log.land(value, headers, key)
        return None if fate == "unknown" else offset

    async def bounds(self) -> tuple[int, int]:
        return await self.log.bounds()

    async def trim(self, before: int) -> None:
        await self.owner.gate()
        await self.log.trim(before)

    async def read(self, start: int, stop: int | None = None) -> AsyncIterator[Message]:
        async for message in self.log.read(start, stop):
            yield message


class Gated(RuleBasedStateMachine):
    """Steps, kills and late requests. A subclass sets `loop`, `owners` and `logs`, those that requests may reach late."""

    loop: asyncio.AbstractEventLoop
    owners: list[Any]
    logs: list[MemoryLog]

    def run(self) -> None:
        """Let everybody go on until all wait at their gates."""

        async def turns() -> None:
            for _ in range(60):
                await asyncio.sleep(0)
                if all(owner.is_stuck for owner in self.owners):
                    return

        self.loop.run_until_complete(turns())
        for owner in self.owners:
            if owner.task.done() and not owner.task.cancelled() and owner.task.exception():
                raise owner.task.exception()
        self.owners = [o for o in self.owners if not o.task.done()]

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), times=st.integers(1, 4) | st.integers(1, 30), fate=FATES)
    def step(self, data: st.DataObject, times: int, fate: str) -> None:
        owner = data.draw(st.sampled_from(self.owners))
        for _ in range(times):
            if owner.waiting is not None and not owner.waiting.done():
                owner.waiting.set_result(fate)
            self.run()

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), most=FAR)
    def work(self, data: st.DataObject, most: int) -> None:
        """An owner gets far before anything happens to it."""
        self.go_on(data.draw(st.sampled_from(self.owners)), most)

    def go_on(self, owner: Owner, most: int) -> None:
        """So many of its requests are answered, or as many as it has."""
        for _ in range(most):
            if owner.waiting is None or owner.waiting.done():
                return
            owner.waiting.set_result("ok")
            self.run()

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.owners)).task.cancel()
        self.run()

    @rule(data=st.data())
    def land_late(self, data: st.DataObject) -> None:
        """A request that its client gave up arrives after all."""
        logs = [log for log in self.logs if log.late]
        if logs:
            data.draw(st.sampled_from(logs)).land_late()
        self.run()

    def land_all(self) -> None:
        for log in self.logs:
            while log.late:
                log.land_late()

    def end(self) -> None:
        """What the subclass proves when everything has calmed down."""
        raise NotImplementedError

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            self.end()
        finally:
            for owner in self.owners:
                owner.task.cancel()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.loop.run_until_complete(asyncio.sleep(0))
                self.loop.close()
