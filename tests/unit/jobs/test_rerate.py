"""Runs of corrections over logs in memory: idempotent by id, one at a time, killed anywhere and resumed, exact."""

import asyncio
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.jobs import rerate
from streams.jobs.rerate import RunRefused, apply, plan, rerate_unpriced, resume
from streams.kafka.runs_log import RunsLog
from streams.pipeline.chain import LogBroken
from streams.pipeline.runs import offset_of, run_of
from tests.support.corrections import Killed, Ledgers, asked

CENT = Decimal("0.01")
USES = [("a", "m", 1), ("b", "m", 2), ("a", "n", 3), ("b", "none", 4), ("a", "m", 5)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rerate, "ROWS", 2)  # so that a run has several messages
    monkeypatch.setattr(rerate, "AGAIN_SECONDS", 0)


async def rated() -> Ledgers:
    """m has a price of 1 cent; n and none have none. Then m costs 2 cents and n 3."""
    world = Ledgers()
    await world.publish(m="0.01")
    await world.use(0, *USES)
    await world.use(1, *USES, *USES)
    await world.publish(m="0.02", n="0.03")
    return world


def cost(world: Ledgers) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for _, model, amount, _, _ in world.stands():
        found[model] = found.get(model, Decimal(0)) + (amount or Decimal(0))
    return found


async def test_a_plan_says_everything_and_changes_nothing() -> None:
    world = await rated()
    before = world.stands()

    report = await plan(await world.ports(), asked("r"))

    assert (report.state, report.catalog_sequence) == ("planned", 2)
    rows = {(r["team"], r["model"]): r for r in report.differences.rows(named=True)}
    assert set(rows) == {("a", "m"), ("b", "m"), ("a", "n")}
    assert (rows["a", "m"]["old"], rows["a", "m"]["new"]) == (18 * CENT, 36 * CENT)  # 3 x (1 + 5)
    assert (rows["a", "n"]["difference"], rows["a", "n"]["unpriced_before"]) == (27 * CENT, 3)  # 3 x 3 x 3 cents
    assert world.stands() == before
    assert world.runs.messages == world.adjustments[0].messages == world.adjustments[1].messages == []


async def test_a_run_does_what_its_plan_said_and_budgets_follow() -> None:
    world = await rated()
    planned = await plan(await world.ports(), asked("r"))

    report = await apply(await world.ports(), asked("r"))

    assert report.state == "applied"
    assert report.differences.equals(planned.differences)
    assert cost(world) == {"m": 48 * CENT, "n": 27 * CENT, "none": 0}  # 3 x 8 x 2 cents
    assert await world.budget_totals() == {
        "day|tenant_id=acme|team=a": (9, 0, 63 * CENT),
        "day|tenant_id=acme|team=b": (6, 3, 12 * CENT),
    }


async def test_the_same_run_id_twice_changes_nothing_and_says_so() -> None:
    world = await rated()
    first = await apply(await world.ports(), asked("r"))
    before = [len(log.messages) for log in (world.runs, *world.adjustments)]

    again = await apply(await world.ports(), asked("r"))

    assert again.state == "already applied"
    assert again.differences.equals(first.differences)
    assert [len(log.messages) for log in (world.runs, *world.adjustments)] == before


async def test_an_id_that_stands_for_another_correction_is_refused() -> None:
    world = await rated()
    await apply(await world.ports(), asked("r"))

    with pytest.raises(RunRefused, match="run r: that id stands for another correction; choose another --run-id"):
        await apply(await world.ports(), asked("r", "void", ("team", "a")))


async def test_each_partition_reaches_the_vector_although_nothing_changes_there() -> None:
    world = await rated()

    await apply(await world.ports(), asked("r", "void", ("event_id", "e1")))  # in partition 1

    [only] = world.counted(0)
    assert only.value == b""
    to = int(dict(only.headers)["to"])
    assert (run_of(to), offset_of(to)) == (1, len(world.ledgers[0].messages) - 1)


async def test_a_void_takes_usage_back_from_budgets_and_keeps_the_row() -> None:
    world = await rated()

    await apply(await world.ports(), asked("loop", "void", ("team", "a")))
    again = await apply(await world.ports(), asked("loop-2", "void", ("team", "a")))

    assert again.differences.height == 0
    assert {(status, amount) for _, _, amount, status, gone in world.stands() if gone} == {("void", Decimal(0))}
    assert await world.budget_totals() == {
        "day|tenant_id=acme|team=a": (0, 0, Decimal(0)),
        "day|tenant_id=acme|team=b": (6, 3, 6 * CENT),
    }


async def test_a_second_run_takes_what_the_first_one_left_as_old() -> None:
    world = await rated()
    await apply(await world.ports(), asked("one"))
    await world.publish(m="0.05")

    report = await apply(await world.ports(), asked("two"))

    rows = {(r["team"], r["model"]): r for r in report.differences.rows(named=True)}
    assert (rows["b", "m"]["old"], rows["b", "m"]["new"]) == (12 * CENT, 30 * CENT)
    assert (rows["a", "n"]["old"], rows["a", "n"]["unpriced_after"]) == (27 * CENT, 3)  # its price is gone again
    assert (await world.budget_totals())["day|tenant_id=acme|team=a"] == (9, 3, 90 * CENT)


