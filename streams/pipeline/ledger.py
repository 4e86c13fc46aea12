"""The ledger's message: one immutable batch of rated events that says what it covers of its source (DESIGN §2.2).

Value: Arrow IPC stream, zstd, one row a rated event. Headers: ASCII integers and packed little-endian int64 offsets, so that a
reader can account for every source offset without opening the rows.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from streams.pipeline.chain import LogBroken

FORMAT = 1
LIMIT_BYTES = 900_000  # under the broker's default message limit of 1 MiB, with room for headers
ROWS = 5_000  # of one message; wide events take 120-170 bytes a row, so that few are encoded twice
Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a ledger message says of the source offsets (base, to]: all but these are rated rows."""

    base: int
    to: int
    duplicates: tuple[int, ...] = ()
    dead: tuple[int, ...] = ()
    skipped: tuple[int, ...] = ()  # positions that hold no record: transaction markers, compaction
    lost: tuple[int, ...] = ()  # taken away by retention before they were rated: an alarm

    def between(self, base: int, to: int) -> "Coverage":
        """The part of it in (base, to]."""

        def cut(offsets: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(o for o in offsets if base < o <= to)

        return Coverage(base, to, cut(self.duplicates), cut(self.dead), cut(self.skipped), cut(self.lost))

    @property
    def rated(self) -> int:
        return self.to - self.base - len(self.duplicates) - len(self.dead) - len(self.skipped) - len(self.lost)


@dataclass(frozen=True, slots=True)
class Stamp:
    """Whose facts these are: stream identity, the one catalog version of the batch, CRC32 of the source record `to`."""

    stream: str
    catalog_sequence: int
    catalog_version: str
    crc: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """A ledger message before its append."""

    coverage: Coverage
    stamp: Stamp
    frame: pl.DataFrame
    payload: bytes

    def headers(self) -> list[tuple[str, bytes]]:
        c, s = self.coverage, self.stamp
        numbers = {"format": FORMAT, "base": c.base, "to": c.to, "rated": self.frame.height}
        numbers |= {"catalog_sequence": s.catalog_sequence, "crc": s.crc}
        texts = {"stream": s.stream, "catalog_version": s.catalog_version}
        offsets = {"dups": c.duplicates, "dead": c.dead, "skipped": c.skipped, "lost": c.lost}
        return [
            *((name, str(value).encode()) for name, value in (numbers | texts).items()),
            *((name, np.asarray(sorted(value), "<i8").tobytes()) for name, value in offsets.items()),
        ]


def encode_frame(frame: pl.DataFrame) -> bytes:
    """Arrow IPC stream, zstd; the oldest layout, so that every Arrow reader and ClickHouse takes it."""
    out = io.BytesIO()
    frame.write_ipc_stream(out, compression="zstd", compat_level=pl.CompatLevel.oldest())
    return out.getvalue()


def read_frame(payload: bytes, columns: list[str] | None = None) -> pl.DataFrame:
    """Rows of a ledger message; LogBroken when they cannot be read."""
    try:
        return pl.read_ipc_stream(payload, columns=columns)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise LogBroken(f"ledger message: rows cannot be read ({error}); restore the topic or rebuild it") from error


def read_headers(headers: Headers) -> tuple[Coverage, Stamp]:
    """What the headers say; LogBroken when they are of a newer format or not ours."""
    h: Mapping[str, bytes] = dict(headers)
    try:
        if int(h["format"]) > FORMAT:
            raise LogBroken(f"ledger message: format {int(h['format'])} is newer than {FORMAT}; upgrade this worker")

        def offsets(name: str) -> tuple[int, ...]:
            return tuple(np.frombuffer(h.get(name, b""), "<i8").tolist())

        coverage = Coverage(
            int(h["base"]), int(h["to"]), offsets("dups"), offsets("dead"), offsets("skipped"), offsets("lost")
        )
        stamp = Stamp(
            h["stream"].decode(), int(h["catalog_sequence"]), h["catalog_version"].decode(), int(h.get("crc", b"0"))
        )
    except (KeyError, ValueError) as error:
        raise LogBroken(f"ledger message: headers cannot be read ({error!r}); this is not a ledger topic") from error
    return coverage, stamp


def batches(frame: pl.DataFrame, coverage: Coverage, stamp: Stamp, crc_of: Callable[[int], int]) -> list[Batch]:
    """Messages that chain over `coverage`, each under the broker's limit; halves until it fits.

    frame:  rated rows in source_offset order
    crc_of: CRC32 of the source record at an offset, 0 where there is none
    """
    if frame.height > ROWS:
        return _halves(frame, coverage, stamp, crc_of)
    payload = encode_frame(frame)
    size = len(payload) + 8 * (coverage.to - coverage.base - frame.height)
    if size <= LIMIT_BYTES or coverage.to - coverage.base < 2:
        sealed = replace(stamp, crc=crc_of(coverage.to))
        return [Batch(coverage, sealed, frame, payload)]
    return _halves(frame, coverage, stamp, crc_of)


def _halves(frame: pl.DataFrame, coverage: Coverage, stamp: Stamp, crc_of: Callable[[int], int]) -> list[Batch]:
    cut = int(frame["source_offset"][frame.height // 2]) - 1 if frame.height > 1 else coverage.base
    if not coverage.base < cut < coverage.to:
        cut = (coverage.base + coverage.to) // 2
    at = frame["source_offset"].search_sorted(cut, side="right")
    return [
        *batches(frame[:at], coverage.between(coverage.base, cut), stamp, crc_of),
        *batches(frame[at:], coverage.between(cut, coverage.to), stamp, crc_of),
    ]
