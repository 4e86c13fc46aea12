"""Finds the running stack: flag, then environment, then ./.usage-streams/stack.json."""

import getpass
import json
import os
from pathlib import Path
from typing import Any

import typer

from streams.cli.consent import refuse
from streams.settings import STAGES, Settings, load_settings

STACK = "stack.json"


def stages_of(text: str) -> list[str]:
    """Names of a comma-separated list; what is no stage is refused."""
    names = [name for name in text.split(",") if name]
    if unknown := sorted({*names} - {*STAGES}):
        raise typer.BadParameter(f"stage {unknown[0]}: unknown; choose from {', '.join(STAGES)}")
    return names


def find_settings(
    bootstrap: str | None = None, clickhouse_url: str | None = None, data: Path | None = None, **given: object
) -> Settings:
    """Settings of the stack that commands talk to; what is `given` besides wins as a flag does. Refuses where a stack of this
    folder is down and nobody says another address: on the default ports there may be somebody else's."""
    folder = data or folder_of()
    found = stack_of(folder)

    def pick(flag: str | None, name: str) -> str | None:
        return flag or os.environ.get(f"USAGE_STREAMS_{name.upper()}") or found.get(name)

    if (folder / "kafka").is_dir() and not (
        found or pick(bootstrap, "bootstrap") or pick(clickhouse_url, "clickhouse_url")
    ):
        others = "USAGE_STREAMS_BOOTSTRAP, USAGE_STREAMS_CLICKHOUSE_URL"
        refuse(
            f"the stack in {folder} does not run; `usage-streams up` starts it, or set where another one is ({others})"
        )
    return load_settings(
        bootstrap=pick(bootstrap, "bootstrap"),
        clickhouse_url=pick(clickhouse_url, "clickhouse_url"),
        data=folder,
        **given,
    )


def folder_of() -> Path:
    """The folder of the stack here, unless a flag names another."""
    return Path(os.environ.get("USAGE_STREAMS_DATA", ".usage-streams"))


def stack_of(folder: Path) -> dict[str, Any]:
    """What the stack of a folder says of itself; empty when none runs there."""
    return dict(json.loads((folder / STACK).read_text())) if (folder / STACK).is_file() else {}


def find_api(data: Path | None = None) -> str:
    """Where the API of the stack is reached: by USAGE_STREAMS_API_URL, else as the stack says; empty when there is none."""
    return os.environ.get("USAGE_STREAMS_API_URL") or str(stack_of(data or folder_of()).get("api_url", ""))


def user() -> str:
    """Who works here, for the record, as far as the machine knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return "unknown"
