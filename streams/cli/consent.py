"""Who agrees to what a verb is about to publish: `--yes`, or the person at the terminal; and how a verb refuses."""

import sys
from typing import NoReturn

import typer

from streams.cli.screen import tell


def refuse(said: str, code: int = 2) -> NoReturn:
    """End the command with one line."""
    tell(f"usage-streams: {said}", err=True)
    raise typer.Exit(code)


def must_ask(verb: str, yes: bool) -> bool:
    """Whether a person is asked before the verb publishes. Refuses where nobody can answer: silence is no consent."""
    if yes:
        return False
    if not sys.stdin.isatty():
        refuse(f"{verb}: standard input is no terminal, so nobody can be asked; --yes publishes, --dry-run shows")
    return True
