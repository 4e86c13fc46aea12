"""Deltas per scope and slice of time of one ledger batch: what the watch adds to its windows. Columns only.

Event time decides the slice. Money is added per currency. What has no price counts in `unpriced`, never as 0 money. Scopes
that ask for the same share one computation, and nothing is computed that no scope asks for.

A message of usage.totals keeps under the limit that its batch keeps to, so that a topic which took the one takes the other:
one that it refused would be refused for ever. What is too large leaves out its causes; if that is not enough, all rows: an
empty body, with the headers of any other, says that the reader makes them from the batch, one message of the ledger.
"""

import io
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from streams.pipeline.dimensions import dimension
from streams.pipeline.frames import MONEY
from streams.pipeline.ledger import LIMIT_BYTES
from streams.pipeline.measures import causes_of, extras_of, inputs, line_tokens
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
COLUMNS = ("event_time", "currency", "effective_cost", "total_tokens", "input_tokens")  # of every scope's events
SHARED = "shared"  # the column of a split's values; the dimension's own stays, since it may name causes
MOST_BYTES = LIMIT_BYTES  # of a message: what took the batch takes its totals
IN_LEDGER = b""  # instead of rows; no rows at all are a schema at least


def totals(rated: pl.DataFrame, scopes: Sequence[Scope], causes: int = CAUSES) -> pl.DataFrame:
    """rated: rows of a ledger batch. Returns TOTALS, sorted, one row a scope, slice and currency.

    `extras` and `causes` are null where nothing was asked or found; of each contributor's values `causes` at most.
    """
    alike = defaultdict[Scope, list[str]](list)
    for scope in scopes:
        alike[replace(scope, id="")].append(scope.id)
    found = [pl.DataFrame(schema=TOTALS)]
    for scope, ids in alike.items() if rated.height else ():
        part = _of_scope(rated, scope, causes)
        found += [part.with_columns(scope=pl.lit(name) + pl.col("scope")) for name in ids]
    return pl.concat(found).sort(KEYS)


def _of_scope(rated: pl.DataFrame, scope: Scope, causes: int) -> pl.DataFrame:
    """TOTALS whose `scope` lacks the id: `|tenant_id=acme|team=search`."""
    rows = _events(rated, scope)
    columns = {name: SHARED if scope.split and name == scope.split[0] else name for name in scope.names}
    unpriced, tokens = pl.col("effective_cost").is_null(), pl.col("total_tokens")
    asks = bool(scope.measures or scope.contributors)
    sums = rows.group_by("tenant_id", *columns.values(), "slice", "currency").agg(
        events=pl.len(),
        tokens=tokens.sum(),
        unpriced=unpriced.sum(),
        unpriced_tokens=tokens.filter(unpriced).sum(),
        cost=pl.col("effective_cost").sum(),
        first_ms=pl.col("at").min(),
        last_ms=pl.col("at").max(),
        **({"row": pl.col("row")} if asks else {}),
    )
    if asks:
        sums = _detailed(sums.with_row_index("group"), rows, scope, causes)
    parts = [pl.lit("|tenant_id="), _clean("tenant_id")]
    for name, column in columns.items():
        parts += [pl.lit(f"|{name}="), _clean(column)]
    absent = [pl.lit(None).alias(name) for name in ("extras", "causes") if name not in sums.columns]
    return sums.with_columns(absent).select(pl.concat_str(parts).alias("scope"), *TOTALS.names()[1:]).cast(TOTALS)


def _clean(name: str) -> pl.Expr:
    """A dimension's value as part of a key, escaped like `scopes.key_of` does."""
    value = pl.col(name)
    for sign in ("\\", "|", "="):
        value = value.str.replace_all(sign, "\\" + sign, literal=True)
    return value


def _events(rated: pl.DataFrame, scope: Scope) -> pl.DataFrame:
    """The events of a scope: what its totals are made of, `at` and `slice` in ms, `currency` "" where there is none."""
    named = {name for name, _ in scope.where} | {*scope.names, *scope.contributors, "tenant_id"}
    wanted = [pl.col(name) == value for name, value in scope.where]
    wanted += [pl.col(name).is_not_null() for name in scope.each]
    if scope.tenant != "*":
        wanted.append(pl.col("tenant_id") == scope.tenant)
    if scope.above is not None:
        wanted.append(pl.col("input_tokens") > scope.above)
    more = inputs(scope)
    own = [name for name in dict.fromkeys((*sorted(named), *COLUMNS, *more)) if name in rated.columns]
    rows = rated.select(own).with_columns(
        *(dimension(rated, name) for name in sorted(named - set(own))),
        *(pl.lit(None, kind).alias(name) for name, kind in more.items() if name not in own),
    )
    at = pl.col("event_time").dt.epoch("ms")
    rows = (rows.filter(*wanted) if wanted else rows).with_columns(
        at=at,
        slice=at - at % scope.slice_ms,
        currency=pl.col("currency").fill_null(""),
        **({SHARED: _shared(*scope.split)} if scope.split else {}),
    )
    if scope.buckets:
        rows = rows.with_columns(line_tokens(rows, scope.buckets))
    return rows.with_row_index("row") if scope.measures or scope.contributors else rows


def _shared(name: str, listed: Sequence[str]) -> pl.Expr:
    """The values that have a share of their own; all others, and none, are one."""
    return pl.when(pl.col(name).is_in(listed)).then(name).otherwise(pl.lit(OTHERS))


def _detailed(sums: pl.DataFrame, rows: pl.DataFrame, scope: Scope, causes: int) -> pl.DataFrame:
    """sums: group, row (of its events). Adds `extras` and `causes` as far as the scope asks for them."""
    groups = sums.select("group", "row").explode("row").sort("row")["group"]
    rows, sums = rows.with_columns(groups), sums.drop("row")
    if scope.measures:
        extras = extras_of(rows, scope).sort("group", "name")
        lists = extras.group_by("group").agg(pl.struct("name", "amount").alias("extras"))
        sums = sums.join(lists, on="group", how="left")
    if scope.contributors:
        sums = sums.join(causes_of(rows, scope, causes), on="group", how="left")
    return sums


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
