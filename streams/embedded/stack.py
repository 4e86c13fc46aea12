"""The local stack: broker, ClickHouse engine, one process a stage; one folder, one owner, stopped in order.

`hold` takes the folder, `Stack.start` brings everything up and writes stack.json, by which every command finds it.
"""

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from streams.embedded.broker import Broker
from streams.embedded.jars import Say
from streams.embedded.ports import free_port, listens, port_for
from streams.embedded.process import Child, ChildDied

STACK = "stack.json"
GIVE_UP_EXIT = 3  # a broken log: starting again cannot help
RESTARTS = 5  # within RESTARTS_SECONDS, then the stack gives up
RESTARTS_SECONDS = 60
# On a machine that is too small for all of them, what is asked and what people wait for comes before what catches up:
# checks first, then verdicts, then what they are made of, then what is stored.
NICE = {"clickhouse": 15, "warehouse": 15, "meter": 10, "notify": 10, "watch": 5}


class Held(Exception):
    """Somebody else runs a stack on this folder; the message says who."""


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Own the folder until the block ends. The kernel lets go of the lock however we die."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise Held(
                f"data {folder}: is held by process {lock.read().strip() or '?'}; use it as it is, stop it with"
                " `usage-streams down`, or give another folder with --data"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()} (usage-streams up, since {time.strftime('%H:%M:%S')})")
        lock.flush()
        yield


def memory(pids: Mapping[str, int]) -> dict[str, int]:
    """Resident MiB a process; what is not there is left out."""
    found = {}
    for name, pid in pids.items():
        with contextlib.suppress(psutil.Error):
            found[name] = psutil.Process(pid).memory_info().rss >> 20
    return found


class Stack:
    """Children in the order of their start. `prepare(bootstrap, url)` makes topics and tables between engine and stages.

    addresses: what else stack.json says, such as where a door listens
    """

    def __init__(
        self,
        folder: Path,
        stages: Mapping[str, Callable[[str, str], tuple[Sequence[str], Mapping[str, str]]]],
        prepare: Callable[[str, str], None],
        say: Say,
        addresses: Mapping[str, str] | None = None,
    ) -> None:
        self._addresses = dict(addresses or {})
        self.folder, self._stages, self._prepare, self._say = folder.resolve(), stages, prepare, say
        self.children: list[Child] = []
        self.bootstrap = self.clickhouse_url = ""
        self._deaths: dict[str, list[float]] = {}
        self._given_up: set[str] = set()

    def start(self) -> None:
        """Everything up, or ChildDied with the last lines of whoever did not make it."""
        broker = Broker(self.folder / "kafka", port_for("kafka", 9092, self._say), free_port(9093), self._say)
        port = port_for("clickhouse", 8123, self._say)
        engine = Child(
            "clickhouse",
            [sys.executable, "-m", "streams.embedded.gateway", str(self.folder / "clickhouse"), str(port)],
            self.folder / "logs" / "clickhouse.log",
            nice=NICE["clickhouse"],
        )
        engine.start()
        self.children.append(engine)
        self.children.insert(0, broker.start())
        engine.wait_until(lambda: listens(port), 60)
        self.bootstrap, self.clickhouse_url = f"127.0.0.1:{broker.port}", f"http://127.0.0.1:{port}"
        self._prepare(self.bootstrap, self.clickhouse_url)
        for name, make in self._stages.items():
            command, env = make(self.bootstrap, self.clickhouse_url)
            child = Child(name, command, self.folder / "logs" / f"{name}.log", env, NICE.get(name, 0))
            child.start()
            self.children.append(child)
        self._write()

    def _write(self) -> None:
        pids = {"up": os.getpid(), **{c.name: c.pid for c in self.children}}
        found = {"bootstrap": self.bootstrap, "clickhouse_url": self.clickhouse_url, **self._addresses, "pids": pids}
        fresh = self.folder / f"{STACK}.new"
        fresh.write_text(json.dumps(found, indent=1))
        fresh.replace(self.folder / STACK)

    def watch(self) -> None:
        """Look once at every child. A stage is started again; a dead broker or engine raises ChildDied."""
        for child in self.children:
            if child.alive:
                continue
            try:
                child.check()
            except ChildDied as death:
                code = child.process.returncode if child.process else 0
                if child.name not in self._stages:
                    raise
                if child.name in self._given_up:
                    continue
                if code == GIVE_UP_EXIT or self._too_often(child.name):
                    self._given_up.add(child.name)
                    self._say(
                        f"{death}\n{child.name}: stays down, the other stages go on; mend the cause and start again"
                    )
                    continue
                self._say(f"{death}\n{child.name}: started again")
                child.start()
                self._write()

    def _too_often(self, name: str) -> bool:
        now = time.monotonic()
        deaths = [t for t in self._deaths.get(name, []) if now - t < RESTARTS_SECONDS]
        self._deaths[name] = [*deaths, now]
        return len(deaths) >= RESTARTS

    def stop(self) -> None:
        """Stages first, then the engine, the broker last."""
        (self.folder / STACK).unlink(missing_ok=True)
        stages = [c for c in self.children if c.name in self._stages]
        for child in stages:
            child.terminate()
        for child in [*stages, *(c for c in reversed(self.children) if c.name not in self._stages)]:
            child.stop()
