"""Finds the running stack: flag, then environment, then ./.usage-streams/stack.json."""

import getpass
import json
import os
from pathlib import Path

import typer

from streams.settings import STAGES, Settings, load_settings

STACK = "stack.json"


def stages_of(text: str) -> list[str]:
    """Names of a comma-separated list; what is no stage is refused."""
    names = [name for name in text.split(",") if name]
    if unknown := sorted({*names} - {*STAGES}):
        raise typer.BadParameter(f"stage {unknown[0]}: unknown; choose from {', '.join(STAGES)}")
    return names


def find_settings(
    bootstrap: str | None = None, clickhouse_url: str | None = None, data: Path | None = None
) -> Settings:
    """Settings of the stack that commands talk to."""
    folder = data or Path(os.environ.get("USAGE_STREAMS_DATA", ".usage-streams"))
    found: dict[str, str] = {}
    if (folder / STACK).is_file():
        found = json.loads((folder / STACK).read_text())

    def pick(flag: str | None, name: str) -> str | None:
        return flag or os.environ.get(f"USAGE_STREAMS_{name.upper()}") or found.get(name)

    return load_settings(
        bootstrap=pick(bootstrap, "bootstrap"), clickhouse_url=pick(clickhouse_url, "clickhouse_url"), data=folder
    )


def user() -> str:
    """Who works here, for the record, as far as the machine knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return "unknown"
