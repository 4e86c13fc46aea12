"""A command that kills itself after so many acknowledged messages: `python -m tests.chaos.dying_run COUNT VERB ...`."""

import os
import signal
import sys
from typing import Any

from streams.cli import main as cli
from streams.kafka.client import PartitionLog


def main(count: int) -> None:
    left, append = count, PartitionLog.append

    async def dying_append(self: PartitionLog, *given: Any, **named: Any) -> int | None:
        nonlocal left
        offset = await append(self, *given, **named)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return offset

    PartitionLog.append = dying_append  # type: ignore[method-assign]
    cli.main()


if __name__ == "__main__":
    steps = int(sys.argv.pop(1))
    main(steps)
