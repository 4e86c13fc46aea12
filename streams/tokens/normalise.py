"""Usage of a frame of events as lines: one row an event and bucket, disjoint by construction.

A provider's block is decoded by its dialect's typed struct, row by row, so that a bad row fails alone; all else is columns.
Events that bring their own quantities are exploded as columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import msgspec
import numpy as np
import polars as pl

from streams.tokens.buckets import NOT_TOKENS, SIDES, Inconsistent, Said
from streams.tokens.dialects import DECODE, DIALECTS
from streams.tokens.read import LIMIT, NOTHING_SAID, read_block

LINES = pl.Schema({"source_offset": pl.Int64, "bucket": pl.String, "quantity": pl.Int64})
PROBLEMS = pl.Schema({"source_offset": pl.Int64, "reason": pl.String})
SERVED = pl.Schema(
    {
        "source_offset": pl.Int64,
        "served_tier": pl.String,
        "served_speed": pl.String,
        "served_geo": pl.String,
        "told_cost": pl.String,
        "told_currency": pl.String,
    }
)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a chunk used.

    lines:    LINES, sorted
    problems: PROBLEMS, why an event's usage cannot be trusted
    notes:    PROBLEMS, what a row should say although its usage stands
    served:   SERVED, rows of those events whose response said so
    """

    lines: pl.DataFrame
    problems: pl.DataFrame
    notes: pl.DataFrame
    served: pl.DataFrame


UNKNOWN = "unknown_field: "  # of notes: what no struct knows may be billable from today on
IGNORED = "quantities are not counted: usage_json is there too; send one of the two"
Reasons = list[tuple[int, str]]
FAILED = (Inconsistent, msgspec.MsgspecError, ArithmeticError, RecursionError, ValueError)


class _Gathered:
    """What the blocks of a chunk say, beside their counts."""

    def __init__(self) -> None:
        self.problems: Reasons = []
        self.notes: Reasons = []
        self.said: dict[Said, int] = {}  # what responses say repeats, so each row keeps a number
        self.served: list[tuple[int, int]] = []

    def lines(self, name: str, offsets: Sequence[int], blocks: Sequence[str]) -> pl.DataFrame:
        """Lines of the blocks of one dialect, sorted; those that cannot be read go to `problems`."""
        dialect = DIALECTS.get(name)
        if dialect is None:
            self.problems += [(offset, f"unknown_dialect: {name}") for offset in offsets]
            return pl.DataFrame(schema=LINES)
        decode, amounts, served, rows, notes = (
            DECODE[name],
            dialect.amounts,
            dialect.served,
            list[tuple[int, ...]](),
            list[str](),
        )
        said, width = self.said, len(dialect.buckets)
        unreadable = (-1,) * width
        for i, block in enumerate(blocks):
            try:
                usage = decode(block)
                row = amounts(usage, notes)
                if served:
                    self.served.append((offsets[i], said.setdefault(served(usage), len(said))))
                rows.append(row)
            except FAILED:
                rows.append(unreadable)
                notes.clear()
            if notes:
                self.notes += [(offsets[i], note) for note in notes]
                notes.clear()
        try:
            matrix = np.fromiter(chain.from_iterable(rows), np.int64, len(rows) * width).reshape(-1, width)
        except OverflowError:  # a count beyond 64 bits
            rows = [row if min(row) >= -LIMIT and max(row) <= LIMIT else unreadable for row in rows]
            matrix = np.array(rows, np.int64)
        wrong = ((matrix < 0) | (matrix > LIMIT)).any(axis=1)
        for i in np.flatnonzero(wrong).tolist():
            matrix[i] = self._again(name, dialect.buckets, offsets[i], blocks[i])
        order = sorted(range(width), key=dialect.buckets.__getitem__)
        matrix = matrix[:, order]
        row_of, bucket_of = np.nonzero(matrix)
        return pl.DataFrame(
            {
                "source_offset": np.asarray(offsets, np.int64)[row_of],
                "bucket": pl.Series([dialect.buckets[i] for i in order], dtype=pl.String).gather(bucket_of),
                "quantity": matrix[row_of, bucket_of],
            },
            schema=LINES,
        )

    def _again(self, name: str, buckets: Sequence[str], offset: int, block: str) -> list[int]:
        """What the strict struct refused, one by one: fields that nobody knows are named, the rest is a problem."""
        found = read_block(name, block)
        if found.problem:
            self.problems.append((offset, found.problem))
            return [0] * len(buckets)
        self.notes += [(offset, UNKNOWN + path) for path in sorted(set(found.unknown))]
        self.notes += [(offset, note) for note in found.notes]
        self.served.append((offset, self.said.setdefault(found.served, len(self.said))))
        return [found.quantities.get(bucket, 0) for bucket in buckets]

    def sayings(self) -> pl.DataFrame:
        """SERVED, sorted by source_offset; money as the provider wrote it. Rows that say nothing are left out."""
        rows = [(*s[:3], None if s[3] is None else f"{s[3]:f}", s[4]) for s in self.said]
        table = pl.DataFrame(rows, pl.Schema(list(SERVED.items())[1:]), orient="row")
        silent = self.said.get(NOTHING_SAID, -1)
        found = np.array(self.served, np.int64).reshape(-1, 2)
        found = found[found[:, 1] != silent]
        found = found[np.argsort(found[:, 0], kind="stable")]
        rows_of = pl.Series("source_offset", found[:, 0])
        return table.select(pl.all().gather(found[:, 1])).insert_column(0, rows_of)


