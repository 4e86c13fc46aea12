"""Scopes in a local SQLite file: as in memory whatever is spilled, whole at the last commit, held by one process alone."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from streams.agents.tracks import NAMES, SqliteTracks
from streams.watch.kept import MemoryTracks, Row, Scoped, Tracks, pack
from streams.watch.tracks import NEVER, Track

PAGE = 4096
KEYS = ["r|a", "r|b", "r|é", "r|𝄞", "r|" + "z" * 40, "r||a", "r2|a", "s|a"]
KEY = st.sampled_from(KEYS)
DUE = st.integers(0, 20) | st.just(NEVER)
TOLD = st.integers(0, 3)


def scoped(told: int = 1, due: int = NEVER, clock: int = 0) -> Scoped:
    return Scoped(Track(), told=told, due=due, clock=clock)


def heard(tracks: MemoryTracks, said: dict[str, int], is_all: bool) -> tuple[set[str], set[str]]:
    """What `unlike` is to find, by plain comparison."""
    told = {row.key: row.told for row in tracks.above("")}
    found = {key for key, figures in said.items() if figures != told.get(key, 0)}
    found |= {key for key, figures in told.items() if is_all and figures and key not in said}
    return found & told.keys(), found - told.keys()


class SpillIsNoSpill(RuleBasedStateMachine):
    """The same is done to a store in memory and to files that keep everything, hardly anything, or some of it decoded."""

    @initialize()
    def begin(self) -> None:
        self.memory = MemoryTracks()
        self.files = [SqliteTracks(None, hot_bytes) for hot_bytes in (1, 700, 16 << 20)]
        self.all: list[Tracks] = [self.memory, *self.files]
        self.said = dict[str, int]()

    @rule(key=KEY, told=TOLD, clock=st.integers(0, 3), due=DUE)
    def put(self, key: str, told: int, clock: int, due: int) -> None:
        for tracks in self.all:
            tracks.put(key, scoped(told, due, clock), due)

    @rule(key=KEY, told=TOLD, due=DUE)
    def change(self, key: str, told: int, due: int) -> None:
        """What `get` gives is changed, and put again, perhaps after others were looked at."""
        for tracks in self.all:
            found = tracks.get(key)
            tracks.get(KEYS[0])
            if found is not None:
                found.told, found.due = told, due
                tracks.put(key, found, due)

    @rule(key=KEY)
    def delete(self, key: str) -> None:
        for tracks in self.all:
            tracks.delete(key)

    @rule(rows=st.dictionaries(KEY, st.none() | st.tuples(TOLD, DUE), max_size=5))
    def load(self, rows: dict[str, tuple[int, int] | None]) -> None:
        given = [Row(k, NEVER, 0, None) if v is None else Row(k, v[1], v[0], pack(scoped(*v))) for k, v in rows.items()]
        for tracks in self.all:
            tracks.load(given)

    @rule()
    def commit(self) -> None:
        for tracks in self.files:
            tracks.commit({})

    @rule(key=KEY, clock=st.integers(0, 21))
    def get(self, key: str, clock: int) -> None:
        for tracks in self.files:
            assert tracks.get(key) == self.memory.get(key)
            assert tracks.due(clock, 1) == self.memory.due(clock, 1)

    @rule(clock=st.integers(0, 21), most=st.integers(1, 8))
    def due(self, clock: int, most: int) -> None:
        for tracks in self.files:
            assert tracks.due(clock, most) == self.memory.due(clock, most)

    @rule(clock=st.integers(0, 21), most=st.integers(1, 8), later=st.integers(0, 9))
    def look(self, clock: int, most: int, later: int) -> None:
        """What is due is put or deleted, as the state does it."""
        for tracks in self.all:
            for key in tracks.due(clock, most):
                found = tracks.get(key)
                assert found is not None
                if later:
                    tracks.put(key, found, clock + later)
                else:
                    tracks.delete(key)

    @rule(rule_id=st.sampled_from(["r", "r2", "s", "q"]), after=st.just("") | KEY, most=st.integers(1, 8))
    def keys_of(self, rule_id: str, after: str, most: int) -> None:
        for tracks in self.files:
            assert tracks.keys_of(rule_id, after, most) == self.memory.keys_of(rule_id, after, most)

    @rule(key=st.just("") | KEY, keys=st.lists(KEY, max_size=4))
    def read(self, key: str, keys: list[str]) -> None:
        for tracks in self.files:
            assert list(tracks.above(key)) == list(self.memory.above(key))
            assert list(tracks.rows(keys)) == list(self.memory.rows(keys))
            assert list(tracks.items()) == list(self.memory.items())
            assert len(tracks) == len(self.memory)

    @rule(said=st.lists(st.tuples(KEY, TOLD), max_size=6))
    def hear(self, said: list[tuple[str, int]]) -> None:
        self.said |= dict(said)
        for tracks in self.files:
            tracks.hear(said)

    @rule(is_all=st.booleans())
    def unlike(self, is_all: bool) -> None:
        for tracks in self.files:
            other, gone = tracks.unlike(is_all)
            assert len(other + gone) == len({*other, *gone})
            assert (set(other), set(gone)) == heard(self.memory, self.said, is_all)
        self.said = {}

    def teardown(self) -> None:
        if hasattr(self, "files"):
            self.read("", KEYS)
            self.due(30, 100)
            for tracks in self.files:
                tracks.close()


TestSpillIsNoSpill = SpillIsNoSpill.TestCase
TestSpillIsNoSpill.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


def told(tracks: SqliteTracks) -> dict[str, int]:
    return {row.key: row.told for row in tracks.above("")}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "watch.sqlite"


# What is in memory


def test_what_is_decoded_stays_within_its_size_and_one_scope_always_fits() -> None:
    few, one = SqliteTracks(None, 1_200), SqliteTracks(None, 0)

    for number in range(50):
        for tracks in (few, one):
            tracks.put(f"r|{number}", scoped(number), NEVER)

    # A new scope is taken to need 300 bytes, a written one what it needed: at most four, and the last one whatever it needs.
    assert len(few._hot) <= 4
    assert list(one._hot) == ["r|49"]
    assert all(tracks._hot_size == sum(h.size for h in tracks._hot.values()) for tracks in (few, one))


def test_what_was_used_last_stays_decoded() -> None:
    tracks = SqliteTracks(None, 1_300)
    for number in range(4):
        tracks.put(f"r|{number}", scoped(number), NEVER)
    first = tracks.get("r|0")

    tracks.put("r|4", scoped(4), NEVER)

    assert tracks.get("r|0") is first
    assert "r|1" not in tracks._hot


def test_what_is_due_is_due_whether_it_was_looked_at_or_not() -> None:
    tracks = SqliteTracks(None, 0)
    tracks.put("r|a", scoped(1), 5)
    tracks.put("r|b", scoped(1), 6)

    tracks.get("r|a")

    assert tracks.due(9, 9) == ["r|a", "r|b"]


def test_what_was_due_while_it_was_decoded_is_due_afterwards() -> None:
    tracks = SqliteTracks(None, 0)
    tracks.put("r|a", scoped(1), 5)
    tracks.put("r|b", scoped(1), NEVER)
    tracks.get("r|a")
    assert tracks.due(9, 9) == ["r|a"]  # nothing else in the file is

    tracks.get("r|b")

    assert tracks.due(9, 9) == ["r|a"]


def test_what_did_not_change_is_not_written_again() -> None:
    tracks = SqliteTracks()
    tracks.put("r|a", scoped(1), 5)
    tracks.flush()
    asked = list[str]()
    tracks._db.set_trace_callback(asked.append)

    tracks.get("r|a")
    tracks.flush()

    assert asked == []


def test_a_file_in_which_nothing_is_due_is_not_asked_again_before_something_is() -> None:
    tracks = SqliteTracks(None, 0)
    for number, due in enumerate((50, 70, NEVER)):
        tracks.put(f"r|{number}", scoped(number), due)
    assert tracks.due(49, 9) == []
    asked = list[str]()
    tracks._db.set_trace_callback(asked.append)

    assert [tracks.due(49, 9), tracks.due(49, 9)] == [[], []]

    assert asked == []
    assert tracks.due(50, 9) == ["r|0"]
    assert tracks.due(80, 9) == ["r|0", "r|1"]


# What is in the file


def test_what_was_committed_is_there_when_the_file_is_opened_again(path: Path) -> None:
    tracks = SqliteTracks(path)
    tracks.put("r|a", scoped(1, 5), 5)
    tracks.put("r|b", scoped(2), NEVER)
    tracks.commit({"standing": b"here", "more": b""})
    tracks.commit({"standing": b"there"})
    tracks.close()

    found = SqliteTracks(path)

    assert found.place() == {"standing": b"there"}
    assert told(found) == {"r|a": 1, "r|b": 2}
    assert (found.due(9, 9), found.get("r|a")) == (["r|a"], scoped(1, 5))


@pytest.mark.parametrize("hot_bytes", [0, 16 << 20])
def test_what_was_not_committed_is_not_in_the_file(path: Path, hot_bytes: int) -> None:
    tracks = SqliteTracks(path, hot_bytes)
    tracks.put("r|a", scoped(1), NEVER)
    tracks.put("r|b", scoped(1), NEVER)
    tracks.commit({"standing": b"here"})
    tracks.put("r|a", scoped(2), NEVER)
    tracks.put("r|c", scoped(2), NEVER)
    tracks.delete("r|b")
    assert told(tracks) == {"r|a": 2, "r|c": 2}
    tracks.close()

    found = SqliteTracks(path)

    assert (found.place(), told(found)) == ({"standing": b"here"}, {"r|a": 1, "r|b": 1})


KILLED = """
import os, sys
from pathlib import Path
from streams.agents.tracks import SqliteTracks
from streams.watch.kept import Scoped
from streams.watch.tracks import Track
tracks = SqliteTracks(Path(sys.argv[1]), 0)
for told in (1, 2):
    for number in range(300):
        tracks.put(f"r|{number:03}", Scoped(Track(), told=told), 5)
    tracks.commit({"standing": b"%d" % told}) if told == 1 else tracks.flush()
