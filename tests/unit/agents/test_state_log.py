"""usage.state over logs in memory: what is written when, what may be trimmed, and what a reader makes of any of it."""

import asyncio
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.agents import state_log
from streams.agents.state_log import Body, Place, StateLog
from streams.agents.tracks import SqliteTracks
from streams.kafka.chained_log import Superseded
from streams.kafka.ports import Headers
from streams.kafka.snapshots import APART
from streams.pipeline.chain import LogBroken
from streams.watch.kept import Row, Scoped
from streams.watch.state import Head
from streams.watch.tracks import Track
from tests.support.gates import inline
from tests.support.memory_log import Looked, MemoryLog


class Worker:
    """A StateLog, and what its scopes are to say next; `told` stands for everything that a scope says."""

    def __init__(self, log: StateLog) -> None:
        self.log, self.changed = log, set[str]()

    @classmethod
    async def open(cls, log: MemoryLog, tracks: SqliteTracks | None = None, stream: str = "s1") -> "Worker":
        return cls(await StateLog.open(log, stream, SqliteTracks() if tracks is None else tracks, inline))

    def put(self, keys: str, told: int = 1) -> "Worker":
        for key in keys:
            self.log.tracks.put(f"r|{key}", Scoped(Track(), told=told), 10 * told)
            self.changed.add(f"r|{key}")
        return self

    def delete(self, key: str) -> "Worker":
        self.log.tracks.delete(f"r|{key}")
        self.changed.add(f"r|{key}")
        return self

    async def save(self, budgets: int = 0) -> "Worker":
        to = self.log.chain.chain.mark + 1
        await self.log.save(to, Head(clock=to), self.changed, budgets)
        self.changed = set()
        return self

    @property
    def told(self) -> dict[str, int]:
        return {row.key[2:]: row.told for row in self.log.tracks.above("")}

    @property
    def standing(self) -> tuple[dict[str, int], Head, Place, Place, Place, str]:
        """Everything that two who folded the same log agree on."""
        own = self.log
        return self.told, own.head, Place.of(own.chain.chain), own.since, own.round, own.cursor


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """A message holds everything, and the sweep a scope or so beside what changed; a test may say otherwise."""

    def sizes(part: int, sweep: int) -> None:
        monkeypatch.setattr(state_log, "PART_BYTES", part)
        monkeypatch.setattr(state_log, "SWEEP_BYTES", sweep)

    sizes(1_000_000, 1)
    return sizes


def headers(log: MemoryLog, offset: int = -1) -> dict[str, bytes]:
    return dict(log.messages[offset].headers)


def written(log: MemoryLog, offset: int = -1) -> list[str]:
    """Keys that a message holds, in its order."""
    value = zlib.decompress(log.messages[offset].value or b"")
    is_part = "part" in headers(log, offset)
    rows = msgspec.msgpack.decode(value, type=list[Row]) if is_part else msgspec.msgpack.decode(value, type=Body).rows
    return [row.key[2:] for row in rows]


def kinds(log: MemoryLog) -> list[str]:
    """`part`, `done` or `state`, one a message."""
    return [next((k for k in ("part", "done") if k in dict(m.headers)), "state") for m in log.messages]


async def rounds(log: MemoryLog, count: int, keys: str = "abc") -> Worker:
    """A worker that has completed so many, of several messages each."""
    worker = await Worker.open(log)
    worker.put(keys)
    while kinds(log).count("done") < count:
        await worker.save()
    return worker


# What is written


async def test_a_message_holds_what_changed_and_then_the_sweep_goes_on_in_the_order_of_keys() -> None:
    log = MemoryLog()
    worker = await Worker.open(log)
    await worker.put("abcdef").save()
    found = [written(log)]

    for changed in ("", "f", "", ""):
        await worker.put(changed, 2).save()
        found.append(written(log))

    # All six changed, and the sweep passed them; then it begins again. `f` in between is swept two further.
    assert found == [list("abcdef"), ["a"], ["f", "b", "c"], ["d"], ["e"]]
    assert kinds(log) == ["done", "state", "state", "state", "state"]
    assert headers(log)["cursor"] == b"r|e"


