"""Deltas per scope and slice of time of one ledger batch: what the watch adds to its windows. Columns only.

Event time decides the slice, but nothing happens after the broker took it: a producer whose clock is ahead, which the meter
tolerates for some minutes, would end the periods of everybody else, since they share the watch's clock. Money is added per
currency. What has no price counts in `unpriced`, never as 0 money. Scopes that ask for the same share one computation, and
nothing is computed that no scope asks for.

A message of usage.totals keeps under the limit that its batch keeps to, so that a topic which took the one takes the other:
one that it refused would be refused for ever. What is too large leaves out its causes; if that is not enough, all rows: an
empty body, with the headers of any other, says that the reader makes them from the batch, one message of the ledger.
"""

import io
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from streams.pipeline.dimensions import dimension
from streams.pipeline.frames import MONEY
from streams.pipeline.ledger import LIMIT_BYTES
from streams.pipeline.measures import EXTRAS, amount_of, causes_of, extras_of, inputs, line_tokens
from streams.watch.scopes import OTHERS, Scope

ADJUSTED = "/adjustments"  # what the stream of corrections is called after its ledger's
EXTRA = pl.Struct({"name": pl.String(), "amount": pl.Int64()})
CAUSE = pl.Struct({"dimension": pl.String(), "value": pl.String(), "amount": MONEY})
TOTALS = pl.Schema(
    {
        "scope": pl.String(),
        "slice": pl.Int64(),  # ms, when it starts
        "currency": pl.String(),
        "events": pl.Int64(),
        "tokens": pl.Int64(),
        "unpriced": pl.Int64(),
        "unpriced_tokens": pl.Int64(),
        "cost": MONEY,
        "first_ms": pl.Int64(),
        "last_ms": pl.Int64(),
        "extras": pl.List(EXTRA),
        "causes": pl.List(CAUSE),
    }
)
KEYS = ("scope", "slice", "currency")
FIGURES = ("events", "tokens", "unpriced", "unpriced_tokens", "cost")
CAUSES = 8  # values of one dimension that a row names, the largest
COLUMNS = (
    "event_time",
    "append_time",
    "currency",
    "effective_cost",
    "total_tokens",
    "input_tokens",
)  # of every scope's events
MOST_ROWS = 200_000  # events times scopes that are looked at together: memory
KEY = "key:"  # before a dimension's name: its values as keys name them
MOST_BYTES = LIMIT_BYTES  # of a message: what took the batch takes its totals
IN_LEDGER = b""  # instead of rows; no rows at all are a schema at least


