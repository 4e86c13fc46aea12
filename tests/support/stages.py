"""Stages as processes of their own, to be killed and stopped as a machine would."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from streams.cli.worker import environment_of, stage_command
from streams.settings import Settings


class Stage:
    """One process of one stage."""

    def __init__(self, settings: Settings, stage: str, folder: Path, extra: Mapping[str, str] | None = None) -> None:
        self.log = folder / f"{stage}-{time.monotonic_ns()}.log"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                stage_command(stage), env={**environment_of(settings), **(extra or {})}, stdout=out, stderr=out
            )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        if self.process.poll() is None:
            self.thaw()
            self.process.terminate()
        return self.process.wait(30)

    def said(self) -> str:
        return self.log.read_text()


def until(done: Callable[[], bool], seconds: float, what: str, also: Callable[[], str] = lambda: "") -> None:
    """Wait for a condition of the outside world; fails with what it waited for."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"after {seconds:.0f} s not {what}\n{also()}"
        time.sleep(0.1)
