"""Totals of corrections: what is owed above the commit is sent, in log order; a wrong log stops the stage."""

from decimal import Decimal

import pytest

from streams.agents.adjuster import Adjuster, AdjusterPorts
from streams.jobs.rerate import apply
from streams.pipeline.adjust import adjusted_totals
from streams.pipeline.chain import LogBroken
from streams.pipeline.totals import read_totals, split
from tests.support.corrections import Ledgers, asked
from tests.support.gates import inline
from tests.support.memory_log import MemoryLog


async def corrected() -> Ledgers:
    """Three runs: each takes back one event of partition 0; a late repeat of the second one's message lies in the log too."""
    world = Ledgers()
    await world.publish(m="0.01")
    await world.use(0, ("a", "m", 1), ("b", "m", 2), ("c", "m", 3))
    for name in ("e0", "e2", "e4"):
        await apply(await world.ports(), asked(name, "void", ("event_id", name)))
        if name == "e2":
            again = world.adjustments[0].messages[-1]
            world.adjustments[0].land(again.value, again.headers)
    return world


async def ports(world: Ledgers, sent: MemoryLog) -> AdjusterPorts:
    return AdjusterPorts(
        partition=0,
        adjustments=world.adjustments[0],
        totals=[sent],
        catalogs=await world.catalogs(),
        totals_of=lambda pairs, published: split(adjusted_totals(pairs, published.scopes), 1),
        stream="s1",
        offload=inline,
    )


def stamps(sent: MemoryLog) -> list[tuple[bytes, bytes, bytes]]:
    return [(h["stream"], h["at"], h["previous"]) for h in (dict(m.headers) for m in sent.messages)]


async def test_what_counts_is_sent_once_in_log_order_under_a_stream_of_its_own() -> None:
    world, sent = await corrected(), MemoryLog()

    adjuster = await Adjuster.open(await ports(world, sent), 0)
    await adjuster.settle([])

    stream = b"s1/adjustments"
    assert stamps(sent) == [(stream, b"0", b"-1"), (stream, b"1", b"0"), (stream, b"3", b"1")]  # 2 is the repeat
    figures = [read_totals(m.value or b"").select("scope", "events", "cost").row(0) for m in sent.messages]
    assert figures == [
        (f"day|tenant_id=acme|team={team}", -1, Decimal(-cost) / 100) for team, cost in (("a", 1), ("b", 2), ("c", 3))
    ]
    assert adjuster.rows == 3


@pytest.mark.parametrize(("committed", "owed"), [(0, [b"0", b"1", b"3"]), (1, [b"1", b"3"]), (3, [b"3"]), (4, [])])
async def test_a_new_owner_sends_what_lies_above_the_commit(committed: int, owed: list[bytes]) -> None:
    world, sent = await corrected(), MemoryLog()

    await Adjuster.open(await ports(world, sent), committed)

    assert [at for _, at, _ in stamps(sent)] == owed


async def test_a_log_that_was_cut_or_is_of_another_stream_stops_the_stage() -> None:
    world = await corrected()
    with pytest.raises(LogBroken, match=r"usage\.adjustments/0: holds \[0, 4\), 5 were committed: it was cut"):
        await Adjuster.open(await ports(world, MemoryLog()), 5)
    other = await ports(world, MemoryLog())
    other.stream = "s2"
    with pytest.raises(LogBroken, match="corrects stream s1, the source is s2; restore the topic"):
        await Adjuster.open(other, 0)
    world.adjustments[0].begin = 1
    with pytest.raises(LogBroken, match="restore the topic, its retention must be unlimited"):
        await Adjuster.open(await ports(world, MemoryLog()), 1)