os.kill(os.getpid(), 9)
"""


def test_a_kill_leaves_what_was_committed(path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == -9

    found = SqliteTracks(path)

    assert found.place() == {"standing": b"1"}
    assert told(found) == {f"r|{number:03}": 1 for number in range(300)}


def test_clearing_leaves_nothing_and_counts_only_once_it_is_committed(path: Path) -> None:
    tracks = SqliteTracks(path)
    tracks.put("r|a", scoped(1), 5)
    tracks.commit({"standing": b"here"})
    tracks.put("r|b", scoped(1), 5)
    tracks.hear([("r|a", 9)])

    tracks.clear()

    assert (tracks.place(), told(tracks), tracks.get("r|a"), tracks.due(9, 9)) == ({}, {}, None, [])
    assert tracks.unlike(True) == ([], [])
    tracks.close()
    assert told(SqliteTracks(path)) == {"r|a": 1}


def test_a_file_of_another_format_is_emptied(path: Path) -> None:
    tracks = SqliteTracks(path)
    tracks.put("r|a", scoped(1), NEVER)
    tracks.commit({"standing": b"here"})
    tracks.close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
        db.execute("CREATE TABLE other (key TEXT)")
    db.close()

    found = SqliteTracks(path)

    assert (found.place(), told(found)) == ({}, {})
    found.commit({})
    found.close()
    assert SqliteTracks(path)._db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'other'").fetchone() == (0,)


# Whose file it is


HOLDING = """
import sys
from pathlib import Path
from streams.agents.tracks import SqliteTracks
tracks = SqliteTracks.of_partition(Path(sys.argv[1]), 3)
print(tracks.path.name, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the first file of partition 3."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "watch-3.sqlite\n"
        yield process
        process.kill()


def test_a_file_that_another_process_holds_is_left_alone_until_it_lets_go(
    tmp_path: Path, holder: "subprocess.Popen[str]"
) -> None:
    second = SqliteTracks.of_partition(tmp_path, 3)
    other = SqliteTracks.of_partition(tmp_path, 4)

    assert [t.path.name for t in (second, other) if t.path] == ["watch-3-1.sqlite", "watch-4.sqlite"]
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        SqliteTracks(tmp_path / "watch-3.sqlite")
    reader = sqlite3.connect(tmp_path / "watch-3.sqlite", timeout=0)
    with closing(reader), pytest.raises(sqlite3.OperationalError, match="locked"):
        reader.execute("SELECT * FROM place")  # not even to read: nobody gets in between two commits
    holder.kill()
    holder.wait()
    assert SqliteTracks.of_partition(tmp_path, 3).path == tmp_path / "watch-3.sqlite"


def test_so_many_processes_are_a_mistake(tmp_path: Path) -> None:
    held = [SqliteTracks.of_partition(tmp_path, 0) for _ in range(NAMES)]

    with pytest.raises(OSError, match="8 processes hold files of partition 0; end those that are too many"):
        SqliteTracks.of_partition(tmp_path, 0)

    held[3].close()
    assert SqliteTracks.of_partition(tmp_path, 0).path == tmp_path / "watch-0-3.sqlite"


def test_a_file_that_cannot_be_read_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "watch-0.sqlite").write_bytes(b"no database" * 1_000)
    (tmp_path / "watch-0.sqlite-wal").write_bytes(b"nor this" * 1_000)

    found = SqliteTracks.of_partition(tmp_path, 0)

    found.put("r|a", scoped(1), NEVER)
    found.commit({"standing": b"here"})
    found.close()
    assert told(SqliteTracks.of_partition(tmp_path, 0)) == {"r|a": 1}


