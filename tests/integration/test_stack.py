"""`usage-streams up`: one owner a folder, data that survive, children that are reported and never left behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.stages import until

pytestmark = pytest.mark.integration
RUN = [sys.executable, "-m", "streams.cli.main"]


class Up:
    """`usage-streams up` in the foreground."""

    def __init__(self, folder: Path, stages: str) -> None:
        self.folder, self.output = folder, folder.with_suffix(".out")
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(
                [*RUN, "up", "--data", str(folder), "--stages", stages], stdout=out, stderr=out
            )
        until((folder / "stack.json").is_file, 60, "up", self.said)

    def said(self) -> str:
        return self.output.read_text()

    def pids(self) -> dict[str, int]:
        return dict(json.loads((self.folder / "stack.json").read_text())["pids"])

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


def alive(pids: dict[str, int]) -> list[str]:
    return [n for n, p in pids.items() if psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RUN, *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_a_stack_has_one_owner_survives_a_restart_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder, catalog = tmp_path / "data", str(tmp_path / "catalog")
    up = Up(folder, "meter,watch,warehouse")
    first = up.pids()
    assert run("init", catalog).returncode == 0
    applied = run(
        "apply", catalog, "--yes", "--bootstrap", json.loads((folder / "stack.json").read_text())["bootstrap"]
    )
    assert "published version 1" in applied.stdout, applied.stderr
    sent = run("emit", f"{catalog}/first-event.jsonl", "--data", str(folder))
    assert sent.stdout.strip() == "acknowledged 1", sent.stderr

    second = run("up", "--data", str(folder))
    assert second.returncode == 2
    assert f"held by process {first['up']}" in second.stderr

    os.kill(first["meter"], signal.SIGKILL)
    until(lambda: up.pids()["meter"] != first["meter"], 30, "the meter started again", up.said)
    assert "meter: ended with -9; its log" in up.said()

    def stored() -> bool:
        found = json.loads(run("status", "--json", "--data", str(folder)).stdout)["conservation"]
        return (found["rated"], found["stored"], found["difference"]) == (1, 1, 0)

    until(stored, 60, "the event stored", up.said)
    last = up.pids()
    assert up.interrupt() == 0, up.said()
    assert alive({**first, **last}) == []
    assert "stopping: stages, clickhouse, kafka" in up.said()

    again = Up(folder, "")
    rows = json.loads(run("query", "cost_by_team", "--json", "--data", str(folder)).stdout)
    assert [(r["team"], r["cost"]) for r in rows] == [("search", "0.0009")]
    assert again.interrupt() == 0


def test_an_owner_that_is_killed_takes_its_children_with_it_and_frees_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    up = Up(folder, "meter")
    pids = up.pids()
    up.process.kill()
    up.process.wait()
    until(lambda: alive(pids) == [], 30, "the children gone")

    (folder / "stack.json").unlink()
    again = Up(folder, "")
    assert again.interrupt() == 0


def test_a_broker_that_dies_ends_the_stack_and_shows_its_last_lines(tmp_path: Path) -> None:
    up = Up(tmp_path / "data", "")

    os.kill(up.pids()["broker"], signal.SIGKILL)

    assert up.process.wait(60) == 1
    assert "broker: ended with -9; its log" in up.said()
