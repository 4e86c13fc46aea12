"""usage.alerts as a reader sees it: every alert with its revisions. What stands there twice is one: (alert_id, revision)."""

from collections.abc import Sequence
from typing import Any

import structlog

from streams.kafka.ports import Log
from streams.watch.published import Unreadable, alert_of

log = structlog.get_logger()
Record = dict[str, Any]


class AlertsLog:
    """`histories`: alert id -> its records by revision, rising."""

    def __init__(self, logs: Sequence[Log]) -> None:
        self._logs = list(logs)
        self._next = [0] * len(self._logs)
        self.histories: dict[str, dict[int, Record]] = {}

    async def refresh(self) -> None:
        """Read what is new in every partition."""
        for i, partition in enumerate(self._logs):
            begin, end = await partition.bounds()
            async for message in partition.read(max(begin, self._next[i]), end):
                try:
                    record = alert_of(message.value)
                except Unreadable as error:
                    log.warning(
                        "an alert cannot be read", topic="usage.alerts", offset=message.offset, error=str(error)
                    )
                    continue
                self.histories.setdefault(record["alert_id"], {}).setdefault(record["revision"], record)
            self._next[i] = end

    def newest(self, alert_id: str) -> Record:
        """Its record with the highest revision."""
        found = self.histories[alert_id]
        return found[max(found)]

    def history(self, alert_id: str) -> list[Record]:
        """Its records, the first one first."""
        return [record for _, record in sorted(self.histories[alert_id].items())]

    def all(self) -> list[Record]:
        """The newest record of each, what began last first."""
        found = [self.newest(name) for name in self.histories]
        return sorted(found, key=lambda r: (str(r.get("since") or r.get("occurred_at")), r["alert_id"]), reverse=True)

    def named(self, prefix: str) -> list[str]:
        """Ids that begin so."""
        return sorted(name for name in self.histories if name.startswith(prefix))