def test_a_folder_that_cannot_be_written_is_said_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "watch-0.sqlite").mkdir()

    with pytest.raises(OSError, match=r"watch-0.sqlite: unable to open .*; set USAGE_STREAMS_DATA to a folder"):
        SqliteTracks.of_partition(tmp_path, 0)


def test_the_folder_is_made(tmp_path: Path) -> None:
    assert SqliteTracks.of_partition(tmp_path / "data" / "state", 0).path == tmp_path / "data/state/watch-0.sqlite"


# What was told


def test_of_what_was_heard_of_a_scope_the_last_counts() -> None:
    tracks = SqliteTracks()
    tracks.put("r|a", scoped(1), NEVER)
    tracks.put("r|b", scoped(1), NEVER)

    tracks.hear([("r|a", 1), ("r|b", 9)])
    tracks.hear([("r|a", 9), ("r|b", 1)])

    assert tracks.unlike(False) == (["r|a"], [])
    assert tracks.unlike(False) == ([], [])  # it was forgotten


@settings(max_examples=50, deadline=None)
@given(said=st.dictionaries(KEY, TOLD), known=st.dictionaries(KEY, TOLD), is_all=st.booleans())
def test_what_was_told_otherwise_is_found_by_plain_comparison(
    said: dict[str, int], known: dict[str, int], is_all: bool
) -> None:
    memory, tracks = MemoryTracks(), SqliteTracks(None, 1)
    for key, figures in known.items():
        memory.put(key, scoped(figures), NEVER)
        tracks.put(key, scoped(figures), NEVER)

    tracks.hear(said.items())
    other, gone = tracks.unlike(is_all)

    assert (set(other), set(gone)) == heard(memory, said, is_all)


