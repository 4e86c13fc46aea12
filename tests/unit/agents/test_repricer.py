"""What had no price is rated again when a catalog prices it: by itself, once, and again for what came too late."""

from decimal import Decimal

from streams.agents.repricer import LATER_SECONDS, Repricer
from streams.jobs.rerate import apply
from streams.kafka.runs_log import RunsLog
from tests.support.corrections import Killed, Ledgers, asked

CENT = Decimal("0.01")


async def ids(world: Ledgers) -> list[str]:
    runs = RunsLog(world.runs)
    await runs.refresh()
    return list(runs.ended)


async def unpriced() -> Ledgers:
    world = Ledgers()
    await world.publish(m="0.01")
    await world.use(0, ("a", "m", 1), ("a", "n", 2))
    return world


async def test_nothing_is_started_until_a_catalog_prices_what_had_no_price() -> None:
    world = await unpriced()
    repricer = Repricer(world.ports, lambda: 0.0)

    before = [await repricer.look() for _ in range(3)]
    await world.publish(m="0.05", n="0.03")  # m has become dearer, which is nobody's to change by itself
    report = await repricer.look()

    assert before == [None, None, None]
    assert report is not None
    assert (report.differences["model"].to_list(), report.differences["new"].to_list()) == (["n"], [6 * CENT])
    assert await repricer.look() is None
    assert await ids(world) == ["prices-v2"]


async def test_two_workers_do_it_once() -> None:
    world = await unpriced()
    await world.publish(m="0.01", n="0.03")

    first, second = [await Repricer(world.ports, lambda: 0.0).look() for _ in range(2)]

    assert first is not None
    assert second is None
    assert await ids(world) == ["prices-v2"]


async def test_what_a_meter_rated_with_the_version_before_is_taken_a_minute_later() -> None:
    world, now = await unpriced(), 0.0
    behind = await world.catalogs()
    await world.publish(m="0.01", n="0.03")
    repricer = Repricer(world.ports, lambda: now)
    await repricer.look()
    await world.use(0, ("b", "n", 1), catalogs=behind)
    assert await repricer.look() is None

    now = LATER_SECONDS
    report = await repricer.look()

    assert report is not None
    assert report.differences["team"].to_list() == ["b"]
    assert await ids(world) == ["prices-v2", "prices-v2-later"]


async def test_a_run_of_its_own_that_was_killed_is_finished_and_one_of_another_is_waited_for() -> None:
    world = await unpriced()
    await world.publish(m="0.01", n="0.03")
    steps = iter(["ok"])

    def die() -> str:
        found = next(steps, "dead")
        if found == "dead":
            raise Killed
        return found

    world.fate = die
    repricer = Repricer(world.ports, lambda: 0.0)
    try:
        await apply(await world.ports(), asked("by-hand", "void", ("team", "nobody")))
    except Killed:
        world.fate = lambda: "ok"

    assert await repricer.look() is None
    await apply(await world.ports(), asked("by-hand", "void", ("team", "nobody")))
    steps, world.fate = iter(["ok"]), die
    try:
        await repricer.look()
    except Killed:
        world.fate = lambda: "ok"
    report = await Repricer(world.ports, lambda: 0.0).look()

    assert report is not None
    assert await ids(world) == ["by-hand", "prices-v2"]
