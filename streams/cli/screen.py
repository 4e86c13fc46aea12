"""Where verbs print for people. What they print is text: names come from events, and nobody's name moves a cursor.

Decision: a string is never markup here; what is to look different is a `marked`. So nothing is forgotten: no cell has to be
escaped, and control characters go where everything is written.
"""

import sys
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text

from streams.notify.notice import CONTROL

PLAIN_WIDTH = 160  # where nobody watches nothing is folded to 80 columns


def cleaned(text: str) -> str:
    """Without control characters, but in its lines."""
    return "\n".join(CONTROL.sub(" ", line) for line in text.split("\n"))


def marked(text: str, style: str) -> Text:
    """Text that looks different."""
    return Text(CONTROL.sub(" ", text), style=style)


class Table(RichTable):
    """Its cells and the names of its columns are text."""

    def add_column(self, header: RenderableType = "", *more: Any, **how: Any) -> None:
        super().add_column(_text(header), *more, **how)

    def add_row(self, *cells: RenderableType | None, **how: Any) -> None:
        super().add_row(*map(_text, cells), **how)


class Screen(Console):
    """A console that writes whatever it is given as text."""

    def print(self, *objects: Any, **how: Any) -> None:
        super().print(*map(_text, objects), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Also what is inside of something else, such as the branches of a tree."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(cleaned(segment.text), segment.style)


def _text(shown: Any) -> Any:
    return Text(CONTROL.sub(" ", shown)) if isinstance(shown, str) else shown


def console(stderr: bool = False) -> Screen:
    """A console of the terminal's width; plain and wide in a pipe."""
    watched = (sys.stderr if stderr else sys.stdout).isatty()
    return Screen(stderr=stderr, width=None if watched else PLAIN_WIDTH, highlight=False)


def tell(text: str, err: bool = False) -> None:
    """Lines as they are, never folded."""
    typer.echo(cleaned(text), err=err)


def percent(part: Decimal | None) -> str:
    """With its sign; empty where there is none."""
    return "" if part is None else f"{part * 100:+.1f} %"