async def test_only_what_had_no_price_is_rated_by_the_run_for_new_prices() -> None:
    world = await rated()

    report = await rerate_unpriced(await world.ports(), "prices-v2", "the service")
    again = await rerate_unpriced(await world.ports(), "prices-v2", "the service")
    nothing = await rerate_unpriced(await world.ports(), "prices-v3", "the service")

    assert report is not None
    assert report.differences["model"].to_list() == ["n"]
    assert cost(world) == {"m": 24 * CENT, "n": 27 * CENT, "none": 0}
    assert again is None
    assert nothing is None


async def test_what_was_rated_with_an_older_catalog_after_the_start_is_reported_and_taken_by_a_further_run() -> None:
    world = Ledgers()
    await world.publish(m="0.01")
    await world.use(0, *USES)
    behind = await world.catalogs()  # of a meter that has not read the next version when the run takes its vector
    await world.publish(m="0.02", n="0.03")
    ended = await apply(await world.ports(), asked("one"))
    await world.use(0, ("a", "m", 7), ("b", "m", 7), catalogs=behind)

    left = await apply(await world.ports(), asked("one"))
    further = await apply(await world.ports(), asked("two"))

    assert (ended.left, left.left, further.left) == (0, 2, 0)
    assert further.differences["difference"].sum() == 14 * CENT
    assert cost(world)["m"] == 44 * CENT  # 2 x (8 + 14) cents


async def test_a_run_never_works_with_an_older_catalog_than_the_run_before() -> None:
    world = await rated()
    stale = await world.ports()  # of a process that has not read the version that comes
    await world.publish(m="0.05", n="0.03")
    await apply(await world.ports(), asked("one"))

    report = await apply(stale, asked("two"))

    assert (report.catalog_sequence, report.differences.height) == (3, 0)
    assert cost(world)["m"] == 120 * CENT


async def test_another_run_waits_until_the_open_one_is_finished() -> None:
    world = await rated()
    left = 3

    def die() -> str:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return "ok"

    world.fate = die
    with pytest.raises(Killed):
        await apply(await world.ports(), asked("one"))
    world.fate = lambda: "ok"

    with pytest.raises(RunRefused, match=r"run one: is open .*rerate --resume"):
        await apply(await world.ports(), asked("two"))
    assert (await resume(await world.ports())).run_id == "one"
    with pytest.raises(RunRefused, match="run: none is open"):
        await resume(await world.ports())
    assert (await apply(await world.ports(), asked("two"))).state == "applied"


async def killed_after(steps: int) -> Ledgers | None:
    """A world whose run died after so many requests; None when it ended before."""
    world, left = await rated(), steps

    def fate() -> str:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return "ok"

    world.fate = fate
    try:
        await apply(await world.ports(), asked("r"))
    except Killed:
        world.fate = lambda: "ok"
        return world
    return None


async def test_killed_after_any_message_and_resumed_it_equals_an_uninterrupted_run() -> None:
    whole = await rated()
    await apply(await whole.ports(), asked("r"))
    steps = 0

    while (world := await killed_after(steps)) is not None:
        report = await apply(await world.ports(), asked("r"))

        assert report.differences["new"].sum() == 75 * CENT
        assert world.stands() == whole.stands()
        assert await world.budget_totals() == await whole.budget_totals()
        steps += 1

    assert steps == 9  # the start, two and five messages, the end


FATES = st.lists(st.sampled_from(["ok"] * 4 + ["unknown", "late", "lost", "kill"]), max_size=60)


@settings(max_examples=30, deadline=None)
@given(FATES, st.integers(1, 3))
def test_lost_late_and_repeated_requests_of_several_runners_make_one_run(fates: list[str], runners: int) -> None:
    async def story() -> None:
        whole = await rated()
        await apply(await whole.ports(), asked("r"))
        world, queue = await rated(), list(fates)

        def fate() -> str:
            found = queue.pop() if queue else "ok"
            logs = (world.runs, *world.adjustments)
            if found == "ok" and len(queue) % 3 == 0:
                for log in logs:
                    if log.late:
                        log.land_late()
            if found == "kill":
                raise Killed
            return found

        world.fate = fate

        async def runner() -> None:
            for _ in range(100):
                try:
                    await apply(await world.ports(), asked("r"))
                    return
                except Killed:
                    await asyncio.sleep(0)

        await asyncio.gather(*(runner() for _ in range(runners)))
        for log in (world.runs, *world.adjustments):
            while log.late:
                log.land_late()

        assert world.stands() == whole.stands()
        assert await world.budget_totals() == await whole.budget_totals()
        runs = RunsLog(world.runs)
        await runs.refresh()
        assert (set(runs.ended), runs.open) == ({"r"}, None)

    asyncio.run(story())


async def test_a_log_of_corrections_that_was_cut_stops_the_run() -> None:
    world = await rated()
    await apply(await world.ports(), asked("one"))
    world.adjustments[0].begin = 1

    with pytest.raises(LogBroken, match="it was cut; restore the topic"):
        await plan(await world.ports(), asked("two"))