async def test_a_scope_that_changed_is_not_written_twice_by_the_sweep() -> None:
    log = MemoryLog()
    worker = await rounds(log, 1)

    await worker.put("a", 2).save()

    assert written(log) == ["a", "b"]


async def test_a_scope_that_is_gone_is_written_as_gone() -> None:
    log = MemoryLog()
    worker = await rounds(log, 1, "ab")

    await worker.delete("a").save()

    assert written(log) == ["a", "b"]
    assert (await Worker.open(log)).told == {"b": 1}


async def test_what_fits_no_message_lies_in_parts_before_it(small: Callable[[int, int], None]) -> None:
    small(1, 1)
    log = MemoryLog()
    worker = await Worker.open(log)

    await worker.put("abc").save()

    assert kinds(log) == ["part", "part", "done"]
    assert [written(log, i) for i in range(3)] == [["a"], ["b"], ["c"]]
    assert {headers(log, i)["part"] for i in (0, 1)} == {headers(log)["parts"]}
    assert [headers(log, i)["number"] for i in (0, 1)] == [b"0", b"1"]
    assert (await Worker.open(log)).standing == worker.standing


async def test_the_sweep_is_cut_into_parts_too(small: Callable[[int, int], None]) -> None:
    log = MemoryLog()
    worker = await rounds(log, 1, "abcd")
    small(1, 1_000)

    await worker.put("d", 2).save()

    assert kinds(log) == ["done", "part", "part", "part", "done"]
    assert [written(log, i) for i in range(1, 5)] == [["d"], ["a"], ["b"], ["c"]]
    assert (await Worker.open(log)).standing == worker.standing


async def test_a_message_says_since_when_everything_was_written() -> None:
    log = MemoryLog()

    await rounds(log, 3, "ab")

    assert kinds(log) == ["done", "state", "done", "state", "done"]
    said = [(headers(log, i)["since"], headers(log, i)["round"]) for i in range(5)]
    start, first, second = b"0,-1,-1", b"1,0,0", b"3,2,2"
    assert said == [(start, start), (start, first), (start, first), (first, second), (first, second)]
    assert [headers(log, i)["cursor"] for i in range(5)] == [b"r|b", b"r|a", b"r|b", b"r|a", b"r|b"]


async def test_an_empty_state_is_complete_with_every_message() -> None:
    log = MemoryLog()
    worker = await Worker.open(log)

    await worker.save()

    assert (kinds(log), written(log)) == (["done"], [])


# What is trimmed


async def test_a_round_trims_up_to_the_one_before_once_it_is_complete_and_never_what_the_newest_message_names() -> None:
    log = MemoryLog()
    worker = await rounds(log, 1, "ab")
    begins = [log.begin]

    for _ in range(6):
        await worker.save()
        begins.append(log.begin)
        assert Place.read(headers(log)["since"]).end >= log.begin

    assert kinds(log) == ["done", "state", "done", "state", "done", "state", "done"]
    assert begins == [0, 0, 0, 0, 1, 1, 3]
    assert log.trims == [1, 3]


async def test_whatever_is_left_of_the_log_says_everything() -> None:
    log = MemoryLog()
    worker = await rounds(log, 1, "abcd")
    await worker.put("a", 2).delete("d").save()

    for _ in range(12):
        await worker.save()
        assert (await Worker.open(log)).standing == worker.standing

    assert log.begin > 2
    assert worker.told == {"a": 2, "b": 1, "c": 1}


