"""Send the traces in the pace in which they happened, or faster; kill the meter once on the way."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streams.demo.traces import Sent
from streams.producer import UsageProducer

STEP = 200  # events between two looks at the clock


async def replay(
    bootstrap: str, events: list[Sent], speed: float, at_half: Callable[[], None], moved: Callable[[int], None]
) -> int:
    """Send all; the number that the broker acknowledged. speed: times faster than real, 0 = as fast as it goes."""
    loop, futures = asyncio.get_running_loop(), []
    async with UsageProducer(bootstrap) as usage:
        started = loop.time()
        for number, (at, event) in enumerate(events):
            if number == len(events) // 2:
                await usage.flush()
                at_half()
            if speed and (ahead := started + at / 1000 / speed - loop.time()) > 0:
                await asyncio.sleep(ahead)
            futures.append(await usage.send(event))
            if number % STEP == 0:
                moved(number)
                await asyncio.sleep(0)
        await usage.flush()
    done: list[Any] = await asyncio.gather(*futures)
    moved(len(done))
    return len(done)


def kill_stage(stack: Path, stage: str) -> int:
    """SIGKILL, as a machine would die; the process id. The stack starts the stage again."""
    pid = int(json.loads(stack.read_text())["pids"][stage])
    os.kill(pid, signal.SIGKILL)
    return pid
