"""Same (tenant_id, event_id) is the same usage: duplicates are set aside, the same id with other content is a conflict.

Hash: XXH3-64 over UTF-8 of `tenant_id \\x1f event_id`. The name and the seed (0) are part of the ledger's format: polars' own
hash is not stable between versions. The fingerprint is XXH3-64 over what decides the money and who it is charged to.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import xxhash

from streams.pipeline.seen import MINUTE_MS, SeenSet

HASH_NAME = "xxh3-64"
FINGERPRINTED = (
    "event_time", "provider", "model", "usage_dialect", "usage_json", "provider_total_tokens", "service_tier", "processing",
    "region", "environment", "application", "team", "project", "user_id", "run_id", "attempt",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Deduped:
    """What one chunk holds beyond what was seen: fresh rows with `id_hash`, `fingerprint`; offsets of the others."""

    fresh: pl.DataFrame
    duplicates: list[int]
    conflicts: list[tuple[int, int, int]]  # source offset, fingerprint rated before, fingerprint now


def _xxh3(texts: pl.Series) -> npt.NDArray[np.uint64]:
    digest = xxhash.xxh3_64_intdigest
    return np.fromiter((digest(text) for text in texts.cast(pl.Binary).to_list()), np.uint64, len(texts))


def _quantities(events: pl.DataFrame) -> pl.DataFrame:
    """source_offset, `bucket=amount;…` in bucket order, so that the order of an array does not make another event."""
    some = events.filter(pl.col("quantities").list.len() > 0).select("source_offset", "quantities")
    items = some.explode("quantities").unnest("quantities").sort("source_offset", "bucket")
    text = pl.concat_str("bucket", pl.lit("="), "amount").str.join(";")
    return items.group_by("source_offset", maintain_order=True).agg(text.alias("quantities_text"))


def identify(events: pl.DataFrame) -> pl.DataFrame:
    """Add `id_hash` and `fingerprint` (UInt64) to events; rows keep their order."""
    ids = events.select(pl.concat_str("tenant_id", pl.lit("\x1f"), "event_id")).to_series()
    columns: list[pl.Expr | str] = [
        pl.col("event_time").dt.epoch("ms") if c == "event_time" else pl.col(c) for c in FINGERPRINTED
    ]
    frame = events
    if (events["quantities"].list.len() > 0).any():
        frame = events.join(_quantities(events), on="source_offset", how="left", maintain_order="left")
        columns.append("quantities_text")
    filled = [pl.col(c) if isinstance(c, str) else c for c in columns]
    content = frame.select(
        pl.concat_str([c.cast(pl.String).fill_null("\x00") for c in filled], separator="\x1f").alias("content")
    ).to_series()
    return events.with_columns(
        pl.Series("id_hash", _xxh3(ids), pl.UInt64), pl.Series("fingerprint", _xxh3(content), pl.UInt64)
    )


def minutes_of(append_time: pl.Series) -> npt.NDArray[np.uint32]:
    """Broker append time in epoch minutes."""
    return (append_time.dt.epoch("ms") // MINUTE_MS).cast(pl.UInt32).to_numpy()


def dedupe(events: pl.DataFrame, seen: SeenSet) -> Deduped:
    """Split events (decode's frame) into fresh, duplicate and conflicting rows; the first of equal ids is the fresh one.

    `seen` stays as it is: ids are remembered once their batch is in the ledger.
    """
    frame = identify(events)
    keys, prints = frame["id_hash"].to_numpy(), frame["fingerprint"].to_numpy()
    minutes = minutes_of(frame["append_time"])
    known, before = seen.find(keys, minutes)
    first = frame["id_hash"].is_first_distinct().to_numpy()
    again = ~known & ~first
    if again.any():  # the earlier copy stands in this very chunk
        unique, index = np.unique(keys, return_index=True)
        before = before.copy()
        before[again] = prints[index[np.searchsorted(unique, keys[again])]]
    old = known | again
    if not old.any():
        return Deduped(frame, [], [])
    offsets = frame["source_offset"].to_numpy()
    clash = old & (before != prints)
    fresh = ~old
    return Deduped(
        frame.filter(pl.Series(fresh)),
        offsets[old & ~clash].tolist(),
        list(zip(offsets[clash].tolist(), before[clash].tolist(), prints[clash].tolist(), strict=True)),
    )