@pytest.mark.parametrize("damage", ["a page", "a scope"])
def test_a_file_that_turns_out_to_be_damaged_is_taken_away_and_the_next_one_begins_with_nothing(
    tmp_path: Path, damage: str
) -> None:
    with closing(SqliteTracks.of_partition(tmp_path, 0)) as tracks:
        for i in range(3_000):
            tracks.put(f"r|{i:05}", scoped(), NEVER)
        tracks.commit({"standing": b"x"})
    path = tmp_path / "watch-0.sqlite"
    if damage == "a page":
        body = bytearray(path.read_bytes())
        for at in range(3 * PAGE, len(body), PAGE):
            body[at : at + 200] = b"\xff" * 200
        path.write_bytes(body)
    else:
        with closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE tracks SET body = x'c1'")
            db.commit()
    tracks = SqliteTracks.of_partition(tmp_path, 0)

    with pytest.raises(sqlite3.DatabaseError), tracks.distrusted():
        list(tracks.items())

    with closing(SqliteTracks.of_partition(tmp_path, 0)) as fresh:
        assert (fresh.place(), len(fresh)) == ({}, 0)


def test_a_kill_while_a_file_is_taken_away_leaves_nothing_that_is_read(tmp_path: Path) -> None:
    with closing(SqliteTracks.of_partition(tmp_path / "live", 0)) as tracks:
        tracks.put("r|a", scoped(), NEVER)
        tracks.commit({"standing": b"x"})
        shutil.copytree(tmp_path / "live", tmp_path / "killed")
    (tmp_path / "killed" / "watch-0.sqlite").unlink()
    assert (tmp_path / "killed" / "watch-0.sqlite-wal").stat().st_size > 0

    with closing(SqliteTracks.of_partition(tmp_path / "killed", 0)) as fresh:
        assert (fresh.place(), len(fresh)) == ({}, 0)
