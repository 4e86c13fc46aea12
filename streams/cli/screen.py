"""Where verbs print for people."""

import sys
from decimal import Decimal

from rich.console import Console

PLAIN_WIDTH = 160  # where nobody watches nothing is folded to 80 columns


def console(stderr: bool = False) -> Console:
    """A console of the terminal's width; plain and wide in a pipe."""
    watched = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=None if watched else PLAIN_WIDTH, highlight=False)


def percent(part: Decimal | None) -> str:
    """With its sign; empty where there is none."""
    return "" if part is None else f"{part * 100:+.1f} %"