async def test_the_local_file_holds_a_round_before_the_log_is_trimmed(tmp_path: Path) -> None:
    log = Looked()
    worker = await Worker.open(log, file(tmp_path))
    await worker.put("ab").save()
    found = list[Place]()

    async def look(name: str, _: int) -> None:
        if name == "trim":
            worker.log.tracks.close()
            found.append((await Worker.open(log, file(tmp_path))).log.round)

    log.look = look
    for _ in range(4):
        await worker.save()

    assert found == [worker.log.round] == [Place(5, 4, 4)]


# Several owners


async def test_who_comes_next_goes_on_where_the_sweep_was() -> None:
    log = MemoryLog()
    first = await rounds(log, 1, "abc")
    await first.save()

    await (await Worker.open(log)).save()

    assert (written(log, -2), written(log)) == (["a"], ["b"])


async def test_a_zombies_message_changes_nothing_and_tells_it_so() -> None:
    log = MemoryLog()
    zombie = await rounds(log, 1, "ab")
    owner = await Worker.open(log)
    await owner.put("a", 2).save()

    with pytest.raises(Superseded, match="somebody else writes it"):
        await zombie.put("ab", 9).save()

    assert (await Worker.open(log)).told == {"a": 2, "b": 1}


async def test_an_owner_behind_whom_a_zombies_message_landed_opens_anew_and_goes_on() -> None:
    log = MemoryLog()
    owner = await rounds(log, 1, "ab")
    late = log.messages[-1]
    log.land(late.value, late.headers)

    with pytest.raises(Superseded):
        await owner.put("a", 2).save()

    # It counted, for everybody alike, although its writer could not know it.
    again = await Worker.open(log)
    assert again.told == {"a": 2, "b": 1}
    await again.put("b", 3).save()
    assert (await Worker.open(log)).told == {"a": 2, "b": 3}


async def test_a_zombies_late_message_is_no_reason_to_read_from_before_what_is_there() -> None:
    log = MemoryLog()
    zombie = await rounds(log, 1, "ab")
    late = [*log.messages]
    owner = await Worker.open(log)
    await owner.put("a", 2).save()
    while log.begin < 5:
        await owner.save()

    for message in late:  # says since 0, which was trimmed
        log.land(message.value, message.headers)

    assert (await Worker.open(log)).told == {"a": 2, "b": 1}
    assert zombie.told == {"a": 1, "b": 1}


async def test_a_zombies_late_message_does_not_make_the_next_one_read_more() -> None:
    log = Looked()
    owner = await (await rounds(log, 3, "ab")).save()
    late = log.messages[-2]
    log.land(late.value, late.headers)
    log.starts.clear()

    assert (await Worker.open(log)).told == owner.told

    assert owner.log.since.end > Place.read(headers(log)["since"]).end >= log.begin
    assert log.starts == [log.begin, owner.log.since.end, owner.log.since.end]


async def test_of_a_zombie_among_its_parts_nothing_counts(small: Callable[[int, int], None]) -> None:
    small(1, 1)
    log = MemoryLog()
    zombie = await rounds(log, 1, "ab")
    owner = await Worker.open(log)
    await owner.put("a", 2).save()
    before = len(log.messages)

    with pytest.raises(Superseded, match="somebody else writes it"):
        await zombie.put("ab", 9).save()

    assert kinds(log)[before:] == ["part"]
    assert (await Worker.open(log)).told == {"a": 2, "b": 1}


async def test_parts_that_lay_there_when_the_local_file_was_written_count_with_the_message_that_comes_later(
    tmp_path: Path, small: Callable[[int, int], None]
) -> None:
    #  log    part a | here the next owner opens its file | part b, and the message: it counts, as nobody wrote in between
    small(1, 1)
    log = Looked()
    slow = await Worker.open(log)

    async def look(name: str, number: int) -> None:
        if (name, number) == ("append", 2):
            (await Worker.open(log, file(tmp_path))).log.tracks.close()

    log.look = look
    await slow.put("abc").save()
    log.look = None

    found = await Worker.open(log, file(tmp_path))

    assert kinds(log) == ["part", "part", "done"]
    assert found.log.was_in_file
    assert found.told == {"a": 1, "b": 1, "c": 1}
    assert found.standing == slow.standing == (await Worker.open(log)).standing