def totals(rated: pl.DataFrame, scopes: Sequence[Scope], causes: int = CAUSES) -> pl.DataFrame:
    """rated: rows of a ledger batch. Returns TOTALS, sorted, one row a scope, slice and currency.

    `extras` and `causes` are null where nothing was asked or found; of each contributor's values `causes` at most.
    """
    alike = defaultdict[Scope, list[str]](list)
    for scope in scopes:
        alike[replace(scope, id="")].append(scope.id)
    shapes, found = list(alike), [pl.DataFrame(schema=TOTALS)]
    together = max(1, MOST_ROWS // max(rated.height, 1))
    found += [
        _totals(rated, {shape: alike[shape] for shape in shapes[first : first + together]}, causes)
        for first in range(0, len(shapes) if rated.height else 0, together)
    ]
    return pl.concat(found).sort(KEYS)


def _totals(rated: pl.DataFrame, alike: Mapping[Scope, list[str]], causes: int) -> pl.DataFrame:
    """alike: scopes without their id, and the ids of those that are so."""
    shapes, named = list(alike), _named(rated, alike)
    contributors = sorted({name for shape in shapes for name in shape.contributors})
    # One frame and one plan for all: a step of its own for each scope costs more than what it computes.
    parts = [_events(named.lazy(), shape, i, contributors) for i, shape in enumerate(shapes)]
    rows = pl.concat(parts).with_row_index("row").collect()
    unpriced, tokens = pl.col("effective_cost").is_null(), pl.col("tokens")
    sums = rows.group_by("shape", "key", "slice", "currency").agg(
        events=pl.len(),
        tokens=tokens.sum(),
        unpriced=unpriced.sum(),
        unpriced_tokens=tokens.filter(unpriced).sum(),
        cost=pl.col("effective_cost").sum(),
        first_ms=pl.col("at").min(),
        last_ms=pl.col("at").max(),
        row=pl.col("row"),
    )
    sums = _detailed(sums.with_row_index("group"), rows, named, shapes, contributors, causes)
    ids = pl.DataFrame(
        {"shape": range(len(shapes)), "id": list(alike.values())}, {"shape": pl.UInt32, "id": pl.List(pl.String)}
    )
    whose = sums.join(ids, on="shape").explode("id")
    return whose.select(pl.concat_str("id", "key").alias("scope"), *TOTALS.names()[1:]).cast(TOTALS)


def _named(rated: pl.DataFrame, shapes: Iterable[Scope]) -> pl.DataFrame:
    """What the scopes look at, each column once: dimensions by name, `KEY` + those that keys name, tokens of asked buckets."""
    dims = {"tenant_id", *(name for s in shapes for name in (*(n for n, _ in s.where), *s.names, *s.contributors))}
    more = {name: kind for shape in shapes for name, kind in inputs(shape).items()}
    found = rated.select(
        *(dimension(rated, name) for name in sorted(dims)),
        *(name for name in COLUMNS if name not in dims),
        *(
            name if name in rated.columns else pl.lit(None, kind).alias(name)
            for name, kind in more.items()
            if name not in dims | {*COLUMNS}
        ),
    )
    buckets = {shape.buckets for shape in shapes if shape.buckets}
    return found.with_columns(
        *(line_tokens(found, asked).alias(_tokens_of(asked)) for asked in sorted(buckets)),
        *(_clean(name).alias(KEY + name) for name in sorted({"tenant_id", *(n for s in shapes for n in s.names)})),
        at=_happened(rated),
        currency=pl.col("currency").fill_null(""),
    ).with_row_index("event")


def _happened(rated: pl.DataFrame) -> pl.Series:
    """ms: the event's time, or that of its append where this was before."""
    return rated.select(pl.min_horizontal("event_time", "append_time").dt.epoch("ms")).to_series()


def _tokens_of(buckets: tuple[str, ...]) -> str:
    """The column of tokens that a scope counts."""
    return "tokens:" + ",".join(buckets) if buckets else "total_tokens"


def _clean(name: str) -> pl.Expr:
    """A dimension's value as part of a key, escaped like `scopes.key_of` does."""
    value = pl.col(name)
    for sign in ("\\", "|", "="):
        value = value.str.replace_all(sign, "\\" + sign, literal=True)
    return value


def _events(named: pl.LazyFrame, scope: Scope, shape: int, contributors: Sequence[str]) -> pl.LazyFrame:
    """The events of a scope. key: its canonical key without the id, `|tenant_id=acme|team=search`."""
    wanted = [pl.col(name) == value for name, value in scope.where]
    wanted += [pl.col(name).is_not_null() for name in scope.each]
    if scope.tenant != "*":
        wanted.append(pl.col("tenant_id") == scope.tenant)
    if scope.above is not None:
        wanted.append(pl.col("input_tokens") > scope.above)
    key = [pl.lit("|tenant_id="), pl.col(KEY + "tenant_id")]
    for name in scope.names:
        value = _shared(*scope.split) if scope.split and name == scope.split[0] else pl.col(KEY + name)
        key += [pl.lit(f"|{name}="), value]
    tokens = pl.col(_tokens_of(scope.buckets))
    return named.filter(*wanted).select(
        pl.lit(shape, pl.UInt32).alias("shape"),
        pl.concat_str(key).alias("key"),
        (pl.col("at") - pl.col("at") % scope.slice_ms).alias("slice"),
        "event",
        "currency",
        "at",
        "effective_cost",
        tokens.alias("tokens"),
        amount_of(scope, tokens).alias("amount"),
        *(pl.col(name) if name in scope.contributors else pl.lit(None, pl.String).alias(name) for name in contributors),
    )


def _shared(name: str, listed: Sequence[str]) -> pl.Expr:
    """The values that have a share of their own; all others, and none, are one."""
    return pl.when(pl.col(name).is_in(listed)).then(KEY + name).otherwise(pl.lit(OTHERS))


def _detailed(
    sums: pl.DataFrame,
    rows: pl.DataFrame,
    named: pl.DataFrame,
    shapes: Sequence[Scope],
    contributors: Sequence[str],
    causes: int,
) -> pl.DataFrame:
    """sums: group, row (of its events). Adds `extras` and `causes` as far as the scopes ask for them."""
    groups = sums.select("group", "row").explode("row").sort("row")["group"]
    rows, sums = rows.with_columns(groups), sums.drop("row")
    extras = [
        extras_of(of_shape.select("group").hstack(named[of_shape["event"]]), shape)
        for i, shape in enumerate(shapes)
        if shape.measures and (of_shape := rows.filter(pl.col("shape") == i)).height
    ]
    lists = pl.concat([pl.DataFrame(schema=EXTRAS), *extras]).sort("group", "name")
    sums = sums.join(lists.group_by("group").agg(pl.struct("name", "amount").alias("extras")), on="group", how="left")
    return sums.join(causes_of(rows, contributors, causes), on="group", how="left")


def partition_of(scope: str, partitions: int) -> int:
    """CRC32, so that every process in every language agrees."""
    return zlib.crc32(scope.encode()) % partitions


def split(frame: pl.DataFrame, partitions: int) -> list[bytes]:
    """For each partition of usage.totals an Arrow IPC stream, also of no rows, or `IN_LEDGER`."""
    names = frame["scope"].unique().to_list()
    where = {name: partition_of(name, partitions) for name in names}
    q = frame["scope"].replace_strict(where, return_dtype=pl.Int64) if names else pl.Series("q", [], pl.Int64)
    return [_encode(frame.filter(q == i)) for i in range(partitions)]


def _encode(frame: pl.DataFrame) -> bytes:
    payload = _ipc(frame)
    if len(payload) > MOST_BYTES:  # who caused it is less than how much it is
        payload = _ipc(frame.with_columns(pl.lit(None, TOTALS["causes"]).alias("causes")))
    return payload if len(payload) <= MOST_BYTES else IN_LEDGER


def _ipc(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.write_ipc_stream(out, compression="zstd", compat_level=pl.CompatLevel.oldest())
    return out.getvalue()


def read_totals(payload: bytes) -> pl.DataFrame:
    """Rows that `split` wrote for one partition."""
    return pl.read_ipc_stream(payload)
