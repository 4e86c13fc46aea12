"""The book of deliveries: a fold of usage.deliveries, the same for whoever folds it. Pure, but for its own memory.

Of records of one delivery the later one holds, with two exceptions that two owners for a moment make necessary: what is final
is opened again by a person only (`again`), and an attempt never goes backwards. Ids of all that ended stay in memory, so that
a replay of usage.alerts tells nobody twice.
"""

from collections import defaultdict
from collections.abc import Iterator

from streams.notify.delivery import Delivery

Key = tuple[str, str]  # alert, endpoint


class Book:
    """What is owed, who was told, which endpoints are gone.

    open:     by id, what is owed or held back
    told:     by alert and endpoint, the last delivery that arrived, until the alert is over
    gone:     endpoints that answered 410, with the version of theirs that did
    messages: by endpoint and what it calls a message, the alerts in it
    """

    def __init__(self) -> None:
        self.open: dict[str, Delivery] = {}
        self.told: dict[Key, Delivery] = {}
        self.gone: dict[str, str] = {}
        self.messages: dict[Key, dict[str, Delivery]] = {}
        self._of_alert = defaultdict[str, dict[str, Delivery]](dict)  # alert -> open ones by id
        self._of_endpoint = defaultdict[str, dict[str, Delivery]](dict)
        self._told_at = defaultdict[str, set[str]](set)  # alert -> endpoints
        self._done: dict[int, int] = {}  # the first 64 bits of the id of what ended -> again

    def __len__(self) -> int:
        return len(self._done) + len(self.open)

    def knows(self, delivery_id: str) -> bool:
        """Whether it was ever owed."""
        return delivery_id in self.open or int(delivery_id[:16], 16) in self._done

    def owed(self, alert_id: str, endpoint: str) -> list[Delivery]:
        """Open deliveries of an alert to an endpoint, oldest revision first."""
        found = (d for d in self._of_alert.get(alert_id, {}).values() if d.endpoint == endpoint)
        return sorted(found, key=lambda d: d.revision)

    def at(self, endpoint: str) -> list[Delivery]:
        """Open deliveries to an endpoint, the longest owed first."""
        return list(self._of_endpoint.get(endpoint, {}).values())

    def endpoints(self) -> list[str]:
        """Endpoints to which something is owed or held back."""
        return sorted(self._of_endpoint)

    def concerned(self, alert_id: str) -> list[str]:
        """Endpoints at which an alert stands as not over, or which are owed something about it."""
        return sorted(
            self._told_at.get(alert_id, set()) | {d.endpoint for d in self._of_alert.get(alert_id, {}).values()}
        )

    def waiting(self, endpoint: str, group: str) -> int | None:
        """Until when the first of a group waits for the others; None when nothing of it waits."""
        times = [
            d.next_at
            for d in self._of_endpoint.get(endpoint, {}).values()
            if d.group == group and not d.attempt and d.next_at is not None and d.held_by is None
        ]
        return min(times, default=None)

    def paging(self) -> Iterator[Delivery]:
        """One delivery for each alert and endpoint that is being told of: arrived, or on its way."""
        yield from self.told.values()
        yield from (d for d in self.open.values() if d.held_by is None and d.state == "firing")

    def take(self, one: Delivery) -> bool:
        """Fold a record; False when it changes nothing."""
        name = int(one.delivery_id[:16], 16)
        known, ended = self.open.get(one.delivery_id), self._done.get(name)
        if ended is not None and one.again <= ended:
            return False
        if (
            known is not None
            and not one.final
            and (one.again, one.attempt, one.at) < (known.again, known.attempt, known.at)
        ):
            return False
        if one.final and known is not None and one.again < known.again:
            self._ended(one)  # of an attempt that was in the air when somebody asked for it again: that stays owed
        elif one.final:
            self._close(one.delivery_id)
            self._done[name] = one.again
            self._ended(one)
        else:
            self._done.pop(name, None)
            self.open[one.delivery_id] = one
            self._of_alert[one.alert_id][one.delivery_id] = one
            self._of_endpoint[one.endpoint][one.delivery_id] = one
        return True

    def _close(self, delivery_id: str) -> None:
        known = self.open.pop(delivery_id, None)
        if known is None:
            return
        for index, key in ((self._of_alert, known.alert_id), (self._of_endpoint, known.endpoint)):
            index[key].pop(delivery_id, None)
            if not index[key]:
                del index[key]

    def _ended(self, one: Delivery) -> None:
        if one.status == "sent":
            self.gone.pop(one.endpoint, None)
        elif one.code == 410:
            self.gone[one.endpoint] = one.version
        key = (one.alert_id, one.endpoint)
        before = self.told.get(key)
        if not one.stands:
            return
        if one.state == "resolved":  # over, whatever became of telling it
            if before is not None and before.revision < one.revision:
                self._over(before, one)
        elif one.status == "sent" and one.body is None and (before is None or before.revision <= one.revision):
            answer = one.answer or (before.answer if before else None)
            kept = one if answer == one.answer else one.now(one.at, answer=answer)
            self.told[key] = kept
            self._told_at[one.alert_id].add(one.endpoint)
            if answer:
                self.messages.setdefault((one.endpoint, answer), {})[one.alert_id] = kept

    def _over(self, before: Delivery, one: Delivery) -> None:
        del self.told[one.alert_id, one.endpoint]
        self._told_at[one.alert_id].discard(one.endpoint)
        if not self._told_at[one.alert_id]:
            del self._told_at[one.alert_id]
        if before.answer:  # of a message that holds several alerts all stay, until the last one is over
            alerts = self.messages.setdefault((one.endpoint, before.answer), {})
            alerts[one.alert_id] = one
            if not any((alert, one.endpoint) in self.told for alert in alerts):
                del self.messages[one.endpoint, before.answer]