async def test_a_copy_of_a_part_that_lands_late_says_nothing_any_more(small: Callable[[int, int], None]) -> None:
    small(1, 1)
    log = MemoryLog()
    worker = await rounds(log, 1, "ab")
    part = log.messages[0]
    await worker.put("a", 2).save()

    log.land(part.value, part.headers)  # whose client had asked again when the answer was late

    assert (await Worker.open(log)).told == {"a": 2, "b": 1}


async def test_a_copy_of_a_part_that_lands_early_is_read_twice(small: Callable[[int, int], None]) -> None:
    small(1, 1)
    log = Looked()
    worker = await Worker.open(log)

    async def look(name: str, number: int) -> None:
        if (name, number) == ("append", 2):
            log.land(log.messages[0].value, log.messages[0].headers)

    log.look = look
    await worker.put("abc").save()

    assert kinds(log) == ["part", "part", "part", "done"]
    assert (await Worker.open(log)).standing[0] == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("part", [1, 1_000_000])
async def test_a_zombie_whose_place_was_trimmed_is_superseded_and_does_not_stop_its_worker(
    part: int, small: Callable[[int, int], None]
) -> None:
    log = MemoryLog()
    zombie = await rounds(log, 1, "ab")
    owner = await Worker.open(log)
    while log.begin <= zombie.log.chain.chain.end:
        await owner.save()
    small(part, 1)

    with pytest.raises(Superseded, match="somebody else writes it"):
        await zombie.put("ab", 9).save()


@pytest.mark.parametrize("moment", [("bounds", 2), ("bounds", 3), ("read", 2), ("read", 3)])
async def test_what_a_former_owner_trims_while_the_next_one_reads_is_no_broken_log(
    tmp_path: Path, moment: tuple[str, int]
) -> None:
    log = Looked()
    former = await rounds(log, 3, "ab")
    begin = log.begin

    async def look(name: str, number: int) -> None:
        if (name, number) == moment:
            await former.delete("a").save()
            while log.begin < begin + 6:
                await former.save()

    log.look = look
    tracks = file(tmp_path)
    with pytest.raises(Superseded, match="trimmed what was being read"):
        await Worker.open(log, tracks)
    tracks.close()

    log.look = None
    assert (await Worker.open(log, file(tmp_path))).standing == former.standing


# Opening


def file(folder: Path) -> SqliteTracks:
    return SqliteTracks(folder / "watch.sqlite", 1)


async def test_a_local_file_is_read_on_from_where_it_stands(tmp_path: Path) -> None:
    log = Looked()
    first = await Worker.open(log, file(tmp_path))
    await first.put("ab").save(7)
    first.log.tracks.close()
    await (await Worker.open(log)).put("b", 2).save(9)
    log.starts.clear()

    found = await Worker.open(log, file(tmp_path))

    assert found.log.was_in_file
    assert found.log.budgets == 7  # of what the other one knew nothing is known
    assert log.starts == [0, 1, 1]  # is it this log; what counts; what it says
    assert found.standing == (await Worker.open(log)).standing
    assert found.told == {"a": 1, "b": 2}


async def test_a_local_file_holds_all_that_its_worker_knew(tmp_path: Path) -> None:
    log = MemoryLog()
    worker = await rounds(log, 2, "abc")
    worker = await Worker.open(log, file(tmp_path))
    await worker.save(5)
    standing = worker.standing
    worker.log.tracks.close()

    found = await Worker.open(log, file(tmp_path))

    assert (found.log.was_in_file, found.log.budgets, found.log.cursor) == (True, 5, "r|a")
    assert found.standing == standing


