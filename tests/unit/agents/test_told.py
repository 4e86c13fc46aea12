"""usage.budgets over a log in memory: whoever wrote there too, the last record of every scope is its owner's."""

from collections.abc import AsyncIterator
from decimal import Decimal

import msgspec
import pytest

from streams.agents import told
from streams.agents.told import Told
from streams.agents.tracks import SqliteTracks
from streams.catalog.calendars import Calendar
from streams.catalog.limits import Budget
from streams.catalog.models import Catalog
from streams.kafka.ports import Message
from streams.watch.alerts import Cause
from streams.watch.freshness import beat_key, beat_record
from streams.watch.scopes import key_of
from streams.watch.state import WatchState
from streams.watch.windows import Delta
from tests.support.memory_log import Looked, MemoryLog

DAY = Budget(id="day", each=("team",), limit=Decimal(10), period=Calendar(every="day"))
AT = 1_790_000_000_000 // 86_400_000 * 86_400_000
STAMP = ("s1", 0, 7)


def key(team: str) -> str:
    return key_of("day", "acme", [("team", team)])


class Owner:
    """One watch: what is spent, and what it says of it."""

    def __init__(self, log: MemoryLog, end: int = -1) -> None:
        self.tracks = SqliteTracks(None, 1)
        self.state = WatchState(self.tracks)
        self.state.adopt(1, Catalog(budgets=(DAY,)))
        self.told = Told(log, self.state, self.tracks, end)

    async def spend(self, teams: str, cost: int = 1) -> "Owner":
        deltas = [Delta(key(t), AT, "USD", 1, 10, 0, 0, Decimal(cost), AT, AT) for t in teams]
        effects = self.state.take(deltas, Cause(0, 0, "s1", 0, 0))
        await self.told.publish(self.state.records(effects.dirty, effects.gone, STAMP))
        return self

    async def drop(self) -> "Owner":
        """The budget is no more, and so are its scopes."""
        self.state.adopt(2, Catalog())
        effects = self.state.tick(AT + 1, Cause(0, 0, "s1", 0, 0))
        await self.told.publish(self.state.records(effects.dirty, effects.gone, STAMP))
        return self

    async def claim(self) -> "Owner":
        await self.told.claim(STAMP)
        return self

    @property
    def figures(self) -> dict[str, int]:
        return {row.key: row.told for row in self.tracks.above("")}


def last(log: MemoryLog) -> dict[str, int]:
    """Figures in the last record of every scope that has one."""
    said = {(m.key or b"").decode(): m for m in log.messages}
    return {key: int(dict(m.headers)["figures"]) for key, m in said.items() if m.value is not None}


def teams(log: MemoryLog, start: int = 0) -> str:
    """Of whom the records are, in their order; a small letter is a record, a large one says that the scope is gone."""
    names = [((m.key or b"").decode()[-1], m.value) for m in log.messages[start:]]
    return "".join(name.upper() if value is None else name for name, value in names)


def foreign(log: MemoryLog, team: str, figures: bytes | None = b"99") -> None:
    """The late record of a former owner; figures None: it says that the scope is gone."""
    value, said = (None, b"0") if figures is None else (b'{"used": "99"}', figures)
    log.land(value, [("figures", said)], key(team).encode())


async def test_a_record_carries_the_checksum_that_its_scope_keeps() -> None:
    log = MemoryLog()

    owner = await (await Owner(log).spend("ab")).claim()

    assert teams(log) == "ab"
    assert last(log) == owner.figures
    assert all(owner.figures.values())
    assert msgspec.json.decode(log.messages[0].value or b"")["used"] == "1"
    assert msgspec.json.decode(log.messages[0].value or b"")["stamp"]["offset"] == 7


async def test_while_nobody_else_writes_nothing_is_read() -> None:
    log = Looked()
    owner = await Owner(log).claim()

    async def look(name: str, _: int) -> None:
        assert name == "append"

    log.look = look
    for cost in range(3):
        await (await owner.spend("abc", cost + 1)).claim()

    assert teams(log) == "abcabcabc"
    assert owner.told.end == len(log.messages)


async def test_a_foreign_record_is_outlived_as_soon_as_something_is_told() -> None:
    log = MemoryLog()
    owner = await (await Owner(log).spend("abc")).claim()
    foreign(log, "b")

    await (await owner.spend("a")).claim()

    assert teams(log) == "abcbab"
    assert last(log) == owner.figures
    assert owner.told.end == len(log.messages)


