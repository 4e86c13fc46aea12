"""Records to one frame, whatever their encoding; what cannot be read becomes a dead letter, alone.

Three encodings, told apart by the first byte: 0x00 Confluent frame, 0xC3 0x01 Avro single-object, `{` JSON. Avro rows of one
writer schema are walked first (avro_walk.py) and then decoded at once by polars as one synthesised container block.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import fastavro
import fastavro.schema
import numpy as np
import polars as pl

from streams.pipeline.avro_walk import Walked, walk
from streams.pipeline.checks import Bounds, check
from streams.pipeline.encode import SINGLE_OBJECT, fingerprint_of
from streams.pipeline.frames import INSTANT, Dead, Record
from streams.pipeline.json_events import LAST_MS, CloudEvent, EventReader, Refusal, cloud_event

TYPES: dict[str, pl.DataType | type[pl.DataType]] = {
    "string": pl.String,
    "long": pl.Int64,
    "int": pl.Int64,
    "boolean": pl.Boolean,
}
MAX_BYTES = 256 * 1024
REFUSED_MOST, NARROW_MOST = 1_000, 256
NOT_CANONICAL = ("undecodable", "not in Avro's canonical form")


def _type_of(kind: Any) -> Any:
    match kind:
        case ["null", inner]:
            return _type_of(inner)
        case {"logicalType": "timestamp-millis"}:
            return INSTANT
        case {"type": "array", "items": {"fields": fields}}:
            return pl.List(pl.Struct({f["name"]: _type_of(f["type"]) for f in fields}))
        case {"type": "array", "items": inner}:
            return pl.List(_type_of(inner))
        case _:
            return TYPES[kind]


def frame_schema(schema: Any) -> pl.Schema:
    """Columns of the decoded frame for a reader schema."""
    columns = {f["name"]: _type_of(f["type"]) for f in schema["fields"]}
    return pl.Schema({"source_offset": pl.Int64, "append_time": INSTANT, **columns})


@dataclass(frozen=True, slots=True)
class Decoded:
    """`frame` in source_offset order with the reader schema's columns; `dead` in offset order."""

    frame: pl.DataFrame
    dead: list[Dead]


@dataclass(frozen=True)
class Writer:
    """A schema that some producer writes, and the container header that makes a block of its records readable."""

    schema: Any
    parsed: Any
    header: bytes

    @classmethod
    def of(cls, schema: Any) -> "Writer":
        parsed, out = fastavro.parse_schema(schema), io.BytesIO()
        fastavro.writer(out, parsed, [], codec="null")
        return cls(schema, parsed, out.getvalue())

    def read(self, data: bytes, count: int, columns: list[str]) -> pl.DataFrame:
        """These columns of one block of `count` records."""
        block = self.header + _varint(count) + _varint(len(data)) + data + self.header[-16:]
        frame = pl.read_avro(io.BytesIO(block), columns=columns)
        if frame.height != count:
            raise ValueError(f"{frame.height} rows came out of {count} records")
        return frame


