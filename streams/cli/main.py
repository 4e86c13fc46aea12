"""`usage-streams`: mounts one module a verb. Exit codes: 0 done, 1 findings, 2 usage or a broken environment, in one line."""

import importlib
import logging
import sys

import typer
from aiokafka.errors import KafkaError
from clickhouse_connect.driver.exceptions import ClickHouseError

from streams import __version__
from streams.catalog.validate import CatalogError
from streams.cli.screen import tell
from streams.outside import Away
from streams.pipeline.chain import LogBroken
from streams.settings import SettingsError

VERBS = (
    "up",
    "demo",
    "init",
    "apply",
    "catalog",
    "emit",
    "price",
    "estimate",
    "status",
    "query",
    "commitments",
    "budgets",
    "backtest",
    "migrate",
    "topics",
    "worker",
    "api",
    "check",
    "tail",
    "rerate",
    "alerts",
    "exceptions",
    "annotate",
    "notify",
)
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Meter LLM usage on streams: what it costs, who causes it, who may still spend."""


def mount(asked: str = "") -> None:
    """Give every verb's module its place, or the asked one alone, which starts sooner; a module has `register(app)`."""
    asked = {"down": "up", "void": "rerate"}.get(asked, asked)
    for verb in [asked] if asked in VERBS else VERBS:
        importlib.import_module(f"streams.cli.{verb}").register(app)


def main() -> None:
    """The console script."""
    mount(sys.argv[1] if len(sys.argv) > 1 else "")
    for library in ("aiokafka", "clickhouse_connect"):
        logging.getLogger(library).addHandler(logging.NullHandler())  # what goes wrong is said below, in one line
    try:
        app()
    except ClickHouseError as error:
        tell(f"usage-streams: clickhouse: {str(error).splitlines()[0]}", err=True)
        sys.exit(2)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        said = (
            f"{error.filename}: {str(error.strerror).lower()}; give a file that can be read"
            if error.filename
            else error
        )
        tell(f"usage-streams: {said}", err=True)
        sys.exit(2)
    except (SettingsError, CatalogError, Away, LogBroken, KafkaError, OSError) as error:
        tell(f"usage-streams: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