async def test_a_foreign_record_in_the_midst_of_ours_is_outlived_too() -> None:
    log = Looked()
    owner = await (await Owner(log).spend("abc")).claim()

    async def look(name: str, number: int) -> None:
        if (name, number) == ("append", 2):
            foreign(log, "a")

    log.look = look
    await (await owner.spend("abc")).claim()

    assert teams(log) == "abcaabca"
    assert last(log) == owner.figures


async def test_a_foreign_record_that_says_the_same_is_left_there() -> None:
    log = MemoryLog()
    owner = await (await Owner(log).spend("ab")).claim()
    foreign(log, "b", b"%d" % owner.figures[key("b")])

    await (await owner.spend("a")).claim()

    assert teams(log) == "abba"


async def test_a_foreign_record_before_one_of_ours_is_outlived_already() -> None:
    log = MemoryLog()
    owner = await (await Owner(log).spend("ab")).claim()
    foreign(log, "a")

    await (await owner.spend("a")).claim()

    assert teams(log) == "abaa"


async def test_a_scope_that_a_former_owner_called_gone_is_told_again() -> None:
    log = MemoryLog()
    owner = await (await Owner(log).spend("ab")).claim()
    foreign(log, "b", None)

    await (await owner.spend("a")).claim()

    assert teams(log) == "abBab"
    assert last(log) == owner.figures


async def test_a_record_of_a_scope_that_is_not_known_is_taken_back() -> None:
    log = MemoryLog()
    owner = await (await Owner(log).spend("a")).claim()
    foreign(log, "z")

    await (await owner.spend("a")).claim()

    assert teams(log) == "azaZ"
    assert last(log) == owner.figures


async def test_a_record_without_a_checksum_is_told_again() -> None:
    log = MemoryLog()
    owner = await (await Owner(log).spend("ab")).claim()
    log.land(b"{}", [], key("b").encode())

    await (await owner.spend("a")).claim()

    assert teams(log) == "abbab"


async def test_without_a_checksum_a_record_of_a_scope_that_is_not_known_is_taken_back_and_none_is_none() -> None:
    log = MemoryLog()
    owner = await (await Owner(log).spend("a")).claim()
    log.land(b"{}", [], key("y").encode())
    log.land(None, [], key("z").encode())

    await (await owner.spend("a")).claim()

    assert teams(log) == "ayZaY"


async def test_scopes_of_a_dropped_rule_are_called_gone_once_and_once_more_after_a_late_record() -> None:
    log = MemoryLog()
    owner = await (await Owner(log).spend("ab")).claim()

    await (await owner.drop()).claim()
    foreign(log, "b")
    found = await Owner(log, owner.told.end).drop()  # the next owner, who knows as little of them
    await found.claim()

    assert teams(log) == "abABbB"
    assert last(log) == {}


async def test_a_record_that_lands_while_it_is_told_again_is_outlived_as_well() -> None:
    log = Looked()
    owner = await (await Owner(log).spend("ab")).claim()
    foreign(log, "b")
    await owner.spend("a")

    async def look(name: str, number: int) -> None:
        if name == "append" and number < 3:
            foreign(log, "ab"[number - 1])

    log.look = look
    await owner.claim()

    assert last(log) == owner.figures
    assert owner.told.end == len(log.messages)
    assert teams(log) == "abbaabbab"


async def test_a_copy_of_ours_whose_answer_was_lost_makes_nothing_be_told_again() -> None:
    log = MemoryLog()
    owner = await (await Owner(log).spend("ab")).claim()
    ours = log.messages[-1]
    log.land(ours.value, ours.headers, ours.key)

    await (await owner.spend("a")).claim()

    assert teams(log) == "abba"
    assert owner.told.end == 4


async def test_the_next_owner_of_whom_nothing_is_known_reads_everything_and_tells_only_what_differs() -> None:
    log = MemoryLog()
    former = await (await Owner(log).spend("abc")).claim()
    owner = Owner(log)
    owner.tracks.load(former.tracks.above(""))
    foreign(log, "b")
    foreign(log, "z")

    await owner.claim()

    assert teams(log) == "abcbzbZ"
    assert last(log) == owner.figures


