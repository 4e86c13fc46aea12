"""The meter's whole decision for one chunk, pure: records in, ledger batches and dead letters out.

decode → admit (dedupe, attribute) → rate → batches. Nothing here knows a broker; whatever calls it may throw the outcome
away and call again, so a decision that lost its race costs nothing but time.
"""

import zlib
from collections.abc import Sequence

import polars as pl

from streams.catalog.book import Book
from streams.pipeline.admit import admit
from streams.pipeline.decode import Decoder
from streams.pipeline.frames import Dead, Record, above
from streams.pipeline.ledger import Coverage, Stamp, batches
from streams.pipeline.rate import rate
from streams.pipeline.seen import SeenSet
from streams.pipeline.settle_outcome import Outcome
from streams.tokens.normalise import normalise


def settle(
    records: Sequence[Record], base: int, seen: SeenSet, decoder: Decoder, book: Book, stream: str, lost_before: int = 0
) -> Outcome:
    """Bring the offsets (base, last record] into ledger batches.

    records:     in offset order, all above `base`
    lost_before: first offset that the source still has: holes below it are lost, others are skipped
    """
    to = records[-1].offset
    decoded = decoder.decode(records)
    fresh = admit(decoded.frame, seen, book)
    asked = fresh.conflicts or fresh.refused or to - base != len(records)
    by_offset = {r.offset: r for r in records} if asked else {}
    conflicts = [
        Dead(by_offset[o], "conflict", f"same id, other content: fingerprint {old:016x} was rated, this is {new:016x}")
        for o, old, new in fresh.conflicts
    ]
    breaches = [Dead(by_offset[o], "attribution", why) for o, why in fresh.refused]
    rated: pl.DataFrame = rate(fresh.events, normalise(fresh.events), book)
    dead = sorted([*decoded.dead, *conflicts, *breaches], key=lambda d: d.record.offset)
    holes = [o for o in range(base + 1, to + 1) if o not in by_offset] if to - base != len(records) else []
    coverage = Coverage(
        base,
        to,
        tuple(fresh.duplicates),
        tuple(d.record.offset for d in dead),
        tuple(o for o in holes if o >= lost_before),
        tuple(o for o in holes if o < lost_before),
    )

    def crc_of(offset: int) -> int:
        """0 where there is no record."""
        at = above(records, offset - 1)
        return zlib.crc32(at[0].value or b"") if at and at[0].offset == offset else 0

    return Outcome(batches(rated, coverage, Stamp(stream, book.sequence, book.version), crc_of), dead)
