"""Which decoded events become usage: those that are new, and say what they must.

A refused event leaves its id free, so that the mended one counts, whether it comes later or in the very same chunk: every
chunking gives the same ledger. So duplicates are judged by what came before them and was not refused.
"""

from dataclasses import dataclass

import polars as pl

from streams.catalog.book import Book
from streams.pipeline.attribute import attribute, refused
from streams.pipeline.dedupe import dedupe, identify
from streams.pipeline.seen import SeenSet


@dataclass(frozen=True, slots=True)
class Admitted:
    """`events`: attributed, with `id_hash` and `fingerprint`. `refused`: source offset, and why, for people."""

    events: pl.DataFrame
    duplicates: list[int]
    conflicts: list[tuple[int, int, int]]  # source offset, fingerprint rated before, fingerprint now
    refused: list[tuple[int, str]]


def admit(events: pl.DataFrame, seen: SeenSet, book: Book) -> Admitted:
    """Split decode's frame, each event exactly once; `seen` stays as it is."""
    found = dedupe(events, seen)
    fresh = attribute(found.fresh, book)
    wrong = refused(fresh, book)
    if not wrong.any():
        return Admitted(fresh, found.duplicates, found.conflicts, [])
    if not found.duplicates and not found.conflicts:
        return Admitted(fresh.filter(~wrong), [], [], _listed(fresh.filter(wrong)))
    every = attribute(identify(events), book)
    judged = every.select("id_hash", good=~refused(every, book))
    free = every["id_hash"].is_in(fresh["id_hash"].filter(wrong).to_list())
    none_good_yet = judged.select(pl.col("good").cast(pl.Int8).cum_max().over("id_hash") == 0).to_series()
    dead = free & none_good_yet
    rest = dedupe(events.filter(~dead), seen)
    return Admitted(attribute(rest.fresh, book), rest.duplicates, rest.conflicts, _listed(every.filter(dead)))


def _listed(events: pl.DataFrame) -> list[tuple[int, str]]:
    return [
        (offset, f"lacks {', '.join(lacks)}; say it, or register the workload or key that knows it")
        for offset, lacks in events.select("source_offset", "lacks").iter_rows()
    ]