async def test_who_reads_everything_tells_what_has_no_record_at_all() -> None:
    former = await (await Owner(MemoryLog()).spend("abc")).claim()
    log = MemoryLog()  # the topic was made anew
    owner = Owner(log)
    owner.tracks.load(former.tracks.above(""))
    foreign(log, "b", b"%d" % former.figures[key("b")])

    await owner.claim()

    assert teams(log) == "bac"
    assert last(log) == owner.figures


@pytest.mark.parametrize("end", [9, 2])
async def test_an_end_that_the_topic_does_not_hold_is_as_good_as_none(end: int) -> None:
    log = MemoryLog()
    former = await (await Owner(log).spend("abc")).claim()
    log = MemoryLog()
    for team in "xyza":
        foreign(log, team)
    log.begin = 3
    owner = Owner(log, end)
    owner.tracks.load(former.tracks.above(""))

    await owner.claim()

    assert teams(log, 4) == "abc"


async def test_who_knows_up_to_where_it_is_right_reads_on_from_there() -> None:
    log = Looked()
    former = await (await Owner(log).spend("abc")).claim()
    foreign(log, "b")
    foreign(log, "z")
    owner = Owner(log, former.told.end)
    owner.tracks.load(former.tracks.above(""))

    await owner.claim()

    assert teams(log) == "abcbzbZ"
    assert log.starts[-1] == 3


class Compacted(MemoryLog):
    """Of every key the last record is left, at the offset that it had."""

    async def read(self, start: int, stop: int | None = None) -> AsyncIterator[Message]:
        newest = {m.key: m.offset for m in self.messages}
        async for message in super().read(start, stop):
            if newest[message.key] == message.offset:
                yield message


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_late_record_for_which_compaction_took_ours_is_outlived(is_known: bool) -> None:
    log = Compacted()
    former = await (await Owner(log).spend("abc")).claim()
    foreign(log, "a")
    foreign(log, "c", None)
    owner = Owner(log, former.told.end if is_known else -1)
    owner.tracks.load(former.tracks.above(""))

    await owner.claim()

    assert teams(log) == "abcaCac"
    assert last(log) == owner.figures


async def test_a_heartbeat_is_no_scope() -> None:
    log = MemoryLog()
    owner = await (await Owner(log).spend("ab")).claim()
    log.land(beat_record(0, 1, 1), [], beat_key(0))

    await (await owner.spend("a")).claim()

    assert [m.key for m in log.messages[2:]] == [beat_key(0), key("a").encode()]
    assert owner.told.end == 4


async def test_our_own_heartbeat_does_not_make_us_read() -> None:
    log = Looked()
    owner = await (await Owner(log).spend("a")).claim()
    log.starts.clear()

    owner.told.passed(log.land(beat_record(0, 1, 1), [], beat_key(0)))

    await (await owner.spend("ab")).claim()
    assert (log.starts, owner.told.end) == ([], 4)


async def test_a_foreign_record_is_outlived_with_the_next_heartbeat_although_nothing_is_told() -> None:
    log = MemoryLog()
    owner = await (await Owner(log).spend("ab")).claim()
    foreign(log, "b")

    owner.told.passed(log.land(beat_record(0, 1, 1), [], beat_key(0)))

    await owner.claim()
    assert teams(log) == "abb0b"
    assert owner.told.end == 5


async def test_many_records_go_and_are_heard_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "TOGETHER", 2)
    log = MemoryLog()
    former = await (await Owner(log).spend("abcde")).claim()
    for team in "abcdexyz":
        foreign(log, team)
    owner = Owner(log)
    owner.tracks.load(former.tracks.above(""))

    await owner.claim()

    assert sorted(teams(log, 13)) == sorted("abcdeXYZ")
    assert last(log) == owner.figures
    assert owner.told.end == len(log.messages)


async def test_a_foreign_record_between_two_parts_of_many_is_outlived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "TOGETHER", 2)
    log = Looked()
    owner = await Owner(log).claim()

    async def look(name: str, number: int) -> None:
        if (name, number) == ("append", 3):
            foreign(log, "a")

    log.look = look
    await (await owner.spend("abcd")).claim()

    assert teams(log) == "abacda"
    assert last(log) == owner.figures


@pytest.mark.parametrize("said", [b"", b"x", b"-1", b"9" * 30, b"9" * 5_000, None])
def test_a_checksum_that_no_watch_wrote_is_none(said: bytes | None) -> None:
    assert told._figures(Message(0, 0, b"k", b"{}", (("figures", said),))) == -1  # type: ignore[arg-type]  # Kafka has null