def of_tokens(side: str) -> pl.Expr:
    """Whether a line's bucket counts tokens of this one of SIDES."""
    return pl.col("bucket").str.starts_with(side) & ~pl.col("bucket").is_in(NOT_TOKENS)


def normalise(events: pl.DataFrame) -> Usage:
    """events: source_offset, usage_dialect, usage_json, quantities, provider_total_tokens."""
    gathered = _Gathered()
    blocks = events.select("source_offset", "usage_dialect", "usage_json").drop_nulls("usage_json")
    found = [
        gathered.lines(str(part["usage_dialect"][0]), part["source_offset"].to_list(), part["usage_json"].to_list())
        for part in blocks.partition_by("usage_dialect", maintain_order=True)
    ]
    own = events.select("source_offset", "usage_json", "quantities")
    own = own.filter(pl.col("quantities").list.len() > 0)
    both = own.filter(pl.col("usage_json").is_not_null())["source_offset"].to_list()
    gathered.notes += [(offset, IGNORED) for offset in both]
    own = own.filter(pl.col("usage_json").is_null())
    if own.height:
        items = own.select("source_offset", "quantities").explode("quantities").unnest("quantities")
        given = items.group_by("source_offset", "bucket").agg(quantity=pl.col("amount").sum())
        found.append(given.filter(pl.col("quantity") > 0).select(LINES.names()).sort("bucket"))
    lines = pl.concat(found) if found else pl.DataFrame(schema=LINES)
    if len(found) > 1 or own.height:
        lines = lines.sort(
            "source_offset", maintain_order=True
        )  # an event's lines come from one part, by bucket already
    lines = lines.with_columns(pl.col("source_offset").set_sorted())
    unread = _reasons(gathered.problems)  # of these nothing is known, so that their totals miss nothing
    missed = _totals_missed(events, lines).join(unread, on="source_offset", how="anti", maintain_order="left")
    return Usage(lines, pl.concat([unread, missed]), _reasons(gathered.notes), gathered.sayings())


def _reasons(found: Reasons) -> pl.DataFrame:
    return pl.DataFrame(sorted(found), PROBLEMS, orient="row")


def _totals_missed(events: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Events whose token buckets do not add up to the total that the provider reported."""
    told = events.select("source_offset", "provider_total_tokens").drop_nulls("provider_total_tokens")
    if not told.height:
        return pl.DataFrame(schema=PROBLEMS)
    tokens = lines.filter(pl.any_horizontal(map(of_tokens, SIDES))).group_by("source_offset")
    both = told.join(tokens.agg(found=pl.col("quantity").sum()), on="source_offset", how="left")
    both = both.with_columns(pl.col("found").fill_null(0))  # no token bucket at all: the sum of nothing
    missed = both.filter(pl.col("found") != pl.col("provider_total_tokens"))
    text = pl.format("inconsistent: provider_total_tokens is {}, the buckets are {}", "provider_total_tokens", "found")
    return missed.select("source_offset", reason=text)
