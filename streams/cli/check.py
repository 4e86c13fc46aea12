"""`usage-streams check`: may this be spent? Asks the API of the stack, else reads the topics itself: the answer is the same."""

import asyncio
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import typer
import urllib3

from streams import logs
from streams.cli.running import find_api, find_settings
from streams.cli.screen import Table, console, marked, tell

Params = Sequence[tuple[str, str]]
SECONDS = 10.0
WAIT_SECONDS = 1.0
BLOCKS = {"require_approval", "stop"}
COLOURS = {"allow": "green", "warn": "yellow", "require_approval": "magenta", "stop": "red"}


class NotAnswered(Exception):
    """A question that cannot be answered: one line, and whether it may be later."""

    def __init__(self, said: str, is_over: bool) -> None:
        super().__init__(said)
        self.is_over = is_over  # asking again cannot help


def parameters_of(
    scopes: Sequence[str], tenant: str, dims: Sequence[str], amount: str, unit: str, currency: str
) -> Params:
    """As the API takes them."""
    if bool(scopes) == bool(tenant or dims):
        raise typer.BadParameter(
            "give --tenant and what else the request's event will say with --dim, or keys of scopes"
        )
    found = [("scope", scope) for scope in scopes]
    found += [("tenant", tenant)] if tenant else []
    for pair in dims:
        name, sign, value = pair.partition("=")
        if not sign:
            raise typer.BadParameter(f"{pair}: write it as name=value, such as team=search")
        found.append((name, value))
    given = (("amount", amount), ("unit", unit), ("currency", currency))
    return [*found, *((name, value) for name, value in given if value)]


def ask_api(url: str, params: Params) -> dict[str, Any] | None:
    """The API's answer; None when it is not there. NotAnswered with what it says is wrong."""
    token = os.environ.get("USAGE_STREAMS_API_TOKEN", "")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        found = urllib3.request(
            "GET", f"{url}/v1/check?{urlencode(params)}", headers=headers, timeout=SECONDS, retries=False
        )
    except urllib3.exceptions.HTTPError:
        return None
    said: dict[str, Any] = json.loads(found.data)
    if found.status != 200:
        raise NotAnswered(said["detail"], found.status < 500)
    return said


async def ask_topic(bootstrap: str | None, data: Path | None, params: Params) -> dict[str, Any]:
    """The same from the topics, by the same code."""
    from streams.doors.asking import ENCODE, answer, asked_in, question_of
    from streams.doors.auth import LOOPBACK
    from streams.doors.following import Following, caught_up
    from streams.doors.problems import Problem
    from streams.doors.view import View
    from streams.kafka.client import answers

    settings = find_settings(bootstrap, None, data)
    logs.configure("warning")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that no broker answers is said once, in our words
    try:
        question = question_of(asked_in(urlencode(params).encode()), LOOPBACK)
        await answers(settings.bootstrap)
        view = View(settings.api_scopes)
        await caught_up(Following(settings, view), SECONDS)
        return dict(json.loads(ENCODE(answer(view, question, LOOPBACK))))
    except Problem as problem:
        raise NotAnswered(problem.detail, problem.status < 500) from problem


def show(found: Mapping[str, Any]) -> None:
    """For people: the verdict and why, then every scope that was looked at."""
    screen = console()
    colour = COLOURS[found["verdict"]]
    first = found["scopes"][0] if found["scopes"] else {}
    unit = (first.get("currency") if found["unit"] == "cost" else None) or found["unit"]
    left = "" if found["allowed"] is None else f"; {found['allowed']} {unit} may be spent"
    left = "; nothing may be spent" if found["allowed"] == "0" else left
    said = found["text"].removesuffix(".") if left else found["text"]
    screen.print(marked(found["verdict"], colour), f"{said}{left}{' (degraded)' if found['degraded'] else ''}")
    if not found["scopes"]:
        return
    table = Table("scope", "verdict", "used", "limit", "left", "percent", "as of", "old by", box=None)
    for f in found["scopes"]:
        age = "unknown" if f["staleness_ms"] is None else f"{f['staleness_ms'] / 1000:.1f} s"
        unit = f" {f['currency'] or f['measure'] or f['unit']}"
        cells = [f["used"], f["limit"], f["headroom"]]
        shown = ["" if cell is None else cell + unit for cell in cells]
        table.add_row(f["scope"], f["verdict"], *shown, f["percent"] or "", f["as_of"], age)
    screen.print(table)


def register(app: typer.Typer) -> None:
    """Mount the verb."""

    @app.command("check")
    def command(
        scopes: list[str] = typer.Argument(None, help="Keys of scopes, as `tail budgets` shows them; or dimensions:"),
        tenant: str = typer.Option("", help="Whose request."),
        dim: list[str] = typer.Option([], help="name=value, as the request's event will say it; several."),
        amount: str = typer.Option("", help="What it is intended to spend."),
        unit: str = typer.Option("", help="Of the amount: cost (the default), tokens, events, ..."),
        currency: str = typer.Option("", help="Of the amount, where budgets have several."),
        as_json: bool = typer.Option(False, "--json", help="The whole answer as one JSON object."),
        wait: bool = typer.Option(False, "--wait", help="Ask again until it may be spent."),
        bootstrap: str | None = typer.Option(None, help="Kafka, host:port."),
        data: Path | None = typer.Option(None, help="Folder of the stack."),
    ) -> None:
        """May this be spent? Exit 0 allow or warn, 1 approval needed or stop.

        Example: [bold]usage-streams check --tenant acme --dim team=search --amount 0.5[/bold]
        """
        params = parameters_of(scopes or [], tenant, dim, amount, unit, currency)
        found = None
        while found is None or (wait and found["verdict"] in BLOCKS):
            if found is not None:
                time.sleep(WAIT_SECONDS)
            try:
                url = find_api(data)
                found = ask_api(url, params) if url else None
                found = found or asyncio.run(ask_topic(bootstrap, data, params))
            except NotAnswered as error:
                if not wait or error.is_over:
                    tell(f"usage-streams: {error}", err=True)
                    raise typer.Exit(2) from error
                time.sleep(WAIT_SECONDS)
        typer.echo(json.dumps(found)) if as_json else show(found)
        raise typer.Exit(1 if found["verdict"] in BLOCKS else 0)