async def test_a_local_file_holds_nothing_of_a_save_that_was_not_answered(tmp_path: Path) -> None:
    log = Looked()
    worker = await Worker.open(log, file(tmp_path))
    await worker.put("a").save()

    async def look(name: str, _: int) -> None:
        if name == "append":
            raise OSError("no broker")

    log.look = look
    with pytest.raises(OSError, match="no broker"):
        await worker.put("ab", 2).save()
    log.look = None
    worker.log.tracks.close()

    found = await Worker.open(log, file(tmp_path))

    assert (found.log.was_in_file, found.told) == (True, {"a": 1})


async def test_from_the_log_nothing_is_known_of_the_budgets() -> None:
    log = MemoryLog()
    await (await rounds(log, 1)).save(5)

    found = await Worker.open(log)

    assert (found.log.was_in_file, found.log.budgets) == (False, -1)


async def test_a_local_file_of_another_stream_is_thrown_away(tmp_path: Path) -> None:
    old = await Worker.open(MemoryLog(), file(tmp_path), "s0")
    await old.put("z").save()
    old.log.tracks.close()
    log = MemoryLog()
    await (await rounds(log, 1, "a")).save()

    found = await Worker.open(log, file(tmp_path))

    assert (found.log.was_in_file, found.told) == (False, {"a": 1})


async def test_a_local_file_of_a_log_that_was_made_anew_is_thrown_away(tmp_path: Path) -> None:
    old = await Worker.open(MemoryLog(), file(tmp_path))
    await (await old.put("z").save()).save()
    old.log.tracks.close()
    log = MemoryLog()
    new = await Worker.open(log)
    await new.log.save(3, Head(clock=3), set(), 0)
    await new.put("a").log.save(8, Head(clock=8), new.changed, 0)  # where the file says that the mark is 1

    found = await Worker.open(log, file(tmp_path))

    assert (found.log.was_in_file, found.told) == (False, {"a": 1})


async def test_a_local_file_that_is_ahead_of_the_log_is_thrown_away(tmp_path: Path) -> None:
    old = await Worker.open(MemoryLog(), file(tmp_path))
    await (await old.put("z").save()).save()
    old.log.tracks.close()
    log = MemoryLog()
    await rounds(log, 1, "a")

    found = await Worker.open(log, file(tmp_path))

    assert (found.log.was_in_file, found.told) == (False, {"a": 1})


async def test_a_local_file_that_the_log_has_left_behind_is_thrown_away(tmp_path: Path) -> None:
    log = MemoryLog()
    old = await Worker.open(log, file(tmp_path))
    await old.put("az").save()
    old.log.tracks.close()
    owner = await Worker.open(log)
    await owner.delete("z").save()
    while log.begin < 2:
        await owner.save()

    found = await Worker.open(log, file(tmp_path))

    assert (found.log.was_in_file, found.told) == (False, {"a": 1})


async def test_a_local_file_whose_last_message_is_gone_is_thrown_away(tmp_path: Path) -> None:
    #  log    done | a late part | here the file stands     ... and the log begins after the part: what came with it is gone
    log = MemoryLog()
    owner = await rounds(log, 1, "ab")
    log.land(b"", [*APART, ("part", b"late")])
    (await Worker.open(log, file(tmp_path))).log.tracks.close()
    owner = await Worker.open(log)
    for _ in range(6):
        await owner.save()
    log.begin = 2

    found = await Worker.open(log, file(tmp_path))

    assert (found.log.was_in_file, found.standing) == (False, owner.standing)


async def test_a_local_file_that_stands_where_the_log_begins_is_read_on(tmp_path: Path) -> None:
    log = MemoryLog()
    old = await Worker.open(log, file(tmp_path))
    await old.put("a").save()
    old.log.tracks.close()
    owner = await Worker.open(log)
    while log.begin < 1:
        await owner.save()
    assert log.begin == 1

    found = await Worker.open(log, file(tmp_path))

    assert (found.log.was_in_file, found.standing) == (True, owner.standing)


