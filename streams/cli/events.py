"""JSON Lines of usage events: read, and checked by the very code that the meter runs."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl

from streams.pipeline.decode import Decoder
from streams.pipeline.frames import Record
from streams.resources import schema_text

CHUNK = 5_000


class Checked(NamedTuple):
    """Some lines: those that are events, and one sentence for each of the others."""

    lines: dict[int, bytes]  # line number -> text
    frame: pl.DataFrame  # as decoded; source_offset is the line number
    problems: list[str]


def read_lines(path: str) -> Iterator[tuple[int, bytes]]:
    """Number and text of each line that is not empty; `-` is standard input."""
    with contextlib.nullcontext(sys.stdin.buffer) if path == "-" else Path(path).open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield number, line.strip()


def checked(path: str, now_ms: int) -> Iterator[Checked]:
    """The file in chunks; event times are judged as if the events were sent now."""
    decoder, chunk = Decoder(json.loads(schema_text("usage_event"))), dict[int, bytes]()
    for number, line in read_lines(path):
        chunk[number] = line
        if len(chunk) == CHUNK:
            yield _check(decoder, chunk, now_ms)
            chunk = {}
    if chunk:
        yield _check(decoder, chunk, now_ms)


def _check(decoder: Decoder, lines: dict[int, bytes], now_ms: int) -> Checked:
    decoded = decoder.decode([Record(number, now_ms, line) for number, line in lines.items()])
    problems = [f"line {d.record.offset}: {d.reason}: {d.detail}" for d in decoded.dead]
    bad = {d.record.offset for d in decoded.dead}
    return Checked({n: line for n, line in lines.items() if n not in bad}, decoded.frame, problems)
