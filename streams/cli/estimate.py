"""`usage-streams estimate`: what a batch or a workload would cost before it runs."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from streams.cli.estimate_tables import ROUNDED, file_data, show, show_file, workload_data
from streams.cli.estimates import capacity_uses, figures, file_sums
from streams.cli.moments import moment
from streams.cli.price import book_of
from streams.cli.screen import console, tell
from streams.cli.workloads import (
    Planned,
    WorkloadError,
    amounts,
    bought,
    example,
    model_name,
    planned,
    read_profile,
    share,
    times,
)


def workloads_of(profile: Path | None, flags: dict[str, Any]) -> list[Planned]:
    """Those of the profile, or the one that the flags say."""
    if profile is None:
        return [planned("estimate", flags)]
    if given := sorted(flags):
        raise WorkloadError(f"estimate: --{given[0]} beside --profile; write it into the profile")
    return read_profile(profile)


def given_flags(**values: Any) -> dict[str, Any]:
    """Flags that were given."""
    return {name: value for name, value in values.items() if value not in (None, [], "")}


def _one(name: str, text: str, read: Any) -> Any:
    """A flag's value; WorkloadError where it cannot be."""
    try:
        return read(text)
    except ValueError as error:
        raise WorkloadError(f"estimate: {name}: {error}") from error


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def of_file(file: str, book: Any, at: datetime | None, flags: dict[str, Any], as_json: bool) -> int:
    """Estimate a file; 1 where some of its lines are no events."""
    if odd := sorted(set(flags) - {"cached", "compare", "growth"}):
        raise WorkloadError(f"estimate: --{odd[0]} beside a file; its events say it themselves, leave it out")
    cached = _one("cached", flags["cached"], share) if "cached" in flags else None
    growth = _one("growth", flags["growth"], times) if "growth" in flags else None
    compare = [_one("compare", name, model_name) for name in flags.get("compare", ())]
    if file != "-" and not Path(file).is_file():
        raise WorkloadError(f"file {file}: is not there; give JSON Lines of planned events, or - for standard input")
    found = file_sums(file, book, at, cached, compare)
    if not found.sums and not found.problems:
        raise WorkloadError(f"file {file}: holds no events; write one JSON object a line")
    for problem in found.problems:
        tell(problem, err=True)
    if as_json:
        typer.echo(json.dumps(file_data(found, growth)))
    else:
        screen = console()
        show_file(found, growth, screen)
        screen.print(ROUNDED)
    return 1 if found.problems else 0


def of_workloads(workloads: list[Planned], catalog: Path | None, at: datetime, as_json: bool) -> None:
    """Estimate workloads, at the prices of a folder or at the base prices alone."""
    book = book_of(catalog)
    found = [(one, figures(one, at, book)) for one in workloads]
    with_capacity = [(one, of, capacity_uses(one, of)) for one, of in found]  # before anything is printed
    prices = f"{'prices' if catalog else 'base prices'} of {at:%Y-%m-%d %H:%M} UTC"
    if as_json:
        rows = [workload_data(one, of, uses, at.isoformat()) for one, of, uses in with_capacity]
        typer.echo(json.dumps({"workloads": rows}))
        return
    screen = console()
    for one, of, uses in with_capacity:
        show(one, of, uses, prices, screen)
    screen.print(ROUNDED)


def register(app: typer.Typer) -> None:
    """Mount the verb."""

    @app.command("estimate")
    def command(
        file: str = typer.Argument("", help="JSON Lines of planned usage events; - is standard input."),
        model: str = typer.Option("", help="provider/model of one workload."),
        requests: str = typer.Option("", help="How many requests in all."),
        input_: str = typer.Option("", "--input", help="Text input tokens of one request, cached ones included."),
        output: str = typer.Option("", help="Visible output tokens of one request."),
        reasoning: str = typer.Option("", help="Reasoning tokens of one request, beside the visible ones."),
        cached: str = typer.Option("", help="Share of the input that a cache serves, such as 60%."),
        quantity: list[str] = typer.Option(
            [], help="bucket=amount of one request, such as web_searches=1; repeatable."
        ),
        region: str = typer.Option("", help="Where it runs."),
        tenant: str = typer.Option("", help="Whose contracts hold; none = list prices."),
        account: str = typer.Option("", help="Which account's contracts hold."),
        compare: str = typer.Option("", help="Other models, provider/model, comma separated."),
        growth: str = typer.Option("", help="What if usage grows, such as 3x."),
        provisioned: str = typer.Option(
            "",
            help="hourly=60,units=1,tokens_per_minute=50000 and hours= or utilisation=: capacity beside pay as you go.",
        ),
        profile: Path | None = typer.Option(None, help="TOML of several workloads."),
        show_example: bool = typer.Option(False, "--example", help="Print a commented profile."),
        at: str = typer.Option("", help="At the prices of this day or instant; now, or as each event of a file says."),
        catalog: Path | None = typer.Option(
            None, help="Folder of a catalog, whose prices win; without, the base prices alone."
        ),
        as_json: bool = typer.Option(False, "--json", help="One JSON object, every digit."),
    ) -> None:
        """What planned usage would cost: online, cached, batch, flex, elsewhere. Example: [bold]usage-streams estimate --model openai/gpt-5-mini --requests 100000 --input 1200 --output 300 --cached 60%[/bold]"""  # noqa: E501
        if show_example:
            typer.echo(example(), nl=False)
            raise typer.Exit
        try:
            flags = given_flags(
                model=model, requests=requests, input=input_, output=output, reasoning=reasoning, cached=cached,
                quantities=amounts(quantity), region=region, tenant=tenant, account=account, compare=_names(compare),
                growth=growth, provisioned=bought(provisioned),
            )  # fmt: skip
            when = moment(at) if at else None
            flags = {name: value for name, value in flags.items() if value != {}}
            if file and profile:
                raise WorkloadError("estimate: a file and --profile; give one of them")
            if not (file or profile or model):
                raise WorkloadError("estimate: nothing to estimate; give a FILE, --model or --profile")
            if file:
                raise typer.Exit(of_file(file, book_of(catalog), when, flags, as_json))
            workloads = workloads_of(profile, flags)
            of_workloads(workloads, catalog, when or datetime.fromtimestamp(time.time(), UTC), as_json)
        except WorkloadError as error:
            tell(f"usage-streams: {error}", err=True)
            raise typer.Exit(2) from error
