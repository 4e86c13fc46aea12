"""`usage-streams up` and `down`: the local stack, in the foreground or behind."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import psutil
import typer
from aiokafka.errors import KafkaError

from streams.cli.running import STACK, stages_of
from streams.cli.screen import tell
from streams.cli.topics import prepare
from streams.cli.worker import environment_of, stage_command
from streams.outside import Away
from streams.settings import STAGES, load_settings

DATA = Path(os.environ.get("USAGE_STREAMS_DATA", ".usage-streams"))
Maker = Callable[[str, str], tuple[Sequence[str], Mapping[str, str]]]
READY_SECONDS = 600  # the first start downloads
_behind: list[subprocess.Popen[bytes]] = []  # outlive this process on purpose; kept so that nobody warns of it


class NotUp(Exception):
    """The stack did not come up; the message holds the end of its log."""


def run_stack(folder: Path, stages: Sequence[str], with_api: bool = False) -> int:
    """Hold the folder, run until SIGINT or SIGTERM. Exit code."""
    from streams.embedded.jars import JarsUnusable
    from streams.embedded.java import NoJava
    from streams.embedded.ports import port_for
    from streams.embedded.process import ChildDied
    from streams.embedded.stack import Held, Stack, hold
    from streams.warehouse.migrate import MigrationError

    def make(stage: str, bootstrap: str, url: str) -> tuple[Sequence[str], Mapping[str, str]]:
        settings = load_settings(bootstrap=bootstrap, clickhouse_url=url, data=folder, worker_id="local")
        return stage_command(stage), environment_of(settings)

    def make_api(port: int, bootstrap: str, url: str) -> tuple[Sequence[str], Mapping[str, str]]:
        settings = load_settings(bootstrap=bootstrap, clickhouse_url=url, data=folder, api_port=port)
        return [sys.executable, "-m", "streams.cli.main", "api"], environment_of(settings)

    def ready(bootstrap: str, url: str) -> None:
        from streams.warehouse.client import connect
        from streams.warehouse.migrate import migrate

        asyncio.run(prepare(load_settings(bootstrap=bootstrap, data=folder)))
        migrate(connect(url))

    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda n, _: asked.append(n))
    makers: dict[str, Maker] = {stage: partial(make, stage) for stage in stages}
    addresses = dict[str, str]()
    if with_api:
        port = port_for("the api", load_settings().api_port, partial(typer.echo, err=True))
        makers["api"] = partial(make_api, port)
        addresses["api_url"] = f"http://127.0.0.1:{port}"
    try:
        with hold(folder):
            stack = Stack(folder, makers, ready, lambda line: tell(line, err=True), addresses)
            started = time.monotonic()
            try:
                stack.start()
                tell(
                    f"up in {time.monotonic() - started:.1f} s: kafka {stack.bootstrap}, clickhouse"
                    f" {stack.clickhouse_url}, stages {', '.join(stages)}{api_of(addresses)}; data in {folder}; Ctrl-C"
                    " stops everything"
                )
                while not asked:
                    stack.watch()
                    time.sleep(0.2)
                tell("stopping: stages, clickhouse, kafka")
            finally:
                stack.stop()
    except (Held, JarsUnusable, NoJava, Away, MigrationError, KafkaError, OSError) as error:
        tell(f"usage-streams: {error}", err=True)
        return 2
    except ChildDied as error:
        tell(f"usage-streams: {error}", err=True)
        return 0 if asked else 1
    return 0


def api_of(found: Mapping[str, str]) -> str:
    """What is said of the API, if there is one."""
    return f", api {found['api_url']}" if "api_url" in found else ""


def bring_up(folder: Path, stages: Sequence[str] = STAGES, with_api: bool | None = None) -> bool:
    """A stack on `folder`, started behind unless one runs there; True if this call started it. Raises NotUp.

    with_api: None starts it beside stages
    """
    if pid_of(folder):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    path, command = folder / "up.log", [sys.executable, "-m", "streams.cli.main"]
    api = bool(stages) if with_api is None else with_api
    with path.open("wb") as out:
        process = subprocess.Popen(
            [*command, "up", "--data", str(folder), "--stages", ",".join(stages), "--api" if api else "--no-api"],
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    _behind.append(process)
    shown, until = 0, time.monotonic() + READY_SECONDS
    while not (folder / STACK).is_file():
        lines = path.read_text().splitlines()
        for line in lines[shown:]:
            if line.startswith(("downloading", "port ")):
                tell(line, err=True)
        shown = len(lines)
        if process.poll() is not None or time.monotonic() > until:
            raise NotUp("the stack did not come up:\n" + "\n".join(lines[-15:]))
        time.sleep(0.05)
    return True


def pid_of(folder: Path) -> int:
    """The process that runs the stack of `folder`; 0 when none does."""
    try:
        pid = int(json.loads((folder / STACK).read_text())["pids"]["up"])
    except (FileNotFoundError, ValueError, KeyError):
        return 0
    if psutil.pid_exists(pid):
        return pid
    (folder / STACK).unlink(missing_ok=True)  # it was killed; nobody else writes this file while the lock is free
    return 0


def take_down(folder: Path, seconds: float = 60) -> bool:
    """Stop the stack of `folder` and wait; False when none runs."""
    pid = pid_of(folder)
    if not pid:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.terminate()
        process.wait(seconds)
    for ours in _behind:
        ours.poll()  # one that this process started is reaped
    return True


def register(app: typer.Typer) -> None:
    """Mount the verbs."""

    @app.command("up")
    def up(
        data: Path = typer.Option(
            DATA,
            help="Folder of all that is kept; stack.json there has the ports, free ones where 9092 or 8123 are taken.",
        ),
        stages: str = typer.Option(",".join(STAGES), help="Stages to run, comma separated; empty for none."),
        api: bool | None = typer.Option(None, "--api/--no-api", help="The HTTP API too; by default beside stages."),
        detach: bool = typer.Option(False, "--detach", "-d", help="Return once it is up; `down` stops it."),
    ) -> None:
        """Run Kafka, the ClickHouse engine, the stages and the API. Example: [bold]usage-streams up --data /tmp/u[/bold]"""
        names = stages_of(stages)
        if not detach:
            raise typer.Exit(run_stack(data, names, bool(names) if api is None else api))
        try:
            started = bring_up(data, names, api)
        except NotUp as error:
            tell(f"usage-streams: {error}", err=True)
            raise typer.Exit(2) from error
        found = json.loads((data / STACK).read_text())
        where = "" if data == DATA else f" --data {data}"
        tell(
            f"{'up' if started else 'was up already'}: kafka {found['bootstrap']}, clickhouse {found['clickhouse_url']}"
            f"{api_of(found)};"
            f" data and logs in {data}; `usage-streams down{where}` stops it"
        )

    @app.command("down")
    def down(data: Path = typer.Option(DATA, help="Folder of the stack.")) -> None:
        """Stop the stack that runs behind. Example: [bold]usage-streams down[/bold]"""
        tell("stopped" if take_down(data) else f"no stack runs on {data}; where another folder holds it, give --data")
