"""What a scope may ask for beyond sums: counters by name, latencies as bins, repeated tool calls, and who caused it.

`rows` are the events of a scope, `group` numbers the total that each belongs to. Columns that a batch is too old for count
nothing.
"""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import polars as pl

from streams.pipeline.frames import MONEY
from streams.tokens.buckets import SIDES
from streams.tokens.normalise import of_tokens
from streams.watch.latencies import EDGES, LATENCIES
from streams.watch.scopes import Scope

EXTRAS = pl.Schema({"group": pl.UInt32(), "name": pl.String(), "amount": pl.Int64()})
THROTTLED = ["rate_limit", "throttl", "overloaded", "quota"]  # within error_type
ERROR = (pl.col("http_status") >= 400) | pl.col("error_type").is_not_null() | (pl.col("completion_state") == "error")
COUNTERS = {
    "retries": ((pl.col("attempt") > 1) | pl.col("retry_of").is_not_null()),
    "tool_calls": pl.col("tool_calls"),
    "errors": ERROR,
    "throttled": (pl.col("http_status") == 429) | pl.col("error_type").str.contains_any(THROTTLED),
}
INPUTS: dict[str, dict[str, pl.DataType]] = {
    "retries": {"attempt": pl.Int64(), "retry_of": pl.String()},
    "tool_calls": {"tool_calls": pl.Int64()},
    "errors": {"http_status": pl.Int64(), "error_type": pl.String(), "completion_state": pl.String()},
    "throttled": {"http_status": pl.Int64(), "error_type": pl.String()},
    **{name: {name: pl.Int64()} for name in LATENCIES},
    "repeats": {"tool_call_hashes": pl.List(pl.String())},  # `name:hash of the arguments`
}  # columns of an event by measure; every other measure is a bucket
TOOL = "tool:"


def asked(scope: Scope) -> list[str]:
    """The measures of INPUTS that a scope asks for, as such or as its unit."""
    return [name for name in INPUTS if name == scope.unit or any(fnmatchcase(name, m) for m in scope.measures)]


def asks_for_buckets(scope: Scope) -> bool:
    """Whether one of its measures can only be a bucket."""
    return any(m not in INPUTS for m in scope.measures)


def inputs(scope: Scope) -> dict[str, pl.DataType]:
    """Columns of the events that its extras are made of."""
    found = {column: kind for name in asked(scope) for column, kind in INPUTS[name].items()}
    return found | ({"lines": pl.List(pl.Struct([]))} if scope.buckets or asks_for_buckets(scope) else {})


def line_tokens(rows: pl.DataFrame, buckets: Sequence[str]) -> pl.Series:
    """Tokens of each event in the buckets that match; an event without any has null."""
    lines = rows.select("lines").with_row_index("row").explode("lines").drop_nulls("lines").unnest("lines")
    chosen = lines.filter(of_tokens(SIDES[0]) | of_tokens(SIDES[1]), _matching(lines["bucket"], buckets))
    sums = chosen.group_by("row").agg(pl.col("quantity").sum())
    every = pl.DataFrame({"row": pl.int_range(rows.height, dtype=pl.UInt32, eager=True)})
    return every.join(sums, on="row", how="left", maintain_order="left")["quantity"].alias("total_tokens")


def extras_of(rows: pl.DataFrame, scope: Scope) -> pl.DataFrame:
    """EXTRAS: what is 0 has no row."""
    found = [pl.DataFrame(schema=EXTRAS), *_extras(rows, scope)]
    return pl.concat([part.select(EXTRAS.names()).cast(EXTRAS) for part in found]).filter(pl.col("amount") != 0)


def _extras(rows: pl.DataFrame, scope: Scope) -> Iterator[pl.DataFrame]:
    names = asked(scope)
    if counters := [name for name in names if name in COUNTERS]:
        sums = rows.group_by("group").agg(COUNTERS[name].sum().cast(pl.Int64).alias(name) for name in counters)
        yield sums.unpivot(index="group", variable_name="name", value_name="amount")
    for name in (n for n in names if n in LATENCIES):
        known = rows.select("group", pl.col(name).clip(0)).drop_nulls(name)
        edges = pl.Series(EDGES, dtype=pl.Int64)
        at = edges.search_sorted(known[name], side="right").cast(pl.Int64) - 1
        named = known.select("group", edges.gather(at).cast(pl.String).alias("edge"))
        yield named.group_by("group", name=pl.lit(f"{name}:") + pl.col("edge")).agg(pl.len().alias("amount"))
    if "repeats" in names:
        calls = rows.select("group", "tool_call_hashes").explode("tool_call_hashes").drop_nulls("tool_call_hashes")
        yield calls.group_by("group", name=pl.lit(TOOL) + pl.col("tool_call_hashes")).agg(pl.len().alias("amount"))
    if asks_for_buckets(scope):
        lines = rows.select("group", "lines").explode("lines").drop_nulls("lines").unnest("lines")
        lines = lines.filter(_matching(lines["bucket"], scope.measures))
        yield lines.group_by("group", name=pl.col("bucket")).agg(pl.col("quantity").sum().alias("amount"))


def _matching(names: pl.Series, globs: Sequence[str]) -> pl.Series:
    """Which of the names one of the globs matches; few different ones are asked of Python."""
    return names.is_in([name for name in names.unique() if any(fnmatchcase(name, glob) for glob in globs)])


def amount_of(scope: Scope, tokens: pl.Expr) -> pl.Expr:
    """How much an event is of what the scope measures, as MONEY so that one column holds every unit; null is nothing.

    tokens: those that the scope counts
    """
    match scope.unit:
        case "cost":
            return pl.col("effective_cost")
        case "tokens":
            return tokens.cast(MONEY)
        case "unpriced":
            return pl.col("effective_cost").is_null().cast(pl.Int64).cast(MONEY)
        case "events":
            return pl.lit(1, MONEY)
        case counter:
            return COUNTERS[counter].cast(pl.Int64).cast(MONEY)


def causes_of(rows: pl.DataFrame, contributors: Sequence[str], most: int) -> pl.DataFrame:
    """group, causes: of each total and contributor the values with the largest amounts, `most` of them.

    rows: group, amount, and a column of each contributor, null where a scope does not ask for it
    """
    names = [name for name in contributors if rows[name].null_count() < rows.height]
    measured = rows.lazy().select("group", *names, "amount")
    long = measured.unpivot(
        names, index=["group", "amount"], variable_name="dimension", value_name="value"
    )  # one plan for all: each step of its own costs 0.1 ms a chunk
    sums = (
        long.filter(pl.col("value").is_not_null()).group_by("group", "dimension", "value").agg(pl.col("amount").sum())
    )
    return listed(sums.filter(pl.col("amount") != 0).collect(), most)


def listed(causes: pl.DataFrame, most: int) -> pl.DataFrame:
    """group, causes: as lists, in no order, the `most` largest of each dimension; causes: group, dimension, value, amount."""
    found = causes.lazy()
    largest_group = causes.group_by("group", "dimension").len()["len"].max()
    if isinstance(largest_group, int) and largest_group > most:
        by = [pl.col("amount").abs(), pl.col("value")]
        cause = pl.struct("value", "amount").sort_by(by, descending=[True, False]).head(most)
        found = found.group_by("group", "dimension").agg(cause.alias("cause")).explode("cause").unnest("cause")
    return found.group_by("group").agg(pl.struct("dimension", "value", "amount").alias("causes")).collect()
