"""A stage that kills itself at one moment: `python -m tests.chaos.dying_stage STAGE MOMENT COUNT`.

The stage is the product's, unchanged; only the port to the outside is wrapped, so that SIGKILL comes right after the COUNT-th
acknowledged step of that kind, where a power cut would be worst.
"""

import os
import signal
import sys
from typing import Any

from streams import worker
from streams.kafka.client import PartitionLog
from streams.kafka.transport import ChunkConsumer
from streams.warehouse import adjustments, insert

AFTER = {name: f"usage.{name}" for name in ("dead", "totals", "alerts", "state")} | {"ledger": "usage.rated"}


def die() -> None:
    print("dying", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def main(stage: str, moment: str, count: int) -> int:
    left = count
    append, commit, insert_frame = PartitionLog.append, ChunkConsumer._commit, insert.insert_frame

    def dying_correction(*given: Any, **named: Any) -> None:
        insert_frame(*given, **named)
        if moment == "correction":
            step()

    def step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            die()

    async def dying_append(self: PartitionLog, *given: Any, **named: Any) -> int | None:
        offset = await append(self, *given, **named)
        if self.topic == AFTER.get(moment):
            step()
        return offset

    async def dying_commit(self: Any, offsets: Any) -> Any:
        if moment == "before commit":
            step()
        done = await commit(self, offsets)
        if moment == "commit":
            step()
        return done

    def dying_insert(*given: Any, **named: Any) -> None:
        insert_frame(*given, **named)
        if moment == "insert":
            step()

    PartitionLog.append, ChunkConsumer._commit = dying_append, dying_commit  # type: ignore[method-assign]
    insert.insert_frame = dying_insert
    adjustments.insert_frame = dying_correction  # type: ignore[attr-defined]  # as it imported it
    return worker.main([stage])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
