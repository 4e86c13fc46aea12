"""Which of N Avro records, laid end to end, are well-formed? All rows at once, field by field, in numpy.

The columnar decoder takes n rows from a block of n payloads: one forged payload that holds two records would push a neighbour
out, unseen. This walk names every row whose bytes do not end where its payload ends, before anything is decoded; it is
stricter than fastavro (boolean above 1, over-long varints), and a row that it refuses is looked at alone.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]


class Walk:
    """Cursor over the records `[start, end)` of `data`; `bad` collects the rows that cannot be."""

    def __init__(self, data: Bytes, start: Ints, end: Ints) -> None:
        self.data = np.append(data, np.uint8(0)) if len(data) == 0 else data
        self.pos, self.end, self.bad = start.copy(), end, np.zeros(len(start), np.bool_)
        self.high: Ints = np.flatnonzero(self.data >= 128)

    def varint(self, rows: Ints) -> Ints:
        """Read one zigzag varint of each of `rows`."""
        pos, end, last = self.pos[rows], self.end[rows], len(self.data) - 1
        over = pos >= end
        byte = self.data[np.minimum(pos, last)].astype(np.int64)
        value, pos = byte & 0x7F, pos + 1
        more = np.flatnonzero((byte >= 128) & ~over)
        shift = 7
        while more.size:
            run_over = pos[more] >= end[more]
            over[more[run_over]] = True
            more = more[~run_over]
            byte = self.data[np.minimum(pos[more], last)].astype(np.int64)
            if shift >= 63:  # a tenth byte holds one bit; beyond that no 64-bit integer is meant
                over[more[(byte > 1) | (shift > 63)]] = True
            value[more] |= np.left_shift(byte & 0x7F, min(shift, 63))
            pos[more] += 1
            more = more[(byte >= 128) & ~over[more]]
            shift += 7
        self.pos[rows] = np.where(over, self.end[rows], pos)
        self.bad[rows[over]] = True
        unsigned = value.view(np.uint64)
        return ((unsigned >> np.uint64(1)).astype(np.int64)) ^ -(value & 1)

    def string(self, rows: Ints) -> None:
        """Skip one string of each row; one that reaches beyond its record is bad, and so is one that is not UTF-8."""
        size = self.varint(rows)
        pos = self.pos[rows]
        wrong = (size < 0) | (size > self.end[rows] - pos)
        self.bad[rows[wrong]] = True
        stop = np.where(wrong, self.end[rows], pos + np.where(wrong, 0, size))
        self.pos[rows] = stop
        self._utf8(rows[~wrong], pos[~wrong], stop[~wrong])

    def _utf8(self, rows: Ints, start: Ints, stop: Ints) -> None:
        """Only strings that hold a byte above 0x7f are looked at, one by one: they are few."""
        if not self.high.size:
            return
        first = np.searchsorted(self.high, start)
        holds = (first < self.high.size) & (self.high[np.minimum(first, self.high.size - 1)] < stop)
        for i in np.flatnonzero(holds).tolist():
            try:
                self.data[start[i] : stop[i]].tobytes().decode()
            except UnicodeDecodeError:
                self.bad[rows[i]] = True

    def array(self, rows: Ints, fields: Sequence[Any]) -> bool:
        """Skip one array of records of each row; False when all are empty. One block without byte size is canonical."""
        left = self.varint(rows)
        wrong = (left < 0) | (left > self.end[rows] - self.pos[rows])
        self.bad[rows[wrong]] = True
        left = np.where(wrong, 0, left)
        some = (left > 0) & ~wrong
        rows, left = rows[some], left[some]
        closing = rows
        while rows.size:
            for kind in fields:
                self.value(kind, rows)
            left = left - 1
            go = (left > 0) & ~self.bad[rows]
            rows, left = rows[go], left[go]
        if closing.size:
            end = self.varint(closing)
            self.bad[closing[end != 0]] = True
        return bool(closing.size)

    def optional(self, inner: Any, rows: Ints) -> bool:
        """Skip one value that may be null; False when all are. The branch is one byte: 0 null, 2 (zigzag 1) a value."""
        pos = self.pos[rows]
        branch = self.data[np.minimum(pos, len(self.data) - 1)]
        inside = pos < self.end[rows]
        if inside.all():
            self.pos[rows] = pos + 1
        else:
            self.bad[rows[~inside]] = True
            self.pos[rows] = pos + inside
        some = np.flatnonzero(branch)
        if not some.size:
            return False
        is_value = (branch[some] == 2) & inside[some]
        self.bad[rows[some[~is_value]]] = True
        has = rows[some[is_value]]
        return has.size > 0 and self.value(inner, has)

    def value(self, kind: Any, rows: Ints) -> bool:
        """Skip one value of the Avro type `kind` of each row; False when it is null or empty in all of them."""
        match kind:
            case "long" | "int":
                self.varint(rows)
            case "string":
                self.string(rows)
            case "boolean":
                over = self.pos[rows] >= self.end[rows]
                self.bad[rows[over | (self.data[np.minimum(self.pos[rows], len(self.data) - 1)] > 1)]] = True
                self.pos[rows] = np.minimum(self.pos[rows] + 1, self.end[rows])
            case ["null", inner]:
                return self.optional(inner, rows)
            case {"type": "array", "items": {"fields": fields}}:
                return self.array(rows, [f["type"] for f in fields])
            case {"type": inner}:
                return self.value(inner, rows)
            case _:
                raise TypeError(f"avro type {kind}: the columnar walk does not know it; change the schema")
        return True


def well_formed(data: bytes, sizes: Ints, schema: Any) -> tuple[Bools, list[str]]:
    """For N records of the writer schema, laid end to end with these sizes in bytes: which are exactly one record.

    And the fields that hold something in any of them: the decoder may leave out the others.
    """
    end = np.cumsum(sizes)
    walk = Walk(np.frombuffer(data, np.uint8), end - sizes, end)
    rows = np.arange(len(sizes))
    used = [field["name"] for field in schema["fields"] if walk.value(field["type"], rows)]
    good: Bools = ~walk.bad & (walk.pos == end)
    return good, used
