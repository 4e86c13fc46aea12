"""The watch's heartbeat: caught up it vouches for now, behind it vouches for what it has taken, and it never goes back."""

from streams.agents.heartbeat import Heartbeat
from streams.watch.freshness import Beat, beat_key, read_beat
from tests.support.memory_log import MemoryLog


class Hands:
    """Of a clock: both it and the time since it began."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def ms(self) -> int:
        return int(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds


async def test_a_watch_that_has_everything_vouches_for_now_and_one_that_is_behind_for_what_it_took() -> None:
    totals, budgets, hands = MemoryLog(), MemoryLog(), Hands()
    heart = Heartbeat(1, totals, budgets, hands.ms, hands.monotonic)
    await heart.beat(-1, 0, 7)  # nothing there, nothing taken
    totals.land(b"", [])
    totals.land(b"", [])
    for taken, taken_ms in ((0, 100_200), (0, 100_200), (1, 100_300)):
        hands.seconds += 1
        await heart.beat(taken, taken_ms, 8)

    assert [m.key for m in budgets.messages] == [beat_key(1)] * 4
    assert [read_beat(m.value or b"") for m in budgets.messages] == [
        Beat(1, 7, 100_000), Beat(1, 8, 100_200), Beat(1, 8, 100_200), Beat(1, 8, 103_000)
    ]  # fmt: skip


async def test_a_heartbeat_never_goes_back_and_comes_once_a_look() -> None:
    totals, budgets, hands = MemoryLog(), MemoryLog(), Hands()
    heart = Heartbeat(0, totals, budgets, hands.ms, hands.monotonic)
    await heart.beat(-1, 0, 1)
    await heart.beat(-1, 0, 1)  # at once again: nothing is written
    totals.land(b"", [])  # a tick of its own, that it has not taken yet
    hands.seconds += 1
    await heart.beat(-1, 90_000, 1)

    assert [read_beat(m.value or b"").seen for m in budgets.messages] == [100_000, 100_000]