def _varint(n: int) -> bytes:
    n <<= 1
    out = bytearray()
    while n & ~0x7F:
        out.append((n & 0x7F) | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


@dataclass
class Decoder:
    """Decodes chunks to the reader schema; `registry` maps Confluent ids to writer schemas, `learn` adds to them."""

    reader: Any
    released: Sequence[Any] = ()
    registry: Mapping[int, Any] = field(default_factory=dict)
    bounds: Bounds = field(default_factory=Bounds)

    def __post_init__(self) -> None:
        self.schema = frame_schema(self.reader)
        self._single = {fingerprint_of(s): Writer.of(s) for s in (self.reader, *self.released)}
        self._confluent = dict[int, Writer]()
        self._narrow = dict[tuple[int, tuple[str, ...]], Writer]()
        self._refused = dict[int, str]()  # ids whose schema cannot be used, and why
        for number, schema in self.registry.items():
            self.learn(number, schema)
        self._json = EventReader(self.reader, self.schema)

    def unknown_ids(self, records: Sequence[Record]) -> list[int]:
        """Confluent ids among the records that `learn` has not been told of."""
        ids = {int.from_bytes(r.value[1:5], "big") for r in records if r.value and r.value[0] == 0}
        return sorted(ids - self._confluent.keys())

    def learn(self, number: int, schema: Any | None) -> None:
        """From now on records with this id are read with this schema; None, or one that cannot be used: they are refused."""
        try:
            problem = "is not in the registry" if schema is None else _misfit(schema, self.reader, self.schema)
            if not problem:
                self._confluent[number] = Writer.of(schema)
        except (fastavro.schema.SchemaParseException, KeyError, TypeError) as error:
            problem = f"cannot be used: {error}"
        if problem:
            if len(self._refused) >= REFUSED_MOST:
                self._refused.clear()
            self._refused[number] = problem

    def decode(self, records: Sequence[Record]) -> Decoded:
        """Every record is in the frame or among the dead, exactly once."""
        try:
            return self._decode(records)
        except (Exception, pl.exceptions.PanicException) as error:
            # The columnar reader fails as a whole: halves, until the one that it cannot take stands alone.
            if len(records) == 1:
                dead = Dead(records[0], "undecodable", f"{type(error).__name__} in the columnar reader")
                return Decoded(pl.DataFrame(schema=self.schema), [dead])
        low, high = self.decode(records[: len(records) // 2]), self.decode(records[len(records) // 2 :])
        return Decoded(pl.concat([low.frame, high.frame]), [*low.dead, *high.dead])

    def _decode(self, records: Sequence[Record]) -> Decoded:
        dead: list[Dead] = []
        heads = {(r.value or b"")[:10] for r in records}
        if len(heads) == 1 and (writer := self._single.get((head := heads.pop())[2:])) and head[:2] == SINGLE_OBJECT:
            return self._checked(records, [self._avro(writer, 10, records, dead)], dead)  # as in nearly every chunk
        groups: dict[int, tuple[Writer, int, list[Record]]] = {}
        texts: list[Record] = []
        for record in records:
            value = record.value or b""
            if len(value) > MAX_BYTES:
                dead.append(_too_large(record))
            elif value[:2] == SINGLE_OBJECT and (writer := self._single.get(value[2:10])):
                groups.setdefault(id(writer), (writer, 10, []))[2].append(record)
            elif value[:1] == b"\0" and (writer := self._confluent.get(int.from_bytes(value[1:5], "big"))):
                groups.setdefault(id(writer), (writer, 5, []))[2].append(record)
            elif value[:1] == b"{":
                texts.append(record)
            else:
                dead.append(Dead(record, *self._unknown(value)))
        frames = [self._avro(*group, dead) for group in groups.values()]
        if texts:
            frames.append(self._texts(texts, dead))
        return self._checked(records, frames, dead)

    def _checked(self, records: Sequence[Record], frames: list[pl.DataFrame], dead: list[Dead]) -> Decoded:
        frames = [f for f in frames if f.height]
        whole = pl.concat(frames) if frames else pl.DataFrame(schema=self.schema)
        if len(frames) > 1:
            whole = whole.sort("source_offset")
        whole, refused = check(whole, self.bounds)
        if refused:
            by_offset = {r.offset: r for r in records}
            dead += [Dead(by_offset[o], reason, detail) for o, reason, detail in refused]
        return Decoded(whole, sorted(dead, key=lambda d: d.record.offset))

    def _avro(self, writer: Writer, skip: int, records: Sequence[Record], dead: list[Dead]) -> pl.DataFrame:
        bodies = [(r.value or b"")[skip:] for r in records]
        sizes = np.fromiter(map(len, bodies), np.int64, len(bodies))
        if sizes.max() > MAX_BYTES - skip:
            dead += [_too_large(r) for r in records if len(r.value or b"") > MAX_BYTES]
            records = [r for r in records if len(r.value or b"") <= MAX_BYTES]
            return self._avro(writer, skip, records, dead) if records else pl.DataFrame(schema=self.schema)
        walked = walk(b"".join(bodies), sizes, writer.schema)
        again = list[tuple[Record, bytes]]()
        if not walked.good.all():
            for i in np.flatnonzero(~walked.good).tolist():
                found = _alone(bodies[i], writer)
                if isinstance(found, bytes) and found != bodies[i]:
                    again.append((records[i], found))
                else:
                    dead.append(Dead(records[i], *(found if isinstance(found, tuple) else NOT_CANONICAL)))
            records = [r for r, ok in zip(records, walked.good, strict=True) if ok]
        frames = [self._read(writer, walked, records, dead)] if records else []
        if again:
            records, bodies = [r for r, _ in again], [body for _, body in again]
            walked = walk(b"".join(bodies), np.fromiter(map(len, bodies), np.int64, len(bodies)), writer.schema)
            frames.append(self._read(writer, walked, records, dead))
        if len(frames) < 2:
            return frames[0] if frames else pl.DataFrame(schema=self.schema)
        return pl.concat(frames).sort("source_offset")

    def _read(self, writer: Writer, walked: Walked, records: Sequence[Record], dead: list[Dead]) -> pl.DataFrame:
        narrow = self._narrowed(writer, walked.fields)
        frame = self._project(narrow.read(walked.data, len(records), walked.used), records)
        return _named(frame, records, dead) if any(r.headers for r in records) else frame

    def _narrowed(self, writer: Writer, fields: tuple[str, ...]) -> Writer:
        """The same schema with these fields alone; producers use the same few again and again."""
        key = id(writer), fields
        if key not in self._narrow:
            if len(self._narrow) >= NARROW_MOST:
                self._narrow.clear()
            there = [f for f in writer.schema["fields"] if f["name"] in set(fields)]
            self._narrow[key] = Writer.of(writer.schema | {"fields": there})
        return self._narrow[key]

    def _project(self, frame: pl.DataFrame, records: Sequence[Record]) -> pl.DataFrame:
        """The reader schema's columns: absent ones null (or empty), unknown ones dropped."""
        there = dict(frame.schema)
        columns = [
            pl.Series("source_offset", [r.offset for r in records], pl.Int64),
            pl.Series("append_time", [r.timestamp for r in records], pl.Int64).clip(0, LAST_MS).cast(INSTANT),
        ]
        wanted = []
        for name, kind in self.schema.items():
            if name in ("source_offset", "append_time"):
                continue
            if name not in there:
                empty: Any = [] if isinstance(kind, pl.List) else None
                wanted.append(pl.lit(empty, dtype=kind).alias(name))
            else:
                wanted.append(pl.col(name) if there[name] == kind else pl.col(name).cast(kind))
        return frame.select(wanted).with_columns(columns).select(self.schema.names())

    def _texts(self, records: Sequence[Record], dead: list[Dead]) -> pl.DataFrame:
        kept, frame, refused = self._json.read(records)
        dead += [Dead(record, *why) for record, why in refused]
        return self._project(frame, kept)

    def _unknown(self, value: bytes) -> tuple[str, str]:
        if not value:
            return "empty", "the record has no value"
        if value[:2] == SINGLE_OBJECT:
            return "unknown_schema", f"fingerprint {value[2:10].hex()} is none of the schemas that we ship"
        if value[:1] == b"\0":
            number = int.from_bytes(value[1:5], "big")
            nobody = "is not known: no registry is set (USAGE_STREAMS_REGISTRY_URL)"
            return "unknown_schema", f"schema id {number} {self._refused.get(number, nobody)}"
        return "undecodable", f"first byte 0x{value[0]:02x} is neither 0x00, 0xc3 0x01 nor an opening brace"


def _named(frame: pl.DataFrame, records: Sequence[Record], dead: list[Dead]) -> pl.DataFrame:
    """Rows of `records` with the ids of those that are CloudEvents."""
    names = [cloud_event(r.headers) if r.headers else None for r in records]
    refused = [isinstance(n, Refusal) for n in names]
    dead += [Dead(r, *n) for r, n in zip(records, names, strict=True) if isinstance(n, Refusal)]
    ids = pl.Series([n.event_id or None if isinstance(n, CloudEvent) else None for n in names], dtype=pl.String)
    return frame.with_columns(event_id=ids.fill_null(frame["event_id"])).filter(~pl.Series(refused))


def _too_large(record: Record) -> Dead:
    return Dead(record, "too_large", f"{len(record.value or b'')} bytes, at most {MAX_BYTES} are read")


def _misfit(schema: Any, reader: Any, wanted: pl.Schema) -> str:
    """Why records of a writer schema cannot become our columns; empty when they can."""
    if not isinstance(schema, dict) or schema.get("type") != "record":
        return "is not a record"
    for one in schema["fields"]:
        name = one["name"]
        try:
            kind = _type_of(one["type"])
        except (KeyError, TypeError):
            return f"has a field {name} of a type that is not read: {str(one['type'])[:80]}"
        if name in wanted and kind != wanted[name]:
            return f"has a field {name} of another type than ours"
    required = {one["name"] for one in reader["fields"] if "default" not in one}
    lacks = required - {one["name"] for one in schema["fields"]}
    return f"lacks {', '.join(sorted(lacks))}" if lacks else ""


def _alone(body: bytes, writer: Writer) -> bytes | tuple[str, str]:
    """A record that the walk refused: in canonical form when it is one all the same (arrays in blocks with sizes, as some
    encoders write them), else the reason; nothing of its content is repeated."""
    stream, out = io.BytesIO(body), io.BytesIO()
    try:
        found = fastavro.schemaless_reader(stream, writer.parsed)
        fastavro.schemaless_writer(out, writer.parsed, found)
    except UnicodeDecodeError:
        return "invalid_utf8", "a string is not UTF-8"
    except Exception as error:
        return "undecodable", f"{type(error).__name__} after {stream.tell()} of {len(body)} bytes"
    if stream.tell() < len(body):
        return "trailing_bytes", f"the record ends after {stream.tell()} of {len(body)} bytes"
    return out.getvalue()
