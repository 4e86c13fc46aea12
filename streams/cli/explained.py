"""How costs came about, as a tree for people and as data: what `price --explain` prints."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
from rich.markup import escape
from rich.syntax import Syntax
from rich.text import Text
from rich.tree import Tree

from streams.catalog.book import Book, Cell
from streams.pipeline.explain import EVENT, RESPONSE, Case, Explanation, Line, Part, Said, explain
from streams.tokens.normalise import Usage
from streams.watch.alerts import text

REJECTED_MOST = 12  # a line's rejected entries that people are shown; --json has all


def explanations(events: pl.DataFrame, usage: Usage, rated: pl.DataFrame, book: Book) -> Iterator[Explanation]:
    """One for each rated row. events: attributed, as they were before rating; their responses' words are in `rated`."""
    quantities = defaultdict[int, dict[str, int]](dict)
    for offset, bucket, quantity in usage.lines.iter_rows():
        quantities[offset][bucket] = quantity
    declared = events.select("speed", "region").iter_rows(named=True)
    for row, own in zip(rated.iter_rows(named=True), declared, strict=True):
        tier = Said(row["service_tier"], RESPONSE if row["tier_source"] == "response" else EVENT)
        speed, region = (Said(row[n], EVENT if row[n] == own[n] else RESPONSE) for n in ("speed", "region"))
        case = Case(
            row["provider"], row["model"], row["event_time"], quantities[row["source_offset"]], tier,
            Said(row["processing"]), speed, region, row["tenant_id"], row["account_id"] or "",
        )  # fmt: skip
        yield explain(case, book)


def data(found: Explanation) -> dict[str, Any]:
    """As JSON: money as strings, times in UTC."""
    return {
        "name": found.name,
        "skus": list(found.skus),
        "at": found.at.isoformat(),
        "sale": {fact.name.replace(" ", "_"): {"value": fact.value, "source": fact.source} for fact in found.sale},
        "whole_input": found.whole_input,
        "lines": [_line_data(line) for line in found.lines],
    }


def _line_data(line: Line) -> dict[str, Any]:
    return {
        "bucket": line.bucket,
        "quantity": line.quantity,
        "chosen": [_part_data(part) for part in line.parts],
        "at_list": [_part_data(part) for part in line.at_list],
        "why": list(line.why),
        "rejected": [{**_cell_data(r.cell), "reason": r.reason} for r in line.rejected],
        "remedy": line.remedy or None,
    }


def _part_data(part: Part) -> dict[str, Any]:
    return {**_cell_data(part.cell), "quantity": part.quantity, "amount": text(part.amount)}


def _cell_data(cell: Cell) -> dict[str, Any]:
    return {"price_id": cell.price_id, "unit_price": text(cell.unit_price), "currency": cell.currency}


def tree(found: Explanation, title: Text) -> Tree:
    """The same for people."""
    root = Tree(title)
    root.add(f"name: {escape(found.name)}")
    sale = root.add(f"sold at {found.at:%Y-%m-%d %H:%M:%S} UTC, whole input {found.whole_input:,}")
    for fact in found.sale:
        sale.add(f"{fact.name}: [bold]{escape(fact.value)}[/bold] ({escape(fact.source)})")
    for line in found.lines:
        _grow(root.add(f"[bold]{escape(line.bucket)}[/bold] {line.quantity:,}"), line)
    return root


def _grow(branch: Tree, line: Line) -> None:
    for part in line.parts:
        branch.add(f"[green]{_sum(part)}[/green]  {escape(part.cell.price_id)}")
    if not line.parts:
        branch.add("[red]no price[/red]")
    elif line.at_list != line.parts:
        for part in line.at_list:
            branch.add(f"at list {_sum(part)}  {escape(part.cell.price_id)}")
        if not line.at_list:
            branch.add("at list: no price")
    for sentence in line.why:
        branch.add(f"because: {escape(sentence)}")
    _reject(branch, line)
    if line.remedy:
        branch.add("to price it:").add(Syntax(line.remedy, "toml", background_color="default"))


def _sum(part: Part) -> str:
    return f"{part.quantity:,} x {text(part.cell.unit_price)} = {text(part.amount)} {part.cell.currency}"


def _reject(branch: Tree, line: Line) -> None:
    shown: Sequence[Any] = line.rejected[:REJECTED_MOST]
    for one in shown:
        branch.add(f"[dim]not {escape(one.cell.price_id)}, {text(one.cell.unit_price)}: {escape(one.reason)}[/dim]")
    if more := len(line.rejected) - len(shown):
        branch.add(f"[dim]and {more} others; --json lists them[/dim]")
