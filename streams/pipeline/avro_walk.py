"""Which of N Avro records, laid end to end, are well-formed? All rows at once, field by field, in numpy.

The columnar decoder takes n rows from a block of n payloads: one forged payload that holds two records would push a neighbour
out, unseen. This walk names every row whose bytes do not end where its payload ends, before anything is decoded; it is
stricter than fastavro (boolean above 1, over-long varints), and a row that it refuses is looked at alone.
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]


WORD = 8  # bytes that are looked at together
ZIGZAG: Ints = np.array([(n >> 1) ^ -(n & 1) for n in range(128)], np.int64)


class Walk:
    """Cursor over the records `[start, end)` of `data`; `bad` collects the rows that cannot be.

    `rows` of a method are row numbers; `all` stands for every row and is not looked up. Behind the data lie zeros, so that a
    look beyond the last record is harmless.
    """

    def __init__(self, data: bytes, start: Ints, end: Ints) -> None:
        padded = data + bytes(WORD)
        self.data: Bytes = np.frombuffer(padded, np.uint8)
        self.words = np.ndarray(len(data) + 1, "<u8", padded, strides=(1,))  # the eight bytes from each position on
        self.pos, self.end, self.bad = start, end, np.zeros(len(start), np.bool_)
        self.all: Ints = np.arange(len(start))
        self.high: Ints = np.flatnonzero(self.data >= 128)
        self.spans: list[
            tuple[Ints, int]
        ] = []  # where fields that are null in every row begin, and how many bytes they are

    def _at(self, values: Ints, rows: Ints) -> Ints:
        return values if rows is self.all else values[rows]

    def _move(self, rows: Ints, pos: Ints) -> None:
        """Positions are replaced, never changed in place: what `_at` gave stays as it was."""
        if rows is self.all:
            self.pos = pos
        else:
            self.pos = self.pos.copy()
            self.pos[rows] = pos

    def nulls(self, most: int) -> int:
        """Skip up to `most` optional fields that are null in every row that is not bad; how many were."""
        word, whole = self.words[self.pos], ~self.bad
        if most < WORD:
            word &= np.uint64((1 << (8 * most)) - 1)
        union = int(np.bitwise_or.reduce(word, where=whole))
        empty = min(most, WORD) if not union else ((union & -union).bit_length() - 1) // 8
        pos = self.pos + empty * whole
        if empty and (pos > self.end).any():
            return 0  # a record ends here: field by field, so that it alone is bad
        if empty:
            self.spans.append((self.pos[whole] if self.bad.any() else self.pos, empty))
        self.pos = pos
        return empty

    def dense(self, start: Ints, good: Bools) -> bytes:
        """The data without bad rows and without the fields that `nulls` skipped."""
        keep = np.ones(len(self.data), np.bool_)
        words = np.ndarray(len(keep) - WORD + 1, "<u8", keep, strides=(1,))
        for row in np.flatnonzero(~good).tolist():
            keep[start[row] : self.end[row]] = False
        for pos, count in self.spans:
            if count == WORD:
                words[pos] = 0
            else:
                for i in range(count):
                    keep[pos + i] = False
        return self.data[:-WORD][keep[:-WORD]].tobytes()

    def varint(self, rows: Ints) -> Ints:
        """Read one zigzag varint of each of `rows`."""
        pos, end = self._at(self.pos, rows), self._at(self.end, rows)
        over, first = pos >= end, self.data[pos]
        if first.max(initial=0) < 128 and not over.any():  # as for nearly every length
            self._move(rows, pos + 1)
            return ZIGZAG[first]
        byte = first.astype(np.int64)
        value, pos = byte & 0x7F, pos + 1
        more = np.flatnonzero((byte >= 128) & ~over)
        shift = 7
        while more.size:
            run_over = pos[more] >= end[more]
            over[more[run_over]] = True
            more = more[~run_over]
            byte = self.data[pos[more]].astype(np.int64)
            if shift >= 63:  # a tenth byte holds one bit; beyond that no 64-bit integer is meant
                over[more[(byte > 1) | (shift > 63)]] = True
            value[more] |= np.left_shift(byte & 0x7F, min(shift, 63))
            pos[more] += 1
            more = more[(byte >= 128) & ~over[more]]
            shift += 7
        if over.any():
            pos = np.where(over, end, pos)
            self.bad[rows[over]] = True
        self._move(rows, pos)
        unsigned = value.view(np.uint64)
        return ((unsigned >> np.uint64(1)).astype(np.int64)) ^ -(value & 1)

    def string(self, rows: Ints) -> None:
        """Skip one string of each row; one that reaches beyond its record is bad, and so is one that is not UTF-8."""
        size = self.varint(rows)
        pos, end = self._at(self.pos, rows), self._at(self.end, rows)
        wrong = size.view(np.uint64) > (end - pos).view(np.uint64)  # a negative size is a very large one
        stop = pos + size
        if wrong.any():
            self.bad[rows[wrong]] = True
            stop = np.where(wrong, end, stop)
        self._move(rows, stop)
        if self.high.size:
            self._utf8(rows[~wrong], pos[~wrong], stop[~wrong])

    def _utf8(self, rows: Ints, start: Ints, stop: Ints) -> None:
        """Only strings that hold a byte above 0x7f are looked at, one by one: they are few."""
        first = np.searchsorted(self.high, start)
        holds = (first < self.high.size) & (self.high[np.minimum(first, self.high.size - 1)] < stop)
        for i in np.flatnonzero(holds).tolist():
            try:
                self.data[start[i] : stop[i]].tobytes().decode()
            except UnicodeDecodeError:
                self.bad[rows[i]] = True

    def array(self, rows: Ints, fields: Sequence[Any]) -> bool:
        """Skip one array of each row, whose items are values of these types one after the other; False when all are empty.
        One block without byte size is canonical."""
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
        pos = self._at(self.pos, rows)
        branch, inside = self.data[pos], pos < self._at(self.end, rows)
        if not inside.all():
            self.bad[rows[~inside]] = True
        self._move(rows, pos + inside)
        is_value = (branch == 2) & inside
        if is_value.all():
            return self.value(inner, rows)
        self.bad[rows[(branch != 0) & ~is_value]] = True
        has = rows[is_value]
        return has.size > 0 and self.value(inner, has)

    def value(self, kind: Any, rows: Ints) -> bool:
        """Skip one value of the Avro type `kind` of each row; False when it is null or empty in all of them."""
        match kind:
            case "long" | "int":
                self.varint(rows)
            case "string":
                self.string(rows)
            case "boolean":
                pos, end = self._at(self.pos, rows), self._at(self.end, rows)
                self.bad[rows[(pos >= end) | (self.data[pos] > 1)]] = True
                self._move(rows, np.minimum(pos + 1, end))
            case ["null", inner]:
                return self.optional(inner, rows)
            case {"type": "array", "items": {"fields": fields}}:
                return self.array(rows, [f["type"] for f in fields])
            case {"type": "array", "items": inner}:
                return self.array(rows, [inner])
            case {"type": inner}:
                return self.value(inner, rows)
            case _:
                raise TypeError(f"avro type {kind}: the columnar walk does not know it; change the schema")
        return True


class Walked(NamedTuple):
    """What a walk found: `good` says which rows are exactly one record.

    `data` holds these, without the fields that are null in all of them: of the schema's fields only `fields` are left, and of
    them only `used` hold something. Reading that takes half the time.
    """

    good: Bools
    data: bytes
    fields: tuple[str, ...]
    used: list[str]


def walk(data: bytes, sizes: Ints, schema: Any) -> Walked:
    """Walk N records of the writer schema, laid end to end with these sizes in bytes."""
    end = np.cumsum(sizes)
    start, fields, i = end - sizes, schema["fields"], 0
    cursor, left, used = Walk(data, start, end), list[str](), list[str]()
    while i < len(fields):
        optional = sum(1 for _ in takewhile(_is_optional, fields[i : i + WORD]))
        empty = cursor.nulls(optional) if optional else 0
        i += empty
        if empty < WORD and i < len(fields):
            left.append(fields[i]["name"])
            if cursor.value(fields[i]["type"], cursor.all):
                used.append(fields[i]["name"])
            i += 1
    good: Bools = ~cursor.bad & (cursor.pos == end)
    return Walked(good, cursor.dense(start, good), tuple(left), used)


def _is_optional(field: Any) -> bool:
    return isinstance(field["type"], list)
