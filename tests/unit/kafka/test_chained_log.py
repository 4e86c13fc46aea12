"""The chained log: whole or nothing, one append in flight, and nobody harmed by a late request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.kafka.chained_log import ChainedLog
from streams.pipeline.chain import Chain, LogBroken
from tests.support.memory_log import MemoryLog


def span(base: int, to: int) -> list[tuple[str, bytes]]:
    return [("base", str(base).encode()), ("to", str(to).encode())]


async def test_an_append_at_the_expected_offset_counts() -> None:
    log = ChainedLog(MemoryLog())

    counted, found = await log.append(b"a", span(-1, 4))

    assert counted
    assert [(c.message.offset, c.previous, c.to) for c in found] == [(0, -1, 4)]
    assert log.chain == Chain(mark=4, end=1, last=0)


async def test_a_stale_batch_is_ignored_whole() -> None:
    memory = MemoryLog()
    owner, zombie = ChainedLog(memory), ChainedLog(memory)
    await owner.append(b"a", span(-1, 4))

    counted, found = await zombie.append(b"z", span(-1, 9))

    assert not counted
    assert [c.message.value for c in found] == [b"a"]
    assert zombie.ignored == 1
    assert await owner.fold() == []
    assert owner.chain.mark == zombie.chain.mark == 4


async def test_an_append_whose_answer_was_lost_is_found_by_the_fold() -> None:
    log = ChainedLog(MemoryLog(lambda: "unknown"))

    counted, found = await log.append(b"a", span(-1, 4))

    assert not counted
    assert [c.message.value for c in found] == [b"a"]
    assert log.chain.mark == 4


async def test_a_truncated_log_stops_its_writer() -> None:
    memory = MemoryLog()
    log = ChainedLog(memory)
    await log.append(b"a", span(-1, 4))
    memory.messages.clear()

    with pytest.raises(LogBroken, match="truncated"):
        await log.fold()


async def test_a_log_that_lost_its_beginning_stops_a_new_reader() -> None:
    memory = MemoryLog()
    await ChainedLog(memory).append(b"a", span(-1, 4))
    memory.begin = 1

    with pytest.raises(LogBroken, match="retention"):
        await ChainedLog(memory).fold()


@given(st.lists(st.tuples(st.integers(-1, 12), st.integers(1, 5)), max_size=30))
def test_what_counts_is_an_unbroken_chain(spans: list[tuple[int, int]]) -> None:
    chain, covered = Chain(), []
    for offset, (base, length) in enumerate(spans):
        chain, counted = chain.take(offset, base, base + length)
        if counted:
            covered.append((base, base + length))

    assert [base for base, _ in covered] == [-1, *(to for _, to in covered)][: len(covered)]
    assert chain.mark == (covered[-1][1] if covered else -1)
