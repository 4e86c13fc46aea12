"""Snapshots: whole or not at all, the highest position wins, whoever wrote last."""

import pytest

from streams.kafka import snapshots
from streams.pipeline.chain import Chain, LogBroken
from tests.support.memory_log import MemoryLog


async def test_a_snapshot_of_several_parts_comes_back_whole() -> None:
    log, body = MemoryLog(), bytes(2 * snapshots.PART_BYTES + 7)

    await snapshots.write(log, Chain(9, 4, 3), "s", body, {"sequence": 2})

    found = await snapshots.load(log)
    assert found is not None
    assert (found.body, found.manifest.chain, found.manifest.extra) == (body, Chain(9, 4, 3), {"sequence": 2})


async def test_without_its_manifest_a_snapshot_does_not_exist() -> None:
    log = MemoryLog()
    await snapshots.write(log, Chain(9, 4, 3), "s", b"old")
    await snapshots.write(log, Chain(20, 8, 7), "s", b"new")
    log.messages.pop()

    found = await snapshots.load(log)

    assert found is not None
    assert found.body == b"old"


async def test_a_late_snapshot_of_a_former_owner_does_not_win() -> None:
    log = MemoryLog()
    await snapshots.write(log, Chain(20, 8, 7), "s", b"new")
    await snapshots.write(log, Chain(9, 4, 3), "s", b"old")

    found = await snapshots.load(log)

    assert found is not None
    assert found.body == b"new"


async def test_a_snapshot_of_another_stream_stops_the_worker() -> None:
    log = MemoryLog()
    await snapshots.write(log, Chain(20, 8, 7), "other", b"x")
    found = await snapshots.load(log)

    assert found is not None
    with pytest.raises(LogBroken, match="re-created"):
        snapshots.check_identity(found.manifest, "s")
