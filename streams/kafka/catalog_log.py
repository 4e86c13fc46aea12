"""usage.catalog: content-addressed parts, then one manifest with the next sequence number, so that publishing is atomic.

The topic is one partition, never compacted: its history is the audit log. Of two that publish the same sequence number at
once the first in the log counts (the chain rule on sequence numbers).
"""

import asyncio
import hashlib
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from streams.catalog import wire
from streams.catalog.book import Book, compile_book
from streams.catalog.models import Catalog
from streams.kafka.ports import Log, Message, append_surely
from streams.pipeline.chain import Chain, LogBroken
from streams.watch.scopes import Scope
from streams.watch.watched import scopes_of, watched

log = structlog.get_logger()
PART_BYTES = 700_000


@dataclass(frozen=True, slots=True)
class Published:
    """One published version of what people decide, ready for use."""

    sequence: int
    version: str
    catalog: Catalog
    book: Book
    scopes: tuple[Scope, ...]
    published_ms: int = 0  # when the broker took it


class PublishConflict(Exception):
    """Somebody else published in between; look at the new plan and apply again."""


class CatalogLog:
    """Folds usage.catalog; `published` holds every version, `streams` the identity of each source topic."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._chain = Chain(mark=0)
        self._parts: dict[str, bytes] = {}
        self._versions: dict[int, tuple[str, list[str]]] = {}  # sequence -> content address, digests of its parts
        self._compiled: dict[int, Published] = {}
        self.streams: dict[str, str] = {}
        self.published_ms: dict[int, int] = {}  # sequence -> when the broker took that version
        self.signed: dict[int, tuple[str, str]] = {}  # sequence -> who published it, and why
        self._turn = asyncio.Lock()

    @property
    def sequence(self) -> int:
        """The newest version's number; 0 when nothing was published."""
        return self._chain.mark

    async def refresh(self) -> int:
        """Read what is new; the newest sequence."""
        async with self._turn:
            begin, end = await self._log.bounds()
            if begin > self._chain.end or end < self._chain.end:
                raise LogBroken(
                    "usage.catalog: its history was cut; restore the topic, its retention must be unlimited"
                )
            async for message in self._log.read(self._chain.end, end):
                self._fold(message)
        return self.sequence

    def _fold(self, message: Message) -> None:
        headers = dict(message.headers)
        kind, value = headers.get("kind", b""), message.value or b""
        sequence = int(headers.get("sequence", b"-1"))
        base = sequence - 1 if kind == b"manifest" else -2  # only manifests can count
        self._chain, counted = self._chain.take(message.offset, base, base + 1)
        if kind == b"part":
            self._parts[hashlib.sha256(value).hexdigest()] = value
        elif kind == b"stream":
            self.streams.setdefault(headers["topic"].decode(), value.decode())  # the first one counts
        elif counted:
            manifest = json.loads(value)
            self._versions[sequence] = manifest["version"], manifest["parts"]
            self.published_ms[sequence] = message.timestamp
            self.signed[sequence] = manifest.get("by", ""), manifest.get("reason", "")

    def catalog(self, sequence: int) -> Catalog | None:
        """What that version says, not compiled; None when this log does not hold it yet."""
        return wire.load(self._body(sequence)) if sequence in self._versions else None

    def sections(self, sequence: int, names: Iterable[str]) -> Catalog | None:
        """The same, of these sections alone: whoever rates nothing need not read thousands of prices."""
        return wire.load_sections(self._body(sequence), names) if sequence in self._versions else None

    def _body(self, sequence: int) -> bytes:
        _, digests = self._versions[sequence]
        return zlib.decompress(b"".join(self._parts[digest] for digest in digests))

    def get(self, sequence: int) -> Published | None:
        """That version, compiled once; None when this log does not hold it yet."""
        if sequence not in self._compiled and (catalog := self.catalog(sequence)):
            version = self._versions[sequence][0]
            self._compiled[sequence] = Published(
                sequence,
                version,
                catalog,
                compile_book(catalog, sequence, version),
                tuple(scopes_of(watched(catalog).values())),
                self.published_ms[sequence],
            )
        return self._compiled.get(sequence)

    async def wait_for(self, sequence: int) -> Published:
        """The version that a batch names. Waits: whoever wrote the batch had read it from this very log."""
        tries = 0
        while (found := self.get(sequence)) is None:
            await self.refresh()
            if self.get(sequence) is None:
                if tries % 60 == 0:
                    log.warning("waiting for a catalog; `usage-streams apply` publishes one", newest=self.sequence)
                tries += 1
                await asyncio.sleep(0.5)
        return found

    async def publish(self, catalog: Catalog, expected: int | None = None, by: str = "", reason: str = "") -> int:
        """Publish, signed; the new sequence, or the current one if nothing changes. PublishConflict when another came first."""
        await self.refresh()
        base = self.sequence if expected is None else expected
        body = wire.dump(catalog)
        version = wire.version_of(body)
        if base in self._versions and self._versions[base][0] == version:
            return base
        packed = zlib.compress(body, 6)
        parts = [packed[i : i + PART_BYTES] for i in range(0, len(packed), PART_BYTES)]
        digests = [hashlib.sha256(part).hexdigest() for part in parts]
        for digest, part in zip(digests, parts, strict=True):
            if digest not in self._parts:
                await append_surely(self._log, part, [("kind", b"part")])
        manifest = json.dumps({"version": version, "parts": digests, "by": by, "reason": reason}).encode()
        await append_surely(self._log, manifest, [("kind", b"manifest"), ("sequence", str(base + 1).encode())])
        await self.refresh()
        if self._versions.get(base + 1, ("", []))[0] != version:
            raise PublishConflict(f"catalog: version {base + 1} was published by somebody else; look at the plan again")
        return base + 1

    async def identify(self, topic: str, fresh_id: str) -> str:
        """The identity of a source topic, minted once: `fresh_id` if it has none yet."""
        await self.refresh()
        if topic not in self.streams:
            await append_surely(self._log, fresh_id.encode(), [("kind", b"stream"), ("topic", topic.encode())])
            await self.refresh()
        return self.streams[topic]
