"""What a door knows, in memory: folds of usage.budgets, usage.alerts, usage.enforcements and usage.commands, and the catalog.

Bounded: scopes are packed (some 150 bytes each) and counted; of a scope that is not kept a check says that nothing is known,
never that nothing was used. Of alerts and enforcements the newest are kept.
"""

import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import structlog

from streams import metrics
from streams.catalog.models import Catalog
from streams.kafka import topics
from streams.kafka.ports import Message
from streams.watch.commands import BadCommand, Commands, read_command
from streams.watch.coverage import Coverage, coverage_of
from streams.watch.freshness import Freshness, read_beat
from streams.watch.packed_record import HEARTBEAT, PackedRecord, unpack
from streams.watch.published import alert_of, enforcement_of, standing_budget
from streams.watch.scopes import dimensions_of

log = structlog.get_logger()
FOLLOWED = (topics.BUDGETS, topics.ALERTS, topics.ENFORCEMENTS, topics.COMMANDS, topics.CATALOG)
SECTIONS = (  # of the catalog: what doors need
    "tenants", "budgets", "runs", "exceptions", "burn_rates", "rules", "silences", "maintenance",
)  # fmt: skip
MOST_ALERTS, MOST_ENFORCEMENTS = 20_000, 10_000
DECODE = msgspec.json.Decoder()


class Alert(NamedTuple):
    """An alert as it stands; `body` is its record."""

    revision: int
    state: str
    body: bytes


