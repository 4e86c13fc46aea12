"""`usage-streams price FILE`: what events cost, line by line, without a broker."""

import json
import sys
import time
from decimal import Decimal
from itertools import repeat
from pathlib import Path
from typing import Any

import typer
from rich.text import Text

from streams.catalog import wire
from streams.catalog.base_prices import base_catalog, with_base
from streams.catalog.book import Book, compile_book
from streams.cli.apply import read_folder
from streams.cli.events import checked
from streams.cli.explained import data, explanations, tree
from streams.cli.screen import Screen, Table, console, tell
from streams.pipeline.attribute import attribute, refused
from streams.pipeline.rate import rate
from streams.tokens.normalise import normalise
from streams.watch.alerts import text


def book_of(catalog: Path | None) -> Book:
    """Prices of a folder over the base prices, or the base prices alone."""
    chosen = with_base(read_folder(catalog)) if catalog else base_catalog()
    return compile_book(chosen, 1, wire.version_of(wire.dump(chosen)))


def money(amount: Decimal | None) -> str | None:
    """Plain digits, or null."""
    return None if amount is None else text(amount)


def priced(row: dict[str, Any]) -> dict[str, Any]:
    """One rated row as JSON: money as strings."""
    lines = [
        {**line, "unit_price": money(line["unit_price"]), "amount": money(line["amount"])} for line in row["lines"]
    ]
    costs = {name: money(row[name]) for name in ("list_cost", "contracted_cost", "effective_cost")}
    return {
        "event_id": row["event_id"],
        "pricing_status": row["pricing_status"],
        "quantities": {line["bucket"]: line["quantity"] for line in lines},
        "lines": lines,
        **costs,
        "currency": row["currency"],
        "reasons": row["reasons"],
        "lacks": row["lacks"],
    }


def _head(found: dict[str, Any]) -> Text:
    cost = f"{found['effective_cost']} {found['currency']}" if found["effective_cost"] is not None else "unknown"
    reasons = " ".join(found["reasons"])
    said = f"  {found['pricing_status']}  cost {cost}  {reasons}".rstrip()
    return Text.assemble((found["event_id"], "bold"), said)


def show(found: dict[str, Any], screen: Screen) -> None:
    """One event for people."""
    table = Table("bucket", "quantity", "unit price", "amount", box=None, title_justify="left")
    table.add_column("price", overflow="fold")  # an id is for copying: never cut off
    for line in found["lines"]:
        figures = (f"{line['quantity']:,}", line["unit_price"] or "-", line["amount"] or "-")
        table.add_row(line["bucket"], *figures, line["price_id"] or "no price")
    screen.print(_head(found))
    screen.print(table)
    if found["lacks"]:
        screen.print(f"lacks {', '.join(found['lacks'])}")


def register(app: typer.Typer) -> None:
    """Mount the verb."""

    @app.command("price")
    def command(
        file: str = typer.Argument(help="JSON Lines of usage events; - is standard input."),
        catalog: Path | None = typer.Option(
            None, help="Folder of a catalog, whose prices win; without, the base prices alone."
        ),
        as_json: bool = typer.Option(False, "--json", help="One JSON line an event; the default when nobody watches."),
        why: bool = typer.Option(
            False, "--explain", help="How each line came about: the entry, why that one, why no other; for people."
        ),
    ) -> None:
        """Price events without a broker. Example: [bold]usage-streams price events.jsonl --explain[/bold]"""
        book, screen, wrong = book_of(catalog), console(), 0
        for chunk in checked(file, int(time.time() * 1000)):
            for problem in chunk.problems:
                tell(problem, err=True)
            wrong += len(chunk.problems)
            events = attribute(chunk.frame, book)
            usage = normalise(events)
            rated = rate(events, usage, book)
            explained = explanations(events, usage, rated, book) if why else repeat(None)
            kept = ~refused(events, book)
            for row, reason, counts in zip(rated.iter_rows(named=True), explained, kept, strict=False):
                if not counts:
                    lacks = ", ".join(row["lacks"])
                    said = (
                        f"lacks {lacks}; the meter dead-letters it (requirements: on_breach), its cost will not count"
                    )
                    tell(f"event {row['event_id']}: {said}", err=True)
                    wrong += 1
                if as_json or (reason is None and not sys.stdout.isatty()):
                    typer.echo(json.dumps(priced(row) | ({"explained": data(reason)} if reason else {})))
                elif reason:
                    screen.print(tree(reason, _head(priced(row))))
                else:
                    show(priced(row), screen)
        raise typer.Exit(1 if wrong else 0)
