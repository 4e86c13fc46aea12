"""A child of the local stack: its log, its death told with its last lines, its end in order, never left behind."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1


class ChildDied(Exception):
    """A child ended by itself; the message holds the last lines of its log."""


def _die_with_parent() -> None:
    """Runs in the child: the kernel kills it when its parent is gone, also after SIGKILL (Linux)."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    except (OSError, AttributeError):
        return


def _step_back(nice: int) -> None:
    """Runs in the child: others come first. Where sessions share the processor (Linux), the session steps back too."""
    with contextlib.suppress(OSError):
        os.nice(nice)
        Path("/proc/self/autogroup").write_text(str(nice))


class Child:
    """One process; its output goes to `log`. nice: how far it steps back for others when the processors are busy."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None, nice: int = 0
    ) -> None:
        self.name, self.command, self.log, self.env, self.nice = name, list(command), log, env, nice
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as out:
            # A session of its own: Ctrl-C reaches the parent alone, which then stops the children in order.
            self.process = subprocess.Popen(
                self.command,
                stdout=out,
                stderr=out,
                env=self.env,
                start_new_session=True,
                preexec_fn=self._prepare,  # noqa: PLW1509 - system calls, no lock is taken
            )

    def _prepare(self) -> None:
        _die_with_parent()
        if self.nice:
            _step_back(self.nice)

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def last_lines(self, count: int = 8) -> str:
        """The end of its log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.is_file() else []
        return "\n".join(f"  {line}" for line in lines[-count:])

    def check(self) -> None:
        """ChildDied when it is not alive."""
        if not self.alive:
            code = self.process.returncode if self.process else "?"
            raise ChildDied(f"{self.name}: ended with {code}; its log {self.log} ends\n{self.last_lines()}")

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Return when `ready`; ChildDied if it ends before, or does not get there in time."""
        until = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > until:
                raise ChildDied(
                    f"{self.name}: not ready after {seconds:.0f} s; its log {self.log} ends\n{self.last_lines()}"
                )
            time.sleep(0.05)

    def signal(self, number: int) -> None:
        if self.alive and self.process:
            self.process.send_signal(number)

    def terminate(self) -> None:
        """Ask it to end; `stop` waits."""
        self.signal(signal.SIGTERM)

    def stop(self, seconds: float = 20) -> None:
        """SIGTERM, and SIGKILL when that is not obeyed."""
        if not self.process:
            return
        self.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