class View:
    """Fed by `take`; asked by everything else. Implements `streams.watch.check.Knowledge`."""

    def __init__(
        self, most_scopes: int = 2_000_000, now_ms: Callable[[], int] = lambda: int(time.time() * 1000)
    ) -> None:
        self.now_ms = now_ms
        self.partitions = 1
        self.freshness = Freshness()
        self.coverage = Coverage({}, {}, ())
        self.catalog = Catalog()
        self.sequence = 0  # of the catalog in use; 0: none was published
        self.commands = Commands()
        self.alerts: dict[str, Alert] = {}
        self.enforcements: dict[str, bytes] = {}  # by id: what a replay publishes again is there once
        self.is_full = False
        self.waits_for = "the topics are not read yet"  # why nothing can be answered; empty when it can
        self._standings: dict[str, bytes] = {}
        self._most = most_scopes
        self._take = {
            topics.BUDGETS: self._budget,
            topics.ALERTS: self._alert,
            topics.ENFORCEMENTS: self._enforcement,
            topics.COMMANDS: self._command,
        }

    # knowledge of a check

    def standing(self, scope: str) -> PackedRecord | None:
        """The newest record; None: there is none."""
        packed = self._standings.get(scope)
        return None if packed is None else unpack(packed)

    def fresh_ms(self, scope: str) -> int | None:
        """Every event that the broker had then is in what is known of this scope; None: nobody can say."""
        if self.is_full and scope not in self._standings:
            return None  # it may be one that was not kept
        return self.freshness.fresh_ms(self._partition(scope))

    def clock(self, scope: str) -> int:
        """Event time up to which its watch has come."""
        return self.freshness.clock(self._partition(scope))

    def _partition(self, scope: str) -> int:
        return zlib.crc32(scope.encode()) % self.partitions

    # what comes

    def take(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        """Records of one partition, in order. One that cannot be read is named and left out."""
        fold = self._take.get(topic)
        if fold is None:
            return
        for message in messages:
            try:
                fold(message)
            except (msgspec.DecodeError, BadCommand, KeyError, ValueError, TypeError) as error:
                log.warning(
                    "record is left out", topic=topic, partition=partition, offset=message.offset, error=repr(error)
                )
        if topic == topics.BUDGETS:
            metrics.DOOR_SCOPES.set(len(self._standings))

    def adopt(self, sequence: int, catalog: Catalog) -> None:
        """Answer with this version."""
        self.sequence, self.catalog = sequence, catalog
        self.coverage = coverage_of(catalog).with_commands(self.commands)

    def _budget(self, message: Message) -> None:
        key = (message.key or b"").decode()
        if key.startswith(HEARTBEAT):
            if message.value:
                self.freshness.beat(read_beat(message.value))
            return
        if message.value is None:
            self._standings.pop(key, None)
            return
        (fresh, packed), known = standing_budget(message.key, message.value), self._standings.get(key)
        if known is None and len(self._standings) >= self._most:
            if not self.is_full:
                self.is_full = True
                log.error(
                    f"more than {self._most} scopes; set USAGE_STREAMS_API_SCOPES higher: of others nothing is known"
                )
            return
        if known is not None:
            before = unpack(known)
            if before.stream == fresh.stream and before.offset > fresh.offset:
                return  # compaction could keep a late record of a former owner
        self._standings[key] = packed

    def _alert(self, message: Message) -> None:
        body = message.value or b""
        found = alert_of(body)
        name, revision = found["alert_id"], found["revision"]
        known = self.alerts.pop(name, None)  # put in again at the end: the order is that of the last change
        if known is not None and known.revision >= revision:
            self.alerts[name] = known
            return
        self.alerts[name] = Alert(revision, found["state"], body)
        if len(self.alerts) > MOST_ALERTS:
            oldest = next((n for n, a in self.alerts.items() if a.state == "resolved"), next(iter(self.alerts)))
            del self.alerts[oldest]

    def _enforcement(self, message: Message) -> None:
        body = message.value or b""
        self.enforcements.setdefault(enforcement_of(body)["enforcement_id"], body)
        if len(self.enforcements) > MOST_ENFORCEMENTS:
            del self.enforcements[next(iter(self.enforcements))]

    def _command(self, message: Message) -> None:
        command = read_command(message.value)
        if self.commands.take(message.offset, command, message.timestamp) and command.__struct_config__.tag in {
            "request",
            "decide",
            "revoke",
        }:
            self.coverage = self.coverage.with_commands(self.commands)

    # what is asked

    def scopes(self, prefix: str = "") -> Iterator[str]:
        """Keys that begin so, in no order that means anything; the dictionary may change while they are read."""
        return iter([key for key in self._standings if key.startswith(prefix)] if prefix else list(self._standings))

    def alert(self, name: str) -> dict[str, Any] | None:
        """The newest record of an alert."""
        known = self.alerts.get(name)
        return None if known is None else dict(DECODE.decode(known.body))

    def alert_rules(self, sees: Callable[[str, Mapping[str, str]], bool]) -> set[str]:
        """Ids of the rules that alerts are of, as far as somebody sees these."""
        records = (DECODE.decode(alert.body) for alert in self.alerts.values())
        return {r["budget_id"] for r in records if sees(r["tenant_id"], dimensions_in(r))}

    def staleness(self) -> dict[int, int | None]:
        """Milliseconds by partition of totals; None: nobody can say."""
        now = self.now_ms()
        found: dict[int, int | None] = {}
        for q in range(self.partitions):
            fresh = self.freshness.fresh_ms(q)
            found[q] = None if fresh is None else max(now - fresh, 0)
        return found

    def reasons(self, tolerated_ms: int) -> list[str]:
        """Why this door should not be asked now, with what to look at; empty when it should."""
        if self.waits_for:
            return [self.waits_for]
        if not self.sequence:
            return ["no catalog was published; run `usage-streams apply DIR`"]
        found = []
        if self.is_full:
            found.append(f"more than {self._most} scopes; set USAGE_STREAMS_API_SCOPES higher")
        metered, now = self.freshness.metered_ms(), self.now_ms()

        def is_old(at: int | None) -> bool:
            return at is None or now - at > tolerated_ms

        if is_old(metered):
            found.append(f"usage is not metered ({_age(metered, now)}); look at the broker and the meter")
        for q in range(self.partitions):
            seen, fresh = self.freshness.seen_ms(q), self.freshness.fresh_ms(q)
            if is_old(seen):
                found.append(f"partition {q} of {topics.TOTALS} is not watched ({_age(seen, now)}); look at the watch")
            # Each may be 40 s behind: what is known is as old as both together.
            elif is_old(fresh) and not is_old(metered):
                found.append(
                    f"partition {q} of {topics.TOTALS} is known too late ({_age(fresh, now)}); look at the meter and the watch"
                )
        return found


def _age(at: int | None, now: int) -> str:
    return "never seen" if at is None else f"{max(now - at, 0) / 1000:.0f} s behind"


def dimensions_in(record: Mapping[str, Any]) -> dict[str, str]:
    """Of an alert or an enforcement: those of its scope; older records have them in the key alone."""
    return record.get("dimensions") or dimensions_of(record["scope"])
