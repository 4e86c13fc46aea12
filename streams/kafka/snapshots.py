"""Checkpoints of a fold: parts that carry their snapshot's id, the manifest last (DESIGN §2.2 rule 6).

A snapshot hides no debt: its writer takes only what lies below the commit. Of several, also of two owners at once, the whole
one with the highest position in the folded log is used, not the last one written. Killed between two parts: no manifest, so
the snapshot before it stays in use.
"""

import asyncio
import uuid
from collections import defaultdict
from typing import NamedTuple

import msgspec

from streams.kafka.ports import Log, append_surely
from streams.pipeline.chain import Chain, LogBroken

PART_BYTES = 900_000
APART = (("base", b"-3"), ("to", b"-2"))  # never the mark of a chain, so a chain in the same log ignores it


class Manifest(msgspec.Struct, frozen=True):
    """What a snapshot stands for: the chain of the folded log, its identity, and what else the fold needs."""

    snapshot: str
    parts: int
    mark: int
    end: int
    last: int
    stream: str
    extra: dict[str, int]

    @property
    def chain(self) -> Chain:
        return Chain(self.mark, self.end, self.last)


class Snapshot(NamedTuple):
    """A whole snapshot: its body is what was given to `write`. `first` is the log offset of its first part."""

    manifest: Manifest
    body: bytes
    first: int


async def write(log: Log, chain: Chain, stream: str, body: bytes, extra: dict[str, int] | None = None) -> int:
    """Write one snapshot; parts of two writers may mix, their ids keep them apart. The log offset of its first message."""
    name = uuid.uuid4().hex
    parts = [body[i : i + PART_BYTES] for i in range(0, len(body), PART_BYTES)]
    offsets = await asyncio.gather(
        *(
            append_surely(log, part, [*APART, ("snapshot", name.encode()), ("part", str(i).encode())])
            for i, part in enumerate(parts)
        )
    )
    manifest = Manifest(name, len(parts), chain.mark, chain.end, chain.last, stream, extra or {})
    last = await append_surely(
        log, msgspec.json.encode(manifest), [*APART, ("snapshot", name.encode()), ("manifest", b"1")]
    )
    return min(offsets, default=last)


async def load(log: Log) -> Snapshot | None:
    """The whole snapshot with the highest position; None when there is none."""
    parts: dict[str, dict[int, tuple[int, bytes]]] = defaultdict(dict)
    best: Snapshot | None = None
    begin, end = await log.bounds()
    async for message in log.read(begin, end):
        headers = dict(message.headers)
        if "snapshot" not in headers:
            continue  # a message of the chain that shares this log
        name, value = headers["snapshot"].decode(), message.value or b""
        if "part" in headers:
            parts[name][int(headers["part"])] = message.offset, value
            continue
        manifest = msgspec.json.decode(value, type=Manifest)
        own = parts.pop(name, {})
        if len(own) == manifest.parts and (best is None or manifest.end >= best.manifest.end):
            first = min((offset for offset, _ in own.values()), default=message.offset)
            best = Snapshot(manifest, b"".join(own[i][1] for i in range(manifest.parts)), first)
    return best


def check_identity(manifest: Manifest, stream: str) -> None:
    """A snapshot of another stream stops the worker."""
    if manifest.stream != stream:
        raise LogBroken(
            f"snapshot belongs to stream {manifest.stream}, the source is {stream}; a topic was re-created: rebuild"
        )
