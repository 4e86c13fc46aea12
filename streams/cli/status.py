"""`usage-streams status`: is everything accounted for, how far behind is each partition, what does the stack weigh?"""

import asyncio
import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import typer
import urllib3
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.text import Text

from streams.cli.running import STACK, find_api, find_settings, stack_of
from streams.cli.screen import Screen, Table, console, marked
from streams.jobs.conservation import accounts, conservation
from streams.kafka import topics
from streams.kafka.client import KafkaClient
from streams.kafka.runs_log import RunsLog
from streams.outside import Away
from streams.settings import Settings, group_of
from streams.warehouse.client import connect
from streams.warehouse.marks import count_stored, stored_marks

MIB = "MiB"
STARTING_SECONDS = 60


def stored_rows(settings: Settings) -> tuple[dict[int, int], int | None, str]:
    """Marks of the ledger in the warehouse, the rows up to them, and why that is unknown when it is."""
    try:
        client = connect(settings.clickhouse_url)
        marks = stored_marks(client, topics.RATED)
        return marks, count_stored(client, marks), ""
    except (ClickHouseError, Away, OSError) as error:
        return {}, None, str(error).split("\n", 1)[0]


def memory_of(folder: Path) -> dict[str, int]:
    """Resident MiB of each process of the local stack in `folder`; empty when there is none."""
    try:
        pids = json.loads((folder / STACK).read_text())["pids"]
    except (FileNotFoundError, KeyError, ValueError):
        return {}
    from streams.embedded.stack import memory

    return memory(pids)


def up_seconds(folder: Path) -> float:
    """How long the local stack of the folder has been up; endless when none is."""
    try:
        return time.time() - psutil.Process(int(stack_of(folder)["pids"]["up"])).create_time()
    except (psutil.Error, KeyError, ValueError):
        return math.inf


def api_state(folder: Path) -> dict[str, Any]:
    """Where the API is and why it is not ready, if it is not; empty when the stack has none."""
    url = find_api(folder)
    if not url:
        return {}
    try:
        said = urllib3.request("GET", f"{url}/readyz", timeout=2.0, retries=False).json()
        starts = not said["ready"] and up_seconds(folder) < STARTING_SECONDS
        return {"url": url, "ready": said["ready"], "reasons": said["reasons"], "starting": starts}
    except (urllib3.exceptions.HTTPError, ValueError, KeyError) as error:
        why = f"does not answer ({type(error).__name__})"
        return {"url": url, "ready": False, "reasons": [why], "starting": up_seconds(folder) < STARTING_SECONDS}


async def look(settings: Settings) -> dict[str, Any]:
    """Everything that `status` says, as one value."""
    kafka = KafkaClient(settings.bootstrap)
    try:
        await kafka.producer()
        marks, stored, problem = await asyncio.to_thread(stored_rows, settings)
        found = await accounts(kafka, group_of(settings, "meter"), int(time.time() * 1000), marks)
        runs = RunsLog(kafka.log(topics.RUNS, 0))
        await runs.refresh()
    finally:
        await kafka.close()
    partitions = [
        {"partition": a.partition, "lag_messages": a.lag_messages, "lag_seconds": round(a.lag_seconds, 3), **asdict(a)}
        for a in found
    ]
    memory = memory_of(settings.data)
    return {
        "conservation": dict(conservation(found, stored)),
        "partitions": partitions,
        "memory_mib": {**memory, "total": sum(memory.values())} if memory else {},
        "warehouse": problem or "ok",
        "api": api_state(settings.data),
        "open_run": runs.open.run_id if runs.open else None,
    }


def standing(api: dict[str, Any]) -> str:
    """Whether the API is ready. At a start it knows what was when the stack went down, until its stages report again."""
    reasons = "; ".join(api["reasons"])
    return "ready" if api["ready"] else f"is starting: {reasons}" if api["starting"] else f"not ready: {reasons}"


def show(found: dict[str, Any], console: Screen) -> None:
    """The same for people."""
    c = found["conservation"]
    verdict = marked(str(c["difference"]), "red" if c["difference"] else "green")
    console.print(
        f"covered {c['covered']:,} of {c['produced']:,} produced = rated {c['rated']:,} + duplicate {c['duplicate']:,}"
        f" + dead {c['dead']:,} + skipped {c['skipped']:,} + lost {c['lost']:,}"
    )
    stored = "unknown: " + found["warehouse"] if c["stored"] is None else f"{c['stored']:,}"
    waiting = f", {c['waiting']:,} on the way" if c["waiting"] else ""
    console.print(Text.assemble(f"stored {stored}{waiting}; difference ", verdict))
    table = Table("partition", "produced", "covered", "behind", "seconds behind", box=None)
    for p in found["partitions"]:
        table.add_row(*(f"{p[k]:,}" for k in ("partition", "produced", "covered", "lag_messages", "lag_seconds")))
    console.print(table)
    if found["open_run"]:
        console.print(
            f"run {found['open_run']} is open; if nobody is at it, `usage-streams rerate --resume` finishes it",
            style="yellow",
        )
    if api := found["api"]:
        console.print(f"api {api['url']} {standing(api)}")
    if found["memory_mib"]:
        console.print("memory " + ", ".join(f"{k} {v:,} {MIB}" for k, v in found["memory_mib"].items()))


def register(app: typer.Typer) -> None:
    """Mount the verb."""

    @app.command("status")
    def command(
        as_json: bool = typer.Option(False, "--json", help="One JSON object."),
        data: Path | None = typer.Option(None, help="Folder of the stack."),
        bootstrap: str | None = typer.Option(None, help="Kafka, host:port."),
        clickhouse_url: str | None = typer.Option(None, help="ClickHouse over HTTP."),
    ) -> None:
        """Conservation, lag, memory; exit 1 when the accounts differ. Example: [bold]usage-streams status[/bold]"""
        found = asyncio.run(look(find_settings(bootstrap, clickhouse_url, data)))
        if as_json:
            typer.echo(json.dumps(found))
        else:
            show(found, console())
        raise typer.Exit(0 if found["conservation"]["difference"] == 0 else 1)
