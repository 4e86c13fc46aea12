"""Corrections, pure: rows of the ledger as they stand, and what they become; the differences for people, SQL and budgets.

A message of usage.adjustments is one frame of old and new rows, told apart by `side`: the ledger's columns, `ledger_offset`
of the batch that first rated the event, and `is_deleted`. Row i of the one side is row i of the other.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import polars as pl

from streams.catalog.book import Book
from streams.pipeline.attribute import named
from streams.pipeline.frames import INSTANT, MONEY
from streams.pipeline.ledger import encode_frame, read_frame
from streams.pipeline.measures import listed
from streams.pipeline.rate import ADDED as RATED
from streams.pipeline.rate import rate
from streams.pipeline.runs import Run, Selection, same_values
from streams.pipeline.totals import CAUSES, FIGURES, KEYS, TOTALS, totals
from streams.tokens.normalise import normalise
from streams.watch.scopes import Scope

ROWS = 5_000  # pairs of one message, unless one batch of the ledger has more
UNPRICED = ("unpriced", "partial")
COSTS = ("list_cost", "contracted_cost", "effective_cost")
DIFFERENCES = pl.Schema(
    {
        "team": pl.String(),
        "model": pl.String(),
        "day": pl.Date(),
        "currency": pl.String(),
        "events": pl.Int64(),
        "old": MONEY,
        "new": MONEY,
        "difference": MONEY,
        "unpriced_before": pl.Int64(),
        "unpriced_after": pl.Int64(),
    }
)
GROUP = ("team", "model", "day", "currency")


class Pairs(NamedTuple):
    """Old and new rows, side by side."""

    old: pl.DataFrame
    new: pl.DataFrame

    @property
    def height(self) -> int:
        return self.old.height


NONE = Pairs(pl.DataFrame(), pl.DataFrame())


def conditions(selection: Selection, lasting: bool = False) -> list[pl.Expr]:
    """The selection as predicates; `lasting`: those alone that no correction can change."""
    found = []
    if selection.start is not None:
        found.append(pl.col("event_time") >= pl.lit(selection.start).cast(INSTANT))
    if selection.end is not None:
        found.append(pl.col("event_time") < pl.lit(selection.end).cast(INSTANT))
    if not lasting:
        found += [pl.col(name).is_in(values) for name, values in same_values(selection.where).items()]
    return found


def columns_of(selection: Selection) -> list[str]:
    """What the conditions look at."""
    return ["event_time", *same_values(selection.where)]


def select(rows: pl.DataFrame, conditions: Sequence[pl.Expr]) -> pl.DataFrame:
    """The rows for which all conditions hold."""
    return rows.filter(*conditions) if conditions else rows


def chosen(rows: pl.DataFrame, selection: Selection) -> pl.DataFrame:
    """Of rows as they stand those that a run looks at; what was taken back is never one."""
    return select(rows, [*conditions(selection), pl.col("is_deleted") == 0])


def as_they_stand(rows: pl.DataFrame, ledger_offset: int, later: pl.DataFrame) -> pl.DataFrame:
    """Rows of one ledger batch, with what earlier runs made of them; `later`: their new rows, one a source_offset."""
    placed = rows.with_columns(ledger_offset=pl.lit(ledger_offset, pl.Int64), is_deleted=pl.lit(0, pl.UInt8))
    mended = later.join(rows, on="source_offset", how="semi") if later.height else later
    if not mended.height:
        return placed
    rest = placed.join(mended, on="source_offset", how="anti")
    return pl.concat([rest, mended], how="diagonal").sort("source_offset")


def latest(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """New rows of several messages in log order: the last one for each source_offset."""
    if not parts:
        return pl.DataFrame(schema={"source_offset": pl.Int64, "ledger_offset": pl.Int64})
    return pl.concat(parts, how="diagonal").unique("source_offset", keep="last", maintain_order=True)


def rerated(rows: pl.DataFrame, book: Book, event: pl.Schema) -> pl.DataFrame:
    """The rows with the book's prices; who they belong to stays as it was decided when they came.

    event: the columns that an event brings; rows of an older format lack some.
    """
    absent = [pl.lit(None, kind).alias(name) for name, kind in event.items() if name not in rows.columns]
    placed = ("ledger_offset", "is_deleted")
    events = named(rows.drop("sku_model", *RATED.names(), *placed, strict=False).with_columns(absent), book)
    return rate(events, normalise(events), book).with_columns(rows[name] for name in placed)


def voided(rows: pl.DataFrame, reason: str) -> pl.DataFrame:
    """The rows as if they had not been used: no lines, no tokens, no cost; marked, so that they stay visible."""
    no_tokens = [pl.lit(0, pl.Int64).alias(name) for name in ("input_tokens", "output_tokens", "total_tokens")]
    return rows.with_columns(
        pl.col("lines").list.head(0),
        pl.col("reasons").list.concat(pl.lit([f"void: {reason}"])),
        *no_tokens,
        *(pl.lit(0, MONEY).alias(name) for name in COSTS),
        *(pl.col(name) * 0 for name in ("converted_cost",) if name in rows.columns),  # rows of an older format lack it
        pricing_status=pl.lit("void"),
        is_deleted=pl.lit(1, pl.UInt8),
    )


def changes(old: pl.DataFrame, new: pl.DataFrame) -> Pairs:
    """The pairs that differ in anything."""
    both = pl.concat([old, new], how="diagonal")
    before, after = both[: old.height], both[old.height :]
    differ = pl.Series("differ", [False] * old.height, pl.Boolean)
    for name in both.columns:
        differ = differ | before[name].ne_missing(after[name])
    return Pairs(before.filter(differ), after.filter(differ))


def corrected(rows: pl.DataFrame, run: Run, book: Book, event: pl.Schema) -> Pairs:
    """What a run changes among rows as they stand; a voided row is never touched again."""
    old = chosen(rows, run.selection)
    if not old.height:
        return NONE
    return changes(old, voided(old, run.reason) if run.kind == "void" else rerated(old, book, event))


def join(parts: Sequence[Pairs]) -> Pairs:
    """Pairs of neighbours in the ledger, as one."""
    some = [part for part in parts if part.height]
    if not some:
        return NONE
    return Pairs(*(pl.concat(side, how="diagonal") for side in zip(*some, strict=True)))


def encode_pairs(pairs: Pairs) -> bytes:
    """One Arrow IPC stream; empty when nothing changes."""
    if not pairs.height:
        return b""
    sides = [frame.with_columns(side=pl.lit(side)) for side, frame in zip(("old", "new"), pairs, strict=True)]
    return encode_frame(pl.concat(sides, how="diagonal"))  # one frame: the half that is the same costs next to nothing


def read_pairs(payload: bytes | None) -> Pairs:
    """What `encode_pairs` wrote; LogBroken when it cannot be read."""
    if not payload:
        return NONE
    frame = read_frame(payload)
    return Pairs(*(frame.filter(pl.col("side") == side).drop("side") for side in ("old", "new")))


def adjusted_totals(pairs: Pairs, scopes: Sequence[Scope]) -> pl.DataFrame:
    """TOTALS of the new rows less those of the old ones; what a void takes away counts as nothing.

    Exact in every sum and counter. First and last cannot be taken back: they are those of all rows concerned. Of the causes
    those are named whose amount moved most.
    """
    if not pairs.height or not scopes:
        return pl.DataFrame(schema=TOTALS)
    plus = totals(pairs.new.filter(pl.col("is_deleted") == 0), scopes, causes=pairs.height)
    minus = totals(pairs.old, scopes, causes=pairs.height).with_columns(
        -pl.col(FIGURES[:-1]), cost=pl.lit(0, MONEY) - pl.col("cost")
    )
    both = pl.concat([plus.with_columns(is_old=pl.lit(False)), minus.with_columns(is_old=pl.lit(True))])
    sums = both.group_by(KEYS).agg(pl.col(FIGURES).sum(), pl.col("first_ms").min(), pl.col("last_ms").max())
    sums = sums.with_row_index("group")
    placed = both.join(sums.select("group", *KEYS), on=KEYS)
    extras = _less_old(placed, "extras", "name").sort("group", "name")
    lists = extras.group_by("group", maintain_order=True).agg(pl.struct("name", "amount").alias("extras"))
    causes = listed(_less_old(placed, "causes", "dimension", "value"), CAUSES)
    whole = sums.join(lists, on="group", how="left").join(causes, on="group", how="left")
    moved = pl.any_horizontal(*(pl.col(name) != 0 for name in FIGURES), pl.col("extras", "causes").is_not_null())
    return whole.filter(moved).select(TOTALS.names()).cast(TOTALS).sort(KEYS)


def _less_old(placed: pl.DataFrame, column: str, *names: str) -> pl.DataFrame:
    """group, names and amount of the items of a list column, new less old; what did not move is left out."""
    items = placed.select("group", "is_old", column).explode(column).drop_nulls(column).unnest(column)
    amount = pl.col("amount")
    signed = pl.when("is_old").then(pl.lit(0).cast(items.schema["amount"]) - amount).otherwise(amount)
    return items.group_by("group", *names).agg(signed.sum().alias("amount")).filter(amount != 0)


def differences(pairs: Pairs) -> pl.DataFrame:
    """DIFFERENCES: one row a team, model, UTC day and currency. What has no price adds nothing, and is counted beside it.

    A cost that was or becomes unknown stands in the line of its other side's currency.
    """
    if not pairs.height:
        return pl.DataFrame(schema=DIFFERENCES)
    sides = []
    for own, other, is_new in ((pairs.old, pairs.new, False), (pairs.new, pairs.old, True)):
        theirs = other["currency"].alias("theirs")
        known = pl.col("effective_cost").is_not_null() & pl.col("currency").is_not_null()
        nothing = pl.lit(0, MONEY)
        cost = pl.col("effective_cost").fill_null(nothing)  # of a sum; `unpriced_…` says how many it lacks
        lacking = pl.col("effective_cost").is_null().cast(pl.Int64)
        none = pl.lit(0, pl.Int64)
        sides.append(
            own.with_columns(theirs).select(
                "team",
                "model",
                day=pl.col("event_time").dt.date(),
                currency=pl.when(known).then("currency").otherwise(pl.coalesce("theirs", "currency")).fill_null(""),
                events=pl.lit(int(is_new), pl.Int64),
                old=nothing if is_new else cost,
                new=cost if is_new else nothing,
                unpriced_before=none if is_new else lacking,
                unpriced_after=lacking if is_new else none,
            )
        )
    return sum_differences([pl.concat(sides).with_columns(difference=pl.lit(0, MONEY)).select(DIFFERENCES.names())])


def sum_differences(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Several frames of DIFFERENCES as one, in the order of their keys."""
    whole = pl.concat([pl.DataFrame(schema=DIFFERENCES), *parts])
    sums = whole.group_by(GROUP).agg(pl.col(name).sum() for name in DIFFERENCES.names() if name not in GROUP)
    exact = sums.with_columns(difference=pl.col("new") - pl.col("old"))
    return exact.select(DIFFERENCES.names()).sort(GROUP, nulls_last=True)