@pytest.mark.parametrize("parts", [state_log.LOOK_BACK - 1, state_log.LOOK_BACK])
async def test_the_last_round_is_found_behind_however_many_parts_of_killed_owners(parts: int) -> None:
    log = MemoryLog()
    worker = await rounds(log, 3, "ab")
    for _ in range(parts):
        log.land(b"", [*APART, ("part", b"nobody's")])

    found = await Worker.open(log)

    assert log.begin > 0
    assert (found.told, found.log.since, found.log.round) == (worker.told, worker.log.since, worker.log.round)


async def test_a_log_that_was_cut_is_broken() -> None:
    log = MemoryLog()
    await rounds(log, 2, "ab")
    log.begin = len(log.messages)

    with pytest.raises(
        LogBroken, match=r"begins at 3, and no message says since when it is complete.*restore the topic"
    ):
        await Worker.open(log)


async def test_a_log_that_was_cut_in_its_last_round_is_broken() -> None:
    log = MemoryLog()
    await (await rounds(log, 2, "ab")).save()
    log.begin = 2  # its newest message says since 1

    with pytest.raises(LogBroken, match="begins at 2, and no message says"):
        await Worker.open(log)


async def test_a_log_of_another_stream_is_broken() -> None:
    log = MemoryLog()
    await rounds(log, 1)

    with pytest.raises(LogBroken, match="belongs to stream s1, the source is s2"):
        await Worker.open(log, stream="s2")


@pytest.mark.parametrize(("format_", "said"), [([], "1"), ([("format", b"3")], "3")])
async def test_a_log_of_another_format_is_broken(format_: Headers, said: str) -> None:
    log = MemoryLog()
    log.land(b"", [("base", b"-1"), ("to", b"0"), ("stream", b"s1"), *format_])

    with pytest.raises(LogBroken, match=rf"offset 0 is of format {said}, this worker writes 2; delete the topics"):
        await Worker.open(log)


# Anything


KEYS = st.text("abcdefg", min_size=2, max_size=5)
DOING = st.one_of(
    st.tuples(st.just("put"), KEYS),
    st.tuples(st.just("delete"), st.sampled_from("abcdefg")),
    *[st.tuples(st.just("save"), st.integers(1, 4))] * 3,
    *[st.tuples(st.just("next owner"), st.booleans())] * 2,
)


@settings(max_examples=150, deadline=None)
@given(
    doing=st.lists(DOING, min_size=10, max_size=30),
    part=st.sampled_from([1, 60, 1_000_000]),
    sweep=st.sampled_from([0, 1, 1, 60, 10_000]),
)
def test_who_opens_knows_what_was_saved_from_the_file_and_from_the_log(
    doing: list[tuple[str, object]], part: int, sweep: int
) -> None:
    async def run(folder: Path) -> None:
        log, told, saved = MemoryLog(), dict[str, int](), dict[str, int]()
        worker = await Worker.open(log, file(folder))
        for number, (what, how) in enumerate(doing, 1):
            match what, how:
                case "put", str(keys):
                    worker.put(keys, number)
                    told |= dict.fromkeys(keys, number)
                case "delete", str(keys):
                    for key in keys:
                        worker.delete(key)
                        told.pop(key, None)
                case "save", int(times):
                    for _ in range(times):
                        await worker.save()
                    saved = dict(told)
                case "next owner", bool(is_here):
                    knew = worker.standing[1:]
                    worker.log.tracks.close()
                    worker = await Worker.open(log, file(folder) if is_here else None)
                    told = dict(saved)
                    assert worker.standing[1:] == knew
            assert (await Worker.open(log)).told == saved
            assert worker.told == told
        worker.log.tracks.close()

    limits = state_log.PART_BYTES, state_log.SWEEP_BYTES
    state_log.PART_BYTES, state_log.SWEEP_BYTES = part, sweep
    try:
        with TemporaryDirectory() as folder:
            asyncio.run(run(Path(folder)))
    finally:
        state_log.PART_BYTES, state_log.SWEEP_BYTES = limits
