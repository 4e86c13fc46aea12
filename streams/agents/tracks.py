"""Scopes of one partition: what was used last is decoded in memory, all of it lies in a local SQLite file.

The file is a cache of a fold. `commit` makes it whole at a place of usage.state; of what comes between two commits a kill
leaves nothing in it. Whoever opens it compares the place with the log, and throws the file away when it does not fit. A process
holds its file alone: another one on the same machine takes the next name.

Decision: SQLite, since it is in the standard library and survives a kill; a file a partition, so that partitions move alone.
Measured for a million scopes of 250 bytes: see tests/bench/watch.py.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import msgspec
import structlog

from streams.watch.kept import Dues, Row, Scoped, pack, unpack
from streams.watch.tracks import NEVER

log = structlog.get_logger()
FORMAT = 1
DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB")  # everything else is of the disk, a lock or ours, and may pass
NAMES = 8  # files of one partition, for processes that share a folder
HOT_BYTES = 16 << 20  # of packed scopes; decoded they take about ten times as much
NEW_BYTES = 300  # what a scope is taken to need before it was packed
COLUMNS = "key, due, told, body"
TABLES = """
CREATE TABLE IF NOT EXISTS tracks (key TEXT PRIMARY KEY, due INTEGER, told INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tracks_due ON tracks (due) WHERE due IS NOT NULL;
CREATE TABLE IF NOT EXISTS place (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TEMP TABLE said (key TEXT PRIMARY KEY, told INTEGER NOT NULL) WITHOUT ROWID;
"""


class Damaged(sqlite3.DatabaseError):
    """What lies in the file is nothing that was put there."""


class _Hot:
    """A scope that is decoded, and its size when it was packed last."""

    __slots__ = ("due", "scoped", "size")

    def __init__(self, scoped: Scoped, due: int, size: int) -> None:
        self.scoped, self.due, self.size = scoped, due, size


class SqliteTracks:
    """Implements `streams.watch.kept.Tracks`. Not for two threads at once; nothing is durable before `commit`."""

    def __init__(self, path: Path | None = None, hot_bytes: int = HOT_BYTES) -> None:
        """path: None = in memory, for tests. Raises sqlite3.OperationalError when another process holds it."""
        self.path = path
        self._hot: dict[str, _Hot] = {}  # the longest unused one first
        self._changed = set[str]()  # of them, since the file has them
        self._dues = Dues()
        self._hot_size, self._hot_bytes = 0, hot_bytes
        self._next_due = 0  # nothing in the file is due before
        self._db = self._open()

    @classmethod
    def of_partition(cls, folder: Path, partition: int, hot_bytes: int = HOT_BYTES) -> "SqliteTracks":
        """The file of a partition, under the first name that no other process holds."""
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(NAMES):
            path = folder / f"watch-{partition}{f'-{number}' if number else ''}.sqlite"
            try:
                return cls(path, hot_bytes)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise OSError(f"{path}: {error}; set USAGE_STREAMS_DATA to a folder that can be written") from error
            except sqlite3.DatabaseError:
                log.warning("local state cannot be read; it is thrown away and folded anew", path=str(path))
                _unlink(path)
                return cls(path, hot_bytes)
        raise OSError(f"{folder}: {NAMES} processes hold files of partition {partition}; end those that are too many")

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path or ":memory:", isolation_level=None, timeout=0, check_same_thread=False)
        try:
            for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = NORMAL",
                           "cache_size = -16000", "journal_size_limit = 67108864", "temp_store = FILE"):  # fmt: skip
                db.execute(f"PRAGMA {pragma}")
            if db.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
                for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                    db.execute(f"DROP TABLE {name}")
                db.execute(f"PRAGMA user_version = {FORMAT}")
            db.executescript(TABLES)
            db.execute("BEGIN IMMEDIATE")
        except BaseException:
            db.close()
            raise
        return db

    @contextmanager
    def distrusted(self) -> Iterator[None]:
        """Use it. A file that turns out to be damaged is taken away, so that whoever opens it next folds the log instead."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if isinstance(error, Damaged) or getattr(error, "sqlite_errorname", "").startswith(DAMAGE):
                log.error("local state is damaged; it is thrown away", path=str(self.path), error=str(error))
                self.close()
                if self.path is not None:
                    _unlink(self.path)
            raise

    def close(self) -> None:
        """Let go of the file; what was not committed is not in it."""
        self._db.close()

    def place(self) -> dict[str, bytes]:
        """What the last commit said of where the file stands; empty for a new one."""
        return dict(self._db.execute("SELECT name, value FROM place").fetchall())

    def commit(self, place: dict[str, bytes]) -> None:
        """From now on the file holds everything, and says that it stands there."""
        self.flush()
        self._db.execute("DELETE FROM place")
        self._db.executemany("INSERT INTO place VALUES (?, ?)", place.items())
        self._db.execute("COMMIT")
        self._db.execute("BEGIN IMMEDIATE")

    def clear(self) -> None:
        """Throw everything away."""
        self._hot.clear()
        self._changed.clear()
        self._dues, self._hot_size, self._next_due = Dues(), 0, 0
        for table in ("tracks", "place", "said"):
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608  # our own three names

    def get(self, key: str) -> Scoped | None:
        hot = self._hot.pop(key, None)
        if hot is None:
            found = self._db.execute("SELECT due, body FROM tracks WHERE key = ?", (key,)).fetchone()
            if found is None:
                return None
            hot = _Hot(_unpack(found[1]), NEVER if found[0] is None else found[0], len(found[1]))
            self._hot_size += hot.size
            self._dues.set(key, hot.due)
        self._hot[key] = hot  # the newest is the last one
        self._spill()
        return hot.scoped

    def put(self, key: str, scoped: Scoped, due: int) -> None:
        hot = self._hot.pop(key, None)
        if hot is None:
            hot = _Hot(scoped, due, NEW_BYTES)
            self._hot_size += hot.size
        hot.scoped, hot.due = scoped, due
        self._hot[key] = hot
        self._changed.add(key)
        self._dues.set(key, due)
        self._spill()

    def delete(self, key: str) -> None:
        self._cool(key)
        self._db.execute("DELETE FROM tracks WHERE key = ?", (key,))

    def _cool(self, key: str) -> None:
        hot = self._hot.pop(key, None)
        if hot is not None:
            self._hot_size -= hot.size
            self._next_due = min(self._next_due, hot.due)
            self._dues.drop(key)
            self._changed.discard(key)

    def _spill(self) -> None:
        """Let the longest unused ones go, an eighth at once."""
        if self._hot_size <= self._hot_bytes or len(self._hot) < 2:
            return
        gone = list[str]()
        size = self._hot_size
        for key, hot in self._hot.items():
            if size <= self._hot_bytes * 7 // 8 or len(gone) == len(self._hot) - 1:
                break
            gone.append(key)
            size -= hot.size
        self._write([key for key in gone if key in self._changed])
        for key in gone:
            self._cool(key)

    def flush(self) -> None:
        """Bring what was changed to the file; it stays in memory."""
        if self._changed:
            self._write(list(self._changed))

    def _write(self, keys: Sequence[str]) -> None:
        rows = []
        for key in keys:
            hot = self._hot[key]
            body = pack(hot.scoped)
            self._hot_size += len(body) - hot.size
            hot.size = len(body)
            rows.append(Row(key, hot.due, hot.scoped.told, body))
        self._insert(rows)
        self._changed.difference_update(keys)

    def _insert(self, rows: Iterable[Row]) -> None:
        def values() -> Iterator[tuple[str, int | None, int, bytes | None]]:
            for row in rows:
                self._next_due = min(self._next_due, row.due)
                yield row.key, None if row.due >= NEVER else row.due, row.told, row.body

        self._db.executemany(f"INSERT OR REPLACE INTO tracks ({COLUMNS}) VALUES (?, ?, ?, ?)", values())  # noqa: S608

    def keys_of(self, rule_id: str, after: str, most: int) -> list[str]:
        self.flush()
        first, end = f"{rule_id}|", f"{rule_id}}}"  # the sign that follows `|`
        range_ = "SELECT key FROM tracks WHERE key > ? AND key < ? ORDER BY key LIMIT ?"
        return [key for (key,) in self._db.execute(range_, (max(first, after), end, most))]

    def due(self, clock: int, most: int) -> list[str]:
        found = self._dues.until(clock, most)
        if self._next_due <= clock:
            cold = "SELECT due, key FROM tracks WHERE due <= ? ORDER BY due, key"
            rows = (row for row in self._db.execute(cold, (clock,)) if row[1] not in self._hot)
            more = list(islice(rows, most))
            if not more:
                (next_due,) = self._db.execute("SELECT min(due) FROM tracks WHERE due > ?", (clock,)).fetchone()
                self._next_due = NEVER if next_due is None else next_due
            found = sorted(found + more)[:most]
        return [key for _, key in found]

    def items(self) -> Iterator[tuple[str, Scoped]]:
        for row in self.above(""):
            if row.body is not None:
                yield row.key, _unpack(row.body)

    def rows(self, keys: Iterable[str]) -> Iterator[Row]:
        self.flush()
        for key in keys:
            found = self._db.execute(f"SELECT {COLUMNS} FROM tracks WHERE key = ?", (key,)).fetchone()  # noqa: S608
            yield Row(key, NEVER, 0, None) if found is None else _row(found)

    def above(self, key: str) -> Iterator[Row]:
        self.flush()
        every = f"SELECT {COLUMNS} FROM tracks WHERE key > ? ORDER BY key"  # noqa: S608
        yield from map(_row, self._db.execute(every, (key,)))

    def load(self, rows: Iterable[Row]) -> None:
        given = list(rows)
        for row in given:
            self._cool(row.key)
        self._db.executemany("DELETE FROM tracks WHERE key = ?", ((r.key,) for r in given if r.body is None))
        self._insert(row for row in given if row.body is not None)

    def __len__(self) -> int:
        self.flush()
        return int(self._db.execute("SELECT count(*) FROM tracks").fetchone()[0])

    def hear(self, said: Iterable[tuple[str, int]]) -> None:
        """What usage.budgets says of scopes, in its order: checksums of figures, 0 where the scope is gone."""
        self._db.executemany("INSERT OR REPLACE INTO said VALUES (?, ?)", said)

    def unlike(self, is_all: bool) -> tuple[list[str], list[str]]:
        """Of what was heard: scopes whose figures are others, and scopes that are no more. Then it is forgotten.

        is_all: everything was heard, so that a scope of which nothing was heard has no record
        """
        self.flush()
        other = "SELECT s.key, t.key IS NULL FROM said s LEFT JOIN tracks t ON t.key = s.key WHERE s.told != ifnull(t.told, 0)"
        found = self._db.execute(other).fetchall()
        if is_all:
            unheard = "SELECT key, 0 FROM tracks WHERE told != 0 AND key NOT IN (SELECT key FROM said)"
            found += self._db.execute(unheard).fetchall()
        self._db.execute("DELETE FROM said")
        return [key for key, is_gone in found if not is_gone], [key for key, is_gone in found if is_gone]


def _row(found: tuple[str, int | None, int, bytes]) -> Row:
    key, due, told, body = found
    return Row(key, NEVER if due is None else due, told, body)


def _unpack(body: bytes) -> Scoped:
    """What lies in the file; Damaged where it cannot be read."""
    try:
        return unpack(body)
    except msgspec.DecodeError as error:
        raise Damaged(f"a scope cannot be read: {error}") from error


def _unlink(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
