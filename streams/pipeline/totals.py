"""Deltas per scope and minute of one ledger batch: what the watch adds to its windows.

Event time decides the minute. Money is added per currency. What has no price counts in `unpriced`, never as 0 money.
"""

import io
import zlib
from collections.abc import Sequence

import polars as pl

from streams.pipeline.dimensions import dimension
from streams.pipeline.frames import MONEY
from streams.watch.scopes import Scope

MINUTE_MS = 60_000
ADJUSTED = "/adjustments"  # what the stream of corrections is called after its ledger's
TOTALS = pl.Schema(
    {
        "scope": pl.String(),
        "minute": pl.Int64(),
        "currency": pl.String(),
        "events": pl.Int64(),
        "tokens": pl.Int64(),
        "unpriced": pl.Int64(),
        "cost": MONEY,
    }
)


def _clean(name: str) -> pl.Expr:
    """A dimension's value as part of a key, escaped like `scopes.key_of` does."""
    value = pl.col(name)
    for sign in ("\\", "|", "="):
        value = value.str.replace_all(sign, "\\" + sign, literal=True)
    return value


def _of_scope(rated: pl.DataFrame, scope: Scope) -> pl.DataFrame:
    asked = {name for name, _ in scope.where} | set(scope.each)
    if others := [dimension(rated, name) for name in sorted(asked - set(rated.columns))]:
        rated = rated.with_columns(others)
    wanted = [pl.col(name) == value for name, value in scope.where]
    wanted += [pl.col(name).is_not_null() for name in scope.each]
    if scope.tenant != "*":
        wanted.append(pl.col("tenant_id") == scope.tenant)
    rows = rated.filter(*wanted) if wanted else rated
    names = [n for n in scope.each if n != "tenant_id"]
    sums = rows.group_by(
        "tenant_id",
        *names,
        minute=pl.col("event_time").dt.epoch("ms") // MINUTE_MS,
        currency=pl.col("currency").fill_null(""),
    ).agg(
        events=pl.len().cast(pl.Int64),
        tokens=pl.col("total_tokens").sum(),
        unpriced=pl.col("effective_cost").is_null().sum().cast(pl.Int64),
        cost=pl.col("effective_cost").sum(),
    )
    parts = [pl.lit(f"{scope.id}|tenant_id="), _clean("tenant_id")]
    for name in names:
        parts += [pl.lit(f"|{name}="), _clean(name)]
    return sums.select(pl.concat_str(parts).alias("scope"), *TOTALS.names()[1:])


def totals(rated: pl.DataFrame, scopes: Sequence[Scope]) -> pl.DataFrame:
    """rated: rows of a ledger batch. Returns TOTALS, sorted, one row a scope, minute and currency."""
    if not rated.height or not scopes:
        return pl.DataFrame(schema=TOTALS)
    found = pl.concat([_of_scope(rated, scope) for scope in scopes])
    return found.cast(TOTALS).sort("scope", "minute", "currency")


def partition_of(scope: str, partitions: int) -> int:
    """CRC32, so that every process in every language agrees."""
    return zlib.crc32(scope.encode()) % partitions


def split(frame: pl.DataFrame, partitions: int) -> list[bytes]:
    """One Arrow IPC stream for each partition of usage.totals, empty ones too."""
    names = frame["scope"].unique().to_list()
    where = {name: partition_of(name, partitions) for name in names}
    q = frame["scope"].replace_strict(where, return_dtype=pl.Int64) if names else pl.Series("q", [], pl.Int64)
    return [_encode(frame.filter(q == i)) for i in range(partitions)]


def _encode(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.write_ipc_stream(out, compression="zstd", compat_level=pl.CompatLevel.oldest())
    return out.getvalue()


def read_totals(payload: bytes) -> pl.DataFrame:
    """What `split` wrote for one partition."""
    return pl.read_ipc_stream(payload)
